//! Accepting: one loop per listener and thread, bounded by rate and by half-open places, which sources share.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::drive;
use super::places::{Place, Taken, Wanted};
use super::threads::{Context, Said};

/// How long accepting rests when the process or the host is out of descriptors.
const OUT_OF_DESCRIPTORS_REST: Duration = Duration::from_millis(100);
/// How often that is said.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// The reason of a handshake failure: all places were taken, and its source had its share of them.
const NO_PLACE: &str = "no_place";

/// A socket to accept from.
pub(crate) struct Listener<S = TcpListener> {
    pub(crate) socket: S,
    pub(crate) purpose: Purpose,
}

/// What a listener and its connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purpose {
    pub(crate) tls: bool,
    /// The plain HTTP port beside a TLS one.
    pub(crate) plain_http_port: bool,
    /// Connections have their options from the listener. Not those of a socket that was passed: they may be older than its
    /// options.
    pub(crate) has_options: bool,
}

impl Listener {
    /// The same socket for another thread.
    pub(crate) fn share(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            purpose: self.purpose,
        })
    }

    /// To be waited for, within a runtime.
    fn watch(self) -> io::Result<Listener<tokio::net::TcpListener>> {
        Ok(Listener {
            socket: tokio::net::TcpListener::from_std(self.socket)?,
            purpose: self.purpose,
        })
    }
}

/// A connection that was accepted.
pub(super) struct Accepted {
    /// For the shard; the stream that the handshake uses is another descriptor of the same socket.
    pub(super) socket: HalfOpen,
    pub(super) peer: SocketAddr,
    pub(super) purpose: Purpose,
    pub(super) place: Place,
}

/// A socket whose connection is no client yet. It is shut down when it is dropped: an io_uring read under way would keep its
/// stream open otherwise, although nobody waits for it any more.
pub(crate) struct HalfOpen(Option<TcpStream>);

impl HalfOpen {
    /// Takes a descriptor of the socket.
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self(Some(socket))
    }

    /// Lets the peer go on at once, when there is no answer to it yet.
    pub(super) fn acknowledge(&self) {
        if let Some(socket) = &self.0 {
            // It fails when the peer is gone.
            let _ = towline_io::socket::acknowledge(socket);
        }
    }

    /// The socket, of what has become a client.
    pub(super) fn keep(mut self) -> Option<OwnedFd> {
        self.0.take().map(OwnedFd::from)
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            // It fails when the peer was faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// New connections per second, as a token bucket. Looked at once per connection.
pub(crate) struct AcceptLimit(Mutex<Bucket>);

struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    last: Instant,
}

impl AcceptLimit {
    pub(crate) fn new(per_second: f64, burst: u64) -> Self {
        let burst = burst as f64;
        Self(Mutex::new(Bucket {
            per_second,
            burst,
            tokens: burst,
            last: Instant::now(),
        }))
    }

    /// Replaces the limit; what was spent stays spent.
    pub(crate) fn set(&self, per_second: f64, burst: u64) {
        let mut bucket = self.lock();
        bucket.per_second = per_second;
        bucket.burst = burst as f64;
        bucket.tokens = bucket.tokens.min(bucket.burst);
    }

    fn allows(&self) -> bool {
        let mut bucket = self.lock();
        let now = Instant::now();
        let earned = (now - bucket.last).as_secs_f64() * bucket.per_second;
        bucket.last = now;
        bucket.tokens = (bucket.tokens + earned).min(bucket.burst);
        let allowed = bucket.per_second.is_infinite() || bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Starts the handshake of a connection on its kind of stream.
pub(super) type Start = fn(Arc<Context>, TcpStream, Accepted, Wanted);

pub(super) fn over_uring(
    context: Arc<Context>,
    stream: TcpStream,
    accepted: Accepted,
    wanted: Wanted,
) {
    // An io_uring waits by itself; on a socket that does not block it would be told to try again.
    if stream.set_nonblocking(false).is_ok() {
        let stream = tokio_uring::net::TcpStream::from_std(stream);
        tokio_uring::spawn(async move { drive::serve(&context, &stream, accepted, wanted).await });
    }
}

pub(super) fn over_epoll(
    context: Arc<Context>,
    stream: TcpStream,
    accepted: Accepted,
    wanted: Wanted,
) {
    let stream = stream
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpStream::from_std(stream));
    if let Ok(stream) = stream {
        tokio::task::spawn_local(
            async move { drive::serve(&context, &stream, accepted, wanted).await },
        );
    }
}

/// Accepts from all listeners until the relay stops, after it has said so. Handshakes under way end then too: there is no
/// shard for them any more.
///
/// # Errors
/// A listener cannot be watched: nothing was accepted.
pub(super) async fn serve(
    context: Arc<Context>,
    listeners: Vec<Listener>,
    start: Start,
    said: &Said,
) -> io::Result<()> {
    let watched = listeners
        .into_iter()
        .map(Listener::watch)
        .collect::<io::Result<Vec<_>>>()?;
    // It is waited for.
    let _ = said.send(Ok(()));
    let mut stopping = context.stopping.clone();
    let loops = async {
        let mut tasks = Vec::new();
        for listener in watched {
            let context = Arc::clone(&context);
            tasks.push(tokio::task::spawn_local(accept_from(
                context, listener, start,
            )));
        }
        for task in tasks {
            let _ = task.await;
        }
    };
    tokio::select! {
        () = loops => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    Ok(())
}

async fn accept_from(
    context: Arc<Context>,
    listener: Listener<tokio::net::TcpListener>,
    start: Start,
) {
    let mut stopping = context.stopping.clone();
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let begun = match accepted {
            Ok((stream, peer)) => {
                begin(&context, listener.purpose, start, stream, canonical(peer)).await
            }
            Err(error) => Err(error),
        };
        match begun {
            Ok(()) => {}
            Err(error) if is_of_connection(&error) => {
                debug!(%error, "a connection was gone before it was accepted")
            }
            Err(error) => {
                if complained.is_none_or(|when| when.elapsed() > COMPLAIN_EVERY) {
                    complained = Some(Instant::now());
                    warn!(%error, "connections cannot be accepted; raise the limit of open files (LimitNOFILE)");
                }
                tokio::time::sleep(OUT_OF_DESCRIPTORS_REST).await;
            }
        }
    }
}

/// Starts the handshake of a connection, unless a limit forbids it. The first of a source may have to wait here for a place,
/// and those behind it in the listen queue.
async fn begin(
    context: &Arc<Context>,
    purpose: Purpose,
    start: Start,
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
) -> io::Result<()> {
    let stream = stream.into_std()?;
    context.counters.count_accepted();
    if !context.accept_limit.allows() {
        context.counters.count_rejected();
        return Ok(());
    }
    let incoming = Incoming {
        stream,
        peer,
        purpose,
    };
    match context.places.take(peer.ip()).await {
        Taken::Place(place, wanted) => incoming.start(context, start, place, wanted)?,
        Taken::Waiting(waiting) => {
            let context = Arc::clone(context);
            tokio::task::spawn_local(async move {
                match waiting.place().await {
                    // Without descriptors it is closed, as it would be by waiting longer.
                    Some((place, wanted)) => {
                        drop(incoming.start(&context, start, place, wanted));
                    }
                    None => context.counters.count_handshake_failure(NO_PLACE),
                }
            });
        }
        Taken::Refused => context.counters.count_handshake_failure(NO_PLACE),
    }
    Ok(())
}

/// A connection without a place.
struct Incoming {
    stream: TcpStream,
    peer: SocketAddr,
    purpose: Purpose,
}

impl Incoming {
    fn start(
        self,
        context: &Arc<Context>,
        start: Start,
        place: Place,
        wanted: Wanted,
    ) -> io::Result<()> {
        let accepted = Accepted {
            socket: HalfOpen::new(self.stream.try_clone()?),
            peer: self.peer,
            purpose: self.purpose,
            place,
        };
        if !self.purpose.has_options
            && let Err(error) = context.connection.set(&self.stream)
        {
            // It is closed by its peer already, which its handshake will notice.
            debug!(%error, "socket options were not taken");
        }
        start(Arc::clone(context), self.stream, accepted, wanted);
        Ok(())
    }
}

/// An IPv4 peer of a dual-stack socket, as what it is.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Whether an error concerns one connection, which is gone, and not the listener.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | NotConnected | InvalidInput
    )
}
