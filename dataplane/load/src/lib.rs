//! The load generator behind `towline bench`: clients of a DERP relay, many to a thread, and what
//! they see of it.
//!
//! Not a client for users' traffic, and not a test of correctness, though every packet carries a
//! number, so that loss and disorder are seen. Knows the protocol, nothing of the relay's inside:
//! any relay can be measured. [`run`] does it all; [`Options`] says what, [`Report`] what came of
//! it. Every run ends by itself.
#![forbid(unsafe_code)]

mod dial;
mod error;
mod flow;
mod frames;
mod handshakes;
mod idle;
mod link;
mod measured;
mod options;
mod report;
mod stamp;
mod target;
mod traffic;
mod transport;
mod watch;
mod worker;

pub use error::{DialError, LoadError};
pub use options::{Connecting, KeyExchange, Options, Scenario, TlsVersion, Traffic, Trust};
pub use report::{
    Delivered, Fairness, Generator, Latency, Machinery, OverloadFigures, RelayFigures, Report,
};
pub use target::{Target, TargetError};

use std::time::Duration;

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// Clients that are connected, of how many.
    Connecting {
        /// Connected so far.
        done: u32,
        /// Wanted.
        of: u32,
    },
    /// Packets or handshakes so far, and how long it has been going on, warm-up included.
    Running {
        /// Packets delivered, or connections that became ready.
        count: u64,
        /// Since the load began.
        elapsed: Duration,
    },
}

/// Measures one scenario.
///
/// # Errors
/// The relay cannot be reached or refuses clients, a driver cannot be opened, or nothing arrived.
pub fn run(options: &Options, progress: &(dyn Fn(Progress) + Sync)) -> Result<Report, LoadError> {
    options.check()?;
    // Thousands of clients are as many descriptors. Refused, the connections that are too many say so.
    let _ = towline_io::host::raise_nofile();
    match options.scenario {
        Scenario::Idle { clients } => idle::run(options, clients, progress),
        Scenario::Handshakes { at_once } => handshakes::run(options, at_once, progress),
        _ => traffic::run(options, progress),
    }
}
