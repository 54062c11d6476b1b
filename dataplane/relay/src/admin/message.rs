//! The messages of the admin socket.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use towline_wire::NodePublic;

/// One request line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// [`super::PROTOCOL_VERSION`] of the client.
    pub version: u32,
    /// What it wants.
    pub request: Request,
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// How the relay is.
    Status,
    /// Connected clients, a page at a time.
    Clients(ClientsQuery),
    /// Close every connection of a key.
    Kick {
        /// Whose.
        key: NodePublic,
    },
    /// Change the rate limit of a connected key.
    Limit(LimitChange),
    /// Stop accepting and leave.
    Drain {
        /// Closes are spread over this time; absent: the configured time.
        over_ms: Option<u64>,
    },
}

/// One reply line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It was done.
    Ok(Response),
    /// It was not.
    Refused(Refusal),
}

/// The answer to a request that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Clients`].
    Clients(ClientsPage),
    /// To [`Request::Kick`].
    Kicked {
        /// Connections that are being closed.
        connections: u32,
    },
    /// To [`Request::Limit`].
    Limited {
        /// Connections whose limit changed.
        connections: u32,
    },
    /// To [`Request::Drain`]: the drain has begun.
    Draining {
        /// Connections still open.
        connections: u64,
        /// Time over which they close.
        over_ms: u64,
    },
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub kind: RefusalKind,
    /// For people.
    pub message: String,
}

/// Why a request was not done, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// Not a request of this protocol version.
    BadRequest,
    /// Only the relay's user and root may ask.
    NotAllowed,
    /// No such key is connected.
    NotFound,
    /// The relay could not do it now.
    Failed,
}

/// How the relay is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub process_id: u32,
    /// Time since start.
    pub uptime_ms: u64,
    /// Public key of this relay.
    pub server_key: NodePublic,
    /// Name or address in its certificate.
    pub hostname: String,
    /// Leaving: no new connections are accepted.
    pub draining: bool,
    /// How it talks to the kernel.
    pub driver: DriverStatus,
    /// Who may connect.
    pub admission: AdmissionStatus,
    /// Sockets that it listens on.
    pub listeners: Vec<ListenerStatus>,
    /// Connections by kind.
    pub connections: ConnectionCounts,
    /// Threads that own connections.
    pub shards: Vec<ShardStatus>,
    /// The certificate in use; absent without TLS.
    pub certificate: Option<CertificateStatus>,
    /// Relays that it dials.
    pub mesh: Vec<MeshStatus>,
    /// Resident memory of the process.
    pub resident_bytes: u64,
    /// What a person should know, such as admission open to everyone.
    pub warnings: Vec<String>,
}

/// How the relay talks to the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverStatus {
    /// `io_uring` or `epoll`.
    pub name: String,
    /// Why it is not io_uring, when it was not asked to be epoll.
    pub fallback_cause: Option<String>,
    /// Optional features.
    pub features: Vec<FeatureStatus>,
}

/// One optional feature of the driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureStatus {
    /// Its name, as `--io-features` takes it.
    pub name: String,
    /// The kernel has it and it was not switched off.
    pub on: bool,
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionStatus {
    /// How it is decided.
    pub mode: AdmissionMode,
    /// Keys in the allow file.
    pub allowed_keys: Option<u64>,
    /// Answers of the controller in the cache.
    pub cached_answers: Option<u64>,
    /// Whether the last question to the controller was answered.
    pub controller_reachable: Option<bool>,
}

/// How it is decided who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdmissionMode {
    /// Everyone may.
    Open,
    /// Keys in a file.
    AllowList,
    /// An admission controller is asked.
    Callback,
}

/// A socket that the relay listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// What for.
    pub kind: ListenerKind,
    /// Where, with the port that the kernel chose.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerKind {
    /// The main listener.
    Derp,
    /// Plain HTTP beside TLS.
    Http,
    /// STUN over UDP.
    Stun,
}

/// Connections by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCounts {
    /// Clients past their handshake, mesh peers not counted.
    pub clients: u64,
    /// Distinct keys among them.
    pub keys: u64,
    /// Mesh peers that dialled us.
    pub mesh: u64,
    /// In their handshake.
    pub half_open: u64,
    /// Accepted since start.
    pub accepted_total: u64,
    /// Closed by the accept limit since start.
    pub rejected_total: u64,
}

/// A thread that owns connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Its number.
    pub shard: u16,
    /// Connections that it owns.
    pub connections: u64,
    /// Bytes waiting for slow receivers.
    pub queued_bytes: u64,
    /// Packets received since start.
    pub packets_received: u64,
    /// Packets sent since start.
    pub packets_sent: u64,
    /// Packets dropped since start.
    pub packets_dropped: u64,
    /// CPU time of the thread since start.
    pub cpu_ms: u64,
}

/// The certificate in use, or awaited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// `acme`, `manual` or `self-signed`.
    pub mode: String,
    /// Whether there is one.
    pub state: CertificateState,
    /// Names and addresses that it is for, or will be.
    pub names: Vec<String>,
    /// When it ends, in seconds since 1970; absent while there is none.
    pub not_after_unix_s: Option<i64>,
    /// SHA-256 of the certificate, as `CertName` of a DERP map takes it (`sha256-raw:…`); absent while there is none.
    pub sha256_raw: Option<String>,
    /// Why the last attempt to renew or reload it failed.
    pub last_error: Option<String>,
}

/// Whether there is a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// The authority has not given the first one yet; TLS handshakes are refused.
    WaitingForFirstCertificate,
    /// It is in use.
    InUse,
    /// It is in use although its time is over; clients refuse it.
    Expired,
}

/// A relay that we dial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshStatus {
    /// As in `-mesh-with`.
    pub host: String,
    /// Connected now. A list that names ourselves shows `is_self` instead.
    pub connected: bool,
    /// It is this relay itself, so it is not dialled again.
    pub is_self: bool,
    /// Its public key, once known.
    pub server_key: Option<NodePublic>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Which clients to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientsQuery {
    /// Only those of this key.
    pub key: Option<NodePublic>,
    /// Continue after this one.
    pub after: Option<ClientCursor>,
    /// At most this many; 0: as many as a page holds.
    pub limit: u32,
}

/// Place in the list of clients, which is ordered by key, then by connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClientCursor {
    /// Key of the last entry seen.
    pub key: NodePublic,
    /// Connection of the last entry seen.
    pub connection: u64,
}

/// Part of the list of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientsPage {
    /// Ordered by key, then by connection.
    pub clients: Vec<ClientEntry>,
    /// Where to continue; absent on the last page.
    pub next: Option<ClientCursor>,
    /// Connections in all, not only on this page.
    pub total: u64,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientEntry {
    /// Whose.
    pub key: NodePublic,
    /// Tells connections of the same key apart.
    pub connection: u64,
    /// Where it comes from.
    pub address: SocketAddr,
    /// Its owner.
    pub shard: u16,
    /// Time since it connected.
    pub connected_ms: u64,
    /// A relay of the region.
    pub mesh: bool,
    /// A prober.
    pub prober: bool,
    /// This relay is the client's home.
    pub home: bool,
    /// Packets for the key go to this one of several connections.
    pub active: bool,
    /// Name that the client gave itself.
    pub app_name: Option<String>,
    /// Bytes received from it.
    pub bytes_received: u64,
    /// Bytes sent to it.
    pub bytes_sent: u64,
    /// Bytes waiting for it.
    pub queued_bytes: u64,
    /// Packets for it that were dropped.
    pub packets_dropped: u64,
    /// Its rate limit in bytes per second; absent when there is none.
    pub limit_bytes_per_second: Option<u64>,
}

/// A change of the rate limit of a connected key. It lasts until the key disconnects or limits
/// are reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitChange {
    /// Whose.
    pub key: NodePublic,
    /// Bytes per second; 0 lifts the limit.
    pub bytes_per_second: u64,
    /// Burst in bytes; raised to one whole packet with its key when smaller.
    pub burst_bytes: u64,
}
