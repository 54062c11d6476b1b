//! What came of a measurement: every figure, in fields that serialize as they are named.
//!
//! Figures of things that a scenario does not measure are absent.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The whole report of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `pairs`, `fan-in`, `idle`, `handshakes`, `overload` or `latency`.
    pub scenario: &'static str,
    /// Measured time.
    pub seconds: f64,
    /// Clients that were connected at once.
    pub clients: u32,
    /// Clients that the relay closed during the run; those of `handshakes` leave by themselves.
    pub clients_lost: u32,
    /// Bytes of a packet, where packets were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_bytes: Option<usize>,
    /// Packets that arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Delivered>,
    /// How evenly the flows were served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness: Option<Fairness>,
    /// Round trips of small packets, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<Latency>,
    /// Whether the probes were on a thread that carried other packets too: its work is part of their times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes_beside_bulk: Option<bool>,
    /// Offered load and peak.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub overload: Option<OverloadFigures>,
    /// Connections that the relay refused or dropped before they were ready, in the measured time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dials_failed: Option<u64>,
    /// Connections that became ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshakes: Option<u64>,
    /// The same in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshakes_per_s: Option<f64>,
    /// Time from TCP connect to ready, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_us: Option<Latency>,
    /// What the watched relay used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<RelayFigures>,
    /// What the generator used.
    pub generator: Generator,
    /// Whether the generator, not the relay, set the pace.
    pub limited_by_generator: bool,
    /// How the figures came about.
    pub machinery: Machinery,
}

/// Packets that arrived in the measured time, whenever they were sent, and what became of those sent in it,
/// whenever they arrived.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Delivered {
    /// Packets that arrived.
    pub packets: u64,
    /// Their content, in megabits a second.
    pub mbit_per_s: f64,
    /// Packets in a second of the time that each thread measured itself; `seconds` is that of the whole run.
    pub packets_per_s: f64,
    /// Packets sent in the measured time.
    pub sent: u64,
    /// Of those, the ones that never arrived.
    pub lost: u64,
    /// The same as a share, 0 to 1.
    pub lost_share: f64,
    /// Of those, too, the ones that came after a later one, or twice.
    pub reordered: u64,
    /// Packets that the pace asked for and sockets did not take for 20 ms: they were given up.
    pub unsent: u64,
}

/// How evenly flows were served.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Fairness {
    /// Packets in a second of the flow that got least.
    pub least_packets_per_s: f64,
    /// And of the one that got most.
    pub most_packets_per_s: f64,
    /// Jain's index: 1 when all got the same, 1/n when one got all.
    pub jain_index: f64,
}

/// A distribution of times in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Samples.
    pub count: u64,
    /// Probes without an answer, and those that were given up before they were sent.
    pub lost: u64,
    /// Least.
    pub min: f64,
    /// Half of them took no longer.
    pub p50: f64,
    /// 90 % took no longer.
    pub p90: f64,
    /// 99 % took no longer.
    pub p99: f64,
    /// 99.9 % took no longer.
    pub p999: f64,
    /// Most.
    pub max: f64,
}

/// Offered load against the peak.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OverloadFigures {
    /// What the senders tried to send, in megabits a second.
    pub offered_mbit_per_s: f64,
    /// What a closed loop got through before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_mbit_per_s: Option<f64>,
    /// Whether that peak was the generator's, not the relay's: then the share is of too small a peak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_limited_by_generator: Option<bool>,
    /// Delivered as a share of that peak, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of_peak: Option<f64>,
}

/// What the watched relay used over the measured time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RelayFigures {
    /// Processor time in seconds.
    pub cpu_s: f64,
    /// As a share of one processor.
    pub cpu_share: f64,
    /// Microseconds of it for each packet that was delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_packet: Option<f64>,
    /// Connections made ready in a second of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshakes_per_cpu_s: Option<f64>,
    /// Resident memory before the first client connected.
    pub resident_bytes_before: u64,
    /// Resident memory at the end of the measured time, clients connected.
    pub resident_bytes: u64,
    /// The difference for each client.
    pub resident_bytes_per_client: f64,
}

/// What the generator used over the measured time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Generator {
    /// Processor time of all its threads, in seconds.
    pub cpu_s: f64,
    /// Share of the time in which its busiest thread was on a processor; of handshakes, where threads share the processors, the
    /// share of those that they could use.
    pub busiest_share: f64,
    /// Threads that carried the load.
    pub threads: usize,
}

/// How the figures came about.
#[derive(Clone, Debug, Serialize)]
pub struct Machinery {
    /// The generator's io driver.
    pub io: &'static str,
    /// TLS version, cipher and key exchange; absent without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// Whether clients used DERP's fast start.
    pub fast_start: bool,
    /// Whether clients spoke WebSocket.
    pub websocket: bool,
}

/// A thread so busy leaves no doubt that it was the limit.
const BUSY_SHARE: f64 = 0.95;

impl Generator {
    /// Whether it set the pace.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        self.busiest_share >= BUSY_SHARE
    }
}

/// An empty distribution of nanoseconds, from 1 µs to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are constants that fit")
}

/// The figures of a distribution of nanoseconds.
pub(crate) fn latency(times: &Histogram<u64>, lost: u64) -> Latency {
    let us = |ns: u64| ns as f64 / 1000.0;
    let quantile = |share| us(times.value_at_quantile(share));
    Latency {
        count: times.len(),
        lost,
        min: us(times.min()),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
        p999: quantile(0.999),
        max: us(times.max()),
    }
}

/// How evenly these rates, in packets a second, are spread.
pub(crate) fn fairness(rates: &[f64]) -> Option<Fairness> {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate.powi(2)).sum();
    (squares > 0.0).then(|| Fairness {
        least_packets_per_s: rates.iter().copied().fold(f64::INFINITY, f64::min),
        most_packets_per_s: rates.iter().copied().fold(0.0, f64::max),
        jain_index: sum * sum / (rates.len() as f64 * squares),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_when_all_got_the_same() {
        assert_eq!(fairness(&[5.0, 5.0, 5.0]).unwrap().jain_index, 1.0);
        let uneven = fairness(&[9.0, 0.0, 0.0]).unwrap();
        assert_eq!(uneven.jain_index, 1.0 / 3.0);
        assert_eq!(uneven.least_packets_per_s, 0.0);
        assert_eq!(uneven.most_packets_per_s, 9.0);
        assert!(fairness(&[]).is_none());
        assert!(fairness(&[0.0, 0.0]).is_none());
    }

    #[test]
    fn a_distribution_has_its_percentiles() {
        let mut times = histogram();
        for us in 1..=1000 {
            times.saturating_record(us * 1000);
        }
        let latency = latency(&times, 3);
        assert!((latency.p50 - 500.0).abs() < 2.0, "{latency:?}");
        assert!((latency.p99 - 990.0).abs() < 2.0, "{latency:?}");
        assert_eq!((latency.count, latency.lost), (1000, 3));
    }
}
