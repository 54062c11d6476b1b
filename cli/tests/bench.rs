//! `towline bench relay` against `towline relay`, both as they are installed: every scenario ends
//! by itself and reports. What the figures are is for scripts/bench.sh.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{PATIENCE, Started, page};

struct Relay {
    process: Started,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Relay {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let process = Command::new(env!("CARGO_BIN_EXE_towline"))
            .args(["relay", "-stun=false", "-http-port", "-1", "-a"])
            .arg(format!("127.0.0.1:{port}"))
            .arg("-c")
            .arg(dir.path().join("relay.key"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let relay = Self {
            process: Started(process),
            port,
            _dir: dir,
        };
        page(SocketAddr::from(([127, 0, 0, 1], port)), "/derp/probe");
        relay
    }

    fn bench(&self, line: &str) -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_towline"))
            .args(["bench", "relay", &format!("http://127.0.0.1:{}", self.port)])
            .args(line.split_whitespace())
            .args(["--relay-pid", &self.process.0.id().to_string()])
            .args("--output json --quiet --duration 300ms --warm-up 100ms".split(' '))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn every_scenario_reports() {
    let relay = Relay::start();
    for line in [
        "--pairs 2",
        "--pairs 2 --packets-per-write 4 --size 16KiB --in-flight 4",
        "--websocket",
        "--threads 2",
        "fan-in --senders 3",
        "overload --offered-mbit 20",
        "latency --bulk-mbit 10",
    ] {
        let report = relay.bench(line);
        let delivered = &report["delivered"];
        assert!(delivered["packets"].as_u64() > Some(0), "{line}: {report}");
        assert_eq!(delivered["reordered"], 0, "{line}: {report}");
        assert_eq!(report["clients_lost"], 0, "{line}: {report}");
        assert!(
            report["relay"]["cpu_us_per_packet"].as_f64() > Some(0.0),
            "{line}"
        );
    }
    let latency = relay.bench("latency --probes-per-second 100");
    assert!(latency["rtt_us"]["p99"].as_f64() > Some(1.0), "{latency}");
    assert_eq!(latency["rtt_us"]["lost"], 0);
    assert_eq!(latency["probes_beside_bulk"], false);
    let beside = relay.bench("latency --bulk-mbit 10");
    assert_eq!(beside["probes_beside_bulk"], true);
    // Far more than any machine takes, and than any link is asked for while it is full.
    let flooded = relay.bench("overload --offered-mbit 1000000");
    let delivered = &flooded["delivered"];
    let asked = 1e12 / 8.0 / 1400.0 * flooded["seconds"].as_f64().unwrap();
    let told = (delivered["sent"].as_f64().unwrap()) + delivered["unsent"].as_f64().unwrap();
    assert!((0.5..1.5).contains(&(told / asked)), "{flooded}");
    let peak = relay.bench("overload");
    assert!(peak["peak_limited_by_generator"].is_boolean(), "{peak}");
    let idle = relay.bench("idle --clients 50");
    assert_eq!(
        (&idle["clients"], &idle["clients_lost"]),
        (&50.into(), &0.into())
    );
    let handshakes = relay.bench("handshakes --at-once 2");
    assert!(handshakes["handshakes"].as_u64() > Some(0), "{handshakes}");
    let none = (&handshakes["clients_lost"], &handshakes["dials_failed"]);
    assert_eq!(none, (&0.into(), &0.into()), "{handshakes}");
}

#[test]
fn a_relay_that_is_not_there_is_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_towline"))
        .args("bench relay http://127.0.0.1:1 --quiet".split(' '))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("cannot connect"), "{stderr}");
}

#[test]
fn a_relay_that_ends_meanwhile_is_said() {
    let mut relay = Relay::start();
    let bench = Command::new(env!("CARGO_BIN_EXE_towline"))
        .args([
            "bench",
            "relay",
            &format!("http://127.0.0.1:{}", relay.port),
        ])
        .args("--pairs 1 --output json --quiet --duration 3s --warm-up 0s".split(' '))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], relay.port));
    let deadline = Instant::now() + PATIENCE;
    while page(address, "/debug/varz").contains("\nderp_packets_received 0\n") {
        assert!(Instant::now() < deadline, "no packet comes");
        std::thread::sleep(Duration::from_millis(20));
    }
    relay.process.0.kill().unwrap();
    let output = bench.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("closed all 2 connections"), "{stderr}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["clients_lost"], 2, "{report}");
}
