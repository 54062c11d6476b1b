//! The local admin socket: what `towline relay status` and its siblings say to a running relay.
//!
//! One JSON object a line in each direction, over a Unix socket that only the relay's own user
//! and root may use. The relay implements [`AdminHandler`] and calls [`serve`]; the command line
//! uses [`Client`]. Not a remote interface, and nothing here is on the path of a packet.

mod client;
mod handler;
mod message;
mod server;

pub use client::{Client, ClientError};
pub use handler::AdminHandler;
pub use message::{
    AdmissionMode, AdmissionStatus, Call, CertificateState, CertificateStatus, ClientCursor,
    ClientEntry, ClientsPage, ClientsQuery, ConnectionCounts, DriverStatus, FeatureStatus,
    LimitChange, ListenerKind, ListenerStatus, MeshStatus, Refusal, RefusalKind, Reply, Request,
    Response, ShardStatus, Status,
};
pub use server::{BindError, bind, serve};

use std::time::Duration;

/// Version of the messages; raised when an older peer would misread them.
pub const PROTOCOL_VERSION: u32 = 1;

/// Longest request line. The largest request carries one key and two numbers.
pub const REQUEST_BYTES_MAX: usize = 4 << 10;

/// Longest reply line that a client accepts.
pub const REPLY_BYTES_MAX: usize = 4 << 20;

/// Most clients in one page; the server cuts larger wishes down to it. At about 512 bytes an
/// entry a page stays far below [`REPLY_BYTES_MAX`].
pub const CLIENTS_PER_PAGE_MAX: u32 = 1000;

/// Admin connections served at once; more wait in the listen queue.
pub const CONNECTIONS_MAX: usize = 8;

/// A connection that neither asks nor reads for this long is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

const _: () = assert!((CLIENTS_PER_PAGE_MAX as usize) * 2048 <= REPLY_BYTES_MAX);
