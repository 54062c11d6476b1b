//! Admission against a small HTTP server.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use super::*;

fn request(key: u8) -> AdmitRequest {
    AdmitRequest {
        key: NodePublic([key; 32]),
        addr: "192.0.2.1:1".parse().unwrap(),
        mesh: false,
        prober: false,
    }
}

fn at(secs: u64) -> Time {
    Time::ZERO + Duration::from_secs(secs)
}

/// Answers one connection after the other with these bodies, then closes.
fn controller(bodies: Vec<(u16, &'static str)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/verify", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for (status, body) in bodies {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            while !bytes.ends_with(b"}") {
                let n = stream.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..n]);
            }
            asked.push(String::from_utf8(bytes).unwrap());
            let len = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}"
            )
            .unwrap();
        }
        asked
    });
    (url, thread)
}

fn admission(url: String, fail_open: bool) -> Admission {
    let config = AdmissionConfig {
        verify_url: Some(url),
        fail_open,
        ..AdmissionConfig::default()
    };
    Admission::new(&config).unwrap()
}

const ALLOW: Verdict = Verdict::Allow { limits: None };

#[tokio::test]
async fn without_a_rule_everyone_may_and_it_is_said() {
    let admission = Admission::new(&AdmissionConfig::default()).unwrap();
    assert_eq!(admission.decide(at(0), &request(1)).await, ALLOW);
    assert_eq!(admission.mode(), AdmissionMode::Open);
    assert_eq!(admission.warnings().len(), 1);
}

#[tokio::test]
async fn the_controller_is_asked_once_while_its_verdict_is_fresh() {
    let (url, thread) = controller(vec![
        (200, r#"{"Allow":true,"BytesPerSecond":1000000}"#),
        (200, r#"{"Allow":false}"#),
    ]);
    let admission = admission(url, false);
    let limits = Some(towline_derp::connected::RateLimit {
        bytes_per_second: 1_000_000,
        burst_bytes: 65_568,
    });
    for _ in 0..3 {
        assert_eq!(
            admission.decide(at(0), &request(1)).await,
            Verdict::Allow { limits }
        );
    }
    assert_eq!(
        admission.decide(at(0), &request(2)).await,
        Verdict::Deny(DenyReason::NotAllowed)
    );
    let asked = thread.join().unwrap();
    let json = format!(
        r#"{{"NodePublic":"{}","Source":"192.0.2.1"}}"#,
        NodePublic([1; 32])
    );
    assert!(
        asked[0].starts_with("POST /verify ") && asked[0].ends_with(&json),
        "{}",
        asked[0]
    );
}

#[tokio::test]
async fn in_an_outage_known_clients_stay_and_unknown_ones_are_refused() {
    let (url, thread) = controller(vec![(200, r#"{"Allow":true}"#), (500, "broken")]);
    let admission = admission(url, false);
    assert_eq!(admission.decide(at(0), &request(1)).await, ALLOW);
    assert_eq!(
        admission.decide(at(600), &request(1)).await,
        ALLOW,
        "an error is an outage too"
    );
    thread.join().unwrap();
    assert_eq!(admission.decide(at(601), &request(1)).await, ALLOW);
    assert_eq!(
        admission.decide(at(601), &request(2)).await,
        Verdict::Deny(DenyReason::Unavailable)
    );
    assert_eq!(
        admission.decide(at(7200), &request(1)).await,
        Verdict::Deny(DenyReason::Unavailable)
    );
    assert_eq!(admission.controller_reachable(), Some(false));
    let mesh = AdmitRequest {
        mesh: true,
        ..request(3)
    };
    assert_eq!(admission.decide(at(601), &mesh).await, ALLOW);
}

#[tokio::test]
async fn fail_open_must_be_asked_for() {
    let admission = admission("http://127.0.0.1:1/".to_owned(), true);
    assert_eq!(admission.decide(at(0), &request(1)).await, ALLOW);
    assert_eq!(admission.warnings().len(), 1);
}
