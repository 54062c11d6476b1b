//! The scenario `idle`: clients that connect and say nothing, and what each costs the relay.

use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use towline_io::host;

use crate::Progress;
use crate::dial::{Dialed, Dialer};
use crate::error::LoadError;
use crate::options::Options;
use crate::report::{Generator, Machinery, RelayFigures, Report};
use crate::watch::Watch;

/// After this long a relay has put away what it needed for the handshakes.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn run(
    options: &Options,
    clients: u32,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, LoadError> {
    let watch = Watch(options.relay_pid);
    let memory_before = watch.resident_bytes()?;
    let dialer = Dialer::new(options)?;
    let mut connected = dialer.dial_all(clients, progress)?;
    std::thread::sleep(SETTLE.max(options.traffic.warm_up));

    let (cpu_before, own_before) = (watch.cpu()?, host::process_cpu_ns());
    let start = Instant::now();
    std::thread::sleep(options.traffic.duration);
    let elapsed = start.elapsed();
    let (cpu_after, own_after) = (watch.cpu()?, host::process_cpu_ns());
    let memory = watch.resident_bytes()?;

    let lost = connected
        .iter_mut()
        .map(has_ended)
        .filter(|ended| *ended)
        .count() as u32;
    let relay = match (cpu_before, cpu_after, memory_before, memory) {
        (Some(before), Some(after), Some(memory_before), Some(memory)) => Some(RelayFigures::new(
            after.since(&before),
            elapsed,
            memory_before,
            memory,
            clients,
        )),
        _ => None,
    };
    let cpu_s = Duration::from_nanos(own_after - own_before).as_secs_f64();
    Ok(Report {
        scenario: "idle",
        seconds: elapsed.as_secs_f64(),
        clients,
        clients_lost: lost,
        packet_bytes: None,
        delivered: None,
        fairness: None,
        rtt_us: None,
        probes_beside_bulk: None,
        overload: None,
        dials_failed: None,
        handshakes: None,
        handshakes_per_s: None,
        ready_us: None,
        relay,
        // It only sleeps.
        limited_by_generator: false,
        generator: Generator {
            cpu_s,
            busiest_share: cpu_s / elapsed.as_secs_f64(),
            threads: 1,
        },
        machinery: Machinery::new(options, &dialer.negotiated(), None),
    })
}

/// Whether the relay has closed a client: what it had to say may lie before the end, but a
/// kernel with nothing to read and no end answers `WouldBlock`.
fn has_ended(client: &mut Dialed) -> bool {
    if client.socket.set_nonblocking(true).is_err() {
        return true;
    }
    let mut buffer = [0; 4096];
    loop {
        match client.socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}
