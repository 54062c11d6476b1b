//! What a shard wants done to connections, and why it gives one up.

use towline_wire::frame::FrameType;

/// A connection of a shard. The slot is used again after `handle_disconnected`, the generation is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// Index into the shard's connections.
    pub slot: u32,
    /// Tells the connections of one slot apart.
    pub generation: u32,
}

/// Something for the caller to do, from `poll_effect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Close the connection, then call `handle_disconnected`.
    Close {
        /// The connection.
        conn: ConnId,
        /// Why, for the log.
        reason: CloseReason,
    },
    /// Stop reading from the connection: the kernel's buffer fills and its peer waits. What was read
    /// already may still be handed in.
    PauseReads {
        /// The connection.
        conn: ConnId,
    },
    /// Read again.
    ResumeReads {
        /// The connection.
        conn: ConnId,
    },
}

/// Why the relay closes a connection that did nothing wrong in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// `kick`: an operator's or admission's wish.
    Kicked,
    /// A mesh peer sent `ClosePeer` for its key.
    ClosedByMesh,
    /// Its key has more connections than it may have, and this one said nothing for longest.
    TooManyDuplicates,
    /// A watcher read so slowly that departures it was not told about would have to be forgotten.
    WatcherLags,
    /// There are as many watchers as there may be.
    TooManyWatchers,
    /// More changes arrived from a mesh peer than the other shards take.
    MeshBacklog,
    /// A relay of the mesh said nothing for so long that it must be gone.
    UplinkSilent,
    /// The storage for packets was full in the middle of one of its packets, or of a frame that must not be lost.
    OutOfStorage,
    /// It began a frame, sent no more of it, and kept storage for it.
    FrameUnfinished,
}

/// A connection broke the protocol (or is unknown): the caller closes it and calls
/// `handle_disconnected`. No other connection is affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnError {
    /// A frame whose body cannot be so long, or so short.
    #[error("{frame:?} of {len} bytes")]
    Length {
        /// Its type.
        frame: FrameType,
        /// Bytes of the body, by its header.
        len: u32,
    },
    /// A relay of the mesh sent a frame that is longer than any may be.
    #[error("frame of type {kind:#04x} with {len} bytes")]
    TooLong {
        /// Its type.
        kind: u8,
        /// Bytes of the body, by its header.
        len: u32,
    },
    /// A frame that only mesh peers may send.
    #[error("{0:?} without the mesh key")]
    NotMesh(FrameType),
    /// No such connection.
    #[error("unknown connection")]
    UnknownConn,
}

/// A connection that the shard cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The shard has as many connections or keys as it may have.
    #[error("the shard is full")]
    Full,
    /// Another shard owns the key or runs the uplink.
    #[error("the connection belongs to another shard")]
    WrongShard,
    /// The uplink is connected already, or its number is too high.
    #[error("uplink in use or out of range")]
    UplinkTaken,
}
