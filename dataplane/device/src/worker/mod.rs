//! A worker: the thread that owns peers, their sessions, a queue of the TUN device and sockets.
//!
//! A turn: wait; take in what the TUN device and the sockets brought and what was commanded; seal and send; write to the
//! TUN device; do what the tunnel asks; give the buffers back. Nothing is shared, so nothing is locked.

mod configure;
mod ecn;
mod inbound;
mod outbound;
mod send;
mod trains;

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use towline_io::packet::{Arrival, PacketDriver};
use towline_io::{RecvBuf, SendBuf};
use towline_tunnel::{Effect, Opened, Tunnel};
use towline_wire::Time;

use crate::command::{Command, Ended};
use crate::offload::Joiner;
use crate::system::{now, unix_time};
use send::send;
use trains::{Track, Trains};

/// Places reserved in the lists of a turn, which grow with the busiest turn.
const RESERVED: usize = 256;

/// What was dropped here, by reason; the tunnel and the driver count their own.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    /// Packets of the TUN device that made no sense.
    outbound_malformed: u64,
    /// No peer has the destination among its allowed IPs.
    outbound_no_route: u64,
    /// No datagram takes so much: the MTU is beyond what UDP carries.
    outbound_too_big: u64,
    /// All send buffers were in use.
    outbound_no_buffer: u64,
    /// The peer has no endpoint, or is gone.
    outbound_unsealed: u64,
    /// Marked as congested outside, but their sender would not hear of it.
    inbound_ecn_dropped: u64,
    /// Handshakes and keepalives that found no send buffer.
    effects_no_buffer: u64,
}

/// All state of a worker's thread.
pub(crate) struct Worker {
    now: Time,
    driver: PacketDriver,
    tunnel: Tunnel,
    trains: Trains,
    joiner: Joiner,
    arrivals: Vec<Arrival>,
    /// Receives of this turn, which packets on their way to the TUN device lie in.
    held: Vec<RecvBuf>,
    opened: Vec<Opened>,
    commands: Receiver<Command>,
    counts: Counts,
}

impl Worker {
    pub(crate) fn new(
        driver: PacketDriver,
        tunnel: Tunnel,
        joiner: Joiner,
        mtu: usize,
        commands: Receiver<Command>,
    ) -> Self {
        Self {
            now: now(),
            driver,
            tunnel,
            trains: Trains::new(mtu),
            joiner,
            arrivals: Vec::with_capacity(RESERVED),
            held: Vec::with_capacity(RESERVED),
            opened: Vec::with_capacity(RESERVED),
            commands,
            counts: Counts::default(),
        }
    }

    /// Runs until the interface is deleted or somebody commands the end.
    ///
    /// # Errors
    /// The driver itself failed.
    pub(crate) fn run(mut self) -> io::Result<Ended> {
        loop {
            if let Some(ended) = self.turn()? {
                let (tunnel, driver) = (self.tunnel.stats(), self.driver.stats());
                tracing::debug!(worker = ?self.counts, ?tunnel, ?driver, "what was done and dropped");
                return Ok(ended);
            }
        }
    }

    fn turn(&mut self) -> io::Result<Option<Ended>> {
        let mut arrivals = core::mem::take(&mut self.arrivals);
        self.driver.wait(self.timeout(), &mut arrivals)?;
        self.now = now();
        self.tunnel.set_unix_time(self.now, unix_time());
        let mut ended = None;
        for arrival in arrivals.drain(..) {
            match arrival {
                Arrival::Tun { buf } => {
                    self.handle_tun(&buf);
                    self.driver.recycle(buf);
                }
                Arrival::Datagrams {
                    buf,
                    from,
                    local,
                    segment_bytes,
                    ecn,
                } => self.handle_datagrams(buf, (from, local), segment_bytes, ecn),
                Arrival::SourceGone { to } => self.tunnel.forget_source(to),
                Arrival::Woken => {
                    let commanded = self.obey();
                    ended = ended.or(commanded);
                }
                Arrival::TunGone => ended = ended.or(Some(Ended::Deleted)),
            }
        }
        self.arrivals = arrivals;
        if self
            .tunnel
            .poll_timeout()
            .is_some_and(|due| due <= self.now)
        {
            self.tunnel.handle_timeout(self.now);
        }
        self.depart();
        self.write_tun();
        self.do_effects();
        Ok(ended)
    }

    /// How long the wait may last.
    fn timeout(&self) -> Option<Duration> {
        let due = self.tunnel.poll_timeout()?;
        Some(due - now())
    }

    fn obey(&mut self) -> Option<Ended> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    if let Some(ended) = self.handle_command(command) {
                        return Some(ended);
                    }
                }
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => return Some(Ended::Stopped),
            }
        }
    }

    /// What packets are put into, and what seals and sends it.
    fn track(&mut self) -> (&mut Trains, Track<'_>) {
        let track = Track {
            now: self.now,
            tunnel: &mut self.tunnel,
            driver: &mut self.driver,
            counts: &mut self.counts,
        };
        (&mut self.trains, track)
    }

    /// Seals and sends what has gathered.
    fn depart(&mut self) {
        let (trains, mut track) = self.track();
        trains.depart_all(&mut track);
    }

    /// What the tunnel asks for: handshakes, cookies and keepalives go out, and packets that waited for a session.
    fn do_effects(&mut self) {
        let mut was_ready = false;
        while let Some(effect) = self.tunnel.poll_effect() {
            match effect {
                Effect::Send { to, datagram } => match self.buffer_with(&datagram) {
                    Some(buf) => {
                        let whole = (datagram.len(), datagram.len());
                        send(&mut self.driver, buf, whole, &to, 0);
                    }
                    None => self.counts.effects_no_buffer += 1,
                },
                Effect::Ready(peer) => {
                    self.send_staged(peer);
                    was_ready = true;
                }
            }
        }
        if was_ready {
            self.depart();
        }
    }

    fn buffer_with(&mut self, datagram: &[u8]) -> Option<SendBuf> {
        let buf = self.driver.send_buffer().or_else(|| {
            self.driver.flush().ok()?;
            self.driver.send_buffer()
        })?;
        match self.driver.send_bytes_mut(&buf).get_mut(..datagram.len()) {
            Some(place) => {
                place.copy_from_slice(datagram);
                Some(buf)
            }
            None => {
                self.driver.recycle_send(buf);
                None
            }
        }
    }
}
