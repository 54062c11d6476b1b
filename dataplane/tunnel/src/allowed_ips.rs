//! Which peer an inner address belongs to: the longest prefix over all peers, for packets out (destination) and in
//! (source). The last answer of each family is remembered, since neighbours in a train ask the same.

use core::cell::Cell;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use towline_wire::limits::TUNNEL_ALLOWED_IPS_MAX;

#[derive(Default)]
pub(crate) struct AllowedIps {
    v4: PrefixMap<Ipv4Net, u32>,
    v6: PrefixMap<Ipv6Net, u32>,
    last_v4: Cell<Option<(Ipv4Addr, Option<u32>)>>,
    last_v6: Cell<Option<(Ipv6Addr, Option<u32>)>>,
}

/// There are as many prefixes as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl AllowedIps {
    /// The peer slot of an address.
    pub(crate) fn lookup(&self, address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => self.lookup_v4(address),
            IpAddr::V6(address) => self.lookup_v6(address),
        }
    }

    fn lookup_v4(&self, address: Ipv4Addr) -> Option<u32> {
        if let Some((last, peer)) = self.last_v4.get()
            && last == address
        {
            return peer;
        }
        let peer = self.v4.get_lpm(&address.into()).map(|(_, &peer)| peer);
        self.last_v4.set(Some((address, peer)));
        peer
    }

    fn lookup_v6(&self, address: Ipv6Addr) -> Option<u32> {
        if let Some((last, peer)) = self.last_v6.get()
            && last == address
        {
            return peer;
        }
        let peer = self.v6.get_lpm(&address.into()).map(|(_, &peer)| peer);
        self.last_v6.set(Some((address, peer)));
        peer
    }

    /// Gives a prefix to a peer, and returns the one that had it. Its host bits must be zero.
    pub(crate) fn insert(&mut self, prefix: IpNet, peer: u32) -> Result<Option<u32>, Full> {
        self.forget_last();
        if self.v4.len() + self.v6.len() >= TUNNEL_ALLOWED_IPS_MAX {
            return Err(Full);
        }
        Ok(match prefix {
            IpNet::V4(prefix) => self.v4.insert(prefix, peer),
            IpNet::V6(prefix) => self.v6.insert(prefix, peer),
        })
    }

    pub(crate) fn owner(&self, prefix: &IpNet) -> Option<u32> {
        match prefix {
            IpNet::V4(prefix) => self.v4.get(prefix).copied(),
            IpNet::V6(prefix) => self.v6.get(prefix).copied(),
        }
    }

    pub(crate) fn remove(&mut self, prefix: &IpNet) {
        self.forget_last();
        match prefix {
            IpNet::V4(prefix) => self.v4.remove(prefix),
            IpNet::V6(prefix) => self.v6.remove(prefix),
        };
    }

    fn forget_last(&self) {
        self.last_v4.set(None);
        self.last_v6.set(None);
    }
}
