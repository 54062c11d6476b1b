//! What the rest of the relay asks of a shard, and the handle it asks through.
//!
//! Not on the path of a packet. The queue has no bound of its own: connections to adopt are bounded by the handshake
//! stage, which holds a place for each until it is adopted; all else is asked by operators.

use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use towline_derp::connected::{Connected, RateLimit};
use towline_derp::relay::{ClientRow, Stats, UplinkId};
use towline_derp::websocket::Codec;
use towline_io::{DriverStats, Waker};
use towline_tls::Session;
use towline_wire::NodePublic;

use crate::admission::{AllowedKeys, Generation};
use crate::metrics::{ActiveTls, Observations};
use crate::stage::Place;

/// A connection on its way from its handshake to its shard.
pub(crate) struct Adopted {
    pub(crate) socket: OwnedFd,
    pub(crate) tls: Option<Box<Session>>,
    pub(crate) websocket: Option<Box<Codec>>,
    /// Bytes of the stream above TLS that were read past the handshake, still WebSocket frames if it is one.
    pub(crate) plaintext: Vec<u8>,
    /// Bytes below TLS that were read past the handshake: whole or partial records.
    pub(crate) raw: Vec<u8>,
    /// What the handshake wrote and has not sent: it goes before all else.
    pub(crate) unsent: Vec<u8>,
    /// Counts it among the open TLS connections.
    pub(crate) active_tls: Option<ActiveTls>,
    pub(crate) role: Role,
}

/// Whose connection it is.
pub(crate) enum Role {
    /// A client of ours, or a mesh peer that dialled us.
    Client {
        client: Connected,
        /// When it was admitted.
        decided: Generation,
        server_info_frame: Vec<u8>,
        /// Its place among the half-open connections, given up on arrival.
        half_open_place: Place,
        /// Its place among the clients, given up at its end.
        client_place: OwnedSemaphorePermit,
    },
    /// A relay that we dialled. `closed` is dropped when the connection is.
    Uplink {
        uplink: UplinkId,
        closed: oneshot::Sender<()>,
    },
}

/// A wish.
pub(crate) enum Command {
    Adopt(Box<Adopted>),
    Kick {
        key: NodePublic,
        reply: oneshot::Sender<u32>,
    },
    /// Closes clients that admission does not allow any more, and those that are still on their way here.
    KeepOnly(AllowedKeys),
    SetLimits(Option<RateLimit>),
    SetClientLimit {
        key: NodePublic,
        limit: Option<RateLimit>,
        reply: oneshot::Sender<u32>,
    },
    Snapshot(oneshot::Sender<Snapshot>),
    Clients(oneshot::Sender<Vec<ClientRow>>),
    /// Tells clients that bear it, then closes all connections spread over `over`; afterwards the thread ends.
    Drain {
        over: Duration,
    },
}

/// How a shard is.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) shard: u16,
    pub(crate) stats: Stats,
    pub(crate) driver: DriverStats,
    /// CPU time of the thread.
    pub(crate) cpu_ns: u64,
    /// Sealed bytes that the kernel has not taken yet.
    pub(crate) unsent_bytes: u64,
    /// Connections closed because they took nothing for the write timeout.
    pub(crate) write_timeouts: u64,
    /// Time spent waiting for room in the rings to other shards.
    pub(crate) waited: Duration,
    /// Sizes of writes, round trips.
    pub(crate) observed: Observations,
    /// Connections whose round trip the kernel did not tell.
    pub(crate) round_trip_errors: u64,
}

/// A shard, as the rest of the relay sees it.
#[derive(Clone)]
pub(crate) struct ShardHandle {
    commands: Sender<Command>,
    waker: Waker,
}

impl ShardHandle {
    /// `waker` wakes the thread that takes the commands.
    pub(crate) fn new(commands: Sender<Command>, waker: Waker) -> Self {
        Self { commands, waker }
    }

    /// Asks; the wish is lost when the shard has ended, which drops its reply.
    pub(crate) fn ask(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.waker.wake();
        }
    }
}
