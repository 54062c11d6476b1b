//! A client whose key the admission controller takes back is disconnected; while the controller is away, nobody is.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod support;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{PATIENCE, Started, page};

const CLIENTS: usize = 3;

/// What the controller of the test says.
#[derive(Default)]
struct Rules {
    refused: HashSet<String>,
    is_away: bool,
}

/// Answers as derper's callback does, by the rules of the moment; gives its URL.
fn controller(rules: Arc<Mutex<Rules>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/verify", listener.local_addr().unwrap());
    // It ends with the process of the test.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let rules = rules.lock().unwrap();
            if rules.is_away {
                continue;
            }
            // One asker that leaves is no reason to leave the others without an answer.
            let _ = answer(&mut stream.unwrap(), &rules.refused);
        }
    });
    url
}

fn answer(stream: &mut TcpStream, refused: &HashSet<String>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"}") {
        let len = stream.read(&mut buffer)?;
        request.extend_from_slice(&buffer[..len]);
    }
    let request = String::from_utf8_lossy(&request);
    let allow = !refused.iter().any(|key| request.contains(key.as_str()));
    let body = format!("{{\"Allow\":{allow}}}");
    let len = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}"
    )
}

fn towline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn start_relay(dir: &Path, controller: &str) -> (Started, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let relay = towline()
        .args(["relay", "-stun=false", "-http-port", "-1"])
        .args(["-verify-client-url", controller])
        .args("--admission-cache-time 0s --admission-recheck-time 100ms --shards 2".split(' '))
        .args(["-a", &address.to_string(), "-c"])
        .arg(dir.join("relay.key"))
        .arg("--admin-socket")
        .arg(dir.join("relay.sock"))
        .spawn()
        .unwrap();
    let relay = Started(relay);
    wait_until("the relay answers", || {
        let status = towline()
            .args(["relay", "status", "--admin-socket"])
            .arg(dir.join("relay.sock"))
            .status();
        status.unwrap().success()
    });
    (relay, address)
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The keys that are connected.
fn connected(dir: &Path) -> HashSet<String> {
    let output = towline()
        .args(["relay", "clients", "--output", "json", "--admin-socket"])
        .arg(dir.join("relay.sock"))
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let page: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let clients = page["clients"].as_array().unwrap().iter();
    clients
        .map(|client| client["key"].as_str().unwrap().to_owned())
        .collect()
}

/// A number of `towline_relay_admission_total`.
fn count(relay: SocketAddr, event: &str) -> u64 {
    let page = page(relay, "/metrics");
    let name = format!("towline_relay_admission_total{{event=\"{event}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap().parse().unwrap()
}

#[test]
fn a_revoked_key_is_disconnected_and_an_outage_disconnects_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Arc::new(Mutex::new(Rules::default()));
    let (_relay, address) = start_relay(dir.path(), &controller(Arc::clone(&rules)));
    let clients = towline()
        .args(["bench", "relay", &format!("http://{address}"), "idle"])
        .args(["--clients", &CLIENTS.to_string(), "--duration", "10m"])
        .spawn()
        .unwrap();
    let _clients = Started(clients);
    wait_until("all are connected", || {
        connected(dir.path()).len() == CLIENTS
    });
    let before = connected(dir.path());

    rules.lock().unwrap().is_away = true;
    let seen = count(address, "rechecks");
    wait_until("all were looked at in the outage", || {
        count(address, "rechecks") >= seen + 3 * CLIENTS as u64
    });
    assert_eq!(connected(dir.path()), before);
    assert_eq!(count(address, "revoked"), 0);

    let revoked = before.iter().next().unwrap().clone();
    *rules.lock().unwrap() = Rules {
        refused: HashSet::from([revoked.clone()]),
        is_away: false,
    };
    wait_until("the revoked one is gone", || {
        !connected(dir.path()).contains(&revoked)
    });
    let seen = count(address, "rechecks");
    wait_until("the others were looked at again", || {
        count(address, "rechecks") >= seen + 2 * CLIENTS as u64
    });
    let mut others = before;
    others.remove(&revoked);
    assert_eq!(connected(dir.path()), others);
    assert!(count(address, "revoked") >= 1);
}
