//! One thread of load: its clients on a driver, their flows, and the turn that moves both.
//!
//! `traffic` makes workers, tells them all at once when to measure and when to stop, and adds up
//! what they saw.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use towline_io::{Completion, Driver, DriverConfig, DriverKind, SendBuf, host};

use crate::dial::Dialed;
use crate::error::LoadError;
use crate::flow::{Flow, Pace};
use crate::link::{Arrival, Link, wire_bytes_max};
use crate::report;

/// How long a worker waits at most before it looks at the phase again.
const WAIT_MAX: Duration = Duration::from_millis(5);
/// How long packets that are under way may still arrive after the measured time.
const GRACE_NS: u64 = 1_000_000_000;
/// Send buffers of a worker at most; further senders wait a turn.
const SEND_BUFFERS_MAX: usize = 4096;
/// Memory of send buffers at most, in bytes.
const SEND_BYTES_MAX: usize = 256 << 20;

/// What all workers do now.
pub(crate) const WARM_UP: u8 = 0;
pub(crate) const MEASURE: u8 = 1;
pub(crate) const STOP: u8 = 2;

/// Seen by all threads of a run.
pub(crate) struct Shared {
    pub(crate) phase: AtomicU8,
    /// Packets that arrived so far.
    pub(crate) delivered: AtomicU64,
}

/// What a worker is to do.
pub(crate) struct Job {
    pub(crate) clients: Vec<Dialed>,
    pub(crate) flows: Vec<Flow>,
}

/// What a worker saw.
pub(crate) struct Outcome {
    pub(crate) flows: Vec<Flow>,
    pub(crate) links_lost: u32,
    /// Times in nanoseconds.
    pub(crate) round_trips: Histogram<u64>,
    /// Processor time of the thread in the measured time, and that time.
    pub(crate) cpu_ns: u64,
    pub(crate) measured_ns: u64,
    pub(crate) io: DriverKind,
}

struct Worker<'a> {
    shared: &'a Shared,
    driver: Driver,
    links: Vec<Link>,
    flows: Vec<Flow>,
    /// The flow that each link sends.
    flow_of: Vec<Option<usize>>,
    phase: u8,
    round_trips: Histogram<u64>,
    /// When the phase began: time and processor time.
    since_ns: (u64, u64),
    measured_ns: (u64, u64),
    delivered: u64,
}

/// Runs a job on this thread until the phase is [`STOP`] and what was under way has arrived.
pub(crate) fn run(job: Job, shared: &Shared) -> Result<Outcome, LoadError> {
    let mut driver = open_driver(&job)?;
    let mut links = Vec::with_capacity(job.clients.len());
    for (index, client) in job.clients.into_iter().enumerate() {
        let socket = driver
            .add(client.socket.into(), index as u64)
            .map_err(LoadError::Broken)?;
        links.push(Link::new(client.transport, client.leftover, socket));
    }
    let mut flow_of = vec![None; links.len()];
    for (index, flow) in job.flows.iter().enumerate() {
        flow_of[flow.from] = Some(index);
    }
    let mut worker = Worker {
        shared,
        driver,
        links,
        flows: job.flows,
        flow_of,
        phase: WARM_UP,
        round_trips: report::histogram(),
        since_ns: (0, 0),
        measured_ns: (0, 0),
        delivered: 0,
    };
    worker.work()?;
    Ok(Outcome {
        links_lost: worker.links.iter().filter(|link| link.closed).count() as u32,
        flows: worker.flows,
        round_trips: worker.round_trips,
        measured_ns: worker.measured_ns.0,
        cpu_ns: worker.measured_ns.1,
        io: worker.driver.kind(),
    })
}

/// io_uring, or epoll where the host forbids it; the report says which.
fn open_driver(job: &Job) -> Result<Driver, LoadError> {
    let write_bytes = |flow: &Flow| flow.batch as usize * wire_bytes_max(flow.size);
    let bytes = job
        .flows
        .iter()
        .map(write_bytes)
        .max()
        .unwrap_or(0)
        .max(16 << 10);
    let buffers = (job.flows.len() + 8)
        .min(SEND_BUFFERS_MAX)
        .min((SEND_BYTES_MAX / bytes).max(16));
    let config = DriverConfig {
        send_buffers: buffers as u16,
        send_buffer_bytes: bytes as u32,
        // A closed loop that gathers lets the relay run dry: 10 to 30 % less throughput.
        gather: Duration::ZERO,
        ..DriverConfig::default()
    };
    Driver::open(DriverKind::Uring, &config)
        .or_else(|_| Driver::open(DriverKind::Epoll, &config))
        .map_err(LoadError::Driver)
}

impl Worker<'_> {
    fn work(&mut self) -> Result<(), LoadError> {
        let mut completions = Vec::with_capacity(1024);
        let mut now_ns = host::now_ns();
        loop {
            if self.follow_phase(now_ns) {
                return Ok(());
            }
            self.send_ready(now_ns);
            let timeout = self.time_to_next(now_ns);
            self.driver
                .wait(Some(timeout), &mut completions)
                .map_err(LoadError::Broken)?;
            now_ns = host::now_ns();
            let before = self.delivered;
            for completion in completions.drain(..) {
                self.handle(completion, now_ns);
            }
            if self.delivered != before {
                self.shared
                    .delivered
                    .fetch_add(self.delivered - before, Ordering::Relaxed);
            }
        }
    }

    /// True when all is over.
    fn follow_phase(&mut self, now_ns: u64) -> bool {
        let phase = self.shared.phase.load(Ordering::Acquire);
        if phase != self.phase {
            let used_ns = host::thread_cpu_ns();
            match phase {
                MEASURE => (self.flows.iter_mut()).for_each(|flow| flow.start_measuring(now_ns)),
                _ => {
                    (self.flows.iter_mut()).for_each(|flow| flow.stop(now_ns));
                    self.measured_ns = (now_ns - self.since_ns.0, used_ns - self.since_ns.1);
                }
            }
            self.since_ns = (now_ns, used_ns);
            self.phase = phase;
        }
        phase == STOP
            && (now_ns > self.since_ns.0 + GRACE_NS
                || self.flows.iter().all(|flow| flow.under_way() == 0))
    }

    /// Sends what may go on every link that is free: one write each.
    fn send_ready(&mut self, now_ns: u64) {
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            if link.sending || link.closed {
                continue;
            }
            let answers = link.has_answers();
            let ready = match self.flow_of[index] {
                Some(flow) if !answers => self.flows[flow].ready(now_ns),
                _ => 0,
            };
            if !answers && ready == 0 {
                continue;
            }
            let Some(buf) = self.driver.send_buffer() else {
                return;
            };
            let out = self.driver.send_bytes_mut(&buf);
            let written = match self.flow_of[index] {
                Some(flow) if !answers => {
                    let id = flow as u32;
                    link.write_packets(&mut self.flows[flow], id, ready, now_ns, out)
                }
                _ => link.write_answers(out),
            };
            match written {
                Ok(len) if len > 0 => {
                    link.sending = true;
                    link.extent = (0, len);
                    self.driver.send(link.socket, buf, len);
                }
                Ok(_) => self.driver.recycle_send(buf),
                Err(_) => {
                    self.driver.recycle_send(buf);
                    self.lose(index);
                }
            }
        }
    }

    /// Until the next paced packet that is not held up by its link.
    fn time_to_next(&self, now_ns: u64) -> Duration {
        let due = |flow: &Flow| {
            let link = &self.links[flow.from];
            flow.due_ns().filter(|_| !link.sending && !link.closed)
        };
        let next_ns = self.flows.iter().filter_map(due).min();
        let until = next_ns.map_or(WAIT_MAX, |at| {
            Duration::from_nanos(at.saturating_sub(now_ns))
        });
        until.min(WAIT_MAX)
    }

    fn handle(&mut self, completion: Completion, now_ns: u64) {
        match completion {
            Completion::Received { token, buf } => {
                let link = &mut self.links[token as usize];
                let flows = &mut self.flows;
                let (round_trips, delivered) = (&mut self.round_trips, &mut self.delivered);
                let measuring = self.phase == MEASURE;
                let received = link.receive(self.driver.recv_bytes(&buf), |arrival| {
                    *delivered += 1;
                    let took_ns = take_arrival(flows, token as usize, &arrival, now_ns);
                    if let Some(took_ns) = took_ns.filter(|_| measuring) {
                        round_trips.saturating_record(took_ns);
                    }
                });
                self.driver.recycle(buf);
                if received.is_err() {
                    self.lose(token as usize);
                }
            }
            Completion::Sent { token, result, buf } => self.sent(token as usize, result, buf),
            Completion::Writable { token } => {
                let link = &mut self.links[token as usize];
                if let Some((buf, start, end)) = link.rest.take() {
                    link.extent = (start, end);
                    self.driver.send_from(link.socket, buf, start, end - start);
                }
            }
            Completion::Ended { token, .. } => self.lose(token as usize),
            Completion::Closed { .. } | Completion::Woken => {}
        }
    }

    fn sent(&mut self, index: usize, result: std::io::Result<usize>, buf: SendBuf) {
        let link = &mut self.links[index];
        let (start, end) = link.extent;
        let start = match result {
            Ok(count) => start + count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => start,
            Err(_) => {
                self.driver.recycle_send(buf);
                return self.lose(index);
            }
        };
        if start == end || link.closed {
            link.sending = false;
            self.driver.recycle_send(buf);
        } else {
            link.rest = Some((buf, start, end));
            self.driver.notify_writable(link.socket);
        }
    }

    /// The connection is over: the relay ended it, or broke the rules.
    fn lose(&mut self, index: usize) {
        let link = &mut self.links[index];
        if std::mem::replace(&mut link.closed, true) {
            return;
        }
        if let Some((buf, ..)) = link.rest.take() {
            self.driver.recycle_send(buf);
        }
        self.driver.close(link.socket);
    }
}

/// Counts a packet for its flow. How long it was on its way, when it ends a round trip.
fn take_arrival(flows: &mut [Flow], link: usize, arrival: &Arrival, now_ns: u64) -> Option<u64> {
    let stamp = arrival.stamp;
    let flow = flows.get_mut(stamp.flow as usize)?;
    // A packet for somebody else, or cut short, is not the one that was sent.
    if flow.to != link || flow.size != arrival.size {
        return None;
    }
    flow.arrived(stamp.number, now_ns);
    let is_echo = flow.is_echo;
    if let Some(echo) = flow.echo
        && let Pace::Echo(times) = &mut flows[echo].pace
    {
        times.push_back(stamp.sent_ns);
    }
    is_echo.then(|| now_ns.saturating_sub(stamp.sent_ns))
}
