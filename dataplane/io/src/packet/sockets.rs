//! The two sockets of a driver.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::Family;

pub(crate) struct Socket {
    pub(crate) fd: OwnedFd,
    /// Trains of segments leave in one send.
    pub(crate) gso: bool,
}

#[derive(Default)]
pub(crate) struct Sockets([Option<Socket>; 2]);

impl Sockets {
    pub(crate) fn get(&mut self, family: Family) -> Option<&mut Socket> {
        self.0[family as usize].as_mut()
    }

    /// The one that a datagram to that address leaves by.
    pub(crate) fn to(&mut self, address: &SocketAddr) -> Option<&mut Socket> {
        self.get(Family::of(address))
    }

    /// Gives the one before.
    pub(crate) fn replace(&mut self, family: Family, socket: Option<Socket>) -> Option<Socket> {
        core::mem::replace(&mut self.0[family as usize], socket)
    }
}
