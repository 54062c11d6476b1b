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

async fn decide(admission: &Admission, secs: u64, request: &AdmitRequest) -> Verdict {
    admission.decide(at(secs), request).await.verdict
}

/// How long a controller thinks about an answer.
const THOUGHT: Duration = Duration::from_millis(100);

/// Answers one connection after the other with these bodies, then closes: who asks more finds nobody.
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
            std::thread::sleep(THOUGHT);
            let len = body.len();
            // The relay may have hung up.
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}"
            );
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

fn count(admission: &Admission, name: &str) -> u64 {
    let counts = admission.counts();
    counts
        .into_iter()
        .find(|(known, _)| *known == name)
        .unwrap()
        .1
}

const ALLOW: Verdict = Verdict::Allow { limits: None };
const NOT_ALLOWED: Verdict = Verdict::Deny(DenyReason::NotAllowed);
const UNAVAILABLE: Verdict = Verdict::Deny(DenyReason::Unavailable);
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1/";

#[tokio::test]
async fn without_a_rule_everyone_may_and_it_is_said() {
    let admission = Admission::new(&AdmissionConfig::default()).unwrap();
    assert_eq!(decide(&admission, 0, &request(1)).await, ALLOW);
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
            decide(&admission, 0, &request(1)).await,
            Verdict::Allow { limits }
        );
    }
    assert_eq!(decide(&admission, 0, &request(2)).await, NOT_ALLOWED);
    assert_eq!(count(&admission, "cache_hits"), 2);
    assert_eq!(count(&admission, "allowed"), 3);
    assert_eq!(count(&admission, "denied"), 1);
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
    assert_eq!(decide(&admission, 0, &request(1)).await, ALLOW);
    assert_eq!(
        decide(&admission, 600, &request(1)).await,
        ALLOW,
        "an error is an outage too"
    );
    thread.join().unwrap();
    assert_eq!(decide(&admission, 601, &request(1)).await, ALLOW);
    assert_eq!(decide(&admission, 601, &request(2)).await, UNAVAILABLE);
    assert_eq!(decide(&admission, 7200, &request(1)).await, UNAVAILABLE);
    assert_eq!(admission.controller_reachable(), Some(false));
    let mesh = AdmitRequest {
        mesh: true,
        ..request(3)
    };
    assert_eq!(decide(&admission, 601, &mesh).await, ALLOW);
}

#[tokio::test]
async fn only_an_answer_counts_as_one_not_a_connection_in_an_outage() {
    let (url, thread) = controller(vec![
        (200, r#"{"Allow":true}"#),
        (200, r#"{"Allow":false}"#),
    ]);
    let admission = admission(url, false);
    let answered_at = |key| admission.allowed_at(&request(key).key);
    assert_eq!(answered_at(1), None);
    assert_eq!(decide(&admission, 10, &request(1)).await, ALLOW);
    assert_eq!(decide(&admission, 10, &request(2)).await, NOT_ALLOWED);
    thread.join().unwrap();
    let first = answered_at(1).unwrap();
    assert!(first >= at(10) && first < at(600));
    assert_eq!(decide(&admission, 600, &request(1)).await, ALLOW);
    let silent = admission.recheck(at(7200), &request(1)).await;
    assert_eq!(silent, Recheck::Silent);
    assert_eq!(answered_at(1), Some(first));
    assert_eq!(answered_at(2), None);
}

#[tokio::test]
async fn fail_open_must_be_asked_for() {
    let admission = admission(NOWHERE.to_owned(), true);
    assert_eq!(decide(&admission, 0, &request(1)).await, ALLOW);
    assert_eq!(admission.warnings().len(), 1);
}

#[tokio::test]
async fn fail_open_lets_in_neither_the_refused_nor_on_an_answer_of_no_use() {
    let (url, thread) = controller(vec![(200, r#"{"Allow":false}"#), (503, "busy")]);
    let admission = admission(url, true);
    assert_eq!(decide(&admission, 0, &request(1)).await, NOT_ALLOWED);
    assert_eq!(decide(&admission, 0, &request(2)).await, UNAVAILABLE);
    thread.join().unwrap();
    assert_eq!(decide(&admission, 600, &request(1)).await, NOT_ALLOWED);
    assert_eq!(decide(&admission, 600, &request(3)).await, ALLOW);
}

#[tokio::test]
async fn only_a_plain_short_json_answer_is_of_use() {
    let long: &'static str = Box::leak(format!(r#"{{"Allow":true,"x":"{:5000}"}}"#, "").into());
    let bodies = vec![
        (204, r#"{"Allow":true}"#),
        (302, r#"{"Allow":true}"#),
        (200, "yes"),
        (200, long),
        (200, "{}"),
    ];
    let (url, thread) = controller(bodies);
    let admission = admission(url, true);
    for key in 1..=4 {
        assert_eq!(decide(&admission, 0, &request(key)).await, UNAVAILABLE);
    }
    assert_eq!(decide(&admission, 0, &request(5)).await, NOT_ALLOWED);
    assert_eq!(count(&admission, "errors"), 4);
    thread.join().unwrap();
}

#[tokio::test]
async fn equal_questions_at_the_same_time_are_asked_once() {
    let (url, thread) = controller(vec![(200, r#"{"Allow":true}"#), (500, "broken")]);
    let admission = Arc::new(admission(url, false));
    for (key, expected) in [(1, ALLOW), (2, UNAVAILABLE)] {
        let ask = || {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move { decide(&admission, 0, &request(key)).await })
        };
        let asking: Vec<_> = (0..20).map(|_| ask()).collect();
        for verdict in asking {
            assert_eq!(verdict.await.unwrap(), expected);
        }
    }
    assert_eq!(count(&admission, "questions"), 2);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_still_has_its_question_answered() {
    let (url, thread) = controller(vec![(200, r#"{"Allow":true}"#)]);
    let admission = admission(url, false);
    let impatient = tokio::time::timeout(THOUGHT / 2, decide(&admission, 0, &request(1))).await;
    assert!(impatient.is_err());
    assert_eq!(decide(&admission, 1, &request(1)).await, ALLOW);
    assert_eq!(count(&admission, "questions"), 1);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_key_that_moves_is_asked_about_again() {
    let (url, thread) = controller(vec![
        (200, r#"{"Allow":true}"#),
        (200, r#"{"Allow":false}"#),
    ]);
    let admission = admission(url, false);
    assert_eq!(decide(&admission, 0, &request(1)).await, ALLOW);
    let elsewhere = AdmitRequest {
        addr: "198.51.100.1:1".parse().unwrap(),
        ..request(1)
    };
    assert_eq!(decide(&admission, 1, &elsewhere).await, NOT_ALLOWED);
    thread.join().unwrap();
}

/// Without this, all who reconnect would wait for a controller that hangs, one timeout after the other.
#[tokio::test]
async fn in_an_outage_known_clients_do_not_wait() {
    let (url, thread) = controller(vec![(200, r#"{"Allow":true}"#)]);
    let admission = admission(url, false);
    assert_eq!(decide(&admission, 0, &request(1)).await, ALLOW);
    thread.join().unwrap();
    for _ in 0..3 {
        assert_eq!(decide(&admission, 600, &request(1)).await, ALLOW);
    }
    assert_eq!(count(&admission, "questions"), 2);
    assert_eq!(decide(&admission, 610, &request(1)).await, ALLOW);
    assert_eq!(count(&admission, "questions"), 3, "the outage may be over");
}

#[tokio::test]
async fn keys_in_the_file_are_admitted_without_asking() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("allowed");
    std::fs::write(&path, format!("{}\n", NodePublic([1; 32]))).unwrap();
    let mut config = AdmissionConfig {
        allow_file: Some(path.clone()),
        ..AdmissionConfig::default()
    };
    let file_alone = Admission::new(&config).unwrap();
    config.verify_url = Some(NOWHERE.to_owned());
    let both = Admission::new(&config).unwrap();
    assert_eq!(file_alone.mode(), AdmissionMode::AllowList);
    assert_eq!(both.mode(), AdmissionMode::Callback);
    for (admission, stranger) in [(&file_alone, NOT_ALLOWED), (&both, UNAVAILABLE)] {
        assert_eq!(decide(admission, 0, &request(1)).await, ALLOW);
        assert_eq!(decide(admission, 0, &request(2)).await, stranger);
        let prober = AdmitRequest {
            prober: true,
            ..request(2)
        };
        assert_eq!(decide(admission, 0, &prober).await, stranger);
    }
    std::fs::write(&path, format!("{}\n", NodePublic([2; 32]))).unwrap();
    assert!(
        !file_alone.changed() && file_alone.changed(),
        "at the second look"
    );
    let early = file_alone.decide(at(0), &request(1)).await;
    let left = file_alone.reload().unwrap().unwrap();
    assert!(left.allow(&request(2).key) && !left.allow(&request(1).key));
    assert_eq!(early.verdict, ALLOW);
    assert!(left.overrule(early.generation, &request(1).key));
    assert!(!left.overrule(early.generation, &request(2).key));
    let later = file_alone.decide(at(0), &request(2)).await;
    assert!(
        !left.overrule(later.generation, &request(1).key),
        "it was known"
    );
    assert_eq!(decide(&file_alone, 0, &request(1)).await, NOT_ALLOWED);
}

#[tokio::test]
async fn new_rules_keep_what_the_same_controller_said() {
    let (url, thread) = controller(vec![(200, r#"{"Allow":true}"#)]);
    let mut config = AdmissionConfig {
        verify_url: Some(url),
        ..AdmissionConfig::default()
    };
    let admission = Admission::new(&config).unwrap();
    assert_eq!(decide(&admission, 0, &request(1)).await, ALLOW);
    thread.join().unwrap();
    config.fail_open = true;
    admission.configure(&config).unwrap();
    assert_eq!(decide(&admission, 1, &request(1)).await, ALLOW);
    assert_eq!(count(&admission, "cache_hits"), 1);
    config.allow_file = Some("/nonexistent".into());
    assert!(admission.configure(&config).is_err());
    assert_eq!(admission.mode(), AdmissionMode::Callback);
    let closed = AdmissionConfig {
        verify_url: Some(NOWHERE.to_owned()),
        ..AdmissionConfig::default()
    };
    admission.configure(&closed).unwrap();
    assert_eq!(decide(&admission, 1, &request(1)).await, UNAVAILABLE);
}

/// The stage runs on either runtime.
#[test]
fn the_controller_is_asked_from_an_io_uring_runtime_too() {
    let (url, thread) = controller(vec![(200, r#"{"Allow":true}"#)]);
    let admission = admission(url, false);
    let verdict = tokio_uring::start(async { decide(&admission, 0, &request(1)).await });
    assert_eq!(verdict, ALLOW);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_connected_client_goes_by_the_controllers_word_alone() {
    let (url, thread) = controller(vec![
        (200, r#"{"Allow":true}"#),
        (200, r#"{"Allow":true}"#),
        (500, "broken"),
        (200, r#"{"Allow":false}"#),
    ]);
    let admission = admission(url, false);
    assert_eq!(decide(&admission, 0, &request(1)).await, ALLOW);
    let client = request(1);
    let recheck = |secs| admission.recheck(at(secs), &client);
    assert_eq!(recheck(10).await, Recheck::Allowed, "still fresh, unasked");
    assert_eq!(recheck(300).await, Recheck::Allowed);
    assert_eq!(recheck(600).await, Recheck::Silent, "an error is no word");
    assert_eq!(recheck(900).await, Recheck::Refused);
    thread.join().unwrap();
    // It is gone now, and what it said last still holds.
    assert_eq!(recheck(1200).await, Recheck::Refused);
    assert_eq!(count(&admission, "questions"), 5);
    assert_eq!(count(&admission, "rechecks"), 5);
    assert_eq!(count(&admission, "revoked"), 2);
    assert_eq!(
        (count(&admission, "allowed"), count(&admission, "denied")),
        (1, 0),
        "nobody came"
    );
}

/// Strangers without number wait for a controller that is slow; who was allowed before does not wait for them.
#[tokio::test]
async fn a_known_key_does_not_stand_behind_strangers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/verify", listener.local_addr().unwrap());
    let known = NodePublic([1; 32]).to_string();
    // It allows the known key at once, twice, and says nothing about others.
    let thread = std::thread::spawn(move || {
        let mut silent = Vec::new();
        let mut answers = 0;
        while answers < 2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            while !bytes.ends_with(b"}") {
                let n = stream.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..n]);
            }
            if !String::from_utf8_lossy(&bytes).contains(&known) {
                silent.push(stream);
                continue;
            }
            answers += 1;
            let head = "HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: 14";
            let _ = write!(stream, "{head}\r\n\r\n{{\"Allow\":true}}");
        }
    });
    let admission = Arc::new(admission(url, false));
    assert_eq!(decide(&admission, 0, &request(1)).await, ALLOW);
    let strangers: Vec<_> = (2..=200)
        .map(|key| {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move { decide(&admission, 0, &request(key)).await })
        })
        .collect();
    // Until all that can ask has asked.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    // Before a stranger's question has had its time. The known key's answer is too old by then, so it is asked about.
    let before_any = towline_wire::limits::ADMISSION_TIMEOUT / 2;
    let known = request(1);
    let verdict = tokio::time::timeout(before_any, decide(&admission, 600, &known)).await;
    assert_eq!(verdict.expect("it does not wait for strangers"), ALLOW);
    strangers.iter().for_each(tokio::task::JoinHandle::abort);
    thread.join().unwrap();
}
