//! The relay as a whole: starts its parts, and stops them.
//!
//! Order at start: keys, certificates, shards, listeners, handshake stage, then everything around it. Whatever cannot work
//! stops the start with its reason. The control tasks run on the calling thread; packets never come here.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use towline_derp::connected::RateLimit;
use towline_derp::handshake::server;
use towline_derp::http::HomePage as DerpHomePage;
use towline_io::socket::{Passed, take_passed};
use towline_tls::{ServerConfig, ServerOptions};
use towline_wire::{MeshKey, NodePrivate};
use tracing::{error, info, warn};

use crate::admin;
use crate::admission::Admission;
use crate::capacity::Capacity;
use crate::certs::Certificates;
use crate::config::{CertMode, HomePage, RelayConfig, key_file};
use crate::listeners::Listeners;
use crate::mesh::{Dialler, Mesh};
use crate::metrics::Counters;
use crate::pages::Pages;
use crate::recheck;
use crate::relay::{Observed, Parts, Relay};
use crate::shard::{Command, Shards, ShardsOptions};
use crate::stage::{self, AcceptLimit, Context, Listener, Places};
use crate::stun;
use crate::watchdog;

/// With fewer descriptors not even the control runtime starts.
const DESCRIPTORS_MIN: u64 = 16;

/// How long the threads may take to end after the time of a drain.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// Runs a relay until it has drained.
///
/// # Errors
/// It could not start: the reason names the setting to change.
pub fn run(config: RelayConfig) -> anyhow::Result<()> {
    let descriptors =
        towline_io::host::raise_nofile().context("raising the limit of open files")?;
    anyhow::ensure!(
        descriptors >= DESCRIPTORS_MIN,
        "the limit of open files is {descriptors}, too low for anything; raise it (LimitNOFILE)"
    );
    let passed = take_passed().context("taking over the sockets of the service manager")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("control")
        .build()
        .context("starting the control runtime")?;
    runtime.block_on(serve(config, descriptors, passed))
}

/// Reads the files that a start would read and the settings' own check does not: the certificate, its key and the allowed
/// keys. Makes and changes nothing.
///
/// # Errors
/// The relay would not start: the reason is that of [`run`].
pub fn check(config: &RelayConfig) -> anyhow::Result<()> {
    Certificates::check(&config.tls)?;
    Admission::new(&config.admission)?;
    Ok(())
}

async fn serve(config: RelayConfig, descriptors: u64, passed: Vec<Passed>) -> anyhow::Result<()> {
    let relay = start(config, descriptors, passed)?;
    // First: who reads that it started may signal it at once.
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    announce(&relay);
    let mut draining = relay.draining();
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    if let Some(within) = watchdog::wanted() {
        tokio::spawn(watchdog::run(Arc::clone(&relay.shards), within));
    }
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Reloading]);
                relay.reload().await;
                let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = draining.wait_for(|over| over.is_some()) => break,
        }
    }
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
    let over = relay.begin_drain(None);
    info!(
        over_ms = over.as_millis() as u64,
        "draining: nothing more is accepted, connections close over time"
    );
    let deadline = Instant::now() + over + DRAIN_GRACE;
    while !relay.shards.have_ended() && Instant::now() < deadline {
        // A second signal means now.
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    info!("stopped");
    Ok(())
}

/// Starts every part. Needs a tokio runtime.
fn start(config: RelayConfig, descriptors: u64, passed: Vec<Passed>) -> anyhow::Result<Arc<Relay>> {
    let server_key = load_server_key(&config)?;
    let mesh_keys = config.mesh.key.load()?;
    let derp = derp_config(&config, server_key.clone(), mesh_keys.clone());
    let server_public = derp.server_public();
    let certificates = if config.tls.enabled {
        let certificates = Certificates::start(&config.tls, &server_public)?;
        Some(Arc::new(
            certificates.on_ports(&config.listen, &config.stun),
        ))
    } else {
        None
    };
    let capacity = Capacity::new(&config.limits, descriptors);
    let shards = Arc::new(Shards::start(&ShardsOptions {
        config: &config,
        server_key: server_public,
        connections_max: capacity.clients,
        rate_limit: rate_limit(&config),
    })?);
    let listeners = Listeners::open(&config, passed)?;
    let listening = listeners.status()?;
    let counters = Arc::new(Counters::default());
    let stun_counters = Arc::new(stun::StunCounters::default());
    let admission = Arc::new(Admission::new(&config.admission)?);
    let places = Places::new(capacity.half_open);
    let (drain, draining) = watch::channel(None);
    let observed = Arc::new(Observed {
        shards: Arc::clone(&shards),
        counters: Arc::clone(&counters),
        stun: Arc::clone(&stun_counters),
        admission: Arc::clone(&admission),
        places: Arc::clone(&places),
        certificates: certificates.clone(),
        rate_limit: Mutex::new(rate_limit(&config)),
        drain: draining,
        started: Instant::now(),
    });
    let pages = Pages::start(&config.http, &config.debug, observed.source());
    let (stop, stopping) = watch::channel(false);
    let context = Arc::new(Context {
        tls: certificates
            .as_ref()
            .map(|certificates| server_tls(&config, certificates))
            .transpose()?,
        certificates: certificates.clone(),
        derp: ArcSwap::from_pointee(derp),
        admission,
        pages,
        counters,
        shards: Arc::clone(&shards),
        connection: config.tcp.accepted(),
        proxy_protocol_from: config.listen.proxy_protocol_from.clone(),
        client_places: Arc::new(Semaphore::new(capacity.clients as usize)),
        places,
        accept_limit: AcceptLimit::new(config.limits.accept_per_second, config.limits.accept_burst),
        stopping,
    });
    start_stage(&context, &shards, listeners.tcp)?;
    start_stun(listeners.stun, &stun_counters);
    let mesh = Mesh::new(Dialler {
        shards,
        server_key,
        server_public,
        uses_tls: !config.dev,
        connection: config.tcp.dialled(),
    });
    mesh.set_members(&config.mesh.with, &mesh_keys)?;
    if let Some(certificates) = certificates.clone() {
        tokio::spawn(certificates.run());
    }
    let relay = Arc::new(Relay::new(Parts {
        config,
        capacity_warning: capacity.warning,
        server_public,
        context,
        mesh,
        listeners: listening,
        observed,
        stop,
        drain,
    }));
    tokio::spawn(Arc::clone(&relay).watch_allow_file());
    tokio::spawn(recheck::run(Arc::clone(&relay)));
    start_admin(&relay)?;
    Ok(relay)
}

fn load_server_key(config: &RelayConfig) -> anyhow::Result<NodePrivate> {
    Ok(match &config.key_file {
        Some(path) => key_file::load_or_create(path)?,
        None => key_file::fresh()?,
    })
}

/// What the handshakes of DERP share, from the configuration.
pub(crate) fn derp_config(
    config: &RelayConfig,
    key: NodePrivate,
    mesh_keys: Vec<MeshKey>,
) -> server::Config {
    let mut derp = server::Config::new(key);
    derp.mesh_keys = mesh_keys;
    derp.derp_enabled = config.derp;
    derp.home = match &config.http.home {
        HomePage::Default => DerpHomePage::About,
        HomePage::Blank => DerpHomePage::Blank,
        HomePage::Redirect(url) => DerpHomePage::Redirect(url.clone()),
    };
    derp.announced_limit = rate_limit(config).filter(|_| config.limits.announce);
    derp
}

/// The limit of clients that have none of their own.
pub(crate) fn rate_limit(config: &RelayConfig) -> Option<RateLimit> {
    let rate = &config.limits.client_rate;
    (rate.bytes_per_second > 0).then_some(RateLimit {
        bytes_per_second: rate.bytes_per_second,
        burst_bytes: rate.burst_bytes,
    })
}

fn server_tls(config: &RelayConfig, certificates: &Certificates) -> anyhow::Result<ServerConfig> {
    let options = ServerOptions {
        acme_tls_alpn: config.tls.mode == CertMode::Acme,
        ..ServerOptions::default()
    };
    ServerConfig::new(certificates.store(), &options).context("preparing TLS")
}

/// One thread for each two shards, sharing the listeners.
fn start_stage(
    context: &Arc<Context>,
    shards: &Shards,
    listeners: Vec<Listener>,
) -> anyhow::Result<()> {
    let threads = shards.handles().len().div_ceil(2);
    let kind = shards.driver;
    for index in 0..threads {
        let shared = listeners
            .iter()
            .map(Listener::share)
            .collect::<std::io::Result<Vec<_>>>()
            .context("sharing the listeners between threads")?;
        stage::spawn(index, kind, Arc::clone(context), shared)?;
    }
    Ok(())
}

fn start_stun(sockets: Vec<UdpSocket>, counters: &Arc<stun::StunCounters>) {
    for socket in sockets {
        let counters = Arc::clone(counters);
        tokio::spawn(async move {
            if let Err(error) = stun::serve(socket, counters).await {
                error!(%error, "STUN ended");
            }
        });
    }
}

fn start_admin(relay: &Arc<Relay>) -> anyhow::Result<()> {
    let config = relay.config();
    let Some(path) = &config.admin.socket else {
        return Ok(());
    };
    match admin::bind(path) {
        Ok(listener) => {
            tokio::spawn(admin::serve(listener, Arc::clone(relay)));
            Ok(())
        }
        Err(error) if config.admin.required => {
            Err(error).with_context(|| format!("binding the admin socket {}", path.display()))
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "no admin socket; `towline relay status` will not find this relay");
            Ok(())
        }
    }
}

fn announce(relay: &Relay) {
    for warning in relay.warnings() {
        warn!("{warning}");
    }
    for listener in &relay.listeners {
        info!(address = %listener.address, tls = listener.tls, kind = ?listener.kind, "listening");
    }
    info!(
        version = env!("CARGO_PKG_VERSION"),
        key = %relay.server_public,
        driver = %relay.shards.driver,
        shards = relay.shards.handles().len(),
        "relay started"
    );
    if let Some(hint) = relay
        .certificates
        .as_ref()
        .and_then(|certificates| certificates.derp_map_hint())
    {
        info!("clients pin this self-signed certificate; node for their DERP map: {hint}");
    }
}

/// Asks every shard the same and waits for those that answer.
pub(crate) async fn ask_all<T>(
    shards: &Shards,
    command: impl Fn(tokio::sync::oneshot::Sender<T>) -> Command,
) -> Vec<T> {
    let mut replies = Vec::new();
    for shard in shards.handles() {
        let (reply, answer) = tokio::sync::oneshot::channel();
        shard.ask(command(reply));
        replies.push(answer);
    }
    let mut answers = Vec::new();
    for reply in replies {
        answers.extend(reply.await);
    }
    answers
}
