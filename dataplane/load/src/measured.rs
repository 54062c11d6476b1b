//! What the workers saw of one measurement, and the report that comes of it.

use std::time::Duration;

use towline_io::DriverKind;

use crate::dial::Negotiated;
use crate::flow::{Flow, Tally};
use crate::options::Options;
use crate::report::{self, Delivered, Generator, Machinery, RelayFigures, Report};
use crate::worker::Outcome;

/// What one measurement gave, before it becomes a report.
pub(crate) struct Measured {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) clients: u32,
    pub(crate) elapsed: Duration,
    pub(crate) relay: Option<RelayFigures>,
    pub(crate) cpu: Duration,
    pub(crate) negotiated: Negotiated,
}

impl Measured {
    pub(crate) fn links_lost(&self) -> u32 {
        self.outcomes.iter().map(|outcome| outcome.links_lost).sum()
    }

    /// Of all flows.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.flows().map(|flow| &flow.tally)
    }

    fn tallies_of_probes(&self) -> impl Iterator<Item = &Tally> {
        let probes = self.flows().filter(|flow| flow.is_probe());
        probes.map(|flow| &flow.tally)
    }

    fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.outcomes.iter().flat_map(|outcome| &outcome.flows)
    }

    /// Each flow with the time in which its thread measured: threads are told one after the other, and
    /// see it when they next look.
    fn flows_and_seconds(&self) -> impl Iterator<Item = (&Flow, f64)> {
        self.outcomes.iter().flat_map(|outcome| {
            let seconds = outcome.measured_ns.max(1) as f64 / 1e9;
            outcome.flows.iter().map(move |flow| (flow, seconds))
        })
    }

    pub(crate) fn report(self, options: &Options, scenario: &'static str) -> Report {
        let bulk: Vec<(Tally, f64)> = self
            .flows_and_seconds()
            .filter(|(flow, _)| !flow.is_probe())
            .map(|(flow, seconds)| (flow.tally, flow.tally.delivered as f64 / seconds))
            .collect();
        let mut delivered = Delivered::default();
        for (tally, per_s) in &bulk {
            delivered.packets += tally.delivered;
            delivered.packets_per_s += per_s;
            delivered.sent += tally.sent;
            delivered.lost += tally.sent - tally.sent_and_received;
            delivered.reordered += tally.reordered;
            delivered.unsent += tally.unsent;
        }
        delivered.mbit_per_s = delivered.packets_per_s * (options.traffic.size * 8) as f64 / 1e6;
        delivered.lost_share = delivered.lost as f64 / delivered.sent.max(1) as f64;

        let mut round_trips = report::histogram();
        for outcome in &self.outcomes {
            // Both have the same bounds.
            let _ = round_trips.add(&outcome.round_trips);
        }
        let probes_lost = (self.tallies_of_probes())
            .map(|tally| tally.sent - tally.sent_and_received + tally.unsent)
            .sum();
        let has_both = |outcome: &Outcome| {
            outcome.flows.iter().any(Flow::is_probe) && !outcome.flows.iter().all(Flow::is_probe)
        };
        let probes_beside_bulk =
            (!round_trips.is_empty()).then(|| self.outcomes.iter().any(has_both));

        // The relay's time and the packets were not counted from and to the same moment: shares of both.
        let all_per_s: f64 = (self.flows_and_seconds())
            .map(|(flow, seconds)| flow.tally.delivered as f64 / seconds)
            .sum();
        let relay = self.relay.map(|relay| RelayFigures {
            cpu_us_per_packet: (relay.cpu_s > 0.0 && all_per_s > 0.0)
                .then(|| relay.cpu_share * 1e6 / all_per_s),
            ..relay
        });
        let busiest = |outcome: &Outcome| outcome.cpu_ns as f64 / outcome.measured_ns.max(1) as f64;
        let generator = Generator {
            cpu_s: self.cpu.as_secs_f64(),
            busiest_share: self.outcomes.iter().map(busiest).fold(0.0, f64::max),
            threads: self.outcomes.len(),
        };
        let rates: Vec<f64> = bulk.iter().map(|(_, per_s)| *per_s).collect();
        let io = self.outcomes.first().map(|outcome| outcome.io);
        Report {
            scenario,
            seconds: self.elapsed.as_secs_f64(),
            clients: self.clients,
            clients_lost: self.links_lost(),
            packet_bytes: Some(options.traffic.size),
            delivered: (!bulk.is_empty()).then_some(delivered),
            fairness: report::fairness(&rates),
            rtt_us: (!round_trips.is_empty()).then(|| report::latency(&round_trips, probes_lost)),
            probes_beside_bulk,
            overload: None,
            dials_failed: None,
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
