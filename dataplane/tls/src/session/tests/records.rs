//! Records that are changed, out of place, too long or empty; keys at their end.

use super::super::peer::material;
use super::super::record::HEADER_BYTES;
use super::*;
use crate::suite::TAG_BYTES;

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

#[test]
fn only_a_direction_that_is_idle_between_two_looks_rests() {
    for suite in SUITES {
        let (mut session, mut peer) = server(suite);
        let look = |session: &mut Session| {
            session.rest_if_idle();
            (session.opener.key.rests(), session.sealer.key.rests())
        };
        look(&mut session);
        session.seal(&mut [0; 100], 1).unwrap();
        assert_eq!(look(&mut session), (true, false));
        assert_eq!(look(&mut session), (true, true));
        let mut record = peer.seal(content::APPLICATION_DATA, b"data");
        session.open(&mut record).unwrap();
        assert_eq!(look(&mut session), (false, true));
        assert_eq!(look(&mut session), (true, true));
    }
}
