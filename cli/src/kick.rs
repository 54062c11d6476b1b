//! `towline relay kick`: closes the connections of a client. It may come back; to keep it out,
//! take it out of the allow file or let the admission controller refuse it.

use clap::Args;
use serde_json::json;
use towline_wire::NodePublic;

use crate::admin::Relay;
use crate::failure::Failure;
use crate::print::{self, Output};

/// Whom to disconnect.
#[derive(Args, Debug)]
pub(crate) struct KickArgs {
    /// Key of the client, as `towline relay clients` shows it
    #[arg(value_name = "NODEKEY")]
    key: NodePublic,
    #[command(flatten)]
    relay: Relay,
    /// Print a line for people or JSON for programs
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Asks and says how many connections were closed.
pub(crate) fn run(args: &KickArgs) -> Result<(), Failure> {
    let connections = args.relay.connect()?.kick(args.key)?;
    match args.output {
        Output::Json => print::json(&json!({ "connections": connections })),
        Output::Table => print::line(&format!(
            "closing {connections} connection(s) of {}",
            args.key
        )),
    }
}
