//! Starting the shards: one thread each, their drivers opened on them, the rings between them.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use towline_derp::connected::RateLimit;
use towline_derp::relay::{Shard, ShardConfig, ShardId, UplinkId};
use towline_io::{Driver, DriverConfig, DriverError, DriverKind, Features, Waker};
use towline_wire::NodePublic;
use towline_wire::limits::{MESH_WRITE_TIMEOUT, UPLINKS_MAX};
use tracing::{error, warn};

use super::command::{Command, ShardHandle};
use super::mailbox::{Inboxes, Outboxes, mesh_of_rings};
use super::stalled::SocketRules;
use super::turn::Thread;
use crate::config::{DriverChoice, RelayConfig};

/// All shards of a relay.
pub(crate) struct Shards {
    handles: Vec<ShardHandle>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Decides owners; the same for all shards.
    config: ShardConfig,
    pub(crate) driver: DriverKind,
    /// The optional features in effect.
    pub(crate) features: Features,
    /// Why the driver is epoll although nobody asked for it.
    pub(crate) fallback_cause: Option<String>,
}

/// What shards are started with.
pub(crate) struct ShardsOptions<'a> {
    pub(crate) config: &'a RelayConfig,
    pub(crate) server_key: NodePublic,
    pub(crate) connections_max: u32,
    pub(crate) rate_limit: Option<RateLimit>,
}

/// What a thread reports once its driver is open.
type Opened = Result<(Waker, DriverKind, Features), DriverError>;

impl Shards {
    /// Starts the threads.
    ///
    /// # Errors
    /// The driver that was asked for does not work here, with the cause; or the host has no more threads.
    pub(crate) fn start(options: &ShardsOptions<'_>) -> anyhow::Result<Self> {
        let cpus =
            towline_io::host::cpus_allowed().context("reading the CPUs this process may use")?;
        let count = options
            .config
            .shards
            .count
            .map_or(cpus.len() as u16, |count| count.get());
        let (kind, fallback_cause) = choose_driver(options.config)?;
        let hash_key: [u8; 16] = random()?;
        let mut config = ShardConfig::new(ShardId(0), count, hash_key, options.server_key);
        config.rate_limit = options.rate_limit;
        config.connections_max = options.connections_max.min(config.connections_max);
        config.queue_bytes_max =
            u32::try_from(options.config.limits.queue_bytes_max).unwrap_or(u32::MAX);
        let mut started = Vec::new();
        for (index, rings) in mesh_of_rings(count).into_iter().enumerate() {
            let mut config = config.clone();
            config.shard = ShardId(index as u16);
            let plan = Plan {
                core: Shard::new(config, random()?),
                shard: ShardId(index as u16),
                kind,
                features: options.config.io.features,
                gather: options.config.io.gather,
                // Keys may all hash to one shard; the relay's own bound is kept by the handshake stage.
                sockets_max: options.connections_max + UPLINKS_MAX as u32,
                rings,
                rules: SocketRules {
                    write_timeout: Some(options.config.tcp.write_timeout)
                        .filter(|time| !time.is_zero()),
                    mesh_write_timeout: MESH_WRITE_TIMEOUT,
                },
                cpu: options.config.shards.pin.then(|| cpus[index % cpus.len()]),
            };
            started.push(plan.start()?);
        }
        let mut shards = Self {
            handles: Vec::new(),
            threads: Vec::new(),
            config,
            driver: kind,
            features: Features::none(),
            fallback_cause,
        };
        let (mut wakers, mut wakers_out) = (Vec::new(), Vec::new());
        for started in started {
            let opened = started
                .opened
                .recv()
                .map_err(|_| anyhow!("a shard ended at its start"))?;
            let (waker, driver, features) = opened.context("opening the driver of a shard")?;
            shards.driver = driver;
            shards.features = features;
            wakers.push(waker.clone());
            let handle = ShardHandle::new(started.commands, waker);
            shards.handles.push(handle);
            shards.threads.push(started.thread);
            wakers_out.push(started.wakers);
        }
        for out in wakers_out {
            let _ = out.send(wakers.clone());
        }
        Ok(shards)
    }

    /// All of them, in order.
    pub(crate) fn handles(&self) -> &[ShardHandle] {
        &self.handles
    }

    /// The one that owns a key.
    pub(crate) fn owner(&self, key: &NodePublic) -> &ShardHandle {
        &self.handles[usize::from(self.config.owner(key).0)]
    }

    /// The one that runs an uplink.
    pub(crate) fn uplink_owner(&self, uplink: UplinkId) -> &ShardHandle {
        &self.handles[usize::from(self.config.uplink_owner(uplink).0)]
    }

    /// Whether all threads have ended, which they do after a drain.
    pub(crate) fn have_ended(&self) -> bool {
        self.threads.iter().all(thread::JoinHandle::is_finished)
    }
}

struct Plan {
    shard: ShardId,
    core: Shard,
    kind: DriverKind,
    features: Features,
    gather: Duration,
    sockets_max: u32,
    rings: (Outboxes, Inboxes),
    rules: SocketRules,
    cpu: Option<usize>,
}

struct Started {
    commands: Sender<Command>,
    opened: Receiver<Opened>,
    wakers: Sender<Vec<Waker>>,
    thread: thread::JoinHandle<()>,
}

impl Plan {
    fn start(self) -> anyhow::Result<Started> {
        let (commands, commands_in) = mpsc::channel();
        let (opened_out, opened) = mpsc::channel();
        let (wakers, wakers_in) = mpsc::channel::<Vec<Waker>>();
        let thread = thread::Builder::new()
            .name(format!("shard-{}", self.shard.0))
            .spawn(move || self.run(commands_in, &opened_out, &wakers_in))
            .context("starting the thread of a shard")?;
        Ok(Started {
            commands,
            opened,
            wakers,
            thread,
        })
    }

    fn run(
        self,
        commands: Receiver<Command>,
        opened: &Sender<Opened>,
        wakers: &Receiver<Vec<Waker>>,
    ) {
        if let Some(cpu) = self.cpu
            && let Err(error) = towline_io::host::pin_thread(cpu)
        {
            warn!(shard = self.shard.0, cpu, %error, "the shard could not be bound to its CPU");
        }
        let config = DriverConfig {
            sockets_max: self.sockets_max,
            features: self.features,
            gather: self.gather,
            ..DriverConfig::default()
        };
        let driver = match Driver::open(self.kind, &config) {
            Ok(driver) => driver,
            Err(error) => {
                let _ = opened.send(Err(error));
                return;
            }
        };
        let _ = opened.send(Ok((driver.waker(), driver.kind(), driver.features())));
        let mut rings = self.rings;
        let Ok(wakers) = wakers.recv() else { return };
        rings.0.set_wakers(&wakers);
        let thread = Thread::new(self.shard, self.core, driver, rings, commands, self.rules);
        if let Err(error) = thread.run() {
            // Half of the connections would be deaf: better gone, and started anew by the supervisor.
            error!(shard = self.shard.0, %error, "the driver of a shard failed; the relay ends");
            std::process::abort();
        }
    }
}

/// The driver to use, and why it is epoll when nobody asked for that.
fn choose_driver(config: &RelayConfig) -> anyhow::Result<(DriverKind, Option<String>)> {
    let small = DriverConfig {
        features: config.io.features,
        ..DriverConfig::default()
    };
    match config.io.driver {
        DriverChoice::Epoll => Ok((DriverKind::Epoll, None)),
        DriverChoice::Uring => Ok((DriverKind::Uring, None)),
        DriverChoice::Auto => match Driver::open(DriverKind::Uring, &small) {
            Ok(_) => Ok((DriverKind::Uring, None)),
            Err(error) => {
                warn!(cause = %error, "io_uring is not available; going on with epoll");
                Ok((DriverKind::Epoll, Some(error.to_string())))
            }
        },
    }
}

/// Random bytes of the kernel.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow!("no random bytes from the kernel: {error}"))?;
    Ok(bytes)
}
