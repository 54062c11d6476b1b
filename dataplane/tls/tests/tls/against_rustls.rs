//! Our handshakes and sessions with a `rustls` at the other end, for every suite and role.

use towline_tls::{
    Cipher, ClientOptions, Established, Opened, ServerOptions, TlsError, Version, record_len,
};

use crate::common::{receive, seal, suites};
use crate::rustls_peer::{Pki, RustlsPeer, our_client, our_server};

/// Both roles of ours, each with a `rustls` peer that has sent `first data`.
fn both_roles(
    pki: &Pki,
    (version, cipher): (Version, Cipher),
    chunk: usize,
) -> [(Established, RustlsPeer); 2] {
    let server = pki.our_server(&ServerOptions::default());
    let client = pki.our_client(&ClientOptions::default());
    [
        our_server(
            &server,
            pki.rustls_client(version, cipher),
            b"first data",
            chunk,
        ),
        our_client(
            &client,
            pki.rustls_server(version, cipher),
            b"first data",
            chunk,
        ),
    ]
}

#[test]
fn data_that_comes_with_the_handshake_is_neither_lost_nor_opened_twice() {
    let pki = Pki::new();
    for suite in suites() {
        for chunk in [1, 7, 1000, usize::MAX] {
            for (mut ours, mut peer) in both_roles(&pki, suite, chunk) {
                assert_eq!((ours.version, ours.cipher), suite);
                let data = receive(&mut ours.session, &mut ours.leftover);
                assert_eq!(data, Ok(b"first data".to_vec()));
                assert!(ours.leftover.is_empty());
                peer.feed(&seal(&mut ours.session, b"answer")).unwrap();
                assert_eq!(peer.data(), b"answer");
            }
        }
    }
}

#[test]
fn streams_of_records_of_all_sizes() {
    let pki = Pki::new();
    for suite in suites() {
        for (mut ours, mut peer) in both_roles(&pki, suite, usize::MAX) {
            receive(&mut ours.session, &mut ours.leftover).unwrap();
            for size in (1..16_384).step_by(701).chain([16_384]) {
                let data: Vec<u8> = (0..size).map(|i| i as u8).collect();
                peer.feed(&seal(&mut ours.session, &data)).unwrap();
                assert_eq!(peer.data(), data);
                let mut wire = peer.send(&data);
                assert_eq!(receive(&mut ours.session, &mut wire), Ok(data));
            }
        }
    }
}

#[test]
fn key_updates_in_both_directions() {
    let pki = Pki::new();
    for suite in suites().filter(|(version, _)| *version == Version::Tls13) {
        for (mut ours, mut peer) in both_roles(&pki, suite, usize::MAX) {
            receive(&mut ours.session, &mut ours.leftover).unwrap();
            for round in 0..4 {
                // The peer updates and asks us to.
                peer.0.refresh_traffic_keys().unwrap();
                let mut wire = peer.send(b"under new keys");
                let data = receive(&mut ours.session, &mut wire);
                assert_eq!(data, Ok(b"under new keys".to_vec()));
                let answer = ours.session.poll_output().unwrap();
                peer.feed(&answer).unwrap();
                peer.feed(&seal(&mut ours.session, b"ours too")).unwrap();
                assert_eq!(peer.data(), b"ours too");

                // We update, and in every second round ask the peer to.
                ours.session.update_keys(round % 2 == 0);
                peer.feed(&ours.session.poll_output().unwrap()).unwrap();
                peer.feed(&seal(&mut ours.session, b"newer")).unwrap();
                assert_eq!(peer.data(), b"newer");
                let mut wire = peer.send(b"newer still");
                let data = receive(&mut ours.session, &mut wire);
                assert_eq!(data, Ok(b"newer still".to_vec()));
                assert_eq!(ours.session.poll_output(), None);
            }
        }
    }
}

#[test]
fn keys_change_at_their_limit_without_a_pause() {
    let pki = Pki::new();
    for suite in suites().filter(|(version, _)| *version == Version::Tls13) {
        for (mut ours, mut peer) in both_roles(&pki, suite, usize::MAX) {
            ours.session.set_key_limit_blocks(20);
            let mut updates = 0;
            for _ in 0..50 {
                while let Some(update) = ours.session.poll_output() {
                    updates += 1;
                    peer.feed(&update).unwrap();
                }
                peer.feed(&seal(&mut ours.session, &[1; 100])).unwrap();
                assert_eq!(peer.data(), [1; 100]);
            }
            assert!(updates > 10);
        }
    }
}

#[test]
fn close_notify_both_ways() {
    let pki = Pki::new();
    for suite in suites() {
        for (mut ours, mut peer) in both_roles(&pki, suite, usize::MAX) {
            receive(&mut ours.session, &mut ours.leftover).unwrap();
            peer.0.send_close_notify();
            let mut record = peer.output();
            assert_eq!(record_len(&record), Ok(Some(record.len())));
            assert_eq!(ours.session.open(&mut record), Ok(Opened::CloseNotify));

            peer.feed(&seal(&mut ours.session, b"last words")).unwrap();
            peer.feed(&ours.session.close_notify()).unwrap();
            assert_eq!(peer.data(), b"last words");
            let state = peer.0.process_new_packets().unwrap();
            assert!(state.peer_has_closed());
        }
    }
}

#[test]
fn our_alert_for_a_bad_record_is_understood() {
    let pki = Pki::new();
    for suite in suites() {
        for (mut ours, mut peer) in both_roles(&pki, suite, usize::MAX) {
            receive(&mut ours.session, &mut ours.leftover).unwrap();
            let mut record = peer.send(b"data");
            *record.last_mut().unwrap() ^= 1;
            assert_eq!(ours.session.open(&mut record), Err(TlsError::BadTag));
            let alert = ours.session.poll_output().unwrap();
            let error = peer.feed(&alert).unwrap_err();
            let bad_record_mac = rustls::AlertDescription::BadRecordMac;
            assert_eq!(error, rustls::Error::AlertReceived(bad_record_mac));
        }
    }
}

#[test]
fn rustls_alert_for_a_bad_record_is_understood() {
    let pki = Pki::new();
    for suite in suites() {
        for (mut ours, mut peer) in both_roles(&pki, suite, usize::MAX) {
            receive(&mut ours.session, &mut ours.leftover).unwrap();
            let mut record = seal(&mut ours.session, b"data");
            *record.last_mut().unwrap() ^= 1;
            peer.feed(&record).unwrap_err();
            let mut alert = peer.output();
            assert_eq!(ours.session.open(&mut alert), Err(TlsError::Alert(20)));
        }
    }
}

#[test]
fn tickets_resume_in_both_roles() {
    let pki = Pki::new();
    for (version, cipher) in suites() {
        // A rustls client that keeps our tickets.
        let server = pki.our_server(&ServerOptions::default());
        let client = pki.rustls_client(version, cipher);
        for resumed in [false, true, true] {
            let (mut ours, mut peer) = our_server(&server, client.clone(), b"x", usize::MAX);
            assert_eq!(ours.resumed, resumed, "{version:?} {cipher:?}");
            let data = receive(&mut ours.session, &mut ours.leftover);
            assert_eq!(data, Ok(b"x".to_vec()));
            peer.feed(&seal(&mut ours.session, b"y")).unwrap();
            assert_eq!(peer.data(), b"y");
        }

        // Our client with the tickets of rustls.
        let client = pki.our_client(&ClientOptions {
            resumption_servers: 4,
            ..ClientOptions::default()
        });
        let mut server = pki.rustls_server(version, cipher);
        server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        for resumed in [false, true, true] {
            let (mut ours, _peer) = our_client(&client, server.clone(), b"x", usize::MAX);
            assert_eq!(ours.resumed, resumed, "{version:?} {cipher:?}");
            let data = receive(&mut ours.session, &mut ours.leftover);
            assert_eq!(data, Ok(b"x".to_vec()));
        }
    }
}
