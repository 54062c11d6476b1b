//! The threads of the stage and what they share.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use towline_derp::handshake::server;
use towline_io::DriverKind;
use towline_io::socket::ConnectionOptions;
use towline_tls::ServerConfig;

use super::accept::{self, AcceptLimit, Listener};
use super::places::Places;
use crate::admission::Admission;
use crate::certs::Certificates;
use crate::config::IpPrefix;
use crate::metrics::Counters;
use crate::pages::Pages;
use crate::shard::Shards;

/// What all handshakes share.
pub(crate) struct Context {
    pub(crate) tls: Option<ServerConfig>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) derp: ArcSwap<server::Config>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) pages: Arc<Pages>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shards: Arc<Shards>,
    pub(crate) connection: ConnectionOptions,
    pub(crate) proxy_protocol_from: Vec<IpPrefix>,
    /// Places of clients, in all shards together.
    pub(crate) client_places: Arc<Semaphore>,
    /// Places of half-open connections.
    pub(crate) places: Arc<Places>,
    pub(crate) accept_limit: AcceptLimit,
    /// True from the moment that nothing more is accepted.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Starts one thread, which accepts from all `listeners`, and waits until it can.
///
/// # Errors
/// The host has no more threads, or the thread could not open its runtime or watch the listeners.
pub(crate) fn spawn(
    index: usize,
    kind: DriverKind,
    context: Arc<Context>,
    listeners: Vec<Listener>,
) -> anyhow::Result<()> {
    let (said, start) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name(format!("handshake-{index}"))
        .spawn(move || {
            let ran = match kind {
                DriverKind::Uring => run_uring(context, listeners, &said),
                DriverKind::Epoll => run_epoll(context, listeners, &said),
            };
            if let Err(error) = ran {
                // Nobody waits any more once the start was said, and nothing fails after it.
                let _ = said.send(Err(error));
            }
        })
        .context("starting the thread of the handshake stage")?;
    start
        .recv()
        .context("the handshake stage ended at its start")?
        .context("starting the handshake stage; are there open files left (LimitNOFILE)?")
}

/// How a thread says that it accepts, or why not.
pub(super) type Said = mpsc::SyncSender<io::Result<()>>;

fn run_uring(context: Arc<Context>, listeners: Vec<Listener>, said: &Said) -> io::Result<()> {
    // Completions wait for the thread to enter the kernel by itself, instead of interrupting it (Linux 5.19).
    let mut polite = tokio_uring::uring_builder();
    polite.setup_coop_taskrun();
    let runtime = tokio_uring::Runtime::new(tokio_uring::builder().uring_builder(&polite))
        .or_else(|_| tokio_uring::Runtime::new(&tokio_uring::builder()))?;
    runtime.block_on(accept::serve(context, listeners, accept::over_uring, said))
}

fn run_epoll(context: Arc<Context>, listeners: Vec<Listener>, said: &Said) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(
        &runtime,
        accept::serve(context, listeners, accept::over_epoll, said),
    )
}
