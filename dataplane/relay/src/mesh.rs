//! Dialling the other relays of the region and keeping the connections.
//!
//! Each connection is opened here, with the mesh key, and then adopted by the shard that runs its uplink. When it closes it
//! is dialled again. A list of members may name this relay itself: that loop ends when it finds its own key.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, anyhow, bail};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use towline_derp::handshake::client::{ClientHandshake, Opening, Options, Ready, Step};
use towline_derp::relay::UplinkId;
use towline_io::socket::ConnectionOptions;
use towline_tls::cert::ServerTrust;
use towline_tls::pki_types::ServerName;
use towline_tls::{ClientConfig, ClientOptions, RootCertStore};
use towline_wire::limits::{DIAL_TIMEOUT, MESH_RETRY_INTERVAL, UPLINKS_MAX};
use towline_wire::{MeshKey, NodePrivate, NodePublic};
use tracing::{debug, info, warn};

use crate::admin::MeshStatus;
use crate::config::MeshPeer;
use crate::shard::{Adopted, Command, Role, Shards, random};
use crate::stage::{Channel, HalfOpen};

/// What every dial needs.
pub(crate) struct Dialler {
    pub(crate) shards: Arc<Shards>,
    pub(crate) server_key: NodePrivate,
    pub(crate) server_public: NodePublic,
    /// Not in development mode, which meshes without TLS.
    pub(crate) uses_tls: bool,
    pub(crate) connection: ConnectionOptions,
}

/// The relays that we keep connections to.
pub(crate) struct Mesh {
    dialler: Arc<Dialler>,
    /// The key that is sent; `None` without a mesh.
    key: watch::Sender<Option<MeshKey>>,
    members: Mutex<Vec<Member>>,
}

/// A relay that is dialled until this is dropped, which closes its connection too.
struct Member {
    peer: MeshPeer,
    uplink: UplinkId,
    status: Arc<Mutex<MeshStatus>>,
    task: JoinHandle<()>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mesh {
    pub(crate) fn new(dialler: Dialler) -> Self {
        Self {
            dialler: Arc::new(dialler),
            key: watch::channel(None).0,
            members: Mutex::new(Vec::new()),
        }
    }

    /// Dials these relays from now on, with the first of these keys, and no others. Connections to relays that stay are kept;
    /// a new key is used from their next dial on.
    ///
    /// # Errors
    /// Members without a key, more of them than a relay can have, or no certificate authority to trust. Nothing changes then.
    pub(crate) fn set_members(&self, peers: &[MeshPeer], keys: &[MeshKey]) -> anyhow::Result<()> {
        if peers.len() > UPLINKS_MAX {
            bail!(
                "{} relays to mesh with; at most {UPLINKS_MAX} are possible",
                peers.len()
            );
        }
        if !peers.is_empty() && keys.is_empty() {
            bail!("there are relays to mesh with but no mesh key; give --mesh-psk-file");
        }
        let tls = if self.dialler.uses_tls && !peers.is_empty() {
            Some(client_tls()?)
        } else {
            None
        };
        self.key.send_replace(keys.first().cloned());
        let mut members = self.lock();
        members.retain(|member| peers.contains(&member.peer));
        for peer in peers {
            if members.iter().any(|member| member.peer == *peer) {
                continue;
            }
            let is_free = |id: &u8| members.iter().all(|member| member.uplink.0 != *id);
            let Some(id) = (0..UPLINKS_MAX as u8).find(is_free) else {
                break;
            };
            members.push(self.dial(peer.clone(), UplinkId(id), tls.clone()));
        }
        Ok(())
    }

    fn dial(&self, peer: MeshPeer, uplink: UplinkId, tls: Option<ClientConfig>) -> Member {
        let status = Arc::new(Mutex::new(MeshStatus {
            host: peer.host.clone(),
            connected: false,
            is_self: false,
            server_key: None,
            last_error: None,
        }));
        let kept = Uplink {
            dialler: Arc::clone(&self.dialler),
            tls,
            peer: peer.clone(),
            key: self.key.subscribe(),
            uplink,
            status: Arc::clone(&status),
        };
        Member {
            peer,
            uplink,
            status,
            task: tokio::spawn(kept.keep()),
        }
    }

    /// The key of this relay.
    pub(crate) fn server_key(&self) -> NodePrivate {
        self.dialler.server_key.clone()
    }

    /// How they are.
    pub(crate) fn status(&self) -> Vec<MeshStatus> {
        let members = self.lock();
        members
            .iter()
            .map(|member| lock(&member.status).clone())
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Member>> {
        lock(&self.members)
    }
}

/// One relay that is dialled again and again.
struct Uplink {
    dialler: Arc<Dialler>,
    tls: Option<ClientConfig>,
    peer: MeshPeer,
    key: watch::Receiver<Option<MeshKey>>,
    uplink: UplinkId,
    status: Arc<Mutex<MeshStatus>>,
}

impl Uplink {
    async fn keep(self) {
        loop {
            match self.dial_and_hold().await {
                Ok(true) => {
                    info!(host = %self.peer.host, "the list of mesh members names this relay; not dialled again");
                    lock(&self.status).is_self = true;
                    return;
                }
                Ok(false) => debug!(host = %self.peer.host, "mesh connection closed"),
                Err(error) => {
                    let text = format!("{error:#}");
                    let mut status = lock(&self.status);
                    // Said once, not at each attempt.
                    if status.last_error.as_deref() != Some(&text) {
                        warn!(host = %self.peer.host, error = %text, "mesh connection failed; trying on");
                    }
                    status.last_error = Some(text);
                }
            }
            lock(&self.status).connected = false;
            tokio::time::sleep(MESH_RETRY_INTERVAL).await;
        }
    }

    /// True when the other end is this relay itself; otherwise returns when the connection is closed. When this is dropped
    /// meanwhile, the guard closes the connection.
    async fn dial_and_hold(&self) -> anyhow::Result<bool> {
        let dialled = tokio::time::timeout(DIAL_TIMEOUT, self.dial()).await;
        let (ready, adopted, closed, _guard) =
            dialled.map_err(|_| anyhow!("no connection within {DIAL_TIMEOUT:?}"))??;
        if ready == self.dialler.server_public {
            return Ok(true);
        }
        {
            let mut status = lock(&self.status);
            status.connected = true;
            status.server_key = Some(ready);
            status.last_error = None;
        }
        info!(host = %self.peer.host, "mesh connection established");
        self.dialler
            .shards
            .uplink_owner(self.uplink)
            .ask(Command::Adopt(Box::new(adopted)));
        // It is dropped, not sent, when the connection is.
        let _ = closed.await;
        Ok(false)
    }

    async fn dial(&self) -> anyhow::Result<(NodePublic, Adopted, oneshot::Receiver<()>, HalfOpen)> {
        let tls = self.tls.as_ref();
        let (host, port) = split_port(&self.peer.host, if tls.is_some() { 443 } else { 3340 })?;
        let dial_host = self.peer.dial_host.as_deref().unwrap_or(host);
        let stream = tokio::net::TcpStream::connect((dial_host, port))
            .await
            .with_context(|| format!("connecting to {dial_host} port {port}"))?
            .into_std()?;
        self.dialler.connection.set(&stream)?;
        let socket = stream.try_clone()?.into();
        let guard = HalfOpen::new(stream.try_clone()?);
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let (mut channel, meta_key) = match tls {
            None => (Channel::plain(&stream, Vec::new()), None),
            Some(config) => {
                let name = ServerName::try_from(host.to_owned()).context("the relay's name")?;
                let (channel, facts) = Channel::connect(&stream, config, name).await?;
                (channel, facts.meta_key)
            }
        };
        let mut options = Options::new(self.peer.host.as_str(), self.dialler.server_key.clone());
        options.mesh_key = self.key.borrow().clone();
        options.app_name = "towline".to_owned();
        if let Some(key) = meta_key {
            options.opening = Opening::FastStart(NodePublic(key));
        }
        let ready = shake_hands(&mut channel, options).await?;
        let rest = channel.into_rest();
        let (closed_out, closed) = oneshot::channel();
        let adopted = Adopted {
            socket,
            tls: rest.tls,
            websocket: None,
            plaintext: ready.leftover,
            raw: rest.raw,
            unsent: rest.unsent,
            active_tls: None,
            role: Role::Uplink {
                uplink: self.uplink,
                closed: closed_out,
            },
        };
        Ok((ready.server_key, adopted, closed, guard))
    }
}

async fn shake_hands(
    channel: &mut Channel<'_, tokio::net::TcpStream>,
    options: Options,
) -> anyhow::Result<Box<Ready>> {
    let mut machine = ClientHandshake::new(options, random()?)?;
    loop {
        if let Some(output) = machine.poll_output() {
            channel.write(&output).await?;
        }
        match machine.step() {
            Step::Ready(ready) => return Ok(ready),
            Step::NeedInput => machine.handle_bytes(&channel.read().await?)?,
            Step::Over => bail!("the DERP handshake ended"),
        }
    }
}

/// `host`, `host:port` or `[ip]:port`.
fn split_port(host: &str, default: u16) -> anyhow::Result<(&str, u16)> {
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((host, default));
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (
            name,
            port.parse()
                .with_context(|| format!("the port of {host:?}"))?,
        ),
        None => (host, default),
    };
    Ok((name.trim_start_matches('[').trim_end_matches(']'), port))
}

/// TLS for dialling: the host's roots, which `SSL_CERT_FILE` may replace.
fn client_tls() -> anyhow::Result<ClientConfig> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        bail!(
            "this host trusts no certificate authority; install ca-certificates or set SSL_CERT_FILE"
        );
    }
    Ok(ClientConfig::new(
        ServerTrust::Roots(roots),
        &ClientOptions::default(),
    )?)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_split_from_names() {
        let split = |host| split_port(host, 443).unwrap();
        assert_eq!(split("derp1.example"), ("derp1.example", 443));
        assert_eq!(split("derp1.example:8443"), ("derp1.example", 8443));
        assert_eq!(split("[::1]:8443"), ("::1", 8443));
        assert_eq!(split("::1"), ("::1", 443));
        assert!(split_port("a:b", 443).is_err());
    }
}
