//! The WireGuard device: workers that join `tunnel` to sockets and a TUN device, and the control socket of `wg`.
#![forbid(unsafe_code)]

pub mod offload;
pub mod uapi;
