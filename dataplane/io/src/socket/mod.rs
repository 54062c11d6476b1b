//! Sockets outside of a driver: making them or taking them over, their options, what the kernel knows of them.

mod connect;
mod listen;
mod options;
mod passed;

pub use connect::connect_from;
pub use listen::{ListenOptions, listen};
pub(crate) use options::set_int;
pub use options::{
    ConnectionOptions, Keepalive, acknowledge, local_addr, peer_addr, round_trip, set_nodelay,
};
pub use passed::{Passed, PassedSocket, take_passed};
