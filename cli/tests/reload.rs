//! SIGHUP: what it applies, what it refuses, and what waits for a restart.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};

use support::{Started, page};

const KEY: &str = "nodekey:0101010101010101010101010101010101010101010101010101010101010101";

struct Relay {
    process: Started,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl Relay {
    fn start(dir: &Path) -> Self {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = unused.local_addr().unwrap();
        drop(unused);
        let process = Command::new(env!("CARGO_BIN_EXE_towline"))
            .args(["relay", "-stun=false", "-http-port", "-1", "--admin-socket"])
            .arg(dir.join("relay.sock"))
            .args(["-a", &address.to_string(), "-c"])
            .arg(dir.join("relay.key"))
            .arg("--config")
            .arg(dir.join("relay.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Started(process);
        let log = BufReader::new(process.0.stderr.take().unwrap());
        let mut relay = Self {
            process,
            log,
            address,
        };
        relay.says(&["relay started"]);
        relay
    }

    /// Sends SIGHUP; gives what is logged up to how it went.
    fn reload(&mut self) -> String {
        let process = self.process.0.id().to_string();
        let kill = Command::new("kill").args(["-HUP", &process]).status();
        assert!(kill.unwrap().success());
        self.says(&["INFO reloaded", "configuration not reloaded"])
    }

    /// What is logged up to the line that contains one of `texts`.
    fn says(&mut self, texts: &[&str]) -> String {
        let mut said = String::new();
        while !texts.iter().any(|text| said.contains(text)) {
            let read = self.log.read_line(&mut said).unwrap();
            assert!(read > 0, "it ended without {texts:?}: {said}");
        }
        said
    }

    fn limit(&self) -> String {
        let metrics = page(self.address, "/metrics");
        let name = "towline_relay_client_rate_limit_bytes_per_second ";
        let limit = metrics.lines().find_map(|line| line.strip_prefix(name));
        limit.unwrap().to_owned()
    }
}

/// The configuration file, with the file of allowed keys beside it.
fn configure(dir: &Path, limits: &str) {
    let keys = dir.join("keys");
    let text = format!("[limits]\n{limits}\n[admission]\nallow_file = {keys:?}\n");
    fs::write(dir.join("relay.toml"), text).unwrap();
}

#[test]
fn with_broken_keys_nothing_is_reloaded() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("keys"), KEY).unwrap();
    configure(dir.path(), "client_rate = \"1MB\"");
    let mut relay = Relay::start(dir.path());
    assert_eq!(relay.limit(), "1000000");

    fs::write(dir.path().join("keys"), "nodekey:broken").unwrap();
    configure(dir.path(), "client_rate = \"2MB\"");
    let said = relay.reload();
    assert!(said.contains("configuration not reloaded"), "{said}");
    assert_eq!(relay.limit(), "1000000");

    fs::write(dir.path().join("keys"), KEY).unwrap();
    let said = relay.reload();
    assert!(!said.contains("configuration not reloaded"), "{said}");
    assert_eq!(relay.limit(), "2000000");
}

#[test]
fn what_needs_a_restart_is_said_until_it_is_as_it_was_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("keys"), KEY).unwrap();
    configure(dir.path(), "half_open_max = 10");
    let mut relay = Relay::start(dir.path());
    configure(dir.path(), "half_open_max = 20");
    for _ in 0..2 {
        let said = relay.reload();
        assert!(said.contains("only a restart applies it"), "{said}");
        assert!(said.contains("half-open-max"), "{said}");
    }
    configure(dir.path(), "half_open_max = 10");
    let said = relay.reload();
    assert!(!said.contains("restart"), "{said}");
}

#[test]
fn a_reload_that_opens_the_relay_to_everyone_says_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("keys"), KEY).unwrap();
    configure(dir.path(), "");
    let mut relay = Relay::start(dir.path());
    let said = relay.reload();
    assert!(!said.contains("anyone may"), "{said}");

    fs::write(dir.path().join("relay.toml"), "").unwrap();
    let said = relay.reload();
    assert!(said.contains("anyone may use this relay"), "{said}");
}
