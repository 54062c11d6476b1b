//! `/debug/varz`: derper's names, types and labels, so that its dashboards and alerts go on working.
//!
//! Names of Go's runtime (`go_*`, `memstats_*`, `goroutines`) are missing: there is nothing behind them here.

use towline_derp::relay::{PacketKind, Stats, Volume};
use towline_wire::stun::StunError;

use super::histogram::Histogram;
use super::text::Page;
use super::{BootstrapCounts, Local, MetricsInput};

/// What derper calls the ends of a STUN datagram.
const STUN_DISPOSITIONS: [&str; 4] = ["not_stun", "read_error", "success", "write_error"];

/// The page.
pub(crate) fn render(input: &MetricsInput, local: &Local) -> String {
    let mut page = Page::default();
    local.process.write(&mut page);
    bootstrap(&mut page, &local.bootstrap);
    let total = input.total();
    packets(&mut page, &total);
    observed(&mut page, input);
    let packets = "DERP packets dropped by reason and by kind";
    page.drops(
        &total,
        ("derp_packets_dropped", packets),
        ("derp_bytes_dropped", "Bytes in these packets"),
    );
    connections(&mut page, &total);
    frames(&mut page, &total);
    stage(&mut page, input);
    stun(&mut page, input);
    if let Some(limit) = input.rate_limit {
        page.gauge(
            "derp_rate_limit_per_client_bytes_per_second",
            "Lasting rate of a client",
            limit.bytes_per_second,
        );
        page.gauge(
            "derp_rate_limit_per_client_burst_bytes",
            "Burst of a client",
            limit.burst_bytes,
        );
    } else {
        page.gauge(
            "derp_rate_limit_per_client_bytes_per_second",
            "Lasting rate of a client, 0: no limit",
            0,
        );
        page.gauge(
            "derp_rate_limit_per_client_burst_bytes",
            "Burst of a client, 0: no limit",
            0,
        );
    }
    page.counter(
        "derp_rate_limit_per_client_waited",
        "Times that reading was paused for the limit",
        total.rate_limit_waited,
    );
    page.gauge(
        "derp_current_file_descriptors",
        "Open file descriptors",
        local.process.descriptors,
    );
    page.gauge(
        "derp_memstats_sys0",
        "Resident memory at start in bytes",
        local.memory_at_start_bytes,
    );
    page.gauge(
        "node_boot_time_seconds",
        "When the host started",
        local.process.boot_unix_seconds,
    );
    page.gauge(
        "process_start_unix_time",
        "When the process started",
        local.process.start_unix_seconds,
    );
    page.counter(
        "uptime_sec",
        "Seconds since the relay started",
        input.uptime.as_secs(),
    );
    page.family("version", "gauge", "Version of the program");
    page.sample(
        "version",
        &[("version", &input.version), ("binary", &"towline")],
        1,
    );
    page.finish()
}

fn bootstrap(page: &mut Page, counts: &BootstrapCounts) {
    for (name, value) in [
        ("published_hits", counts.published_hits),
        ("published_misses", counts.published_misses),
        ("queried_domains", counts.queried_domains),
        ("requests", counts.requests),
        ("unpublished_hits", counts.unpublished_hits),
        ("unpublished_misses", counts.unpublished_misses),
        // Every asker gets an answer here.
        ("unpublished_percent_misses", 0),
    ] {
        page.counter(
            &format!("bootstrap_dns_{name}"),
            "Requests for /bootstrap-dns",
            value,
        );
    }
}

fn packets(page: &mut Page, total: &Stats) {
    let received = total
        .received
        .iter()
        .fold(Volume::default(), |mut sum, kind| {
            sum += *kind;
            sum
        });
    page.counter(
        "derp_accepts",
        "Connections taken over by a shard",
        total.accepts,
    );
    page.counter(
        "derp_packets_received",
        "Packets from clients",
        received.packets,
    );
    page.counter(
        "derp_bytes_received",
        "Bytes in packets from clients",
        received.bytes,
    );
    page.counter(
        "derp_packets_sent",
        "Packets written to clients",
        total.sent.packets,
    );
    page.counter(
        "derp_bytes_sent",
        "Bytes in packets written to clients",
        total.sent.bytes,
    );
    let kinds = PacketKind::ALL.into_iter().zip(&total.received);
    page.labelled(
        "derp_packets_received_kind",
        "counter",
        "Packets from clients by kind",
        "kind",
        kinds.map(|(kind, volume)| (kind.name(), volume.packets)),
    );
    page.counter(
        "derp_packets_forwarded_in",
        "Packets from mesh peers",
        total.packets_forwarded_in,
    );
    page.counter(
        "derp_packets_forwarded_out",
        "Packets to mesh peers",
        total.packets_forwarded_out,
    );
    page.gauge(
        "derp_average_queue_duration_ms",
        "Mean time of a packet in its queue since the start",
        (total.queued_ns / 1_000_000)
            .checked_div(total.dequeued)
            .unwrap_or(0),
    );
}

fn observed(page: &mut Page, input: &MetricsInput) {
    let observed = input.observed();
    let round_trips = &observed.round_trip_us;
    let errors = input
        .shards
        .iter()
        .map(|(_, shard)| shard.round_trip_errors)
        .sum();
    // As derper has it: each bucket by itself, and no histogram to Prometheus.
    let classes = round_trips
        .buckets()
        .map(|(micros, count)| (format!("{}ms", micros / 1000), count))
        .chain([
            ("inf".to_owned(), round_trips.above()),
            ("error".to_owned(), errors),
        ]);
    page.labelled(
        "derp_tcp_rtt",
        "counter",
        "Samples of TCP round trips by class",
        "le",
        classes,
    );
    page.histogram(
        "derp_buffered_write_frames",
        "Frames in each write to a socket",
        &observed.write_frames,
        1,
    );
    let not_observed = "This relay does not work in such steps: no observations";
    let mesh_batch_size = Histogram::new(&[0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
    page.histogram(
        "derp_mesh_update_batch_size",
        not_observed,
        &mesh_batch_size,
        1,
    );
    let mesh_loop_count = Histogram::new(&[0, 1, 2, 5, 10, 20, 50, 100]);
    page.histogram(
        "derp_mesh_update_loop_count",
        not_observed,
        &mesh_loop_count,
        1,
    );
}

fn connections(page: &mut Page, total: &Stats) {
    for (name, help, value) in [
        (
            "derp_clients_local",
            "Keys connected here",
            total.clients_local,
        ),
        (
            "derp_clients_remote",
            "Keys connected to other relays only",
            total.clients_remote,
        ),
        (
            "derp_clients_total",
            "Keys connected",
            total.clients_local + total.clients_remote,
        ),
        ("derp_current_connections", "Connections", total.connections),
        (
            "derp_current_dup_client_conns",
            "Connections of keys with several",
            total.dup_client_conns,
        ),
        (
            "derp_current_dup_client_keys",
            "Keys with several connections",
            total.dup_client_keys,
        ),
        (
            "derp_current_home_connections",
            "Clients at home here",
            total.home_connections,
        ),
        (
            "derp_current_notideal_connections",
            "Clients that prefer another node",
            total.notideal_connections,
        ),
        ("derp_watchers", "Mesh peers that watch", total.watchers),
    ] {
        page.gauge(name, help, value);
    }
    page.counter(
        "derp_total_dup_client_conns",
        "Connections whose key was connected",
        total.dup_client_conns_total,
    );
}

fn frames(page: &mut Page, total: &Stats) {
    for (name, help, value) in [
        ("derp_got_ping", "Ping frames received", total.got_ping),
        ("derp_sent_pong", "Pong frames written", total.sent_pong),
        (
            "derp_home_moves_in",
            "Clients that moved here",
            total.home_moves_in,
        ),
        (
            "derp_home_moves_out",
            "Clients that moved away",
            total.home_moves_out,
        ),
        (
            "derp_multiforwarder_created",
            "Keys that came to be at two relays",
            total.multiforwarder_created,
        ),
        (
            "derp_multiforwarder_deleted",
            "Keys that went back to one relay",
            total.multiforwarder_deleted,
        ),
        (
            "derp_packet_forwarder_delete_other_value",
            "Departures from relays that had not reported the arrival",
            total.packet_forwarder_delete_other_value,
        ),
        (
            "derp_peer_gone_disconnected_frames",
            "PeerGone frames: disconnected",
            total.peer_gone_disconnected_frames,
        ),
        (
            "derp_peer_gone_not_here_frames",
            "PeerGone frames: not here",
            total.peer_gone_not_here_frames,
        ),
        (
            "derp_unknown_frames",
            "Frames of unknown type",
            total.unknown_frames,
        ),
    ] {
        page.counter(name, help, value);
    }
}

fn stage(page: &mut Page, input: &MetricsInput) {
    let counters = &input.counters;
    let write_timeouts: u64 = input
        .shards
        .iter()
        .map(|(_, shard)| shard.write_timeouts)
        .sum();
    page.counter(
        "derp_sclient_write_timeouts",
        "Clients that stopped reading",
        write_timeouts,
    );
    page.counter(
        "derp_websocket_accepts",
        "Clients inside a WebSocket",
        counters.websockets(),
    );
    let help = "Open TLS connections by version";
    page.labelled(
        "derper_tls_active_version",
        "gauge",
        help,
        "version",
        counters.tls_active(),
    );
    let help = "TLS handshakes completed by version";
    page.labelled(
        "derper_tls_request_version",
        "counter",
        help,
        "version",
        counters.tls_established(),
    );
    let taken = counters.accepted().saturating_sub(counters.rejected());
    page.counter(
        "tls_listener_accepted_connections",
        "Connections accepted",
        taken,
    );
    page.counter(
        "tls_listener_rejected_connections",
        "Connections over the accept limit",
        counters.rejected(),
    );
}

fn stun(page: &mut Page, input: &MetricsInput) {
    let families = [("ipv4", input.stun.ipv4), ("ipv6", input.stun.ipv6)];
    page.labelled(
        "stun_addrfamily",
        "counter",
        "STUN requests by family",
        "family",
        families,
    );
    // derper has one name for all that it does not answer.
    let refused = |name: &str| StunError::ALL.iter().any(|error| error.counter() == name);
    let mut ours: Vec<(&str, u64)> = Vec::new();
    for (name, count) in &input.stun.dispositions {
        let name = if refused(name) { "not_stun" } else { name };
        match ours.iter_mut().find(|(our, _)| *our == name) {
            Some((_, sum)) => *sum += count,
            None => ours.push((name, *count)),
        }
    }
    let missing = STUN_DISPOSITIONS
        .iter()
        .filter(|name| !ours.iter().any(|(our, _)| our == *name));
    let dispositions = ours.iter().copied().chain(missing.map(|name| (*name, 0)));
    page.labelled(
        "stun_requests",
        "counter",
        "STUN datagrams by their end",
        "disposition",
        dispositions,
    );
}
