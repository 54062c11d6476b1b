//! The scenarios that carry packets: pairs, fan-in, overload, latency. Connects the clients, spreads
//! their flows over threads, keeps the time, and makes the report.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use towline_io::{DriverKind, host};

use crate::Progress;
use crate::dial::{Dialed, Dialer, Negotiated};
use crate::error::LoadError;
use crate::flow::{Flow, Pace, Tally};
use crate::options::{Options, Scenario};
use crate::report::{self, Delivered, Generator, Machinery, OverloadFigures, RelayFigures, Report};
use crate::watch::Watch;
use crate::worker::{self, Job, MEASURE, Outcome, STOP, Shared, WARM_UP};

/// Bytes of a probe of the scenario `latency`.
const PROBE_BYTES: usize = 64;
/// Between two progress reports.
const TICK: Duration = Duration::from_millis(500);

/// What the flows of one measurement are.
struct Plan {
    /// Senders, each with a receiver of its own unless `fan_in`.
    senders: u32,
    fan_in: bool,
    /// Paced at this load over all senders; a closed loop without.
    mbit_per_s: Option<f64>,
    /// Round trips per second beside.
    probes_per_second: Option<u32>,
    duration: Duration,
}

/// What one measurement gave, before it becomes a report.
struct Measured {
    outcomes: Vec<Outcome>,
    clients: u32,
    elapsed: Duration,
    relay: Option<RelayFigures>,
    cpu: Duration,
    negotiated: Negotiated,
}

pub(crate) fn run(
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, LoadError> {
    let traffic = &options.traffic;
    let mut plan = Plan {
        senders: traffic.pairs,
        fan_in: false,
        mbit_per_s: None,
        probes_per_second: None,
        duration: traffic.duration,
    };
    match options.scenario {
        Scenario::FanIn { senders } => {
            plan.senders = senders;
            plan.fan_in = true;
            Ok(measure(options, &plan, progress)?.report(options, "fan-in"))
        }
        Scenario::Overload {
            offered_mbit,
            times,
        } => overload(options, &mut plan, offered_mbit, times, progress),
        Scenario::Latency {
            probes_per_second,
            bulk_mbit,
        } => {
            plan.probes_per_second = Some(probes_per_second);
            plan.mbit_per_s = Some(bulk_mbit as f64);
            if bulk_mbit == 0 {
                plan.senders = 0;
            }
            Ok(measure(options, &plan, progress)?.report(options, "latency"))
        }
        _ => Ok(measure(options, &plan, progress)?.report(options, "pairs")),
    }
}

fn overload(
    options: &Options,
    plan: &mut Plan,
    offered_mbit: Option<u64>,
    times: f64,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, LoadError> {
    let peak = match offered_mbit {
        Some(_) => None,
        None => {
            let peak = measure(options, plan, progress)?.report(options, "pairs");
            peak.delivered.map(|delivered| delivered.mbit_per_s)
        }
    };
    let offered = match (offered_mbit, peak) {
        (Some(mbit), _) => mbit as f64,
        (None, peak) => times * peak.unwrap_or(0.0),
    };
    plan.mbit_per_s = Some(offered);
    let mut report = measure(options, plan, progress)?.report(options, "overload");
    let delivered = report
        .delivered
        .map_or(0.0, |delivered| delivered.mbit_per_s);
    report.overload = Some(OverloadFigures {
        offered_mbit_per_s: offered,
        peak_mbit_per_s: peak,
        share_of_peak: peak.map(|peak| delivered / peak),
    });
    Ok(report)
}

fn measure(
    options: &Options,
    plan: &Plan,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Measured, LoadError> {
    let watch = Watch(options.relay_pid);
    let memory_before = watch.resident_bytes()?;
    let dialer = Dialer::new(options)?;
    let receivers = if plan.fan_in { 1 } else { plan.senders };
    let probes = if plan.probes_per_second.is_some() {
        2
    } else {
        0
    };
    let clients = plan.senders + receivers + probes;
    let jobs = deal(options, plan, dialer.dial_all(clients, progress)?);

    let shared = Shared {
        phase: AtomicU8::new(WARM_UP),
        delivered: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        let shared = &shared;
        let workers: Vec<_> = jobs
            .into_iter()
            .map(|job| scope.spawn(move || worker::run(job, shared)))
            .collect();
        let began = Instant::now();
        let over = || workers.iter().any(|worker| worker.is_finished());
        let pass = |time: Duration| {
            let start = Instant::now();
            while start.elapsed() < time && !over() {
                std::thread::sleep(TICK.min(time.saturating_sub(start.elapsed())));
                progress(Progress::Running {
                    count: shared.delivered.load(Ordering::Relaxed),
                    elapsed: began.elapsed(),
                });
            }
        };
        pass(options.traffic.warm_up);
        let (cpu_before, own_before, start) = (watch.cpu(), host::process_cpu_ns(), Instant::now());
        shared.phase.store(MEASURE, Ordering::Release);
        pass(plan.duration);
        let elapsed = start.elapsed();
        let (cpu_after, own_after) = (watch.cpu(), host::process_cpu_ns());
        let memory = watch.resident_bytes();
        shared.phase.store(STOP, Ordering::Release);
        let outcomes: Vec<Outcome> = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or(Err(LoadError::Panicked)))
            .collect::<Result<_, _>>()?;
        let relay = match (cpu_before?, cpu_after?, memory_before, memory?) {
            (Some(before), Some(after), Some(memory_before), Some(memory)) => {
                Some(RelayFigures::new(
                    after.since(&before),
                    elapsed,
                    memory_before,
                    memory,
                    clients,
                ))
            }
            _ => None,
        };
        let measured = Measured {
            outcomes,
            clients,
            elapsed,
            relay,
            cpu: Duration::from_nanos(own_after - own_before),
            negotiated: dialer.negotiated(),
        };
        let any_arrived = measured.tallies().any(|tally| tally.delivered > 0);
        match any_arrived {
            true => Ok(measured),
            false => Err(LoadError::NothingArrived {
                seconds: elapsed.as_secs_f64(),
                lost: measured.links_lost(),
                clients,
            }),
        }
    })
}

/// Deals clients to threads and makes their flows. Both ends of a flow are on one thread, because
/// what arrives at one frees a slot at the other.
fn deal(options: &Options, plan: &Plan, clients: Vec<Dialed>) -> Vec<Job> {
    let traffic = &options.traffic;
    let mut clients = VecDeque::from(clients);
    let start_ns = host::now_ns() as f64;
    let interval_ns = plan.mbit_per_s.map(|mbit| {
        let per_sender = mbit * 1e6 / f64::from(plan.senders.max(1));
        (traffic.size * 8) as f64 * 1e9 / per_sender
    });
    let pace = |sender: u32| match interval_ns {
        None => Pace::Loop {
            in_flight: u64::from(traffic.in_flight),
        },
        // Senders are spread over the interval, as strangers would be.
        Some(interval_ns) => Pace::Clock {
            interval_ns,
            start_ns: start_ns + interval_ns * f64::from(sender) / f64::from(plan.senders),
            done: 0,
        },
    };
    let mut jobs: Vec<Job> = (0..options.worker_count()).map(|_| Job::new()).collect();
    if plan.fan_in {
        jobs[0].clients.extend(clients.pop_front());
    }
    for sender in 0..plan.senders {
        let index = sender as usize % jobs.len();
        let job = &mut jobs[index];
        let to = if plan.fan_in {
            0
        } else {
            job.take_client(&mut clients)
        };
        let from = job.take_client(&mut clients);
        let mut flow = Flow::new(from, to, job.clients[to].key, traffic.size, pace(sender));
        flow.batch = u64::from(traffic.packets_per_write);
        job.flows.push(flow);
    }
    if let Some(per_second) = plan.probes_per_second {
        let pace = Pace::Clock {
            interval_ns: 1e9 / f64::from(per_second),
            start_ns,
            done: 0,
        };
        jobs[0].add_probes(&mut clients, pace);
    }
    jobs.retain(|job| !job.flows.is_empty());
    jobs
}

impl Job {
    fn new() -> Self {
        Self {
            clients: Vec::new(),
            flows: Vec::new(),
            gather: Duration::ZERO,
        }
    }

    fn take_client(&mut self, clients: &mut VecDeque<Dialed>) -> usize {
        self.clients.extend(clients.pop_front());
        self.clients.len() - 1
    }

    /// A pair whose second client answers the first.
    fn add_probes(&mut self, clients: &mut VecDeque<Dialed>, pace: Pace) {
        let near = self.take_client(clients);
        let far = self.take_client(clients);
        let answers = self.flows.len() + 1;
        let mut there = Flow::new(near, far, self.clients[far].key, PROBE_BYTES, pace);
        there.echo = Some(answers);
        let back_pace = Pace::Echo(VecDeque::new());
        let mut back = Flow::new(far, near, self.clients[near].key, PROBE_BYTES, back_pace);
        back.is_echo = true;
        self.flows.extend([there, back]);
    }
}

impl Measured {
    fn links_lost(&self) -> u32 {
        self.outcomes.iter().map(|outcome| outcome.links_lost).sum()
    }

    /// Of all flows.
    fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.flows().map(|flow| &flow.tally)
    }

    fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.outcomes.iter().flat_map(|outcome| &outcome.flows)
    }

    fn report(self, options: &Options, scenario: &'static str) -> Report {
        let seconds = self.elapsed.as_secs_f64();
        let is_probe = |flow: &&Flow| flow.is_echo || flow.echo.is_some();
        let bulk: Vec<Tally> = self
            .flows()
            .filter(|flow| !is_probe(flow))
            .map(|flow| flow.tally)
            .collect();
        let mut delivered = Delivered::default();
        for tally in &bulk {
            delivered.packets += tally.delivered;
            delivered.sent += tally.sent;
            delivered.lost += tally.sent - tally.sent_and_received;
            delivered.reordered += tally.reordered;
            delivered.unsent += tally.unsent;
        }
        delivered.packets_per_s = delivered.packets as f64 / seconds;
        delivered.mbit_per_s = delivered.packets_per_s * (options.traffic.size * 8) as f64 / 1e6;
        delivered.lost_share = delivered.lost as f64 / delivered.sent.max(1) as f64;

        let mut round_trips = report::histogram();
        for outcome in &self.outcomes {
            // Both have the same bounds.
            let _ = round_trips.add(&outcome.round_trips);
        }
        let probes_lost = self
            .flows()
            .filter(is_probe)
            .map(|flow| flow.tally.sent - flow.tally.sent_and_received)
            .sum();

        let all_packets: u64 = self.tallies().map(|tally| tally.delivered).sum();
        let relay = self.relay.map(|relay| RelayFigures {
            cpu_us_per_packet: Some(relay.cpu_s * 1e6 / all_packets as f64),
            ..relay
        });
        let busiest = |outcome: &Outcome| outcome.cpu_ns as f64 / outcome.measured_ns.max(1) as f64;
        let generator = Generator {
            cpu_s: self.cpu.as_secs_f64(),
            busiest_share: self.outcomes.iter().map(busiest).fold(0.0, f64::max),
            threads: self.outcomes.len(),
        };
        let counts: Vec<u64> = bulk.iter().map(|tally| tally.delivered).collect();
        let io = self.outcomes.first().map(|outcome| outcome.io);
        Report {
            scenario,
            seconds,
            clients: self.clients,
            clients_lost: self.links_lost(),
            packet_bytes: Some(options.traffic.size),
            delivered: (!bulk.is_empty()).then_some(delivered),
            fairness: report::fairness(&counts, self.elapsed),
            rtt_us: (!round_trips.is_empty()).then(|| report::latency(&round_trips, probes_lost)),
            overload: None,
            handshakes: None,
            handshakes_per_s: None,
            ready_us: None,
            relay,
            limited_by_generator: generator.is_limit(),
            generator,
            machinery: Machinery::new(options, &self.negotiated, io),
        }
    }
}

impl Machinery {
    pub(crate) fn new(options: &Options, negotiated: &Negotiated, io: Option<DriverKind>) -> Self {
        Self {
            io: match io {
                Some(DriverKind::Uring) => "uring",
                Some(DriverKind::Epoll) => "epoll",
                None => "blocking",
            },
            tls: negotiated.tls.clone(),
            fast_start: negotiated.fast_start,
            websocket: options.connecting.websocket,
        }
    }
}

impl RelayFigures {
    pub(crate) fn new(
        cpu: Duration,
        elapsed: Duration,
        memory_before: u64,
        memory: u64,
        clients: u32,
    ) -> Self {
        let grown = memory as f64 - memory_before as f64;
        Self {
            cpu_s: cpu.as_secs_f64(),
            cpu_share: cpu.as_secs_f64() / elapsed.as_secs_f64(),
            cpu_us_per_packet: None,
            handshakes_per_cpu_s: None,
            resident_bytes_before: memory_before,
            resident_bytes: memory,
            resident_bytes_per_client: grown / f64::from(clients.max(1)),
        }
    }
}
