//! The text of the cross-platform userspace API (<https://www.wireguard.com/xplatform/>), by which `wg` configures an
//! interface: requests come in ([`Request`]), answers go out ([`Answer`]).
//!
//! A `set` is read whole or refused; what it changes is the caller's. No socket, and no key but as bytes. Where the page
//! leaves room, it is as wireguard-go has it.

mod answer;
mod error;
mod limits;
mod reader;
mod request;
mod values;

pub use answer::{Answer, PeerSnapshot, Snapshot};
pub use error::{Errno, UapiError};
pub use limits::{LINE_BYTES_MAX, REQUEST_LINES_MAX};
pub use reader::Reader;
pub use request::{AllowedIp, Request, SetDevice, SetPeer};

/// Bytes of every key.
pub const KEY_BYTES: usize = 32;

#[cfg(test)]
mod tests;
