//! The report of `towline bench` as a table for people.

use towline_load::{Latency, Report};

use crate::print;
use crate::units;

/// Every figure of the report, one on a line.
pub(crate) fn table(report: &Report) -> String {
    let mut rows: Vec<(&str, String)> = vec![
        ("scenario", report.scenario.to_owned()),
        ("measured", format!("{:.1} s", report.seconds)),
        ("clients", clients(report)),
    ];
    let machinery = &report.machinery;
    let transport = machinery.tls.as_deref().unwrap_or("plain HTTP");
    let websocket = if machinery.websocket {
        ", WebSocket"
    } else {
        ""
    };
    let fast_start = if machinery.fast_start {
        ", fast start"
    } else {
        ""
    };
    rows.push(("transport", format!("{transport}{websocket}{fast_start}")));
    if let Some(overload) = report.overload {
        rows.push(("offered", mbit(overload.offered_mbit_per_s)));
        if let (Some(peak), Some(share)) = (overload.peak_mbit_per_s, overload.share_of_peak) {
            let limit = if overload.peak_limited_by_generator == Some(true) {
                ", and the generator was the limit"
            } else {
                ""
            };
            rows.push(("peak", mbit(peak) + limit));
            rows.push(("delivered of the peak", format!("{:.1} %", share * 100.0)));
        }
    }
    if let Some(delivered) = report.delivered {
        let per_s = units::count(delivered.packets_per_s as u64);
        rows.push((
            "throughput",
            format!("{}, {per_s} packets/s", mbit(delivered.mbit_per_s)),
        ));
        let (lost, sent) = (units::count(delivered.lost), units::count(delivered.sent));
        rows.push((
            "lost",
            format!(
                "{lost} of {sent} packets ({:.2} %)",
                delivered.lost_share * 100.0
            ),
        ));
        if delivered.reordered > 0 {
            rows.push(("out of order", units::count(delivered.reordered)));
        }
        if delivered.unsent > 0 {
            rows.push((
                "not taken by sockets",
                format!("{} packets", units::count(delivered.unsent)),
            ));
        }
    }
    if let Some(fairness) = report.fairness {
        let (least, most) = (
            fairness.least_packets_per_s as u64,
            fairness.most_packets_per_s as u64,
        );
        let range = format!(
            "{} to {} packets/s each",
            units::count(least),
            units::count(most)
        );
        rows.push((
            "fairness",
            format!("{range}, Jain index {:.3}", fairness.jain_index),
        ));
    }
    if let Some(rtt) = report.rtt_us {
        rows.push(("round trip", times(&rtt)));
        rows.push(("probes lost", units::count(rtt.lost)));
        if report.probes_beside_bulk == Some(true) {
            rows.push(("probes", "on a thread with other packets".to_owned()));
        }
    }
    if let (Some(count), Some(per_s)) = (report.handshakes, report.handshakes_per_s) {
        rows.push((
            "handshakes",
            format!("{}, {per_s:.0}/s", units::count(count)),
        ));
    }
    if let Some(failed) = report.dials_failed.filter(|failed| *failed > 0) {
        rows.push(("connections failed", units::count(failed)));
    }
    if let Some(ready) = report.ready_us {
        rows.push(("connect to ready", times(&ready)));
    }
    if let Some(relay) = report.relay {
        let used = format!(
            "{:.2} s ({:.0} % of a CPU)",
            relay.cpu_s,
            relay.cpu_share * 100.0
        );
        let each = match (relay.cpu_us_per_packet, relay.handshakes_per_cpu_s) {
            (Some(us), _) => format!(", {us:.2} µs for each packet"),
            (_, Some(per_s)) => format!(", {per_s:.0} handshakes in a second of it"),
            _ => String::new(),
        };
        rows.push(("relay CPU", used + &each));
        let resident = units::bytes(relay.resident_bytes);
        // Beside traffic its buffers would be counted as the clients'.
        let each = match report.scenario {
            "idle" => format!(
                ", {:.1} KiB for each client",
                relay.resident_bytes_per_client / 1024.0
            ),
            _ => String::new(),
        };
        rows.push(("relay memory", resident + &each));
    }
    let generator = &report.generator;
    let busy = generator.busiest_share * 100.0;
    let limit = if report.limited_by_generator {
        ": it was the limit"
    } else {
        ""
    };
    rows.push((
        "generator CPU",
        format!("{:.2} s, busiest {busy:.0} %{limit}", generator.cpu_s),
    ));
    rows.push(("generator io", machinery.io.to_owned()));
    print::fields(&rows)
}

fn clients(report: &Report) -> String {
    let all = units::count(u64::from(report.clients));
    match report.clients_lost {
        0 => all,
        lost => format!("{all}, {} lost", units::count(u64::from(lost))),
    }
}

fn mbit(mbit: f64) -> String {
    match mbit {
        gbit if gbit >= 1000.0 => format!("{:.2} Gbit/s", gbit / 1000.0),
        mbit => format!("{mbit:.1} Mbit/s"),
    }
}

fn times(times: &Latency) -> String {
    let time = |us: f64| match us {
        us if us >= 1000.0 => format!("{:.2} ms", us / 1000.0),
        us => format!("{us:.0} µs"),
    };
    let (p50, p99, max) = (time(times.p50), time(times.p99), time(times.max));
    format!(
        "p50 {p50}, p99 {p99}, most {max} ({} samples)",
        units::count(times.count)
    )
}
