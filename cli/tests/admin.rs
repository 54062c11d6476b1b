//! `towline relay status|clients|kick|limit|drain` against a relay that is only its admin socket.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use towline_relay::admin::{
    AdminHandler, ClientCursor, ClientEntry, ClientsPage, ClientsQuery, LimitChange, Refusal,
    Status, bind, serve,
};
use towline_wire::NodePublic;

const CLIENTS: u8 = 5;

/// A relay with five clients that puts two on a page.
#[derive(Default)]
struct FakeRelay {
    limits: Mutex<Vec<LimitChange>>,
    draining: Mutex<bool>,
}

fn key(number: u8) -> NodePublic {
    NodePublic([number; 32])
}

fn client(number: u8) -> ClientEntry {
    ClientEntry {
        key: key(number),
        connection: u64::from(number),
        address: ([192, 0, 2, number], 4000).into(),
        shard: 0,
        connected_ms: 61_000,
        mesh: false,
        prober: false,
        home: true,
        active: number != 3,
        app_name: (number == 4).then(|| "evil\u{1b}[2J".to_owned()),
        bytes_received: 1 << 20,
        bytes_sent: 0,
        queued_bytes: 0,
        packets_dropped: 0,
        limit_bytes_per_second: None,
    }
}

impl AdminHandler for FakeRelay {
    async fn status(&self) -> Result<Status, Refusal> {
        let mut status: Status =
            serde_json::from_str(include_str!("status.json")).expect("the file is a status");
        status.draining = *self.draining.lock().expect("no test panics with it");
        Ok(status)
    }

    async fn clients(&self, query: ClientsQuery) -> Result<ClientsPage, Refusal> {
        let rest = (1..=CLIENTS)
            .map(client)
            .filter(|client| query.after.is_none_or(|after| client.key > after.key))
            .filter(|client| query.key.is_none_or(|key| client.key == key));
        let clients: Vec<_> = rest.take(query.limit.min(2) as usize).collect();
        let last = clients
            .last()
            .filter(|last| last.key < key(CLIENTS) && query.key.is_none());
        let next = last.map(|last| ClientCursor {
            key: last.key,
            connection: last.connection,
        });
        Ok(ClientsPage {
            clients,
            next,
            total: u64::from(CLIENTS),
        })
    }

    async fn kick(&self, key: NodePublic) -> Result<u32, Refusal> {
        Ok((1..=CLIENTS)
            .filter(|&number| self::key(number) == key)
            .count() as u32)
    }

    async fn limit(&self, change: LimitChange) -> Result<u32, Refusal> {
        self.limits
            .lock()
            .expect("no test panics with it")
            .push(change);
        Ok(1)
    }

    async fn drain(&self, over: Option<Duration>) -> Result<(u64, Duration), Refusal> {
        *self.draining.lock().expect("no test panics with it") = true;
        Ok((u64::from(CLIENTS), over.unwrap_or(Duration::from_secs(20))))
    }
}

/// Runs `asks` on the socket of a relay that ends once it drains.
fn with_relay(asks: impl FnOnce(&Path) + Send + 'static) -> Arc<FakeRelay> {
    let relay = Arc::new(FakeRelay::default());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("relay.sock");
    let (ended, end) = std::sync::mpsc::channel();
    let asking = std::thread::spawn({
        let path = path.clone();
        move || {
            while !path.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            asks(&path);
            let _ = ended.send(());
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = bind(&path).expect("a socket");
        let serving = tokio::spawn(serve(listener, Arc::clone(&relay)));
        // Ends a moment after a drain began, or when the test has asked everything.
        let mut drained_ticks = 0;
        while drained_ticks < 40 && end.try_recv().is_err() && !asking.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            drained_ticks += u32::from(*relay.draining.lock().expect("no test panics with it"));
        }
        serving.abort();
    });
    // Connections end with their runtime.
    drop(runtime);
    asking.join().expect("the test's own assertions");
    relay
}

fn towline(socket: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_towline"))
        .arg("relay")
        .args(line.split_whitespace())
        .arg("--admin-socket")
        .arg(socket)
        .output()
        .expect("the binary starts")
}

/// Ends with `code`; gives stdout and stderr together.
#[track_caller]
fn ends(socket: &Path, line: &str, code: i32) -> String {
    let output = towline(socket, line);
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}: {text}");
    text
}

#[test]
fn status_as_a_table_and_as_json() {
    with_relay(|socket| {
        assert!(ends(socket, "status", 0).contains("admission    open to everyone"));
        let json = ends(socket, "status --output json", 0);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["admission"]["mode"], "open");
    });
}

#[test]
fn clients_of_all_pages() {
    with_relay(|socket| {
        let table = ends(socket, "clients", 0);
        assert_eq!(table.lines().count(), 1 + usize::from(CLIENTS), "{table}");
        assert!(
            table.contains("192.0.2.3:4000") && table.contains("standby"),
            "{table}"
        );
        assert!(
            !table.contains('\u{1b}'),
            "a client's name must not reach the terminal raw"
        );
        let some = ends(socket, "clients --limit 3", 0);
        assert!(
            some.contains("3 of 5 connections; --limit 0 shows all"),
            "{some}"
        );
        let json = ends(socket, "clients --limit 0 --output json", 0);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            json["clients"].as_array().unwrap().len(),
            usize::from(CLIENTS)
        );
        let one = ends(socket, &format!("clients --key {}", key(2)), 0);
        assert!(
            one.contains("192.0.2.2") && one.lines().count() == 2,
            "{one}"
        );
    });
}

#[test]
fn kick_says_what_it_did() {
    with_relay(|socket| {
        let text = ends(socket, &format!("kick {}", key(1)), 0);
        assert!(
            text.starts_with("closing 1 connection(s) of nodekey:0101"),
            "{text}"
        );
        let text = ends(socket, &format!("kick {}", key(99)), 1);
        assert!(text.contains("is not connected"), "{text}");
    });
}

#[test]
fn limits_are_read_in_peoples_units() {
    let relay = with_relay(|socket| {
        ends(socket, &format!("limit {} 1.5MB --burst 1MiB", key(1)), 0);
        let text = ends(socket, &format!("limit {} none", key(1)), 0);
        assert!(text.contains("now have no limit"), "{text}");
        ends(socket, &format!("limit {} 1Mbit", key(1)), 2);
    });
    let limits = relay.limits.lock().unwrap();
    let given: Vec<_> = limits
        .iter()
        .map(|change| (change.bytes_per_second, change.burst_bytes))
        .collect();
    assert_eq!(given, [(1_500_000, 1 << 20), (0, 0)]);
}

#[test]
fn drain_waits_for_the_end() {
    with_relay(|socket| {
        let text = ends(socket, "drain --over 1s --wait", 0);
        assert!(text.contains("closing 5 connection(s) within 1s"), "{text}");
        ends(socket, "status", 1);
    });
}
