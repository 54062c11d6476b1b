//! The scenario `handshakes`: connect, get ready, leave, over and over. Every handshake is full; no
//! ticket is kept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use towline_io::host;

use crate::Progress;
use crate::dial::Dialer;
use crate::error::{DialError, LoadError};
use crate::options::Options;
use crate::report::{self, Generator, Machinery, RelayFigures, Report};
use crate::watch::Watch;

const TICK: Duration = Duration::from_millis(500);
/// Failures of one thread in a row after which a relay is taken to refuse, not to be busy.
const FAILURES_MAX: u32 = 10;

struct Shared {
    ready: AtomicU64,
    failed: AtomicU64,
    measuring: AtomicBool,
    stop: AtomicBool,
}

pub(crate) fn run(
    options: &Options,
    at_once: u32,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, LoadError> {
    let watch = Watch(options.relay_pid);
    let memory_before = watch.resident_bytes()?;
    let dialer = Dialer::new(options)?;
    let shared = Shared {
        ready: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        measuring: AtomicBool::new(false),
        stop: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once)
            .map(|client| {
                scope.spawn({
                    let (dialer, shared) = (&dialer, &shared);
                    move || dial_over_and_over(dialer, shared, client + 1)
                })
            })
            .collect();
        let began = Instant::now();
        let over = || threads.iter().all(|thread| thread.is_finished());
        let pass = |time: Duration| {
            let start = Instant::now();
            while start.elapsed() < time && !over() {
                std::thread::sleep(TICK.min(time.saturating_sub(start.elapsed())));
                progress(Progress::Running {
                    count: shared.ready.load(Ordering::Relaxed),
                    elapsed: began.elapsed(),
                });
            }
        };
        pass(options.traffic.warm_up);
        let (cpu_before, own_before) = (watch.cpu(), host::process_cpu_ns());
        let ready_before = shared.ready.load(Ordering::Relaxed);
        let failed_before = shared.failed.load(Ordering::Relaxed);
        let start = Instant::now();
        shared.measuring.store(true, Ordering::Relaxed);
        pass(options.traffic.duration);
        let elapsed = start.elapsed();
        let ready = shared.ready.load(Ordering::Relaxed) - ready_before;
        let failed = shared.failed.load(Ordering::Relaxed) - failed_before;
        let (cpu_after, own_after) = (watch.cpu(), host::process_cpu_ns());
        let memory = watch.resident_bytes();
        shared.measuring.store(false, Ordering::Relaxed);
        shared.stop.store(true, Ordering::Relaxed);

        let mut times = report::histogram();
        for thread in threads {
            let of_thread = thread.join().unwrap_or(Err(LoadError::Panicked))?;
            // Both have the same bounds.
            let _ = times.add(&of_thread);
        }
        let relay = match (cpu_before?, cpu_after?, memory_before, memory?) {
            (Some(before), Some(after), Some(memory_before), Some(memory)) => {
                let cpu = after.since(&before);
                Some(RelayFigures {
                    handshakes_per_cpu_s: (!cpu.is_zero())
                        .then(|| ready as f64 / cpu.as_secs_f64()),
                    ..RelayFigures::new(cpu, elapsed, memory_before, memory, at_once)
                })
            }
            _ => None,
        };
        let cpu_s = Duration::from_nanos(own_after - own_before).as_secs_f64();
        // Threads share what processors there are; fewer threads than that cannot use them all.
        let processors = host::cpus_allowed().map_or(1, |cpus| cpus.len().max(1));
        let usable = processors.min(at_once as usize).max(1);
        let generator = Generator {
            cpu_s,
            busiest_share: cpu_s / elapsed.as_secs_f64() / usable as f64,
            threads: at_once as usize,
        };
        Ok(Report {
            scenario: "handshakes",
            seconds: elapsed.as_secs_f64(),
            clients: at_once,
            clients_lost: 0,
            packet_bytes: None,
            delivered: None,
            fairness: None,
            rtt_us: None,
            probes_beside_bulk: None,
            overload: None,
            dials_failed: Some(failed),
            handshakes: Some(ready),
            handshakes_per_s: Some(ready as f64 / elapsed.as_secs_f64()),
            ready_us: (!times.is_empty()).then(|| report::latency(&times, 0)),
            relay,
            limited_by_generator: generator.is_limit(),
            generator,
            machinery: Machinery::new(options, &dialer.negotiated(), None),
        })
    })
}

/// One thread's clients. The times in nanoseconds from connecting to being ready.
fn dial_over_and_over(
    dialer: &Dialer<'_>,
    shared: &Shared,
    client: u32,
) -> Result<Histogram<u64>, LoadError> {
    let mut times = report::histogram();
    let mut failures = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        match dialer.dial() {
            Ok(_ready) => {
                failures = 0;
                shared.ready.fetch_add(1, Ordering::Relaxed);
                if shared.measuring.load(Ordering::Relaxed) {
                    times.saturating_record(start.elapsed().as_nanos() as u64);
                }
            }
            // A relay under load may turn a client away.
            Err(DialError::Io(_) | DialError::Closed) if failures < FAILURES_MAX => {
                failures += 1;
                shared.failed.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => return Err(LoadError::Dial { client, error }),
        }
    }
    Ok(times)
}
