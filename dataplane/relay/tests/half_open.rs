//! One host that opens connections and says nothing does not keep others out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use support::{PATIENCE, Relay};
use towline_relay::config::DriverChoice;

const PLACES: u32 = 4;
/// Shorter than any deadline of a handshake, after which the silent ones would be gone anyhow.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Another host than the one that the silent connections come from.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn connect_from(source: Ipv4Addr, relay: &Relay) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&relay.address.into()).unwrap();
    TcpStream::from(socket)
}

/// A page, asked for by another host.
fn page(relay: &Relay, path: &str) -> std::io::Result<String> {
    let mut stream = connect_from(ELSEWHERE, relay);
    stream.set_read_timeout(Some(AT_ONCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A number of `/metrics`; 0 for one that is not there yet.
fn failures(relay: &Relay, reason: &str) -> u64 {
    let name = format!("towline_relay_handshake_failures_total{{reason=\"{reason}\"}} ");
    let page = page(relay, "/metrics").unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |value| value.parse().unwrap())
}

#[test]
fn a_host_that_says_nothing_does_not_keep_others_out() {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        let relay = Relay::start_with(false, driver, |config| {
            config.limits.half_open_max = Some(PLACES);
        });
        let mut silent = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        // Over and over: a connection that the test itself made before may still have a place, and then leave it.
        while failures(&relay, "gave_way") == 0 || failures(&relay, "no_place") == 0 {
            silent.extend((0..3 * PLACES).map(|_| connect_from(Ipv4Addr::LOCALHOST, &relay)));
            let answer = page(&relay, "/").unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(Instant::now() < deadline, "nobody gave way");
            thread::sleep(Duration::from_millis(20));
        }
        drop(silent);
    }
}
