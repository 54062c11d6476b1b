//! What a shard counts, in derper's sense of each counter: plain numbers, summed over the shards by
//! whoever shows them.

use core::ops::AddAssign;

/// Why a packet was dropped; the names are derper's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// Nobody has the destination's key.
    UnknownDest,
    /// The same, for a packet that another relay forwarded to us.
    UnknownDestOnFwd,
    /// The destination disconnected before the packet was written.
    GoneDisconnected,
    /// Dropped at the head of a queue, for a newer packet or for its age.
    QueueHead,
    /// Dropped on arrival: no storage, or the mailbox of the owner's shard is full.
    QueueTail,
    /// The connection broke while the packet was being written.
    WriteError,
    /// The key is connected, but no connection is active. It does not occur, here or in derper.
    DupClient,
}

impl DropReason {
    /// Every reason, in the order of `Stats::drops`.
    pub const ALL: [Self; 7] = [
        Self::UnknownDest,
        Self::UnknownDestOnFwd,
        Self::GoneDisconnected,
        Self::QueueHead,
        Self::QueueTail,
        Self::WriteError,
        Self::DupClient,
    ];

    /// derper's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownDest => "unknown_dest",
            Self::UnknownDestOnFwd => "unknown_dest_on_fwd",
            Self::GoneDisconnected => "gone_disconnected",
            Self::QueueHead => "queue_head",
            Self::QueueTail => "queue_tail",
            Self::WriteError => "write_error",
            Self::DupClient => "dup_client",
        }
    }
}

/// Disco packets keep paths alive and overtake the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketKind {
    /// Starts with the disco magic.
    Disco,
    /// Anything else.
    Other,
}

impl PacketKind {
    /// Both kinds, in the order of `Stats::drops` and `Stats::received`.
    pub const ALL: [Self; 2] = [Self::Disco, Self::Other];

    /// derper's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disco => "disco",
            Self::Other => "other",
        }
    }
}

/// Packets, and the bytes in them (without frame headers and keys).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// How many.
    pub packets: u64,
    /// How long together.
    pub bytes: u64,
}

impl Volume {
    #[inline]
    pub(super) const fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

impl AddAssign for Volume {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// One line for each number, used for the struct and for the sum.
macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters (they only grow) and gauges of one shard, or of several, added.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Stats {
            /// Packets that clients sent, by kind (those from mesh peers are `packets_forwarded_in`).
            pub received: [Volume; 2],
            /// Packets written to clients.
            pub sent: Volume,
            /// Packets dropped, by reason, then kind.
            pub drops: [[Volume; 2]; 7],
            $($(#[$doc])* pub $name: u64,)*
        }

        impl AddAssign<&Self> for Stats {
            fn add_assign(&mut self, other: &Self) {
                for (mine, theirs) in self.received.iter_mut().zip(&other.received) {
                    *mine += *theirs;
                }
                self.sent += other.sent;
                for (mine, theirs) in self.drops.iter_mut().zip(&other.drops) {
                    for (mine, theirs) in mine.iter_mut().zip(theirs) {
                        *mine += *theirs;
                    }
                }
                $(self.$name += other.$name;)*
            }
        }
    };
}

stats! {
    /// Connections taken over, uplinks not counted.
    accepts,
    /// Gauge: connections, uplinks not counted.
    connections,
    /// Gauge: keys with at least one connection here.
    clients_local,
    /// Gauge: keys that are connected only to other relays of the mesh.
    clients_remote,
    /// Gauge: connections whose client calls this relay its home.
    home_connections,
    /// Gauge: connections whose client would rather use another node of the region.
    notideal_connections,
    /// Gauge: keys with more than one connection.
    dup_client_keys,
    /// Gauge: the connections of these keys.
    dup_client_conns,
    /// Connections that arrived while their key was connected already.
    dup_client_conns_total,
    /// Gauge: mesh peers that watch who is connected.
    watchers,
    /// Gauge: uplinks to other relays.
    uplinks,
    /// Packets that mesh peers forwarded to us.
    packets_forwarded_in,
    /// Packets that we forwarded to mesh peers.
    packets_forwarded_out,
    /// `Ping` frames received.
    got_ping,
    /// `Pong` frames written.
    sent_pong,
    /// `PeerGone` frames written for keys that disconnected.
    peer_gone_disconnected_frames,
    /// `PeerGone` frames written for keys that are not here.
    peer_gone_not_here_frames,
    /// Frames of a type that we do not know, or that clients do not send; skipped.
    unknown_frames,
    /// Clients that made this relay their home more than 5 s after they connected.
    home_moves_in,
    /// Clients that gave this relay up as their home more than 5 s after they connected.
    home_moves_out,
    /// Keys that came to be connected to two other relays at once.
    multiforwarder_created,
    /// Keys of these that went back to one.
    multiforwarder_deleted,
    /// Departures reported by a relay that had not reported the arrival.
    packet_forwarder_delete_other_value,
    /// Times that reading from a client was paused to keep its rate limit.
    rate_limit_waited,
    /// Frames written, of every kind; a packet counts when its last byte is.
    frames_written,
    /// `Health` frames written.
    health_frames,
    /// `Restarting` frames written.
    restarting_frames,
    /// `KeepAlive` frames written.
    keep_alive_frames,
    /// Pairs of receiver and sender that could not be remembered: their `PeerGone` will be missing.
    heard_full,
    /// Notices lost because a connection or another shard did not take them.
    notices_lost,
    /// Packets in queues, since the start: with `queued_ns` their average time in the queue.
    dequeued,
    /// Nanoseconds that these packets spent in queues, together.
    queued_ns,
    /// Gauge: bytes of packets in queues, as they are charged.
    queued_bytes,
}

impl Stats {
    /// Packets dropped for this reason, of this kind.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason, kind: PacketKind) -> Volume {
        self.drops[reason as usize][kind as usize]
    }

    #[inline]
    pub(super) const fn count_drop(&mut self, reason: DropReason, kind: PacketKind, bytes: usize) {
        self.drops[reason as usize][kind as usize].count(bytes);
    }
}
