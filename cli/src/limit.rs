//! `towline relay limit`: changes the rate limit of a connected client until it disconnects.

use clap::Args;
use serde_json::json;
use towline_relay::admin::LimitChange;
use towline_relay::config::{parse_bytes, parse_rate};
use towline_wire::NodePublic;

use crate::admin::Relay;
use crate::failure::Failure;
use crate::print::{self, Output};
use crate::units;

/// Whose limit to change.
#[derive(Args, Debug)]
pub(crate) struct LimitArgs {
    /// Key of the client, as `towline relay clients` shows it
    #[arg(value_name = "NODEKEY")]
    key: NodePublic,
    /// What it may send in a second, such as 500kB or 2MiB; none lifts the limit, also that of --client-rate
    #[arg(value_name = "BYTES", value_parser = parse_rate)]
    bytes_per_second: u64,
    /// Burst, such as 64KiB; never less than one whole packet
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_value = "0")]
    burst: u64,
    #[command(flatten)]
    relay: Relay,
    /// Print a line for people or JSON for programs
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Asks and says how many connections have the new limit.
pub(crate) fn run(args: &LimitArgs) -> Result<(), Failure> {
    let connections = args.relay.connect()?.limit(LimitChange {
        key: args.key,
        bytes_per_second: args.bytes_per_second,
        burst_bytes: args.burst,
    })?;
    match args.output {
        Output::Json => print::json(&json!({ "connections": connections })),
        Output::Table => {
            let limit = match args.bytes_per_second {
                0 => "no limit".to_owned(),
                rate => format!("{}/s", units::bytes(rate)),
            };
            print::line(&format!(
                "{connections} connection(s) of {} now have {limit}",
                args.key
            ))
        }
    }
}
