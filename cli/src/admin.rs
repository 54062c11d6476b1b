//! Finding the admin socket of a running relay, for the commands that talk to one.

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use towline_relay::admin::Client;
use towline_relay::config::Environment;

use crate::failure::Failure;

/// Where a relay that systemd runs has its socket.
const SYSTEM_SOCKET: &str = "/run/towline/relay.sock";

/// Which relay to talk to.
#[derive(Args, Debug)]
pub(crate) struct Relay {
    /// Admin socket of the relay [default: where a relay of this user, else of the system, has it]
    #[arg(
        long,
        value_name = "PATH",
        env = "TOWLINE_RELAY_ADMIN_SOCKET",
        hide_env_values = true,
        value_hint = ValueHint::FilePath
    )]
    admin_socket: Option<PathBuf>,
}

impl Relay {
    /// Connects to it.
    pub(crate) fn connect(&self) -> Result<Client, Failure> {
        let path = match &self.admin_socket {
            Some(path) if !path.as_os_str().is_empty() => path.clone(),
            _ => found(Environment::of_process().admin_socket()),
        };
        Ok(Client::connect(&path)?)
    }
}

fn found(of_user: Option<PathBuf>) -> PathBuf {
    match of_user {
        Some(path) if path.exists() || !Path::new(SYSTEM_SOCKET).exists() => path,
        _ => SYSTEM_SOCKET.into(),
    }
}
