//! A device from outside: starts and ends its worker, opens its sockets, follows the state of its interface, and takes
//! configuration. None of this is on a packet's path.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::SystemTime;

use towline_io::link::{LinkWatch, link};
use towline_io::packet::{Family, PacketConfig, PacketDriver};
use towline_io::tun::{self, Tun, TunError, TunOffload, TunOptions};
use towline_io::udp::{self, UdpOffload, UdpOptions};
use towline_io::{DriverError, DriverKind, Waker};
use towline_tunnel::{Tunnel, TunnelConfig};

use crate::command::{Command, Ended, WorkerStats};
use crate::config::{DeviceConfig, IoChoice, SOCKET_BUFFER_BYTES};
use crate::offload::{JoinOffload, Joiner};
use crate::uapi::{SetDevice, Snapshot};
use crate::worker::{Worker, now};

/// Why a device did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The TUN device.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// The driver of the worker.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// Something else of the system.
    #[error("cannot {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// A running device. It ends with `stop`, and when its interface is deleted.
pub struct Device {
    name: String,
    config: DeviceConfig,
    tun_offload: TunOffload,
    worker: WorkerHandle,
    sockets: Mutex<Sockets>,
}

struct WorkerHandle {
    commands: Sender<Command>,
    waker: Waker,
}

/// What the device's sockets are, or will be when the interface is up.
#[derive(Default)]
struct Sockets {
    /// Asked for; 0: any.
    port: u16,
    fwmark: u32,
    is_up: bool,
    /// What the kernel gave; none while the interface is down.
    offload: Option<UdpOffload>,
}

impl Device {
    /// Makes the interface and starts its worker. `on_end` is called by the worker's thread when it is over.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left behind.
    pub fn start(
        config: DeviceConfig,
        on_end: impl FnOnce(io::Result<Ended>) + Send + 'static,
    ) -> Result<Arc<Self>, StartError> {
        let tun = tun::open(&TunOptions {
            name: config.name.clone(),
            queues: 1,
            offload: config.tun_offload,
            mtu: Some(config.mtu),
        })?;
        let Tun {
            name,
            offload,
            queues,
            ..
        } = tun;
        let [queue] = <[OwnedFd; 1]>::try_from(queues).map_err(|_| StartError::System {
            what: "open the queue of the TUN device",
            error: io::ErrorKind::Unsupported.into(),
        })?;
        let watch = LinkWatch::open().map_err(|error| StartError::System {
            what: "listen for changes of network interfaces",
            error,
        })?;
        let worker = spawn_worker(&config, offload, queue, on_end)?;
        let device = Arc::new(Self {
            name,
            config,
            tun_offload: offload,
            worker,
            sockets: Mutex::default(),
        });
        follow_link(Arc::downgrade(&device), watch)?;
        device.look_at_link();
        Ok(device)
    }

    /// Name of the interface.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the TUN device hands over in one piece.
    #[must_use]
    pub fn tun_offload(&self) -> TunOffload {
        self.tun_offload
    }

    /// Applies `set=1`: the sockets first, because only these can fail.
    ///
    /// # Errors
    /// No socket could be opened on the port; nothing was changed then.
    pub fn configure(&self, set: SetDevice) -> io::Result<()> {
        let mut sockets = self.sockets();
        let (port, fwmark) = (set.listen_port, set.fwmark);
        if port.is_some() || fwmark.is_some() {
            let (port, fwmark) = (
                port.unwrap_or(sockets.port),
                fwmark.unwrap_or(sockets.fwmark),
            );
            let changed = (port, fwmark) != (sockets.port, sockets.fwmark);
            if sockets.is_up && changed {
                self.open_sockets(&mut sockets, port, fwmark)?;
            }
            (sockets.port, sockets.fwmark) = (port, fwmark);
        }
        self.ask(|done| Command::Configure(Box::new(set), done))
    }

    /// What `get=1` shows.
    ///
    /// # Errors
    /// The device has ended.
    pub fn snapshot(&self) -> io::Result<Snapshot> {
        let sockets = self.sockets();
        let snapshot = self.ask(Command::Show)?;
        Ok(Snapshot {
            listen_port: sockets.port,
            fwmark: sockets.fwmark,
            ..snapshot
        })
    }

    /// Counters.
    ///
    /// # Errors
    /// The device has ended.
    pub fn stats(&self) -> io::Result<Box<WorkerStats>> {
        self.ask(Command::Stats)
    }

    /// Ends the worker, and with it the interface.
    pub fn stop(&self) {
        self.tell(Command::Stop);
    }

    fn look_at_link(&self) {
        // Without an answer it is as before; a deleted interface is told by its queue.
        let Ok(Some(link)) = link(&self.name) else {
            return;
        };
        self.tell(Command::Mtu(link.mtu));
        let mut sockets = self.sockets();
        if link.is_up == sockets.is_up {
            return;
        }
        sockets.is_up = link.is_up;
        if link.is_up {
            let (port, fwmark) = (sockets.port, sockets.fwmark);
            if let Err(error) = self.open_sockets(&mut sockets, port, fwmark) {
                tracing::warn!(interface = self.name, port, %error, "no socket: this interface cannot be reached. Give it another port (wg set … listen-port), or free this one and set the interface down and up");
            }
        } else {
            for family in [Family::V4, Family::V6] {
                let _ = self.ask(|done| Command::Socket(family, None, done));
            }
        }
        self.tell(Command::Up(link.is_up));
    }

    /// Opens a socket for each family on one port. A host without IPv6 gets one.
    fn open_sockets(&self, sockets: &mut Sockets, port: u16, fwmark: u32) -> io::Result<()> {
        let options = UdpOptions {
            port,
            fwmark,
            offload: self.config.udp_offload,
            buffer_bytes: SOCKET_BUFFER_BYTES,
            reuse_port: false,
        };
        let (v4, v6) = bind_both(&options)?;
        sockets.port = v4.port;
        sockets.offload = Some(v4.offload);
        self.ask(|done| Command::Socket(Family::V4, Some(v4), done))?;
        self.ask(|done| Command::Socket(Family::V6, v6, done))
    }

    fn sockets(&self) -> std::sync::MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, command: Command) {
        // A worker that is over needs no commands.
        if self.worker.commands.send(command).is_ok() {
            self.worker.waker.wake();
        }
    }

    fn ask<A>(&self, command: impl FnOnce(SyncSender<A>) -> Command) -> io::Result<A> {
        let (answer, answered) = sync_channel(1);
        self.tell(command(answer));
        answered
            .recv()
            .map_err(|_| io::Error::new(io::ErrorKind::NotConnected, "the device has ended"))
    }
}

/// Linux's number for "this host has no such protocol".
const EAFNOSUPPORT: i32 = 97;

/// Tries again with other ports when the kernel's choice for IPv4 is taken for IPv6.
fn bind_both(options: &UdpOptions) -> io::Result<(udp::Udp, Option<udp::Udp>)> {
    const TRIES: usize = 10;
    let mut tried = 0;
    loop {
        let v4 = udp::bind_v4(options)?;
        let same_port = UdpOptions {
            port: v4.port,
            ..*options
        };
        match udp::bind_v6(&same_port) {
            Ok(v6) => return Ok((v4, Some(v6))),
            Err(error) if error.raw_os_error() == Some(EAFNOSUPPORT) => {
                return Ok((v4, None));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && options.port == 0 => {
                tried += 1;
                if tried == TRIES {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Starts the thread that owns everything of a packet's path. A driver belongs to its thread, so it is opened there.
fn spawn_worker(
    config: &DeviceConfig,
    offload: TunOffload,
    queue: OwnedFd,
    on_end: impl FnOnce(io::Result<Ended>) + Send + 'static,
) -> Result<WorkerHandle, StartError> {
    let (commands, taken) = channel();
    let (opened, opening) = sync_channel(1);
    let (choice, mtu) = (config.io, config.mtu as usize);
    let tunnel_config = TunnelConfig {
        engine: config.engine,
        ..TunnelConfig::default()
    };
    let mut tunnel = Tunnel::new(tunnel_config, Box::new(SystemEntropy), now(), unix_time());
    // Until the interface is.
    tunnel.set_up(now(), false);
    let joiner = Joiner::new(JoinOffload {
        tcp: offload.tso,
        udp: offload.uso,
    });
    let work = move || {
        let driver = match open_driver(choice, queue) {
            Ok(driver) => driver,
            Err(error) => {
                let _ = opened.send(Err(error));
                return;
            }
        };
        let waker = driver.waker();
        let worker = Worker::new(driver, tunnel, joiner, mtu, taken);
        if opened.send(Ok(waker)).is_ok() {
            on_end(worker.run());
        }
    };
    thread::Builder::new()
        .name("worker-0".to_owned())
        .spawn(work)
        .map_err(|error| StartError::System {
            what: "start the thread of a worker",
            error,
        })?;
    let waker = opening.recv().map_err(|_| StartError::System {
        what: "start a worker",
        error: io::ErrorKind::BrokenPipe.into(),
    })??;
    Ok(WorkerHandle { commands, waker })
}

/// Only what was asked for is no failure: a fall-back is said.
fn open_driver(choice: IoChoice, queue: OwnedFd) -> Result<PacketDriver, DriverError> {
    let config = PacketConfig::default();
    let kind = match choice {
        IoChoice::Uring => DriverKind::Uring,
        IoChoice::Epoll => DriverKind::Epoll,
        IoChoice::Auto => match towline_io::packet::probe() {
            Ok(_) => DriverKind::Uring,
            Err(error) => {
                tracing::warn!("going on with epoll: {error}");
                DriverKind::Epoll
            }
        },
    };
    PacketDriver::open(kind, &config, queue)
}

/// Follows the interface until it or the device is gone.
fn follow_link(device: Weak<Device>, watch: LinkWatch) -> Result<(), StartError> {
    let follow = move || {
        while watch.wait().is_ok() {
            match device.upgrade() {
                Some(device) if !matches!(link(&device.name), Ok(None)) => device.look_at_link(),
                _ => return,
            }
        }
    };
    let started = thread::Builder::new().name("link".to_owned()).spawn(follow);
    started.map(drop).map_err(|error| StartError::System {
        what: "start the thread that follows the interface",
        error,
    })
}

/// Since 1970; a clock before that counts as that.
fn unix_time() -> std::time::Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Keys and indices come from the system's randomness.
struct SystemEntropy;

impl towline_tunnel::Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        // Without randomness there is no secret: better no process than a guessable one.
        if let Err(error) = getrandom::fill(bytes) {
            tracing::error!(%error, "the system gives no randomness");
            std::process::abort();
        }
    }
}
