//! One connection of a shard, on the side of its socket.

use tokio::sync::OwnedSemaphorePermit;
use towline_derp::relay::ConnId;
use towline_io::SocketId;
use towline_wire::Time;

use super::transport::Transport;
use crate::metrics::ActiveTls;

/// The most that is sealed for a connection at once, while its socket takes everything ...
pub(super) const WINDOW_BYTES_MAX: usize = 64 << 10;
/// ... and while it does not. What is sealed cannot be dropped any more, so it must not grow stale.
pub(crate) const WINDOW_BYTES_MIN: usize = 16 << 10;

pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) socket: SocketId,
    pub(super) transport: Transport,
    pub(super) sending: Sending,
    /// Frames or protocol messages wait.
    pub(super) has_more: bool,
    /// How much is sealed at once; between `WINDOW_BYTES_MIN` and `WINDOW_BYTES_MAX`.
    pub(super) window_bytes: usize,
    /// A mesh peer: it has a longer write timeout.
    pub(super) is_mesh: bool,
    /// Since when its socket has taken nothing, though something waits for it.
    pub(super) stalled_since: Option<Time>,
    /// It is in the list of connections that the write timeout is checked for.
    pub(super) is_listed_as_stalled: bool,
    /// Counts it among the open TLS connections while it lives.
    pub(super) _active_tls: Option<ActiveTls>,
    /// Its place among the clients of the relay.
    pub(super) _client_place: Option<OwnedSemaphorePermit>,
    /// Told to whoever dialled an uplink, by being dropped.
    pub(super) closed: Option<tokio::sync::oneshot::Sender<()>>,
}

/// Where the connection's writing stands.
pub(super) enum Sending {
    /// Nothing is under way.
    Idle,
    /// A send of this many bytes is under way; they are in a send buffer of the driver.
    UnderWay { bytes: usize },
    /// The socket is full. The sealed rest waits here; `Writable` was asked for.
    Blocked { rest: Vec<u8> },
    /// The socket has room again, the rest is to be sent first.
    Rest { rest: Vec<u8> },
}

impl Sending {
    pub(super) fn may_write(&self) -> bool {
        matches!(self, Self::Idle | Self::Rest { .. })
    }
}

impl Conn {
    /// Whether it leads to another relay that we dialled.
    pub(super) fn is_uplink(&self) -> bool {
        self.closed.is_some()
    }

    /// What completions carry to find the connection again.
    pub(super) fn token(id: ConnId) -> u64 {
        u64::from(id.generation) << 32 | u64::from(id.slot)
    }

    pub(super) fn id_of(token: u64) -> ConnId {
        ConnId {
            slot: token as u32,
            generation: (token >> 32) as u32,
        }
    }
}
