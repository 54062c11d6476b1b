//! While the admission controller is away, a client that reconnects stays no longer than one that did not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use support::{Client, Relay};
use towline_relay::config::DriverChoice;

/// How long a controller that is away leaves its clients connected.
const KEEP_TIME: Duration = Duration::from_secs(4);
/// When the client reconnects, after it was allowed.
const RECONNECTS_AFTER: Duration = Duration::from_secs(2);
const CLIENT: u8 = 1;

/// Allows whom it is first asked about, and is away then; gives its URL.
fn controller() -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/verify", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.ends_with(b"}") {
            let len = stream.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..len]);
        }
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 14";
        write!(stream, "{head}\r\n\r\n{{\"Allow\":true}}").unwrap();
    });
    (url, thread)
}

#[test]
fn a_reconnect_in_an_outage_does_not_begin_the_keep_time_anew() {
    let (url, controller) = controller();
    let relay = Relay::start_with(false, DriverChoice::Auto, |config| {
        config.admission.verify_url = Some(url);
        config.admission.cache_time = Duration::ZERO;
        config.admission.keep_time = KEEP_TIME;
        config.admission.recheck_time = Duration::from_millis(100);
    });
    let first = Client::connect(&relay, CLIENT, None);
    controller.join().unwrap();
    thread::sleep(RECONNECTS_AFTER);
    drop(first);
    let mut second = Client::connect(&relay, CLIENT, None);
    let reconnected = Instant::now();
    second.wait_for_close();
    let stayed = reconnected.elapsed();
    assert!(stayed < KEEP_TIME, "{stayed:?}");
}
