//! `towline relay drain`: a relay takes leave of its clients and ends, as on SIGTERM.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use towline_relay::admin::{Client, ClientError};
use towline_relay::config::parse_duration;

use crate::admin::Relay;
use crate::failure::Failure;
use crate::print::{self, Output};

/// Pause between two looks at a relay that is leaving.
const WAIT_INTERVAL: Duration = Duration::from_millis(250);

/// How to drain.
#[derive(Args, Debug)]
pub(crate) struct DrainArgs {
    /// Spread the closes over this time, such as 30s [default: the relay's --drain-time]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    over: Option<Duration>,
    /// Wait until the relay has ended
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    relay: Relay,
    /// Print a line for people or JSON for programs
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Asks, says what happens, and waits if that is wanted.
pub(crate) fn run(args: &DrainArgs) -> Result<(), Failure> {
    let mut relay = args.relay.connect()?;
    let (connections, over) = relay.drain(args.over)?;
    match args.output {
        Output::Json => print::json(&json!({
            "connections": connections,
            "over_ms": u64::try_from(over.as_millis()).unwrap_or(u64::MAX),
        }))?,
        Output::Table => {
            print::line(&format!(
                "closing {connections} connection(s) within {over:?}"
            ))?;
        }
    }
    if args.wait { wait(relay) } else { Ok(()) }
}

/// Waits for the end of the relay, which is the end of this connection.
fn wait(mut relay: Client) -> Result<(), Failure> {
    loop {
        std::thread::sleep(WAIT_INTERVAL);
        match relay.status() {
            Ok(_) => {}
            // The socket is gone with the relay; one that only does not answer has not ended.
            Err(ClientError::Io { .. } | ClientError::NotRunning(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
