//! The WireGuard device: workers that join `tunnel` to sockets and a TUN device, and the control socket of `wg`.
//!
//! [`Device`] is the way in. Callers: `cli` (`towline wg`).
#![forbid(unsafe_code)]

mod command;
mod config;
mod control;
mod device;
pub mod offload;
mod system;
pub mod uapi;
mod worker;

pub use command::Ended;
pub use config::{DeviceConfig, IoChoice, MTU_DEFAULT, MTU_MAX};
pub use control::{CONTROL_DIRECTORY, ControlError, ControlGuard, ControlSocket};
pub use device::{Device, StartError};
pub use towline_io::tun::TunOffload;
pub use towline_io::udp::UdpOffload;
pub use towline_tunnel::EngineKind;
