//! `towline relay` as a service manager starts it: with sockets that are open already, and a watchdog.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::{PATIENCE, Started, page};
use towline_wire::stun::{TransactionId, binding_request, parse_binding_response};

/// What a service manager holds: a socket for each purpose of the relay.
struct Sockets {
    main: TcpListener,
    http: TcpListener,
    stun: UdpSocket,
}

impl Sockets {
    fn open() -> Self {
        Self {
            main: TcpListener::bind("127.0.0.1:0").unwrap(),
            http: TcpListener::bind("127.0.0.1:0").unwrap(),
            stun: UdpSocket::bind("127.0.0.1:0").unwrap(),
        }
    }

    fn descriptors(&self) -> [OwnedFd; 3] {
        [
            self.main.try_clone().unwrap().into(),
            self.http.try_clone().unwrap().into(),
            self.stun.try_clone().unwrap().into(),
        ]
    }
}

fn relay(dir: &Path) -> Command {
    let script = r#"
        exec 3<&0 4<&1 5<&2 </dev/null >/dev/null 2>"$LOG"
        LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$0" relay "$@""#;
    let mut command = Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_towline")])
        .args(["--certmode", "self-signed", "--hostname", "127.0.0.1"])
        .args(["--shards", "3", "--drain-time", "10ms", "--certdir"])
        .arg(dir)
        .arg("-c")
        .arg(dir.join("relay.key"))
        .arg("--admin-socket")
        .arg(dir.join("relay.sock"))
        .env("LOG", dir.join("log"));
    command
}

/// Starts it as systemd does, with the descriptors from 3 on; `names` are theirs, in this order.
fn start(
    mut command: Command,
    [first, second, third]: [OwnedFd; 3],
    names: Option<&str>,
) -> Started {
    command
        .stdin(Stdio::from(first))
        .stdout(Stdio::from(second))
        .stderr(Stdio::from(third))
        .env("LISTEN_FDS", "3");
    match names {
        Some(names) => command.env("LISTEN_FDNAMES", names),
        None => command.env_remove("LISTEN_FDNAMES"),
    };
    Started(command.spawn().unwrap())
}

impl Started {
    fn terminate(mut self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

/// The first line of the answer to a request for a page.
fn status_line(address: SocketAddr, path: &str) -> String {
    let answer = page(address, path);
    answer.lines().next().unwrap_or_default().to_owned()
}

/// All three sockets are served.
fn assert_served(sockets: &Sockets) {
    // Waits in the listen queue until the relay is up.
    let http = sockets.http.local_addr().unwrap();
    assert_eq!(
        status_line(http, "/generate_204"),
        "HTTP/1.1 204 No Content"
    );

    let main = sockets.main.local_addr().unwrap();
    let bench = towline(&["bench", "relay", &format!("https://{main}"), "idle"])
        .args("--insecure --clients 8 --duration 100ms --quiet --output json".split(' '))
        .output()
        .unwrap();
    assert!(bench.status.success(), "{}", text(&bench));

    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let transaction = TransactionId([7; 12]);
    let request = binding_request(&transaction);
    client
        .send_to(&request, sockets.stun.local_addr().unwrap())
        .unwrap();
    let mut answer = [0; 256];
    let (len, _) = client.recv_from(&mut answer).unwrap();
    let (answered, seen) = parse_binding_response(&answer[..len]).unwrap();
    assert_eq!(
        (answered, seen),
        (transaction, client.local_addr().unwrap())
    );
}

fn towline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
    command.args(arguments);
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn passed_sockets_are_served_and_outlive_the_relay() {
    let dir = tempfile::tempdir().unwrap();
    let sockets = Sockets::open();
    let start = || {
        start(
            relay(dir.path()),
            sockets.descriptors(),
            Some("derp:http:stun"),
        )
    };
    let first = start();
    assert_served(&sockets);
    first.terminate();
    // Nobody serves it now, and yet it is taken: a client that comes during a restart is not refused.
    let mut early = TcpStream::connect(sockets.http.local_addr().unwrap()).unwrap();
    early
        .write_all(b"GET /generate_204 HTTP/1.1\r\nHost: relay\r\n\r\n")
        .unwrap();
    let _second = start();
    assert_served(&sockets);
    let mut answer = [0; 12];
    early.set_read_timeout(Some(PATIENCE)).unwrap();
    early.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 204");
}

#[test]
fn without_names_ports_say_what_they_are_for() {
    let dir = tempfile::tempdir().unwrap();
    let sockets = Sockets::open();
    let port = |address: SocketAddr| address.port().to_string();
    let mut command = relay(dir.path());
    command
        .args(["-a", &sockets.main.local_addr().unwrap().to_string()])
        .args(["-http-port", &port(sockets.http.local_addr().unwrap())])
        .args(["-stun-port", &port(sockets.stun.local_addr().unwrap())]);
    let _relay = start(command, sockets.descriptors(), None);
    assert_served(&sockets);
}

#[test]
fn a_socket_of_no_use_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let sockets = Sockets::open();
    let mut relay = start(
        relay(dir.path()),
        sockets.descriptors(),
        Some("stun:http:derp"),
    );
    assert_eq!(relay.0.wait().unwrap().code(), Some(1));
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains("passed a socket (stun): stun is UDP"), "{log}");
}

#[test]
fn the_watchdog_hears_of_a_relay_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = relay(dir.path());
    command
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .env("WATCHDOG_USEC", "100000");
    let _relay = start(
        command,
        Sockets::open().descriptors(),
        Some("derp:http:stun"),
    );
    let mut heard = [0; 64];
    let mut next = || {
        let len = manager.recv(&mut heard).unwrap();
        String::from_utf8_lossy(&heard[..len]).into_owned()
    };
    assert_eq!(next(), "READY=1\n");
    assert_eq!(next(), "WATCHDOG=1\n");
    assert_eq!(next(), "WATCHDOG=1\n");
}
