//! The io_uring driver of packets: multishot receives of both sockets and multishot reads of TUN
//! into provided buffers, sends as requests; one system call per turn.
//!
//! Each source has a buffer group of its own, which holds no more than its turn: when that is used
//! up, the request ends and is made again with the next wait. So a flood on one side costs the
//! other nothing. (Writes to TUN are plain system calls: they name buffers that the owner gives
//! back right afterwards.)

mod harvest;
mod requests;

use std::io;
use std::time::{Duration, Instant};

use self::requests::receive_message;
use super::shared::Shared;
use super::sockets::Socket;
use super::{Arrival, Family, PacketConfig};
use crate::error::HostFacts;
use crate::pool::Region;
use crate::uring::buffers::Provider;
use crate::uring::restrict::PACKET_OPERATIONS;
use crate::uring::ring::Ring;
use crate::uring::set_blocking;
use crate::{DriverError, Features};

/// The number of TUN among the sources; those of the sockets are their families'.
const TUN: usize = 2;
/// How long a cancelled request is waited for.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// What keeps the kernel supplied with a request.
#[derive(Default)]
struct Source {
    /// The kernel has a request.
    armed: bool,
    /// Counts sockets: a completion of an earlier one says nothing of the present one's request.
    generation: u32,
}

pub(crate) struct Uring {
    ring: Ring,
    sources: [Source; 3],
    /// By source, as are the buffer groups.
    providers: [Provider; 3],
    /// The source whose buffers are provided first; it changes, so that none is always last.
    first: usize,
    /// TUN is polled and read by hand, for want of a multishot read; there may be something.
    tun_readable: bool,
    /// What all receives are made with.
    message: Box<libc::msghdr>,
    /// Where the kernel reads the alarm's eventfd to.
    alarm_value: Region,
    alarm_armed: bool,
    /// Sends that are queued or that the kernel has.
    sending: u32,
    fault: Option<io::Error>,
}

/// The features that work here, or why there is no ring.
pub(crate) fn probe() -> Result<Features, DriverError> {
    let config = PacketConfig {
        turn: 1,
        send_buffers: 1,
        ..PacketConfig::default()
    };
    open_ring(&config).map(|(ring, _providers)| ring.features())
}

/// A ring with its buffer groups, still empty.
fn open_ring(config: &PacketConfig) -> Result<(Ring, [Provider; 3]), DriverError> {
    let needed = Features::MULTISHOT_RECV.with(Features::BUFFER_RING);
    if !config.features.contains(needed) {
        return Err(DriverError::Config(
            "packets need the features multishot-recv and buffer-ring",
        ));
    }
    let (sends, turn) = (u32::from(config.send_buffers), u32::from(config.turn));
    let sq = (sends + 16).next_power_of_two();
    let cq = (sends + 6 * turn + 16).next_power_of_two();
    // Each datagram has a buffer of its own.
    let wanted = config.features.without(Features::INCREMENTAL);
    let mut ring = Ring::open(sq, cq, wanted, PACKET_OPERATIONS)?;
    let slots = config.turn.next_power_of_two();
    let providers = [
        Provider::open(&mut ring, slots, 0)?,
        Provider::open(&mut ring, slots, 1)?,
        Provider::open(&mut ring, slots, TUN as u16)?,
    ];
    if !ring.features().contains(needed) {
        return Err(DriverError::KernelTooOld {
            release: HostFacts::read().release,
            missing: "multishot recvmsg into a buffer ring, Linux 6.0,",
        });
    }
    Ok((ring, providers))
}

impl Uring {
    pub(crate) fn open(config: &PacketConfig, shared: &Shared) -> Result<Self, DriverError> {
        let (ring, providers) = open_ring(config)?;
        // A request on a descriptor that does not block would fail instead of waiting.
        if ring.features().contains(Features::MULTISHOT_READ) {
            set_blocking(&shared.tun.fd).map_err(|error| DriverError::os("FIONBIO", error))?;
        }
        let value = Region::new(size_of::<u64>());
        Ok(Self {
            ring,
            sources: Default::default(),
            providers,
            first: 0,
            tun_readable: false,
            message: Box::new(receive_message()),
            alarm_value: value.map_err(|error| DriverError::os("mmap", error))?,
            alarm_armed: false,
            sending: 0,
            fault: None,
        })
    }

    pub(crate) fn features(&self) -> Features {
        self.ring.features()
    }

    pub(crate) fn enters(&self) -> u64 {
        self.ring.enters()
    }

    /// Buffers that the kernel may fill.
    pub(crate) fn provided(&self) -> usize {
        let provided = self.providers.iter().map(Provider::provided);
        provided.map(usize::from).sum()
    }

    pub(crate) fn set_udp(
        &mut self,
        shared: &mut Shared,
        family: Family,
        socket: Option<Socket>,
    ) -> io::Result<()> {
        self.flush(shared)?;
        // The kernel's request keeps the old socket, and its port, open.
        let source = family as usize;
        if self.sources[source].armed {
            self.cancel(source);
            let deadline = Instant::now() + CANCEL_TIMEOUT;
            while self.sources[source].armed && Instant::now() < deadline {
                self.ring.enter(0, None)?;
                self.harvest_pending(shared);
            }
        }
        self.sources[source].armed = false;
        self.sources[source].generation += 1;
        if let Some(socket) = &socket {
            set_blocking(&socket.fd)?;
        }
        shared.sockets.replace(family, socket);
        Ok(())
    }

    pub(crate) fn wait(
        &mut self,
        shared: &mut Shared,
        timeout: Option<Duration>,
        out: &mut Vec<Arrival>,
    ) -> io::Result<()> {
        let before = out.len();
        shared.report(out);
        let busy =
            timeout == Some(Duration::ZERO) || (self.tun_readable && !shared.free.is_empty());
        // A send that failed must not be slept on, so with sends the first look is a short one.
        let mut may_sleep = self.sending == 0;
        loop {
            self.arm(shared);
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            let idle = !busy && out.len() == before && self.ring.harvested(0).is_none();
            let sleep = idle && may_sleep && shared.alarm.fall_asleep();
            let entered = if sleep {
                self.ring.enter(1, timeout)
            } else {
                self.ring.enter(0, None)
            };
            if shared.alarm.wake_up() {
                out.push(Arrival::Woken);
            }
            entered?;
            self.harvest(shared, out)?;
            shared.report(out);
            if may_sleep || !idle || out.len() > before {
                return Ok(());
            }
            may_sleep = true;
        }
    }

    pub(crate) fn flush(&mut self, shared: &mut Shared) -> io::Result<()> {
        self.ring.submit()?;
        self.harvest_pending(shared);
        Ok(())
    }

    /// Ends all requests. When that fails, the kernel keeps the memory.
    pub(crate) fn close(&mut self, shared: &mut Shared) {
        if !self.drain(shared).unwrap_or(false) {
            shared.recv.leak();
            shared.outbox.leak();
            self.providers.iter_mut().for_each(Provider::leak);
            self.alarm_value.leak();
            core::mem::forget(core::mem::replace(
                &mut self.message,
                Box::new(receive_message()),
            ));
        }
    }

    fn drain(&mut self, shared: &mut Shared) -> io::Result<bool> {
        for source in 0..self.sources.len() {
            if self.sources[source].armed {
                self.cancel(source);
            }
        }
        shared.alarm.sound();
        let deadline = Instant::now() + CANCEL_TIMEOUT;
        while self.sending > 0 || self.alarm_armed || self.sources.iter().any(|one| one.armed) {
            if Instant::now() > deadline {
                return Ok(false);
            }
            self.ring.enter(1, Some(Duration::from_millis(10)))?;
            self.harvest_pending(shared);
        }
        Ok(true)
    }
}
