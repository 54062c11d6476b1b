//! A device from outside: starts and ends its worker, opens its sockets, follows the state of its interface, and takes
//! configuration. None of this is on a packet's path.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use towline_io::link::{Link, LinkWatch};
use towline_io::packet::{Family, PacketConfig, PacketDriver};
use towline_io::tun::{self, Tun, TunError, TunOffload, TunOptions};
use towline_io::udp::{self, UdpOptions};
use towline_io::{DriverError, DriverKind, Waker};
use towline_tunnel::{Tunnel, TunnelConfig};

use crate::command::{Command, Ended};
use crate::config::{DeviceConfig, IoChoice};
use crate::offload::{JoinOffload, Joiner};
use crate::system::{SystemEntropy, now, unix_time};
use crate::uapi::{SetDevice, Snapshot};
use crate::worker::Worker;

/// How long a name that is taken is tried again.
const NAME_PATIENCE: Duration = Duration::from_secs(1);

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
    worker: WorkerHandle,
    sockets: Mutex<Sockets>,
}

struct WorkerHandle {
    driver: DriverKind,
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
    mtu: u32,
    /// Of those that are open, so that the mark can change: the port stays taken as long as they are here.
    open: Vec<OwnedFd>,
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
        let tun = open_tun(&config)?;
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
            worker,
            sockets: Mutex::default(),
        });
        tracing::info!(
            interface = device.name,
            driver = %device.worker.driver,
            tun_offload = ?offload,
            "interface made"
        );
        follow_link(Arc::downgrade(&device), watch)?;
        Ok(device)
    }

    /// Name of the interface.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Applies `set=1`: the sockets first, because only these can fail.
    ///
    /// # Errors
    /// No socket could be opened on the port; nothing was changed then.
    pub fn configure(&self, set: SetDevice) -> io::Result<()> {
        let mut sockets = self.sockets();
        if let Some(port) = set.listen_port {
            // Again also where it did not work before.
            let changes = port != sockets.port || sockets.open.is_empty();
            if sockets.is_up && changes {
                let fwmark = set.fwmark.unwrap_or(sockets.fwmark);
                self.open_sockets(&mut sockets, port, fwmark)?;
            } else {
                sockets.port = port;
            }
        }
        if let Some(fwmark) = set.fwmark {
            for socket in &sockets.open {
                udp::set_fwmark(socket, fwmark)?;
            }
            sockets.fwmark = fwmark;
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

    /// Ends the worker, and with it the interface.
    pub fn stop(&self) {
        self.tell(Command::Stop);
    }

    /// Does what a change of the interface asks for.
    fn handle_link(&self, link: Link) {
        let mut sockets = self.sockets();
        if link.mtu != sockets.mtu {
            sockets.mtu = link.mtu;
            self.tell(Command::Mtu(link.mtu));
        }
        if link.is_up == sockets.is_up {
            return;
        }
        sockets.is_up = link.is_up;
        if link.is_up {
            let (port, fwmark) = (sockets.port, sockets.fwmark);
            if let Err(error) = self.open_sockets(&mut sockets, port, fwmark) {
                tracing::warn!(interface = self.name, port, %error, "no socket: this interface cannot be reached. Free the port, or give it another one (wg set … listen-port)");
            }
        } else {
            for family in [Family::V4, Family::V6] {
                let _ = self.ask(|done| Command::Socket(family, None, done));
            }
            sockets.open.clear();
        }
        self.tell(Command::Up(link.is_up));
    }

    /// Opens a socket for each family on one port. A host without IPv6 gets one.
    fn open_sockets(&self, sockets: &mut Sockets, port: u16, fwmark: u32) -> io::Result<()> {
        let options = UdpOptions {
            port,
            fwmark,
            offload: self.config.udp_offload,
            ..UdpOptions::default()
        };
        let (v4, v6) = bind_both(&options)?;
        let open = [Some(&v4), v6.as_ref()].into_iter().flatten();
        let open = open.map(|socket| socket.fd.try_clone());
        let open = open.collect::<io::Result<Vec<_>>>()?;
        tracing::info!(
            interface = self.name,
            port = v4.port,
            ipv6 = v6.is_some(),
            udp_offload = ?v4.offload,
            recv_buffer_bytes = v4.recv_buffer_bytes,
            send_buffer_bytes = v4.send_buffer_bytes,
            "sockets open"
        );
        (sockets.port, sockets.fwmark) = (v4.port, fwmark);
        self.ask(|done| Command::Socket(Family::V4, Some(v4), done))?;
        self.ask(|done| Command::Socket(Family::V6, v6, done))?;
        // The ones before are closed with this.
        sockets.open = open;
        Ok(())
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

/// Linux's numbers for "this host has no such protocol" and "no such address", which is IPv6 switched off.
const EAFNOSUPPORT: i32 = 97;
const EADDRNOTAVAIL: i32 = 99;

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
            Err(error) if matches!(error.raw_os_error(), Some(EAFNOSUPPORT | EADDRNOTAVAIL)) => {
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

/// The kernel gives the descriptors of a process that was killed back a little later than it reports its end, so a name
/// that is taken is tried again for a moment.
fn open_tun(config: &DeviceConfig) -> Result<Tun, TunError> {
    let options = TunOptions {
        name: config.name.clone(),
        queues: 1,
        offload: config.tun_offload,
        mtu: Some(config.mtu),
    };
    let end = Instant::now() + NAME_PATIENCE;
    loop {
        match tun::open(&options) {
            Err(TunError::Busy { .. }) if Instant::now() < end => thread::sleep(NAME_PATIENCE / 20),
            opened => return opened,
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
        let (kind, waker) = (driver.kind(), driver.waker());
        let worker = Worker::new(driver, tunnel, joiner, mtu, taken);
        if opened.send(Ok((kind, waker))).is_ok() {
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
    let (driver, waker) = opening.recv().map_err(|_| StartError::System {
        what: "start a worker",
        error: io::ErrorKind::BrokenPipe.into(),
    })??;
    Ok(WorkerHandle {
        driver,
        commands,
        waker,
    })
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

/// Follows the interface, whatever it is called and wherever it is moved, until the device is over.
fn follow_link(device: Weak<Device>, mut watch: LinkWatch) -> Result<(), StartError> {
    let follow = move || {
        let mut may_follow = true;
        loop {
            let Some(device) = device.upgrade() else {
                return;
            };
            // A worker that has ended answers nothing.
            let Ok(Ok(place)) = device.ask(Command::Place) else {
                return;
            };
            if let Err(error) = watch.follow(&place)
                && core::mem::take(&mut may_follow)
            {
                tracing::warn!(interface = device.name, %error, "the interface was moved to a network namespace that this process may not look at (CAP_SYS_ADMIN): whether it is up is as it was");
            }
            if let Ok(Some(link)) = watch.link(&place.name) {
                device.handle_link(link);
            }
            drop(device);
            if watch.wait().is_err() {
                return;
            }
        }
    };
    let started = thread::Builder::new().name("link".to_owned()).spawn(follow);
    started.map(drop).map_err(|error| StartError::System {
        what: "start the thread that follows the interface",
        error,
    })
}

impl Drop for Device {
    fn drop(&mut self) {
        self.stop();
    }
}
