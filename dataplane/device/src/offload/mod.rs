//! What makes the packets of a TUN device with `IFF_VNET_HDR` large and small: a super-packet that the kernel hands over
//! is cut into packets that fit the network ([`Cut`]), and opened neighbours of a flow are joined into one write
//! ([`Joiner`]).
//!
//! Bytes in, bytes out: no socket, no clock. What the kernel and peers say is checked before it is used. Caller: a
//! worker of `device`.

pub mod checksum;
mod cut;
mod ip;
mod join;
pub mod limits;
#[cfg(test)]
mod testing;
mod vnet;

pub use cut::{Cut, CutError};
pub use join::{JoinOffload, Joiner};
pub use towline_io::packet::Piece;
pub use vnet::{VNET_HEADER_BYTES, VnetHeader};
