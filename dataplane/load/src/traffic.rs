//! The scenarios that carry packets: pairs, fan-in, overload, latency. Connects the clients, spreads
//! their flows over threads and keeps the time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use towline_io::host;

use crate::Progress;
use crate::dial::{Dialed, Dialer};
use crate::error::LoadError;
use crate::flow::{Flow, Pace};
use crate::measured::Measured;
use crate::options::{Options, Scenario};
use crate::report::{OverloadFigures, RelayFigures, Report};
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
            peak.delivered
                .map(|delivered| (delivered.mbit_per_s, peak.limited_by_generator))
        }
    };
    let peak_limited_by_generator = peak.map(|(_, limited)| limited);
    let peak = peak.map(|(mbit_per_s, _)| mbit_per_s);
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
        peak_limited_by_generator,
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
