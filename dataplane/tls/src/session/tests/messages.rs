//! Alerts, key updates, tickets, renegotiation: allowed, broken, or too many.

use super::*;

#[test]
fn change_cipher_spec_is_refused_protected_or_not() {
    for suite in SUITES {
        let (session, mut peer) = server(suite);
        let record = peer.seal(content::CHANGE_CIPHER_SPEC, &[1]);
        let error = TlsError::Unexpected("change_cipher_spec");
        assert_ends(session, peer, record, error, alerts::UNEXPECTED_MESSAGE);
    }
    let (session, peer) = server(AES_TLS13);
    let error = TlsError::Unexpected("change_cipher_spec");
    let record = vec![content::CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1];
    assert_ends(session, peer, record, error, alerts::UNEXPECTED_MESSAGE);
}

#[test]
fn plaintext_alerts_are_not_believed() {
    let (session, peer) = server(AES_TLS13);
    let record = vec![
        content::ALERT,
        3,
        3,
        0,
        2,
        alerts::WARNING,
        alerts::CLOSE_NOTIFY,
    ];
    let error = TlsError::Unexpected("plaintext record");
    assert_ends(session, peer, record, error, alerts::UNEXPECTED_MESSAGE);
}

#[test]
fn close_notify_closes_one_direction() {
    for suite in SUITES {
        let (mut session, mut peer) = server(suite);
        let mut close = peer.seal(content::ALERT, &[alerts::WARNING, alerts::CLOSE_NOTIFY]);
        assert_eq!(session.open(&mut close), Ok(Opened::CloseNotify));
        let mut late = peer.seal(content::APPLICATION_DATA, b"late");
        assert_eq!(session.open(&mut late), Err(TlsError::Closed));

        let mut buf = [0; 100];
        let prefix = session.prefix_len();
        buf[prefix..prefix + 5].copy_from_slice(b"still");
        let len = session.seal(&mut buf, 5).unwrap();
        let still = peer.open(buf[..len].to_vec());
        assert_eq!(still, (content::APPLICATION_DATA, b"still".to_vec()));

        let close = peer.open(session.close_notify());
        assert_eq!(
            close,
            (content::ALERT, vec![alerts::WARNING, alerts::CLOSE_NOTIFY])
        );
        assert!(session.close_notify().is_empty());
        assert_eq!(session.seal(&mut buf, 5), Err(TlsError::Closed));
    }
}

#[test]
fn fatal_alerts_end_the_session_without_an_answer() {
    for suite in SUITES {
        let (mut session, mut peer) = server(suite);
        let mut record = peer.seal(content::ALERT, &[alerts::FATAL, alerts::BAD_RECORD_MAC]);
        let error = session.open(&mut record);
        assert_eq!(error, Err(TlsError::Alert(alerts::BAD_RECORD_MAC)));
        assert!(!session.has_output());
        assert_eq!(session.poll_output(), None);
        assert_eq!(session.seal(&mut [0; 100], 1), Err(TlsError::Ended));
    }
}

#[test]
fn warnings_are_counted_in_tls12_and_refused_in_tls13() {
    let no_certificate = [alerts::WARNING, 41];
    let (mut session, mut peer) = server(AES_TLS12);
    for _ in 0..WARNINGS_MAX {
        let mut record = peer.seal(content::ALERT, &no_certificate);
        assert_eq!(session.open(&mut record), Ok(Opened::Handled));
    }
    let record = peer.seal(content::ALERT, &no_certificate);
    let error = TlsError::Flood("warning alerts");
    assert_ends(session, peer, record, error, alerts::UNEXPECTED_MESSAGE);

    let (mut session, mut peer) = server(AES_TLS13);
    let mut record = peer.seal(content::ALERT, &[alerts::WARNING, alerts::USER_CANCELED]);
    assert_eq!(session.open(&mut record), Ok(Opened::Handled));
    let record = peer.seal(content::ALERT, &no_certificate);
    let error = TlsError::Malformed("warning alert in TLS 1.3");
    assert_ends(session, peer, record, error, alerts::DECODE_ERROR);
}

#[test]
fn broken_alerts_are_refused() {
    for broken in [&[][..], &[2], &[2, 40, 0], &[3, 0], &[0, 40]] {
        for suite in SUITES {
            let (mut session, mut peer) = server(suite);
            let mut record = peer.seal(content::ALERT, broken);
            let error = session.open(&mut record).unwrap_err();
            assert!(matches!(error, TlsError::Malformed(_)), "{broken:?}");
        }
    }
}

#[test]
fn key_updates_are_followed_and_answered_once() {
    for suite in SUITES.into_iter().filter(|suite| suite.0 == Version::Tls13) {
        let (mut session, mut peer) = server(suite);
        // Two requests before the answer could be sent: one answer.
        for _ in 0..2 {
            let mut update = peer.seal(content::HANDSHAKE, &[24, 0, 0, 1, 1]);
            peer.sealer.advance();
            assert_eq!(session.open(&mut update), Ok(Opened::Handled));
            let mut data = peer.seal(content::APPLICATION_DATA, b"data");
            assert_eq!(session.open(&mut data), Ok(Opened::Data(5..9)));
        }
        // A record sealed before the answer is polled is under the old key, and comes first.
        let mut before = [0; 100];
        let len = session.seal(&mut before, 3).unwrap();
        peer.open(before[..len].to_vec());

        assert!(session.has_output());
        let answer = peer.open(session.poll_output().unwrap());
        assert_eq!(answer, (content::HANDSHAKE, vec![24, 0, 0, 1, 0]));
        peer.opener.key.advance();
        assert_eq!(session.poll_output(), None);
        let len = session.seal(&mut before, 3).unwrap();
        peer.open(before[..len].to_vec());
    }
}

#[test]
fn key_updates_without_data_are_counted() {
    let (mut session, mut peer) = server(AES_TLS13);
    for _ in 0..IDLE_RECORDS_MAX {
        let mut update = peer.seal(content::HANDSHAKE, &[24, 0, 0, 1, 0]);
        peer.sealer.advance();
        session.open(&mut update).unwrap();
        assert!(!session.has_output());
    }
    let record = peer.seal(content::HANDSHAKE, &[24, 0, 0, 1, 0]);
    let error = TlsError::Flood("key updates");
    assert_ends(session, peer, record, error, alerts::UNEXPECTED_MESSAGE);
}

#[test]
fn broken_handshake_messages_are_refused() {
    for broken in [
        &[24, 0, 0, 1, 2][..],             // unknown request
        &[24, 0, 0, 0],                    // no request
        &[24, 0, 0, 2, 0, 0],              // too long
        &[24, 0, 1, 0],                    // would go on for long
        &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0], // goes on under the old key
        &[],                               // nothing
        &[1, 0, 0, 0],                     // a client hello
        &[13, 0, 0, 0],                    // a certificate request
        &[4, 0, 0, 1, 0],                  // a ticket, for a server
        &[4],                              // the start of one
    ] {
        let (mut session, mut peer) = server(AES_TLS13);
        let mut record = peer.seal(content::HANDSHAKE, broken);
        session.open(&mut record).expect_err(&format!("{broken:?}"));
        assert!(session.has_output());
    }
}

#[test]
fn messages_split_over_records_are_joined() {
    let (mut session, mut peer) = server(AES_TLS13);
    for byte in [24, 0, 0, 1] {
        let mut part = peer.seal(content::HANDSHAKE, &[byte]);
        assert_eq!(session.open(&mut part), Ok(Opened::Handled));
    }
    let mut last = peer.seal(content::HANDSHAKE, &[1]);
    peer.sealer.advance();
    assert_eq!(session.open(&mut last), Ok(Opened::Handled));
    assert!(session.has_output());
    let mut data = peer.seal(content::APPLICATION_DATA, b"data");
    assert_eq!(session.open(&mut data), Ok(Opened::Data(5..9)));

    let mut part = peer.seal(content::HANDSHAKE, &[24, 0]);
    session.open(&mut part).unwrap();
    let between = peer.seal(content::APPLICATION_DATA, b"between");
    session.open(&mut between.clone()).unwrap_err();
}

#[test]
fn a_client_passes_over_tickets_whole_split_or_joined() {
    let mut ticket = vec![4, 0, 1, 0];
    ticket.resize(4 + 256, 9);
    let two = [ticket.clone(), ticket.clone()].concat();
    let (mut session, mut peer) = client(AES_TLS13);
    for part in [
        &ticket[..],
        &two,
        &two[..300],
        &two[300..],
        &two[..1],
        &two[1..],
    ] {
        let mut record = peer.seal(content::HANDSHAKE, part);
        assert_eq!(session.open(&mut record), Ok(Opened::Handled));
    }
    let mut data = peer.seal(content::APPLICATION_DATA, b"data");
    assert_eq!(session.open(&mut data), Ok(Opened::Data(5..9)));

    let endless = peer.seal(content::HANDSHAKE, &[4, 1, 0, 0]);
    let error = TlsError::Malformed("message length");
    assert_ends(session, peer, endless, error, alerts::DECODE_ERROR);
}

#[test]
fn renegotiation_is_refused_once_and_then_fatal() {
    let client_hello = [1, 0, 0, 4, 1, 2, 3, 4];
    let (mut session, mut peer) = server(AES_TLS12);
    let mut record = peer.seal(content::HANDSHAKE, &client_hello);
    assert_eq!(session.open(&mut record), Ok(Opened::Handled));
    let warning = peer.open(session.poll_output().unwrap());
    assert_eq!(
        warning,
        (
            content::ALERT,
            vec![alerts::WARNING, alerts::NO_RENEGOTIATION]
        )
    );
    let record = peer.seal(content::HANDSHAKE, &client_hello);
    let error = TlsError::Flood("renegotiation");
    assert_ends(session, peer, record, error, alerts::UNEXPECTED_MESSAGE);

    let (mut session, mut peer) = client(AES_TLS12);
    let mut hello_request = peer.seal(content::HANDSHAKE, &[0, 0, 0, 0]);
    assert_eq!(session.open(&mut hello_request), Ok(Opened::Handled));
    let finished = peer.seal(content::HANDSHAKE, &[20, 0, 0, 0]);
    session.open(&mut finished.clone()).unwrap_err();
}
