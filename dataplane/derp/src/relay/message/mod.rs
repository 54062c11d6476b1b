//! What shards say to each other, and its encoding for byte rings between threads. The encoding never
//! leaves the process.

mod codec;

use core::net::SocketAddr;

use towline_wire::NodePublic;
use towline_wire::frame::PresentFlags;

pub use codec::{MESSAGE_HEAD_BYTES_MAX, MessageHead, NotAMessage};

use super::{CloseReason, ConnId, Payload, UplinkId};

/// A message from one shard to another.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    /// A packet for a key that the receiver owns. It may be dropped.
    Packet {
        /// Whence and whither.
        route: Route,
        /// The packet.
        payload: Payload<'a>,
    },
    /// A packet for another relay, through an uplink that the receiver runs. It may be dropped.
    Forward {
        /// The uplink.
        uplink: UplinkId,
        /// Who sent it.
        src: NodePublic,
        /// The keyed hash of `src`.
        src_hash: u64,
        /// Whom it is for.
        dst: NodePublic,
        /// The packet.
        payload: Payload<'a>,
    },
    /// Anything without a packet.
    Control(Control),
}

/// Where a packet comes from and goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The connection it came in on, at the shard that sends the message.
    pub from: ConnId,
    /// Another relay forwarded it: it goes no further.
    pub forwarded: bool,
    /// Who sent it.
    pub src: NodePublic,
    /// The keyed hash of `src`.
    pub src_hash: u64,
    /// Whom it is for.
    pub dst: NodePublic,
    /// The keyed hash of `dst`.
    pub dst_hash: u64,
}

/// A message without a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// To the sender's shard: nobody has the key that its disco packet was for. It may be lost.
    NotHere {
        /// Who sent the packet.
        to: ConnId,
        /// Whom it was for.
        key: NodePublic,
    },
    /// To all shards: the key has no connection left in the region.
    Gone {
        /// The key.
        key: NodePublic,
    },
    /// To all shards: a connection of mine wants to know who is connected to you.
    Watch {
        /// The watcher, at the shard that sends the message.
        watcher: ConnId,
        /// Tell it from the beginning.
        restart: bool,
        /// How many `Presence` messages more may be sent for it.
        credit: u32,
    },
    /// To all shards: the watcher is gone.
    Unwatch {
        /// The watcher, at the shard that sends the message.
        watcher: ConnId,
    },
    /// To a watcher's shard: a key of mine came or went.
    Presence {
        /// The watcher, at the shard that receives the message.
        watcher: ConnId,
        /// The change.
        change: Presence,
    },
    /// To a watcher's shard: it lags too much, and is to be closed.
    Close {
        /// The connection, at the shard that receives the message.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// To the owner of the key: a mesh peer wants its connections closed.
    ClosePeer {
        /// The key.
        key: NodePublic,
    },
    /// To the owner of the key: another relay has, or has no longer, a connection of it.
    Forwarder {
        /// The uplink to that relay.
        uplink: UplinkId,
        /// The key.
        key: NodePublic,
        /// Whether it is connected there.
        present: bool,
    },
    /// To all shards: nothing can be forwarded through the uplink any more.
    UplinkDown {
        /// The uplink.
        uplink: UplinkId,
    },
}

/// A client that came or went, as watchers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// The client.
    pub key: NodePublic,
    /// Where it connects from, when it came.
    pub here: Option<(SocketAddr, PresentFlags)>,
}
