//! One connection's state. Most connections are idle, and there are many: it is kept small, and
//! whatever can wait in a flag does.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use towline_wire::frame::{HEADER_LEN, PresentFlags};
use towline_wire::{NodePublic, Time};

use super::blocks::Chain;
use super::heard::HeardFrom;
use super::notes::NoteList;
use super::queue::Outgoing;
use super::rate::{NotHereRate, ReceiveRate};
use super::{ConnId, UplinkId, Volume};

/// What a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The place of no connection.
    Vacant,
    /// A client of ours, whose key has this record.
    Client { record: u32 },
    /// A connection of ours to another relay, whose client we are.
    Uplink(UplinkId),
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) role: Role,
    pub(super) generation: u32,
    pub(super) key: NodePublic,
    pub(super) key_hash: u64,
    addr: ([u8; 16], u16),
    pub(super) app_name: Option<Box<str>>,
    pub(super) traits: Traits,
    pub(super) connected_at: Time,

    // What comes in.
    pub(super) reader: Reader,
    pub(super) rate: Option<Box<ReceiveRate>>,
    /// The rate is its own, not the default.
    pub(super) rate_is_own: bool,
    pub(super) paused: Paused,
    pub(super) not_here_rate: NotHereRate,
    pub(super) received: Volume,
    pub(super) last_read: Time,

    // What goes out.
    pub(super) out: Outgoing,
    pub(super) due: Due,
    pub(super) notes: NoteList,
    pub(super) heard: HeardFrom,
    pub(super) sent: Volume,
    pub(super) last_write: Time,
    /// Milliseconds of silence after which a keepalive is written.
    pub(super) keep_alive_ms: u32,
    /// It waits in the list of `poll_writable`.
    pub(super) listed_writable: bool,

    /// It calls this relay its home.
    pub(super) home: bool,
    pub(super) watcher: bool,
    /// Its key has other connections too.
    pub(super) duplicate: bool,
    /// It is to be closed: nothing is read from it or written to it any more.
    pub(super) closing: bool,
}

/// What the handshake found out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traits {
    pub(super) mesh: bool,
    pub(super) prober: bool,
    pub(super) not_ideal: bool,
    pub(super) go_client: bool,
}

/// Why reads are paused; several reasons may hold at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Paused {
    /// Its rate limit, until then.
    pub(super) rate_until: Option<Time>,
    /// Other shards have to take what it said first.
    pub(super) mesh: bool,
}

impl Paused {
    pub(super) const fn any(&self) -> bool {
        self.rate_until.is_some() || self.mesh
    }
}

/// Frames that are due and need no queue: each at most once.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// The whole ServerInfo frame, the first to be written.
    pub(super) server_info: Option<Box<[u8]>>,
    /// To another relay: tell us who is connected to you.
    pub(super) watch: bool,
    pub(super) keep_alive: bool,
    pub(super) pong: Option<[u8; 8]>,
    pub(super) health: Option<Health>,
    pub(super) restarting: bool,
}

/// What a client is told about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// Another connection with the same key takes turns with this one.
    Fighting,
    /// All is well again.
    Well,
}

impl Due {
    #[inline]
    pub(super) const fn any(&self) -> bool {
        self.keep_alive
            || self.pong.is_some()
            || self.server_info.is_some()
            || self.watch
            || self.health.is_some()
            || self.restarting
    }
}

/// The frame that is being read, when it did not end with the bytes at hand.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) header: [u8; HEADER_LEN],
    /// How much of the header was read; all of it while the body is.
    pub(super) header_len: u8,
    /// Bytes of the body that are yet to be kept ...
    pub(super) keep: u32,
    /// ... and to be skipped after them.
    pub(super) skip: u32,
    pub(super) body: Chain,
}

impl Reader {
    pub(super) const fn new() -> Self {
        Self {
            header: [0; HEADER_LEN],
            header_len: 0,
            keep: 0,
            skip: 0,
            body: Chain::EMPTY,
        }
    }

    /// Between two frames.
    #[inline]
    pub(super) const fn is_idle(&self) -> bool {
        self.header_len == 0 && self.skip == 0
    }
}

impl Conn {
    pub(super) fn new(
        role: Role,
        generation: u32,
        key: NodePublic,
        key_hash: u64,
        addr: SocketAddr,
        now: Time,
    ) -> Self {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self {
            role,
            generation,
            key,
            key_hash,
            addr: (ip.octets(), addr.port()),
            app_name: None,
            traits: Traits::default(),
            connected_at: now,
            reader: Reader::new(),
            rate: None,
            rate_is_own: false,
            paused: Paused::default(),
            not_here_rate: NotHereRate::default(),
            received: Volume::default(),
            last_read: now,
            out: Outgoing::new(),
            due: Due::default(),
            notes: NoteList::EMPTY,
            heard: HeardFrom::NOBODY,
            sent: Volume::default(),
            last_write: now,
            keep_alive_ms: 0,
            listed_writable: false,
            home: false,
            watcher: false,
            duplicate: false,
            closing: false,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        let (ip, port) = self.addr;
        SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port)
    }

    pub(super) const fn id(&self, slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: self.generation,
        }
    }

    /// What watchers are told about its kind.
    pub(super) fn present_flags(&self) -> PresentFlags {
        let flag = |set: bool, flag: PresentFlags| if set { flag } else { PresentFlags::NONE };
        let flags = flag(self.traits.prober, PresentFlags::PROBER)
            | flag(self.traits.mesh, PresentFlags::MESH_PEER)
            | flag(self.traits.not_ideal, PresentFlags::NOT_IDEAL);
        if flags == PresentFlags::NONE {
            PresentFlags::REGULAR
        } else {
            flags
        }
    }

    /// Whether `write_frames` would write something.
    #[inline]
    pub(super) const fn has_frames(&self) -> bool {
        !self.out.is_empty()
            || self.due.any()
            || !self.notes.is_empty()
            || self.heard.has_departures()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::table::Table;

    #[test]
    fn an_idle_connection_stays_small() {
        let deadline = size_of::<(Time, u32)>() + size_of::<u32>();
        let free_lists = 2 * size_of::<u32>();
        let all = size_of::<Conn>() + Table::RECORD_BYTES + deadline + free_lists;
        assert!(
            all <= 512,
            "{all} bytes, {} of them Conn",
            size_of::<Conn>()
        );
    }
}
