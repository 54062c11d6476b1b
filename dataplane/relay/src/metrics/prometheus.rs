//! `/metrics`: our own names, `towline_relay_*`, with base units in the names as Prometheus wants them.

use std::time::Duration;

use towline_derp::relay::{PacketKind, Stats};

use super::text::Page;
use super::{Local, MetricsInput};
use crate::shard::Snapshot;

/// The page.
pub(crate) fn render(input: &MetricsInput, local: &Local) -> String {
    let mut page = Page::default();
    let total = input.total();
    modes(&mut page, input);
    stage(&mut page, input);
    connections(&mut page, &total);
    packets(&mut page, &total);
    page.drops(
        &total,
        ("towline_relay_dropped_packets_total", "Packets dropped."),
        (
            "towline_relay_dropped_bytes_total",
            "Bytes in packets dropped.",
        ),
    );
    frames(&mut page, &total);
    observed(&mut page, input);
    shards(&mut page, &input.shards);
    stun(&mut page, input);
    admission(&mut page, input);
    local.process.write(&mut page);
    page.gauge(
        "towline_relay_threads",
        "Threads of the process.",
        local.process.threads,
    );
    page.counter(
        "towline_relay_bootstrap_dns_requests_total",
        "Requests for /bootstrap-dns.",
        local.bootstrap.requests,
    );
    page.finish()
}

fn modes(page: &mut Page, input: &MetricsInput) {
    let modes = &input.modes;
    page.labelled(
        "towline_relay_build_info",
        "gauge",
        "Always 1.",
        "version",
        [(input.version, 1)],
    );
    page.gauge(
        "towline_relay_uptime_seconds",
        "Time since the relay started.",
        input.uptime.as_secs_f64(),
    );
    page.gauge(
        "towline_relay_admission_open",
        "1 when every key is let in.",
        u8::from(modes.admission_open),
    );
    page.gauge(
        "towline_relay_draining",
        "1 when the relay is leaving.",
        u8::from(modes.draining),
    );
    page.labelled(
        "towline_relay_driver_info",
        "gauge",
        "Always 1; how sockets are driven.",
        "driver",
        [(modes.driver, 1)],
    );
    page.gauge(
        "towline_relay_driver_fallback",
        "1 when io_uring was wanted and is not available.",
        u8::from(modes.driver_fallback),
    );
    let features = modes.driver_features.iter().map(|name| (name, 1));
    page.labelled(
        "towline_relay_driver_feature",
        "gauge",
        "1 for each feature in use.",
        "feature",
        features,
    );
    if let Some(expiry) = input.certificate_expiry {
        page.gauge(
            "towline_relay_certificate_expiry_timestamp_seconds",
            "When the certificate in use expires, in seconds since 1970.",
            expiry,
        );
    }
    let limit = input.rate_limit.map_or(0, |limit| limit.bytes_per_second);
    page.gauge(
        "towline_relay_client_rate_limit_bytes_per_second",
        "Default limit of a client; 0: none.",
        limit,
    );
}

fn stage(page: &mut Page, input: &MetricsInput) {
    let counters = &input.counters;
    for (name, help, value) in [
        (
            "towline_relay_accepted_connections_total",
            "Connections from listeners.",
            counters.accepted(),
        ),
        (
            "towline_relay_rejected_connections_total",
            "Connections closed by the accept limit.",
            counters.rejected(),
        ),
        (
            "towline_relay_fast_starts_total",
            "Clients that did not wait for the answer to their upgrade.",
            counters.fast_starts(),
        ),
        (
            "towline_relay_websocket_clients_total",
            "Clients inside a WebSocket.",
            counters.websockets(),
        ),
    ] {
        page.counter(name, help, value);
    }
    page.gauge(
        "towline_relay_half_open_connections",
        "Connections that are not clients yet.",
        input.half_open,
    );
    let name = "towline_relay_handshake_failures_total";
    page.labelled(
        name,
        "counter",
        "Connections that did not become clients.",
        "reason",
        counters.failures(),
    );
    let name = "towline_relay_tls_handshakes_total";
    page.labelled(
        name,
        "counter",
        "TLS handshakes completed.",
        "version",
        counters.tls_established(),
    );
    let name = "towline_relay_tls_connections";
    page.labelled(
        name,
        "gauge",
        "Open TLS connections.",
        "version",
        counters.tls_active(),
    );
}

fn connections(page: &mut Page, total: &Stats) {
    page.counter(
        "towline_relay_clients_accepted_total",
        "Connections that became clients.",
        total.accepts,
    );
    page.counter(
        "towline_relay_duplicate_connections_total",
        "Connections whose key was connected already.",
        total.dup_client_conns_total,
    );
    for (name, help, value) in [
        (
            "towline_relay_connections",
            "Connections of clients and mesh peers.",
            total.connections,
        ),
        (
            "towline_relay_clients_local",
            "Keys connected here.",
            total.clients_local,
        ),
        (
            "towline_relay_clients_remote",
            "Keys connected to other relays of the mesh only.",
            total.clients_remote,
        ),
        (
            "towline_relay_home_connections",
            "Connections of clients at home here.",
            total.home_connections,
        ),
        (
            "towline_relay_not_ideal_connections",
            "Connections of clients that prefer another node.",
            total.notideal_connections,
        ),
        (
            "towline_relay_duplicate_keys",
            "Keys with more than one connection.",
            total.dup_client_keys,
        ),
        (
            "towline_relay_duplicate_connections",
            "Connections of these keys.",
            total.dup_client_conns,
        ),
        (
            "towline_relay_mesh_watchers",
            "Mesh peers that watch who is connected.",
            total.watchers,
        ),
        (
            "towline_relay_mesh_uplinks",
            "Connections to other relays.",
            total.uplinks,
        ),
        (
            "towline_relay_queued_bytes",
            "Bytes of packets in queues, as they are charged.",
            total.queued_bytes,
        ),
    ] {
        page.gauge(name, help, value);
    }
}

fn packets(page: &mut Page, total: &Stats) {
    let kinds = || PacketKind::ALL.into_iter().zip(&total.received);
    page.labelled(
        "towline_relay_received_packets_total",
        "counter",
        "Packets from clients.",
        "kind",
        kinds().map(|(kind, volume)| (kind.name(), volume.packets)),
    );
    page.labelled(
        "towline_relay_received_bytes_total",
        "counter",
        "Bytes in packets from clients.",
        "kind",
        kinds().map(|(kind, volume)| (kind.name(), volume.bytes)),
    );
    for (name, help, value) in [
        (
            "towline_relay_sent_packets_total",
            "Packets written to clients.",
            total.sent.packets,
        ),
        (
            "towline_relay_sent_bytes_total",
            "Bytes in packets written to clients.",
            total.sent.bytes,
        ),
        (
            "towline_relay_forwarded_in_packets_total",
            "Packets from mesh peers.",
            total.packets_forwarded_in,
        ),
        (
            "towline_relay_forwarded_out_packets_total",
            "Packets to mesh peers.",
            total.packets_forwarded_out,
        ),
        (
            "towline_relay_dequeued_packets_total",
            "Packets that left a queue to be written.",
            total.dequeued,
        ),
        (
            "towline_relay_rate_limit_pauses_total",
            "Pauses in reading from a client for its limit.",
            total.rate_limit_waited,
        ),
    ] {
        page.counter(name, help, value);
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a metric, exact for 285,000 years"
    )]
    let queued_seconds = total.queued_ns as f64 / 1e9;
    page.counter(
        "towline_relay_queue_time_seconds_total",
        "Time that these packets spent in queues, together.",
        queued_seconds,
    );
}

fn frames(page: &mut Page, total: &Stats) {
    let received = [("ping", total.got_ping), ("unknown", total.unknown_frames)];
    let name = "towline_relay_received_frames_total";
    page.labelled(
        name,
        "counter",
        "Frames received that are no packets.",
        "frame",
        received,
    );
    let sent = [
        ("pong", total.sent_pong),
        (
            "peer_gone_disconnected",
            total.peer_gone_disconnected_frames,
        ),
        ("peer_gone_not_here", total.peer_gone_not_here_frames),
        ("health", total.health_frames),
        ("restarting", total.restarting_frames),
        ("keep_alive", total.keep_alive_frames),
    ];
    let name = "towline_relay_sent_frames_total";
    page.labelled(
        name,
        "counter",
        "Frames written that are no packets.",
        "frame",
        sent,
    );
    let moves = [("in", total.home_moves_in), ("out", total.home_moves_out)];
    let name = "towline_relay_home_moves_total";
    page.labelled(
        name,
        "counter",
        "Clients that changed their home.",
        "direction",
        moves,
    );
    let lost = [
        ("no_place", total.heard_full),
        ("not_taken", total.notices_lost),
    ];
    let name = "towline_relay_lost_notices_total";
    page.labelled(
        name,
        "counter",
        "Notices to clients or shards that were lost.",
        "reason",
        lost,
    );
}

fn observed(page: &mut Page, input: &MetricsInput) {
    let observed = input.observed();
    page.histogram(
        "towline_relay_write_frames",
        "Frames in each write to a socket.",
        &observed.write_frames,
        1,
    );
    page.histogram(
        "towline_relay_tcp_round_trip_seconds",
        "Samples of TCP round trips, now and then of each connection.",
        &observed.round_trip_us,
        1_000_000,
    );
}

/// What differs between shards: uneven load shows here.
fn shards(page: &mut Page, shards: &[(usize, Snapshot)]) {
    type Reading = fn(&Snapshot) -> u64;
    let families: [(&str, &str, &str, Reading); 14] = [
        ("connections", "gauge", "Connections.", |shard| {
            shard.stats.connections
        }),
        (
            "unsent_bytes",
            "gauge",
            "Sealed bytes that the kernel has not taken.",
            |shard| shard.unsent_bytes,
        ),
        (
            "write_timeouts_total",
            "counter",
            "Clients closed because they stopped reading.",
            |shard| shard.write_timeouts,
        ),
        (
            "wire_received_bytes_total",
            "counter",
            "Bytes from sockets, with all framing.",
            |shard| shard.driver.received_bytes,
        ),
        (
            "wire_sent_bytes_total",
            "counter",
            "Bytes to sockets, with all framing.",
            |shard| shard.driver.sent_bytes,
        ),
        (
            "driver_enters_total",
            "counter",
            "System calls that submit or wait.",
            |shard| shard.driver.enters,
        ),
        (
            "driver_completions_total",
            "counter",
            "Completions from the kernel.",
            |shard| shard.driver.kernel_completions,
        ),
        (
            "driver_overflows_total",
            "counter",
            "Times that completions overflowed their ring.",
            |shard| shard.driver.cq_overflows,
        ),
        (
            "driver_starved_receives_total",
            "counter",
            "Receives put off for lack of a buffer.",
            |shard| shard.driver.recv_starved,
        ),
        ("driver_receives_total", "counter", "Receives.", |shard| {
            shard.driver.received
        }),
        (
            "driver_fetches_total",
            "counter",
            "Receives of busy connections that were asked for at an interval.",
            |shard| shard.driver.fetches,
        ),
        (
            "driver_sends_total",
            "counter",
            "Sends that the kernel took.",
            |shard| shard.driver.sent,
        ),
        (
            "driver_blocked_sends_total",
            "counter",
            "Sends that found the socket full.",
            |shard| shard.driver.send_blocked,
        ),
        (
            "driver_discarded_bytes_total",
            "counter",
            "Bytes that came after the close.",
            |shard| shard.driver.discarded_bytes,
        ),
    ];
    for (name, kind, help, reading) in families {
        let samples = shards.iter().map(|(index, shard)| (index, reading(shard)));
        page.labelled(
            &format!("towline_relay_shard_{name}"),
            kind,
            help,
            "shard",
            samples,
        );
    }
    type Seconds = (&'static str, &'static str, fn(&Snapshot) -> Duration);
    let seconds: [Seconds; 2] = [
        ("cpu_seconds_total", "CPU time of the thread.", |shard| {
            Duration::from_nanos(shard.cpu_ns)
        }),
        (
            "ring_wait_seconds_total",
            "Time spent waiting for other shards, behind full rings.",
            |shard| shard.waited,
        ),
    ];
    for (name, help, value) in seconds {
        page.labelled(
            &format!("towline_relay_shard_{name}"),
            "counter",
            help,
            "shard",
            shards
                .iter()
                .map(|(index, shard)| (index, value(shard).as_secs_f64())),
        );
    }
}

fn stun(page: &mut Page, input: &MetricsInput) {
    let families = [("ipv4", input.stun.ipv4), ("ipv6", input.stun.ipv6)];
    let name = "towline_relay_stun_requests_total";
    page.labelled(
        name,
        "counter",
        "STUN Binding requests.",
        "family",
        families,
    );
    let dispositions = input.stun.dispositions.iter().copied();
    let name = "towline_relay_stun_datagrams_total";
    page.labelled(
        name,
        "counter",
        "STUN datagrams by what became of them.",
        "disposition",
        dispositions,
    );
}

fn admission(page: &mut Page, input: &MetricsInput) {
    page.labelled(
        "towline_relay_admission_total",
        "counter",
        "Clients admitted and refused, answers from memory, questions to the controller and those without a usable answer, connected clients looked at again and those of them that are not allowed any more.",
        "event",
        input.admission.iter().copied(),
    );
}
