//! One connection's way through the stage.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use towline_derp::handshake::HandshakeError;
use towline_derp::handshake::server::{
    ConnInfo, DenyReason, OpeningKind, Ready, ServerHandshake, Stage, Step, Verdict,
};
use towline_derp::http::{PageRequest, Response};
use towline_wire::limits::{
    ADMISSION_TIMEOUT, DERP_HANDSHAKE_TIMEOUT, HTTP_TIMEOUT, TLS_HANDSHAKE_TIMEOUT,
};
use tracing::debug;

use super::accept::Accepted;
use super::channel::{Channel, ChannelError};
use super::places::Wanted;
use super::proxy;
use super::stream::Stream;
use super::threads::Context;
use crate::admission::Generation;
use crate::metrics::ActiveTls;
use crate::shard::{Adopted, Command, Role};

/// Why a connection did not become a client.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("{0} took too long")]
    Timeout(&'static str),
    #[error("PROXY protocol header: {0}")]
    Proxy(String),
    #[error("its place was needed for a newcomer, and its source held the most")]
    GaveWay,
    #[error("no random bytes")]
    Random,
}

impl StageError {
    /// Label of the counter.
    fn name(&self) -> &'static str {
        match self {
            Self::Channel(ChannelError::Closed) => "closed",
            Self::Channel(ChannelError::Io(_)) => "io",
            Self::Channel(ChannelError::Handshake(_)) => "tls_handshake",
            Self::Channel(ChannelError::Tls(_)) => "tls_record",
            Self::Handshake(error) => error.name(),
            Self::Timeout(_) => "timeout",
            Self::Proxy(_) => "proxy_protocol",
            Self::GaveWay => "gave_way",
            Self::Random => "local",
        }
    }
}

/// Serves a connection until it is adopted or closed.
pub(super) async fn serve<S: Stream>(
    context: &Arc<Context>,
    stream: &S,
    accepted: Accepted,
    wanted: Wanted,
) {
    let peer = accepted.peer;
    let ended = tokio::select! {
        biased;
        ended = handshake(context, stream, accepted) => ended,
        () = wanted.wait() => Err(StageError::GaveWay),
    };
    if let Err(error) = ended {
        context.counters.count_handshake_failure(error.name());
        debug!(%peer, %error, "connection did not become a client");
    }
}

async fn handshake<S: Stream>(
    context: &Context,
    stream: &S,
    mut accepted: Accepted,
) -> Result<(), StageError> {
    let tls_deadline = Instant::now() + TLS_HANDSHAKE_TIMEOUT;
    let mut first = Vec::new();
    if proxy::is_expected(&context.proxy_protocol_from, accepted.peer) {
        let read = timeout_at(tls_deadline, proxy::read(stream)).await;
        let header = read
            .map_err(|_| StageError::Timeout("the PROXY header"))?
            .map_err(StageError::Proxy)?;
        if let Some(client) = header.client {
            accepted.peer = client;
            accepted.place.move_to(client.ip());
        }
        first = header.rest;
    }
    let (mut channel, active_tls) = match (&context.tls, accepted.purpose.tls) {
        (Some(config), true) => {
            let done = timeout_at(tls_deadline, Channel::accept(stream, config, first)).await;
            let (mut channel, facts) =
                done.map_err(|_| StageError::Timeout("the TLS handshake"))??;
            let active = context.counters.count_tls(facts.version);
            if facts.is_acme_challenge {
                return close(&mut channel, tls_deadline).await;
            }
            if channel.only_waits() {
                accepted.socket.acknowledge();
            }
            (channel, Some(active))
        }
        _ => (Channel::plain(stream, first), None),
    };
    let conn = ConnInfo {
        peer: accepted.peer,
        plain_http_port: accepted.purpose.plain_http_port,
        debug_allowed: context.pages.debug_allowed(accepted.peer.ip()),
    };
    let seed = crate::shard::random().map_err(|_| StageError::Random)?;
    let mut machine = ServerHandshake::new(context.derp.load_full(), conn, seed);
    let upgraded = upgrade(context, &mut channel, &mut machine, accepted.peer.ip()).await?;
    let Some((ready, decided)) = upgraded else {
        let deadline = Instant::now() + time_for(machine.stage());
        return close(&mut channel, deadline).await;
    };
    adopt(context, channel, (*ready, decided), accepted, active_tls);
    Ok(())
}

/// From the first byte of HTTP to a client that was admitted, and when that was; `None` when the connection only asked for pages.
async fn upgrade<S: Stream>(
    context: &Context,
    channel: &mut Channel<'_, S>,
    machine: &mut ServerHandshake,
    peer: IpAddr,
) -> Result<Option<(Box<Ready>, Generation)>, StageError> {
    let mut decided = Generation::default();
    let mut stage = machine.stage();
    let mut deadline = Instant::now() + time_for(stage);
    loop {
        if let Some(output) = machine.poll_output() {
            let written = timeout_at(deadline, channel.write(&output)).await;
            written.map_err(|_| StageError::Timeout("the client's reading"))??;
            let page_answered = machine.stage() == Stage::Http;
            if page_answered && context.places.run_short() {
                // Its place is for somebody who comes, not for a next request.
                return Ok(None);
            }
            // A page was answered: the next request has its own time.
            deadline = deadline.max(Instant::now() + time_for(machine.stage()));
        }
        let result = match machine.step() {
            Step::NeedInput => {
                let bytes = timeout_at(deadline, channel.read()).await;
                let bytes = match bytes.map_err(|_| StageError::Timeout(name_of(stage)))? {
                    // Between requests a client may leave.
                    Err(ChannelError::Closed) if stage == Stage::Http => return Ok(None),
                    bytes => bytes?,
                };
                machine.set_date(httpdate::fmt_http_date(std::time::SystemTime::now()));
                machine.handle_bytes(&bytes)
            }
            Step::Page(request) => machine.handle_page(page(context, request, peer).await),
            Step::Admit(request) => {
                let now = towline_wire::Time(towline_io::host::now_ns());
                let verdict = match context.client_places.available_permits() {
                    0 => Verdict::Deny(DenyReason::Full),
                    _ => {
                        let decision = context.admission.decide(now, &request).await;
                        decided = decision.generation;
                        decision.verdict
                    }
                };
                machine.handle_verdict(verdict)
            }
            Step::Ready(ready) => return Ok(Some((ready, decided))),
            Step::CloseAfterOutput => return Ok(None),
        };
        if let Err(error) = result {
            if let Some(output) = machine.poll_output() {
                let _ = timeout_at(deadline, channel.write(&output)).await;
            }
            let _ = timeout_at(deadline, channel.send()).await;
            return Err(error.into());
        }
        if machine.stage() != stage {
            if let (Stage::Http, Some(opening)) = (stage, machine.opening()) {
                count_opening(context, opening);
            }
            stage = machine.stage();
            deadline = Instant::now() + time_for(stage);
        }
    }
}

/// Ends TLS. Who does not read keeps no place by it for longer than by anything else.
async fn close<S: Stream>(
    channel: &mut Channel<'_, S>,
    deadline: Instant,
) -> Result<(), StageError> {
    let closed = timeout_at(deadline, channel.close()).await;
    Ok(closed.map_err(|_| StageError::Timeout("the goodbye"))??)
}

async fn page(context: &Context, request: PageRequest, peer: IpAddr) -> Response {
    let challenge = |token: &str| {
        let certificates = context.certificates.as_ref()?;
        certificates.challenge(token)
    };
    context.pages.answer(request, peer, &challenge).await
}

fn count_opening(context: &Context, opening: OpeningKind) {
    match opening {
        OpeningKind::Raw => {}
        OpeningKind::FastStart => context.counters.count_fast_start(),
        OpeningKind::WebSocket => context.counters.count_websocket(),
    }
}

fn adopt<S: Stream>(
    context: &Context,
    channel: Channel<'_, S>,
    (ready, decided): (Ready, Generation),
    accepted: Accepted,
    active_tls: Option<ActiveTls>,
) {
    // Another may have taken the last place since the verdict.
    let Ok(client_place) = Arc::clone(&context.client_places).try_acquire_owned() else {
        context.counters.count_handshake_failure("denied_full");
        return;
    };
    let Some(socket) = accepted.socket.keep() else {
        return;
    };
    let mut rest = channel.into_rest();
    if let Some(session) = &mut rest.tls {
        // Clients that are only there to be reached send nothing for now. The shard expands the keys that it needs.
        session.rest();
    }
    let owner = context.shards.owner(&ready.client.key);
    owner.ask(Command::Adopt(Box::new(Adopted {
        socket,
        tls: rest.tls,
        websocket: ready.websocket.map(Box::new),
        plaintext: ready.leftover,
        raw: rest.raw,
        unsent: rest.unsent,
        active_tls,
        role: Role::Client {
            client: ready.client,
            decided,
            server_info_frame: ready.server_info_frame,
            half_open_place: accepted.place,
            client_place,
        },
    })));
}

/// How long a stage may last.
fn time_for(stage: Stage) -> Duration {
    match stage {
        Stage::Http => HTTP_TIMEOUT,
        Stage::ClientInfo => DERP_HANDSHAKE_TIMEOUT,
        // Admission keeps its own time; this is only for what must be written meanwhile.
        Stage::Admission | Stage::Over => ADMISSION_TIMEOUT,
    }
}

fn name_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Http => "the HTTP request",
        Stage::ClientInfo => "the client info",
        Stage::Admission | Stage::Over => "the handshake",
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::net::Ipv4Addr;

    use rustls_pki_types::{ServerName, UnixTime};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;
    use towline_tls::cert::{CertPair, CertStore, SelfSigned, ServerTrust, SniPolicy};
    use towline_tls::{ClientConfig, ClientOptions, ServerConfig, ServerOptions};

    use super::*;

    const HOST: &str = "relay.example";

    /// A stream that counts its sends, and whose peer may stop reading, with its buffers full already.
    struct Watched {
        stream: TcpStream,
        sends: Cell<u32>,
        is_full: Cell<bool>,
    }

    impl Stream for Watched {
        async fn read(&self, buffer: Vec<u8>) -> io::Result<Vec<u8>> {
            Stream::read(&self.stream, buffer).await
        }

        async fn write_all(&self, bytes: Vec<u8>) -> io::Result<()> {
            self.sends.set(self.sends.get() + 1);
            if self.is_full.get() {
                std::future::pending().await
            }
            Stream::write_all(&self.stream, bytes).await
        }
    }

    /// The peer's end, and ours.
    async fn streams() -> (TcpStream, Watched) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap());
        let (theirs, ours) = tokio::join!(theirs, listener.accept());
        let ours = Watched {
            stream: ours.unwrap().0,
            sends: Cell::new(0),
            is_full: Cell::new(false),
        };
        (theirs.unwrap(), ours)
    }

    fn configs() -> (ServerConfig, ClientConfig) {
        let made = SelfSigned::generate(HOST, UnixTime::now()).unwrap();
        let pair = CertPair::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes());
        let store = CertStore::new(SniPolicy::Any);
        store.set_pair(pair.unwrap());
        let server = ServerConfig::new(Arc::new(store), &ServerOptions::default());
        let client = ClientConfig::new(ServerTrust::Pinned(made.pin), &ClientOptions::default());
        (server.unwrap(), client.unwrap())
    }

    #[tokio::test]
    async fn a_goodbye_that_nobody_reads_has_its_time_too() {
        let (theirs, ours) = streams().await;
        let (server, client) = configs();
        let name = ServerName::try_from(HOST).unwrap();
        let (accepted, connected) = tokio::join!(
            Channel::accept(&ours, &server, Vec::new()),
            Channel::connect(&theirs, &client, name)
        );
        let (mut channel, _) = accepted.unwrap();
        connected.unwrap();
        ours.is_full.set(true);
        let deadline = Instant::now() + Duration::from_millis(20);
        let closed = timeout(HTTP_TIMEOUT, close(&mut channel, deadline)).await;
        let error = closed.expect("it ends by itself").unwrap_err();
        assert_eq!(error.name(), "timeout");
    }

    #[tokio::test]
    async fn a_ticket_leaves_with_the_first_answer() {
        let (theirs, ours) = streams().await;
        let (server, client) = configs();
        let name = ServerName::try_from(HOST).unwrap();
        let serve = async {
            let (mut channel, _) = Channel::accept(&ours, &server, Vec::new()).await.unwrap();
            assert_eq!(channel.read().await.unwrap(), b"hello");
            // The handshake's flight.
            assert_eq!(ours.sends.get(), 1);
            channel.write(b"bye").await.unwrap();
            channel.close().await.unwrap();
            assert_eq!(ours.sends.get(), 2);
        };
        let ask = async {
            let (mut channel, _) = Channel::connect(&theirs, &client, name).await.unwrap();
            // Its own segment, after the end of the handshake.
            channel.write(b"hello").await.unwrap();
            assert_eq!(channel.read().await.unwrap(), b"bye");
        };
        tokio::join!(serve, ask);
    }

    #[tokio::test]
    async fn what_belongs_together_is_sent_together() {
        let (theirs, ours) = streams().await;
        let (server, client) = configs();
        let name = ServerName::try_from(HOST).unwrap();
        let serve = async {
            let (mut channel, _) = Channel::accept(&ours, &server, Vec::new()).await.unwrap();
            channel.write(b"key").await.unwrap();
            channel.write(b"info").await.unwrap();
            assert_eq!(channel.read().await.unwrap(), b"thanks");
            // The handshake's flight; a ticket, and both pieces.
            assert_eq!(ours.sends.get(), 2);
            channel.write(b"bye").await.unwrap();
            channel.close().await.unwrap();
            assert_eq!(ours.sends.get(), 3);
        };
        let ask = async {
            let (mut channel, _) = Channel::connect(&theirs, &client, name).await.unwrap();
            assert_eq!(channel.read().await.unwrap(), b"key");
            assert_eq!(channel.read().await.unwrap(), b"info");
            channel.write(b"thanks").await.unwrap();
            assert_eq!(channel.read().await.unwrap(), b"bye");
            assert!(matches!(channel.read().await, Err(ChannelError::Closed)));
        };
        tokio::join!(serve, ask);
    }
}
