//! The running relay as its operator meets it: status, clients, kicks, limits, reload, drain.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};
use towline_derp::connected::RateLimit;
use towline_derp::relay::{ClientRow, Stats};
use towline_io::{DriverKind, Features};
use towline_wire::{NodePublic, Time};
use tracing::{info, warn};

use crate::admin::{
    AdminHandler, AdmissionMode, AdmissionStatus, ClientCursor, ClientEntry, ClientsPage,
    ClientsQuery, ConnectionCounts, DriverStatus, FeatureStatus, LimitChange, ListenerStatus,
    Refusal, RefusalKind, ShardStatus, Status,
};
use crate::admission::Admission;
use crate::certs::Certificates;
use crate::config::RelayConfig;
use crate::mesh::Mesh;
use crate::metrics::{Counters, MetricsInput, Modes};
use crate::pages;
use crate::server::{ask_all, derp_config, rate_limit};
use crate::shard::{Command, Shards, Snapshot};
use crate::stage::{Context, Places};
use crate::stun::StunCounters;

/// How often the file of allowed keys is looked at.
const ALLOW_FILE_CHECK: Duration = Duration::from_secs(2);

/// What metrics are made from.
pub(crate) struct Observed {
    pub(crate) shards: Arc<Shards>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) stun: Arc<StunCounters>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) places: Arc<Places>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) rate_limit: Mutex<Option<RateLimit>>,
    /// The time over which connections close, once the relay drains.
    pub(crate) drain: watch::Receiver<Option<Duration>>,
    pub(crate) started: Instant,
}

impl Observed {
    /// For the pages.
    pub(crate) fn source(self: &Arc<Self>) -> pages::Source {
        let observed = Arc::clone(self);
        Arc::new(move || {
            let observed = Arc::clone(&observed);
            Box::pin(async move { observed.input().await })
        })
    }

    /// Connections between accept and their shard.
    fn half_open(&self) -> u64 {
        self.places.taken() as u64
    }

    async fn input(&self) -> MetricsInput {
        let snapshots = ask_all(&self.shards, Command::Snapshot).await;
        MetricsInput {
            shards: snapshots
                .into_iter()
                .map(|snapshot| (usize::from(snapshot.shard), snapshot))
                .collect(),
            counters: Arc::clone(&self.counters),
            stun: self.stun.counts(),
            admission: self.admission.counts().into(),
            half_open: self.half_open(),
            certificate_expiry: self
                .certificates
                .as_ref()
                .and_then(|certificates| certificates.not_after_secs()),
            uptime: self.started.elapsed(),
            version: env!("CARGO_PKG_VERSION"),
            modes: Modes {
                admission_open: self.admission.mode() == AdmissionMode::Open,
                draining: self.drain.borrow().is_some(),
                driver: match self.shards.driver {
                    DriverKind::Uring => "io_uring",
                    DriverKind::Epoll => "epoll",
                },
                driver_fallback: self.shards.fallback_cause.is_some(),
                driver_features: self.shards.features.names().collect(),
            },
            rate_limit: *self
                .rate_limit
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The running relay.
pub(crate) struct Relay {
    config: ArcSwap<RelayConfig>,
    /// Of the start: what runs where only a restart applies a change.
    started: RelayConfig,
    capacity_warning: Option<String>,
    pub(crate) server_public: NodePublic,
    pub(crate) shards: Arc<Shards>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) listeners: Vec<ListenerStatus>,
    context: Arc<Context>,
    mesh: Mesh,
    observed: Arc<Observed>,
    /// Stops the accepting.
    stop: watch::Sender<bool>,
    /// The time over which connections close, once the relay drains.
    drain: watch::Sender<Option<Duration>>,
}

/// The parts that a relay is made of.
pub(crate) struct Parts {
    pub(crate) config: RelayConfig,
    pub(crate) capacity_warning: Option<String>,
    pub(crate) server_public: NodePublic,
    pub(crate) context: Arc<Context>,
    pub(crate) mesh: Mesh,
    pub(crate) listeners: Vec<ListenerStatus>,
    pub(crate) observed: Arc<Observed>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) drain: watch::Sender<Option<Duration>>,
}

impl Relay {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            started: parts.config.clone(),
            config: ArcSwap::from_pointee(parts.config),
            capacity_warning: parts.capacity_warning,
            server_public: parts.server_public,
            shards: Arc::clone(&parts.context.shards),
            certificates: parts.context.certificates.clone(),
            listeners: parts.listeners,
            context: parts.context,
            mesh: parts.mesh,
            observed: parts.observed,
            stop: parts.stop,
            drain: parts.drain,
        }
    }

    pub(crate) fn config(&self) -> Arc<RelayConfig> {
        self.config.load_full()
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.context.admission
    }

    /// Closes the connections of a client; gives how many there were, none when its shard has ended.
    pub(crate) async fn close_client(&self, key: NodePublic) -> u32 {
        self.kick(key).await.unwrap_or(0)
    }

    /// Becomes the time of the drain when an operator begins one.
    pub(crate) fn draining(&self) -> watch::Receiver<Option<Duration>> {
        self.drain.subscribe()
    }

    /// Stops accepting and begins to close connections, once; returns over which time.
    pub(crate) fn begin_drain(&self, over: Option<Duration>) -> Duration {
        if let Some(over) = *self.drain.borrow() {
            return over;
        }
        let over = over.unwrap_or(self.config.load().drain.time);
        let _ = self.stop.send(true);
        for shard in self.shards.handles() {
            shard.ask(Command::Drain { over });
        }
        self.drain.send_replace(Some(over));
        over
    }

    /// Reads the configuration again and applies what can change while the relay runs. What is broken is said and leaves
    /// the old in place.
    pub(crate) async fn reload(&self) {
        let loaded = match self.started.reload() {
            Ok(loaded) => loaded,
            Err(error) => {
                warn!(%error, "configuration not reloaded; the old one stays");
                return;
            }
        };
        let mut warnings = loaded.warnings;
        let new = loaded.config;
        // Before anything else is applied: with broken keys nothing is.
        let admission = self.context.admission.configure(&new.admission);
        if let Err(error) = admission.and_then(|()| self.reload_allowed()) {
            warn!(
                error = format!("{error:#}"),
                "configuration not reloaded; the old one stays"
            );
            return;
        }
        for setting in self.started.needing_restart(&new) {
            warn!(
                setting = setting.long,
                "changed, but only a restart applies it"
            );
        }
        match new.mesh.key.load() {
            Ok(keys) => {
                let key = self.mesh.server_key();
                let derp = derp_config(&new, key, keys.clone());
                self.context.derp.store(Arc::new(derp));
                if let Err(error) = self.mesh.set_members(&new.mesh.with, &keys) {
                    warn!(%error, "mesh members not reloaded");
                }
            }
            Err(error) => warn!(
                error = format!("{error:#}"),
                "mesh keys not reloaded; the old ones stay"
            ),
        }
        self.context
            .accept_limit
            .set(new.limits.accept_per_second, new.limits.accept_burst);
        let limit = rate_limit(&new);
        *self
            .observed
            .rate_limit
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = limit;
        for shard in self.shards.handles() {
            shard.ask(Command::SetLimits(limit));
        }
        if let Some(certificates) = &self.certificates
            && let Err(error) = certificates.reload()
        {
            warn!(%error, "certificate not reloaded; the old one stays");
        }
        self.config.store(Arc::new(new));
        warnings.extend(self.context.admission.warnings());
        for warning in warnings {
            warn!("{warning}");
        }
        info!("reloaded");
    }

    /// Reads the file of allowed keys again when it changes.
    pub(crate) async fn watch_allow_file(self: Arc<Self>) {
        loop {
            tokio::time::sleep(ALLOW_FILE_CHECK).await;
            if self.context.admission.changed()
                && let Err(error) = self.reload_allowed()
            {
                warn!(
                    error = format!("{error:#}"),
                    "allowed keys not reloaded; the old ones stay"
                );
            }
        }
    }

    /// Clients whose key is not in the file any more are closed, where the file alone decides.
    fn reload_allowed(&self) -> anyhow::Result<()> {
        if let Some(allowed) = self.context.admission.reload()? {
            info!(keys = allowed.len(), "allowed keys read again");
            for shard in self.shards.handles() {
                shard.ask(Command::KeepOnly(allowed.clone()));
            }
        }
        Ok(())
    }

    /// What a person should know.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.context.admission.warnings();
        warnings.extend(self.capacity_warning.clone());
        warnings
    }

    async fn snapshots(&self) -> Vec<Snapshot> {
        ask_all(&self.shards, Command::Snapshot).await
    }

    pub(crate) async fn all_clients(&self) -> Vec<(u16, ClientRow)> {
        let per_shard = ask_all(&self.shards, Command::Clients).await;
        let numbered = per_shard.into_iter().enumerate();
        numbered
            .flat_map(|(shard, rows)| rows.into_iter().map(move |row| (shard as u16, row)))
            .collect()
    }
}

impl AdminHandler for Relay {
    async fn status(&self) -> Result<Status, Refusal> {
        let snapshots = self.snapshots().await;
        let mut stats = Stats::default();
        snapshots
            .iter()
            .for_each(|snapshot| stats += &snapshot.stats);
        let counters = &self.observed.counters;
        let mesh = self
            .all_clients()
            .await
            .iter()
            .filter(|(_, row)| row.mesh)
            .count() as u64;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process_id: std::process::id(),
            uptime_ms: self.observed.started.elapsed().as_millis() as u64,
            server_key: self.server_public,
            hostname: self.started.tls.hostname.clone(),
            draining: self.drain.borrow().is_some(),
            driver: driver_status(&self.shards),
            admission: admission_status(&self.context.admission),
            listeners: self.listeners.clone(),
            connections: ConnectionCounts {
                clients: stats.connections - mesh.min(stats.connections),
                keys: stats.clients_local,
                mesh,
                half_open: self.observed.half_open(),
                accepted_total: counters.accepted(),
                rejected_total: counters.rejected(),
            },
            shards: snapshots.iter().map(shard_status).collect(),
            certificate: self
                .certificates
                .as_ref()
                .and_then(|certificates| certificates.status()),
            mesh: self.mesh.status(),
            resident_bytes: towline_io::host::rss_bytes().unwrap_or(0),
            warnings: self.warnings(),
        })
    }

    async fn clients(&self, query: ClientsQuery) -> Result<ClientsPage, Refusal> {
        let now = Time(towline_io::host::now_ns());
        let mut clients: Vec<_> = self
            .all_clients()
            .await
            .into_iter()
            .filter(|(_, row)| query.key.is_none_or(|key| key == row.key))
            .map(|(shard, row)| client_entry(shard, row, now))
            .collect();
        clients.sort_by_key(cursor_of);
        let total = clients.len() as u64;
        let start = query.after.map_or(0, |after| {
            clients.partition_point(|entry| cursor_of(entry) <= after)
        });
        let mut page: Vec<_> = clients.drain(start..).collect();
        let rest = page.len() > query.limit as usize;
        page.truncate(query.limit as usize);
        let next = if rest {
            page.last().map(cursor_of)
        } else {
            None
        };
        Ok(ClientsPage {
            clients: page,
            next,
            total,
        })
    }

    async fn kick(&self, key: NodePublic) -> Result<u32, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.shards.owner(&key).ask(Command::Kick { key, reply });
        answer.await.map_err(|_| stopping())
    }

    async fn limit(&self, change: LimitChange) -> Result<u32, Refusal> {
        let (reply, answer) = oneshot::channel();
        let smallest = towline_wire::limits::RATE_BURST_BYTES_MIN as u64;
        let limit = (change.bytes_per_second > 0).then_some(RateLimit {
            bytes_per_second: change.bytes_per_second,
            burst_bytes: change.burst_bytes.max(smallest),
        });
        let command = Command::SetClientLimit {
            key: change.key,
            limit,
            reply,
        };
        self.shards.owner(&change.key).ask(command);
        answer.await.map_err(|_| stopping())
    }

    async fn drain(&self, over: Option<Duration>) -> Result<(u64, Duration), Refusal> {
        let snapshots = self.snapshots().await;
        let connections = snapshots
            .iter()
            .map(|snapshot| snapshot.stats.connections)
            .sum();
        Ok((connections, self.begin_drain(over)))
    }
}

fn stopping() -> Refusal {
    Refusal {
        kind: RefusalKind::Failed,
        message: "the relay is stopping".to_owned(),
    }
}

fn driver_status(shards: &Shards) -> DriverStatus {
    let all = Features::all();
    DriverStatus {
        name: shards.driver.to_string(),
        fallback_cause: shards.fallback_cause.clone(),
        features: all
            .names()
            .map(|name| FeatureStatus {
                name: name.to_owned(),
                on: Features::by_name(name)
                    .is_some_and(|feature| shards.features.contains(feature)),
            })
            .collect(),
    }
}

fn admission_status(admission: &Admission) -> AdmissionStatus {
    AdmissionStatus {
        mode: admission.mode(),
        allowed_keys: admission.allowed_keys(),
        cached_answers: admission.cached_answers(),
        controller_reachable: admission.controller_reachable(),
    }
}

fn shard_status(snapshot: &Snapshot) -> ShardStatus {
    let stats = &snapshot.stats;
    ShardStatus {
        shard: snapshot.shard,
        connections: stats.connections,
        queued_bytes: stats.queued_bytes + snapshot.unsent_bytes,
        packets_received: stats.received.iter().map(|volume| volume.packets).sum(),
        packets_sent: stats.sent.packets,
        packets_dropped: stats
            .drops
            .iter()
            .flatten()
            .map(|volume| volume.packets)
            .sum(),
        cpu_ms: snapshot.cpu_ns / 1_000_000,
    }
}

fn client_entry(shard: u16, row: ClientRow, now: Time) -> ClientEntry {
    let ip: IpAddr = row.addr.ip();
    ClientEntry {
        key: row.key,
        connection: u64::from(shard) << 48
            | u64::from(row.conn.generation & 0xffff) << 32
            | u64::from(row.conn.slot),
        address: (ip, row.addr.port()).into(),
        shard,
        connected_ms: (now - row.connected_at).as_millis() as u64,
        mesh: row.mesh,
        prober: row.prober,
        home: row.home,
        active: row.active,
        app_name: row.app_name.map(String::from),
        bytes_received: row.received.bytes,
        bytes_sent: row.sent.bytes,
        queued_bytes: u64::from(row.queued_bytes),
        packets_dropped: row.dropped,
        limit_bytes_per_second: row.limit.map(|limit| limit.bytes_per_second),
    }
}

fn cursor_of(entry: &ClientEntry) -> ClientCursor {
    ClientCursor {
        key: entry.key,
        connection: entry.connection,
    }
}
