//! A session against a peer that may say anything.

use super::peer::{Peer, SUITES, material};
use super::record::HEADER_BYTES;
use super::*;
use crate::error::alert as alerts;
use crate::suite::TAG_BYTES;

const AES_TLS13: (Version, Cipher) = SUITES[0];
const AES_TLS12: (Version, Cipher) = SUITES[3];

fn server(suite: (Version, Cipher)) -> (Session, Peer) {
    Peer::of_session(false, suite)
}

fn client(suite: (Version, Cipher)) -> (Session, Peer) {
    Peer::of_session(true, suite)
}

/// A record with more data than any may hold, sealed past the sealer's own check.
fn seal_oversize(peer: &mut Peer, data_bytes: usize) -> Vec<u8> {
    let prefix = peer.sealer.prefix_bytes();
    let content_bytes = prefix + data_bytes + peer.sealer.suffix_bytes() - HEADER_BYTES;
    let header = record::header(content::APPLICATION_DATA, content_bytes);
    let key = &mut peer.sealer.key;
    let nonce = key.nonce();
    let mut record = header.to_vec();
    record.extend_from_slice(&nonce[12 - (prefix - HEADER_BYTES)..]);
    record.resize(prefix + data_bytes, 7);
    let aad = match record.len() + TAG_BYTES == HEADER_BYTES + content_bytes {
        true => opener::aad_tls12(key.sequence(), &header, data_bytes).to_vec(),
        false => {
            record.push(content::APPLICATION_DATA);
            header.to_vec()
        }
    };
    let mut tag = [0; TAG_BYTES];
    key.seal(nonce, &aad, &mut record[prefix..], &mut tag)
        .unwrap();
    record.extend_from_slice(&tag);
    record
}

/// Opening `record` must end the session with `error` and send `alert`; nothing works after.
fn assert_ends(
    mut session: Session,
    mut peer: Peer,
    mut record: Vec<u8>,
    error: TlsError,
    alert: u8,
) {
    assert_eq!(session.open(&mut record), Err(error));
    let told = session.poll_output().map(|record| peer.open(record));
    assert_eq!(told, Some((content::ALERT, vec![alerts::FATAL, alert])));
    assert_eq!(session.poll_output(), None);
    let mut good = peer.seal(content::APPLICATION_DATA, b"good");
    assert_eq!(session.open(&mut good), Err(TlsError::Ended));
    assert_eq!(session.seal(&mut [0; 100], 10), Err(TlsError::Ended));
    assert!(session.close_notify().is_empty());
}

#[test]
fn any_changed_bit_ends_the_session() {
    for suite in SUITES {
        let len = server(suite)
            .1
            .seal(content::APPLICATION_DATA, b"data")
            .len();
        for bit in HEADER_BYTES * 8..len * 8 {
            let (session, mut peer) = server(suite);
            let mut record = peer.seal(content::APPLICATION_DATA, b"data");
            record[bit / 8] ^= 1 << (bit % 8);
            assert_ends(
                session,
                peer,
                record,
                TlsError::BadTag,
                alerts::BAD_RECORD_MAC,
            );
        }
    }
}

#[test]
fn records_out_of_order_or_repeated_do_not_open() {
    for suite in SUITES {
        let (session, mut peer) = server(suite);
        let _first = peer.seal(content::APPLICATION_DATA, b"1");
        let second = peer.seal(content::APPLICATION_DATA, b"2");
        assert_ends(
            session,
            peer,
            second,
            TlsError::BadTag,
            alerts::BAD_RECORD_MAC,
        );

        let (mut session, mut peer) = server(suite);
        let record = peer.seal(content::APPLICATION_DATA, b"1");
        session.open(&mut record.clone()).unwrap();
        assert_ends(
            session,
            peer,
            record,
            TlsError::BadTag,
            alerts::BAD_RECORD_MAC,
        );
    }
}

#[test]
fn a_forged_record_moves_no_sequence_number() {
    let (mut session, mut peer) = server(AES_TLS13);
    let mut forged = peer.seal(content::APPLICATION_DATA, b"data");
    forged[9] ^= 1;
    let before = session.opener.key.sequence();
    session.open(&mut forged).unwrap_err();
    assert_eq!(session.opener.key.sequence(), before);
}

#[test]
fn records_shorter_than_their_overhead_are_malformed_or_forged() {
    for suite in SUITES {
        for len in 0..40 {
            let (mut session, _) = server(suite);
            let mut record = vec![content::APPLICATION_DATA, 3, 3, 0, len];
            record.resize(record.len() + usize::from(len), 0);
            let error = session.open(&mut record).unwrap_err();
            assert!(matches!(error, TlsError::Malformed(_) | TlsError::BadTag));
        }
    }
}

#[test]
fn plaintext_of_16_kib_opens_and_one_byte_more_does_not() {
    for suite in SUITES {
        let (mut session, mut peer) = server(suite);
        let largest = vec![7; record::PLAINTEXT_BYTES_MAX];
        let mut record = peer.seal(content::APPLICATION_DATA, &largest);
        let opened = session.open(&mut record);
        assert!(matches!(opened, Ok(Opened::Data(range)) if record[range.clone()] == largest));
    }
    for suite in SUITES {
        let (session, mut peer) = server(suite);
        let record = seal_oversize(&mut peer, record::PLAINTEXT_BYTES_MAX + 1);
        assert!(record::record_len(&record).is_ok());
        assert_ends(
            session,
            peer,
            record,
            TlsError::Oversize,
            alerts::RECORD_OVERFLOW,
        );
    }
}

#[test]
fn padding_counts_toward_the_limit() {
    let (mut session, mut peer) = server(AES_TLS13);
    let mut longest = peer.seal_padded(&[7; 100], record::PLAINTEXT_BYTES_MAX - 100);
    assert_eq!(session.open(&mut longest), Ok(Opened::Data(5..105)));
}

#[test]
fn lengths_beyond_the_limit_are_refused_by_their_header() {
    let too_long = (record::RECORD_BYTES_MAX - HEADER_BYTES + 1) as u16;
    let [high, low] = too_long.to_be_bytes();
    let record = vec![content::APPLICATION_DATA, 3, 3, high, low];
    assert_eq!(record::record_len(&record), Err(TlsError::Oversize));
    let (session, peer) = server(AES_TLS13);
    assert_ends(
        session,
        peer,
        record,
        TlsError::Oversize,
        alerts::RECORD_OVERFLOW,
    );
}

#[test]
fn bytes_that_are_no_record_are_refused() {
    for bytes in [*b"GET /", [0; 5], [24, 3, 3, 0, 20], [23, 2, 3, 0, 20]] {
        let (session, peer) = server(AES_TLS13);
        let error = record::record_len(&bytes).unwrap_err();
        assert_ends(session, peer, bytes.to_vec(), error, alerts::DECODE_ERROR);
    }
}

#[test]
fn a_wrong_slice_is_the_callers_mistake_and_changes_nothing() {
    let (mut session, mut peer) = server(AES_TLS13);
    let mut record = peer.seal(content::APPLICATION_DATA, b"data");
    let len = record.len();
    let misuse = session.open(&mut record[..len - 1]);
    assert!(matches!(misuse, Err(TlsError::Misuse(_))));
    assert!(matches!(session.open(&mut []), Err(TlsError::Misuse(_))));
    assert!(matches!(
        session.seal(&mut [0; 20], 10),
        Err(TlsError::Misuse(_))
    ));
    let mut large = vec![0; 20_000];
    assert!(matches!(
        session.seal(&mut large, 16_385),
        Err(TlsError::Misuse(_))
    ));
    assert_eq!(session.open(&mut record), Ok(Opened::Data(5..9)));
}

#[test]
fn padding_is_stripped() {
    let (mut session, mut peer) = server(AES_TLS13);
    for padding in [1, 15, 16, 17, 1000] {
        let mut record = peer.seal_padded(b"data", padding);
        assert_eq!(session.open(&mut record), Ok(Opened::Data(5..9)));
    }
    let record = peer.seal(0, &[0; 50]);
    let error = TlsError::Unexpected("record of padding only");
    assert_ends(session, peer, record, error, alerts::UNEXPECTED_MESSAGE);
}

#[test]
fn empty_records_are_counted() {
    for suite in SUITES {
        let (mut session, mut peer) = server(suite);
        for _ in 0..3 {
            for _ in 0..IDLE_RECORDS_MAX {
                let mut empty = peer.seal(content::APPLICATION_DATA, b"");
                assert!(
                    matches!(session.open(&mut empty), Ok(Opened::Data(range)) if range.is_empty())
                );
            }
            let mut data = peer.seal(content::APPLICATION_DATA, b"x");
            session.open(&mut data).unwrap();
        }
        for _ in 0..IDLE_RECORDS_MAX {
            session
                .open(&mut peer.seal(content::APPLICATION_DATA, b""))
                .unwrap();
        }
        let record = peer.seal(content::APPLICATION_DATA, b"");
        let error = TlsError::Flood("empty records");
        assert_ends(session, peer, record, error, alerts::UNEXPECTED_MESSAGE);
    }
}

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

#[test]
fn a_tls13_key_is_changed_at_its_limit() {
    let (mut session, mut peer) = server(AES_TLS13);
    session.set_key_limit_blocks(100);
    let mut updates = 0;
    for _ in 0..100 {
        let mut buf = [0; 200];
        let len = session.seal(&mut buf, 160).unwrap();
        let (_, data) = peer.open(buf[..len].to_vec());
        assert_eq!(data.len(), 160);
        while let Some(record) = session.poll_output() {
            let update = peer.open(record);
            assert_eq!(update, (content::HANDSHAKE, vec![24, 0, 0, 1, 0]));
            peer.opener.key.advance();
            updates += 1;
        }
    }
    // Each record counts 12 blocks, so every ninth one is the last.
    assert_eq!(updates, 11);
}

#[test]
fn keys_that_cannot_be_changed_stop_sealing_data_but_not_alerts() {
    let (mut session, mut peer) = server(AES_TLS12);
    session.set_key_limit_blocks(10);
    let mut buf = [0; 200];
    for _ in 0..5 {
        let len = session.seal(&mut buf, 1).unwrap();
        peer.open(buf[..len].to_vec());
    }
    assert_eq!(session.seal(&mut buf, 1), Err(TlsError::KeyUsedUp));
    let (kind, _) = peer.open(session.close_notify());
    assert_eq!(kind, content::ALERT);
}

#[test]
fn sequence_numbers_do_not_wrap() {
    for (version, cipher) in SUITES {
        let last = |seed| KeyMaterial {
            sequence: u64::MAX,
            ..material(cipher, seed)
        };
        let mut session = Session::new(version, false, last(1), last(2), None);
        assert_eq!(session.seal(&mut [0; 100], 1), Err(TlsError::KeyUsedUp));
        let mut record = vec![content::APPLICATION_DATA, 3, 3, 0, 40];
        record.resize(45, 0);
        assert_eq!(session.open(&mut record), Err(TlsError::KeyUsedUp));
    }
}

#[test]
fn a_rested_session_goes_on() {
    for suite in SUITES {
        let (mut session, mut peer) = server(suite);
        for _ in 0..3 {
            session.rest();
            let mut record = peer.seal(content::APPLICATION_DATA, b"data");
            assert!(
                matches!(session.open(&mut record), Ok(Opened::Data(range)) if &record[range.clone()] == b"data")
            );
            let mut buf = [0; 100];
            let len = session.seal(&mut buf, 4).unwrap();
            peer.open(buf[..len].to_vec());
        }
    }
}
