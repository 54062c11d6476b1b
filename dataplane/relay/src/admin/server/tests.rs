//! Client and server over a real socket in a temporary directory.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream as BlockingStream;
use std::sync::Mutex;

use towline_wire::NodePublic;

use super::*;
use crate::admin::{
    AdmissionMode, AdmissionStatus, Client, ClientCursor, ClientEntry, ClientError, ClientsPage,
    ClientsQuery, ConnectionCounts, DriverStatus, LimitChange, Status,
};

const ALICE: NodePublic = NodePublic([0xa1; 32]);
const BOB: NodePublic = NodePublic([0xb0; 32]);

/// A relay with two clients, of whom Bob is connected twice.
#[derive(Default)]
struct FakeRelay {
    limits: Mutex<Vec<LimitChange>>,
}

fn entry(key: NodePublic, connection: u64) -> ClientEntry {
    ClientEntry {
        key,
        connection,
        address: "192.0.2.1:4000".parse().unwrap(),
        shard: 0,
        connected_ms: 1500,
        mesh: false,
        prober: false,
        home: true,
        active: true,
        app_name: None,
        bytes_received: 1,
        bytes_sent: 2,
        queued_bytes: 0,
        packets_dropped: 0,
        limit_bytes_per_second: None,
    }
}

impl AdminHandler for FakeRelay {
    async fn status(&self) -> Result<Status, Refusal> {
        Ok(Status {
            version: "1.2.3".to_owned(),
            process_id: 7,
            uptime_ms: 5,
            server_key: ALICE,
            hostname: "relay.example.com".to_owned(),
            draining: false,
            driver: DriverStatus {
                name: "epoll".to_owned(),
                fallback_cause: None,
                features: Vec::new(),
            },
            admission: AdmissionStatus {
                mode: AdmissionMode::Open,
                allowed_keys: None,
                cached_answers: None,
                controller_reachable: None,
            },
            listeners: Vec::new(),
            connections: ConnectionCounts::default(),
            shards: Vec::new(),
            certificate: None,
            mesh: Vec::new(),
            resident_bytes: 0,
            warnings: Vec::new(),
        })
    }

    async fn clients(&self, query: ClientsQuery) -> Result<ClientsPage, Refusal> {
        assert!((1..=CLIENTS_PER_PAGE_MAX).contains(&query.limit));
        let all = [entry(ALICE, 1), entry(BOB, 2), entry(BOB, 3)];
        let place = |entry: &ClientEntry| ClientCursor {
            key: entry.key,
            connection: entry.connection,
        };
        let rest: Vec<_> = all
            .iter()
            .filter(|entry| query.after.is_none_or(|after| place(entry) > after))
            .collect();
        let page: Vec<_> = rest
            .iter()
            .take(query.limit as usize)
            .map(|&entry| entry.clone())
            .collect();
        let next = (page.len() < rest.len()).then(|| place(&page[page.len() - 1]));
        Ok(ClientsPage {
            clients: page,
            next,
            total: 3,
        })
    }

    async fn kick(&self, key: NodePublic) -> Result<u32, Refusal> {
        Ok(if key == BOB { 2 } else { 0 })
    }

    async fn limit(&self, change: LimitChange) -> Result<u32, Refusal> {
        self.limits.lock().unwrap().push(change);
        Ok(1)
    }

    async fn drain(&self, over: Option<Duration>) -> Result<(u64, Duration), Refusal> {
        Ok((3, over.unwrap_or(Duration::from_secs(8))))
    }
}

/// Runs `asks` on a thread of its own against a served fake relay.
fn with_relay(asks: impl FnOnce(&Path) + Send + 'static) -> Arc<FakeRelay> {
    let relay = Arc::new(FakeRelay::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/relay.sock");
        let listener = bind(&path).unwrap();
        let asking = tokio::task::spawn_blocking(move || asks(&path));
        tokio::select! {
            ended = serve(listener, Arc::clone(&relay)) => panic!("serve ended: {ended:?}"),
            asked = asking => asked.unwrap(),
        }
    });
    relay
}

#[test]
fn every_request_is_answered_over_one_connection() {
    let relay = with_relay(|path| {
        let mut client = Client::connect(path).unwrap();
        assert_eq!(client.status().unwrap().version, "1.2.3");
        assert_eq!(client.kick(BOB).unwrap(), 2);
        let change = LimitChange {
            key: BOB,
            bytes_per_second: 1000,
            burst_bytes: 2000,
        };
        assert_eq!(client.limit(change).unwrap(), 1);
        let over = Some(Duration::from_millis(250));
        assert_eq!(client.drain(over).unwrap(), (3, Duration::from_millis(250)));
        assert_eq!(client.drain(None).unwrap(), (3, Duration::from_secs(8)));
    });
    assert_eq!(relay.limits.lock().unwrap().len(), 1);
}

#[test]
fn only_root_and_the_relays_own_user_may_ask() {
    assert!(may_ask(0, 990) && may_ask(990, 990) && may_ask(0, 0));
    assert!(!may_ask(1000, 990) && !may_ask(1000, 0));
}

#[test]
fn clients_come_in_pages() {
    with_relay(|path| {
        let mut client = Client::connect(path).unwrap();
        let first = client
            .clients(ClientsQuery {
                limit: 2,
                ..ClientsQuery::default()
            })
            .unwrap();
        assert_eq!(first.clients, [entry(ALICE, 1), entry(BOB, 2)]);
        assert_eq!(
            first.next,
            Some(ClientCursor {
                key: BOB,
                connection: 2
            })
        );
        let rest = ClientsQuery {
            after: first.next,
            ..ClientsQuery::default()
        };
        let last = client.clients(rest).unwrap();
        assert_eq!(last.clients, [entry(BOB, 3)]);
        assert_eq!(last.next, None);
    });
}

#[test]
fn a_key_that_is_not_connected_is_a_refusal() {
    with_relay(|path| {
        let error = Client::connect(path).unwrap().kick(ALICE).unwrap_err();
        let ClientError::Refused(refusal) = error else {
            panic!("{error:?}")
        };
        assert_eq!(refusal.kind, RefusalKind::NotFound);
    });
}

#[test]
fn nonsense_is_answered_and_the_connection_goes_on() {
    with_relay(|path| {
        let mut stream = BufReader::new(BlockingStream::connect(path).unwrap());
        for line in [
            "hello",
            "{}",
            r#"{"version":1,"request":"explode"}"#,
            r#"{"version":99}"#,
        ] {
            writeln!(stream.get_mut(), "{line}").unwrap();
            let mut reply = String::new();
            stream.read_line(&mut reply).unwrap();
            assert!(reply.contains("bad_request"), "{line}: {reply}");
        }
        writeln!(stream.get_mut(), r#"{{"version":1,"request":"status"}}"#).unwrap();
        let mut reply = String::new();
        stream.read_line(&mut reply).unwrap();
        assert!(reply.contains("1.2.3"), "{reply}");
    });
}

#[test]
fn an_endless_line_closes_the_connection() {
    with_relay(|path| {
        let mut stream = BlockingStream::connect(path).unwrap();
        // Fails midway once the other end has closed.
        let _ = stream.write_all(&vec![b'x'; 4 * REQUEST_BYTES_MAX]);
        let mut reply = String::new();
        assert!(BufReader::new(stream).read_line(&mut reply).is_err() || reply.is_empty());
    });
}

#[test]
fn a_socket_left_behind_is_replaced_and_a_live_one_is_not() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _context = runtime.enter();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.sock");
    drop(bind(&path).unwrap());
    assert!(path.exists());
    let alive = bind(&path).unwrap();
    assert!(matches!(bind(&path), Err(BindError::InUse(_))));
    drop(alive);
    let file = dir.path().join("precious");
    fs::write(&file, "data").unwrap();
    assert!(matches!(bind(&file), Err(BindError::NotASocket(_))));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_relay_that_is_stuck_is_said_in_one_sentence_that_tells_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.sock");
    let _stuck = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let within = Duration::from_millis(50);
    let mut client = Client::connect_with(&path, within).unwrap();
    let error = client.status().unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
    // As the commands print it, with all causes.
    let told = format!("{:#}", anyhow::Error::from(error));
    let path = path.display();
    assert_eq!(
        told,
        format!(
            "the relay at {path} did not answer within 0.05 s: its log says what it does, and a \
             restart helps if it is stuck"
        )
    );
}

#[test]
fn nobody_at_home_is_said_plainly() {
    let dir = tempfile::tempdir().unwrap();
    let error = Client::connect(&dir.path().join("none.sock")).unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)));
}
