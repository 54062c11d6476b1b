//! `towline version`.

use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::print::{self, Output};

/// How to print it.
#[derive(Args, Debug, Default)]
pub(crate) struct VersionArgs {
    /// Print a line for people or JSON for programs
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Prints the version.
pub(crate) fn run(args: &VersionArgs) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let architecture = std::env::consts::ARCH;
    match args.output {
        Output::Table => print::line(&format!("towline {version} ({architecture})")),
        Output::Json => print::json(&json!({
            "name": "towline",
            "version": version,
            "architecture": architecture,
            "derp_protocol": towline_wire::limits::PROTOCOL_VERSION,
            "admin_protocol": towline_relay::admin::PROTOCOL_VERSION,
        })),
    }
}
