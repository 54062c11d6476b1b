//! Both pages are well formed, and derper's has all of derper's names.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use towline_io::DriverStats;
use towline_tls::Version;

use super::*;

/// The names that the pinned derper shows on `/debug/varz`, without those of Go's runtime, and without the numbers of the whole
/// host's network that it calls the process's.
const DERPER_NAMES: &str = include_str!("derper_names.txt");

#[test]
fn derpers_names_are_all_there() {
    let text = render_varz(&input(), &local());
    let ours: HashSet<&str> = samples(&text).map(|(name, _)| name).collect();
    let missing: Vec<&str> = DERPER_NAMES
        .lines()
        .filter(|name| !ours.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_sample_is_unique_and_follows_its_type() {
    for text in [render(&input(), &local()), render_varz(&input(), &local())] {
        let mut seen = HashSet::new();
        let mut types = HashSet::new();
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split_once(' ').unwrap().0;
                assert!(types.insert(family), "{family} twice");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(name.starts_with(family), "{line} is not in {family}");
                assert!(seen.insert(name), "{line} twice");
            }
        }
    }
}

#[test]
fn shards_are_added() {
    let mut input = input();
    let mut second = input.shards[0].1.clone();
    second.stats.received[0].packets = 2;
    input.shards.push((1, second));
    let text = render_varz(&input, &local());
    assert!(text.contains("\nderp_current_connections 6\n"));
    assert!(text.contains("\nderp_packets_received 12\n"));
    assert!(text.contains("\nderp_packets_received_kind{kind=\"disco\"} 2\n"));
    let text = render(&input, &local());
    assert!(text.contains("\ntowline_relay_shard_connections{shard=\"1\"} 3\n"));
}

#[test]
fn what_shards_observe_is_shown_in_derpers_form_and_in_prometheus_own() {
    let mut input = input();
    let observed = &mut input.shards[0].1.observed;
    for frames in [1, 1, 12, 300] {
        observed.write_frames.observe(frames);
    }
    for micros in [400, 10_000, 60_000, 2_000_000] {
        observed.round_trip_us.observe(micros);
    }
    let varz = render_varz(&input, &local());
    for line in [
        "derp_buffered_write_frames_bucket{le=\"1\"} 2",
        "derp_buffered_write_frames_bucket{le=\"15\"} 3",
        "derp_buffered_write_frames_bucket{le=\"+Inf\"} 4",
        "derp_buffered_write_frames_sum 314",
        "derp_buffered_write_frames_count 4",
        "derp_tcp_rtt{le=\"10ms\"} 2",
        "derp_tcp_rtt{le=\"20ms\"} 0",
        "derp_tcp_rtt{le=\"100ms\"} 1",
        "derp_tcp_rtt{le=\"inf\"} 1",
        "derp_tcp_rtt{le=\"error\"} 1",
    ] {
        assert!(varz.contains(&format!("\n{line}\n")), "{line}: {varz}");
    }
    let ours = render(&input, &local());
    for line in [
        "towline_relay_write_frames_bucket{le=\"15\"} 3",
        "towline_relay_tcp_round_trip_seconds_bucket{le=\"0.01\"} 2",
        "towline_relay_tcp_round_trip_seconds_bucket{le=\"0.1\"} 3",
        "towline_relay_tcp_round_trip_seconds_sum 2.0704",
        "towline_relay_tcp_round_trip_seconds_count 4",
    ] {
        assert!(ours.contains(&format!("\n{line}\n")), "{line}: {ours}");
    }
}

#[test]
fn an_open_tls_connection_counts_until_it_is_dropped() {
    let input = input();
    let active = input.counters.count_tls(Version::Tls13);
    let text = render_varz(&input, &local());
    assert!(text.contains("\nderper_tls_active_version{version=\"1.3\"} 1\n"));
    drop(active);
    let text = render_varz(&input, &local());
    assert!(text.contains("\nderper_tls_active_version{version=\"1.3\"} 0\n"));
    assert!(text.contains("\nderper_tls_request_version{version=\"1.3\"} 1\n"));
}

#[test]
fn handshake_failures_have_their_reason() {
    let input = input();
    input.counters.count_handshake_failure("zero_key");
    input.counters.count_handshake_failure("zero_key");
    let text = render(&input, &local());
    assert!(text.contains("\ntowline_relay_handshake_failures_total{reason=\"zero_key\"} 2\n"));
}

#[test]
fn a_label_cannot_end_its_line() {
    let mut page = text::Page::default();
    page.sample("name", &[("label", &"a\"b\\c\nd")], 1);
    assert_eq!(page.finish(), "name{label=\"a\\\"b\\\\c\\nd\"} 1\n");
}

fn samples(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
}

fn local() -> Local {
    Local {
        process: ProcessFacts::read(),
        memory_at_start_bytes: 1,
        bootstrap: BootstrapCounts::default(),
    }
}

pub(crate) fn input() -> MetricsInput {
    let mut stats = Stats {
        connections: 3,
        ..Stats::default()
    };
    stats.received[1].packets = 5;
    MetricsInput {
        shards: vec![(
            0,
            Snapshot {
                shard: 0,
                stats,
                driver: DriverStats::default(),
                cpu_ns: 1,
                unsent_bytes: 0,
                write_timeouts: 0,
                waited: std::time::Duration::from_millis(2),
                observed: Observations::default(),
                round_trip_errors: 1,
            },
        )],
        counters: Arc::new(Counters::default()),
        stun: StunCounts {
            ipv4: 1,
            ipv6: 0,
            dispositions: vec![("success", 1), ("rate_limited", 0)],
        },
        admission: vec![("allowed", 1), ("denied", 0)],
        half_open: 0,
        certificate_expiry: Some(1_800_000_000),
        uptime: Duration::from_secs(5),
        version: "1.2.3",
        modes: Modes {
            driver: "epoll",
            ..Modes::default()
        },
        rate_limit: None,
    }
}
