//! Where a peer is, and the randomness that the caller lends.

use core::net::{IpAddr, SocketAddr};

/// The local address that a datagram reached (`IP_PKTINFO`); answers leave from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Source {
    /// Our address.
    pub address: IpAddr,
    /// Index of the interface.
    pub interface: u32,
}

/// Where a peer is reached, and from where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The peer's address.
    pub address: SocketAddr,
    /// The local address to send from; the kernel chooses where there is none.
    pub source: Option<Source>,
}

/// Random bytes of a quality that keys need. They come from the caller.
pub trait Entropy {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

impl<F: FnMut(&mut [u8])> Entropy for F {
    fn fill(&mut self, bytes: &mut [u8]) {
        self(bytes);
    }
}

/// A random array.
pub(crate) fn random<const N: usize>(entropy: &mut dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}
