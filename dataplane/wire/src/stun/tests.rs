//! Messages as real programs send them, and what is refused.

use core::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;

/// RFC 5769 section 2.1: a request with SOFTWARE, ICE attributes, USERNAME, MESSAGE-INTEGRITY and
/// FINGERPRINT. Its ICE attributes must be understood, so it is right and yet not for us.
const RFC5769_REQUEST: &[u8] =
    b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x10STUN test client\
\x00\x24\x00\x04\x6e\x00\x01\xff\
\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
\x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\
\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
\x80\x28\x00\x04\xe5\x7a\x3b\xcf";

/// RFC 5769 section 2.2: the answer 192.0.2.1:32853.
const RFC5769_RESPONSE_V4: &[u8] =
    b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0btest vector\x20\
\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
\x80\x28\x00\x04\xc0\x7d\x4c\x96";

/// RFC 5769 section 2.3: the answer [2001:db8:1234:5678:11:2233:4455:6677]:32853.
const RFC5769_RESPONSE_V6: &[u8] =
    b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0btest vector\x20\
\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
\x80\x28\x00\x04\xc8\xfb\x0b\x4c";

const RFC5769_ID: TransactionId = TransactionId([
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
]);

const ID: TransactionId = TransactionId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

/// A message around `attributes`, with the length that fits them.
fn message(kind: u16, attributes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(attributes.len()).unwrap();
    [&header(kind, len, &ID)[..], attributes].concat()
}

fn request(attributes: &[u8]) -> Vec<u8> {
    message(BINDING_REQUEST, attributes)
}

/// The same, closed by a right FINGERPRINT.
fn fingerprinted(attributes: &[u8]) -> Vec<u8> {
    let mut bytes = request(&[attributes, b"\x80\x28\x00\x04\0\0\0\0"].concat());
    let end = bytes.len() - 8;
    let value = fingerprint::fingerprint(&[&bytes[..end]]);
    bytes[end + 4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

#[test]
fn a_request_of_ours_is_tailscales_byte_by_byte() {
    let bytes = binding_request(&ID);
    let expected =
        b"\x00\x01\x00\x14\x21\x12\xa4\x42\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\
\x80\x22\x00\x08tailnode\x80\x28\x00\x04\xb3\x2c\x37\x0f";
    assert_eq!(bytes, *expected);
    assert_eq!(parse_binding_request(&bytes), Ok(ID));
}

#[test]
fn requests_of_other_programs_are_answered() {
    for (name, bytes) in [
        ("the header alone, as WebRTC sends it", request(b"")),
        (
            "SOFTWARE with padding",
            request(b"\x80\x22\x00\x05abcde\0\0\0"),
        ),
        (
            "SOFTWARE with padding of any value",
            request(b"\x80\x22\x00\x05abcde\xff\xff\xff"),
        ),
        ("FINGERPRINT alone", fingerprinted(b"")),
        ("both", fingerprinted(b"\x80\x22\x00\x03abc\0")),
        (
            "USERNAME, which only a server with users minds",
            request(b"\x00\x06\x00\x04user"),
        ),
        (
            "an unknown attribute that may be ignored",
            request(b"\xff\xfe\x00\x00"),
        ),
    ] {
        assert_eq!(parse_binding_request(&bytes), Ok(ID), "{name}");
    }
}

#[test]
fn what_is_not_stun() {
    let good = request(b"");
    let mut no_cookie = good.clone();
    no_cookie[4] ^= 1;
    let mut high_bits = good.clone();
    high_bits[0] |= 0x80;
    for bytes in [&good[..19], &no_cookie, &high_bits, b"", b"\x13\x37"] {
        assert_eq!(parse_binding_request(bytes), Err(StunError::NotStun));
    }
}

#[test]
fn what_is_not_a_binding_request() {
    // Binding indication, success and error responses; an Allocate request of TURN.
    for kind in [0x0011, 0x0101, 0x0111, 0x0003] {
        assert_eq!(
            parse_binding_request(&message(kind, b"")),
            Err(StunError::NotBinding)
        );
    }
}

#[test]
fn lengths_must_fit() {
    let mut long = request(b"\x80\x22\x00\x04abcd");
    long.extend_from_slice(&[0; 4]);
    let mut short = request(b"\x80\x22\x00\x04abcd");
    short.truncate(24);
    for (name, bytes) in [
        ("datagram longer than the message", long),
        ("datagram shorter than the message", short),
        ("half of an attribute's head", request(b"\x80\x22")),
        ("a value past the end", request(b"\x80\x22\x00\x05abcd")),
        ("padding past the end", request(b"\x80\x22\x00\x03abc")),
        ("a length of 65535", request(b"\x80\x22\xff\xffabcd")),
    ] {
        assert_eq!(
            parse_binding_request(&bytes),
            Err(StunError::Malformed),
            "{name}"
        );
    }
}

#[test]
fn a_fingerprint_must_be_right_and_last() {
    let mut wrong = fingerprinted(b"");
    *wrong.last_mut().unwrap() ^= 1;
    let twice = fingerprinted(&fingerprinted(b"")[HEADER_LEN..]);
    for (name, bytes) in [
        ("wrong", wrong),
        (
            "not last",
            request(&[&fingerprinted(b"")[HEADER_LEN..], b"\x80\x22\x00\x00"].concat()),
        ),
        ("twice", twice),
        ("empty", request(b"\x80\x28\x00\x00")),
        ("eight bytes", request(b"\x80\x28\x00\x08\0\0\0\0\0\0\0\0")),
    ] {
        assert_eq!(
            parse_binding_request(&bytes),
            Err(StunError::BadFingerprint),
            "{name}"
        );
    }
}

#[test]
fn a_required_attribute_that_is_unknown_is_not_passed_over() {
    let change_request = request(b"\x00\x03\x00\x04\0\0\0\x06");
    assert_eq!(
        parse_binding_request(&change_request),
        Err(StunError::UnknownAttribute)
    );
    assert_eq!(
        parse_binding_request(RFC5769_REQUEST),
        Err(StunError::UnknownAttribute)
    );
    // … but the test vector is well-formed up to its FINGERPRINT: a changed byte is noticed.
    let mut changed = RFC5769_REQUEST.to_vec();
    changed[30] ^= 1;
    assert_eq!(
        parse_binding_request(&changed),
        Err(StunError::BadFingerprint)
    );
}

#[test]
fn an_ipv4_client_gets_four_bytes_and_an_ipv6_client_sixteen() {
    let v4 = binding_response(&RFC5769_ID, "192.0.2.1:32853".parse().unwrap());
    assert_eq!(
        v4[..20],
        *b"\x01\x01\x00\x0c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae"
    );
    assert_eq!(v4[20..], RFC5769_RESPONSE_V4[36..48]);

    let mapped = binding_response(&RFC5769_ID, "[::ffff:192.0.2.1]:32853".parse().unwrap());
    assert_eq!(*mapped, *v4, "on a dual-stack socket too");

    let v6_addr = "[2001:db8:1234:5678:11:2233:4455:6677]:32853"
        .parse()
        .unwrap();
    let v6 = binding_response(&RFC5769_ID, v6_addr);
    assert_eq!(v6[2..4], [0, 24]);
    assert_eq!(v6[20..], RFC5769_RESPONSE_V6[36..60]);
}

#[test]
fn answers_of_other_servers_are_read() {
    let v4 = "192.0.2.1:32853".parse().unwrap();
    let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853"
        .parse()
        .unwrap();
    assert_eq!(
        parse_binding_response(RFC5769_RESPONSE_V4),
        Ok((RFC5769_ID, v4))
    );
    assert_eq!(
        parse_binding_response(RFC5769_RESPONSE_V6),
        Ok((RFC5769_ID, v6))
    );

    let old = message(
        BINDING_SUCCESS,
        b"\x00\x01\x00\x08\0\x01\x80\x55\xc0\x00\x02\x01",
    );
    assert_eq!(
        parse_binding_response(&old),
        Ok((ID, v4)),
        "MAPPED-ADDRESS alone"
    );
    let draft = message(
        BINDING_SUCCESS,
        b"\x80\x20\x00\x08\0\x01\xa1\x47\xe1\x12\xa6\x43",
    );
    assert_eq!(
        parse_binding_response(&draft),
        Ok((ID, v4)),
        "the number of the drafts"
    );
}

#[test]
fn answers_without_an_address_are_refused() {
    for attributes in [
        &b""[..],
        b"\x00\x20\x00\x04\0\x01\0\0",
        b"\x00\x20\x00\x08\0\x03\0\0\0\0\0\0",
        b"\x00\x20\x00\x08\0\x02\0\0\0\0\0\0",
        b"\x00\x01\x00\x00",
    ] {
        let bytes = message(BINDING_SUCCESS, attributes);
        assert_eq!(parse_binding_response(&bytes), Err(StunError::Malformed));
    }
    assert_eq!(
        parse_binding_response(&request(b"")),
        Err(StunError::NotBinding)
    );
    assert_eq!(parse_binding_response(b"no"), Err(StunError::NotStun));
}

#[test]
fn every_reason_has_a_counter_of_its_own() {
    let names: std::collections::HashSet<_> = StunError::ALL.iter().map(|e| e.counter()).collect();
    assert_eq!(names.len(), StunError::ALL.len());
}

proptest! {
    #[test]
    fn a_response_comes_back_as_it_went(id: [u8; 12], v6: bool, ip: [u8; 16], port: u16) {
        let (a, b, c, d) = (ip[0], ip[1], ip[2], ip[3]);
        let ip = if v6 { IpAddr::from(ip).to_canonical() } else { IpAddr::from([a, b, c, d]) };
        let source = SocketAddr::new(ip, port);
        let id = TransactionId(id);
        prop_assert_eq!(parse_binding_response(&binding_response(&id, source)), Ok((id, source)));
    }

    #[test]
    fn a_request_comes_back_as_it_went_and_no_changed_one_does(id: [u8; 12], at in 0..320_usize) {
        // A FINGERPRINT of another type is none, and none is needed.
        prop_assume!(!(32..34).contains(&(at / 8)));
        let id = TransactionId(id);
        let mut bytes = binding_request(&id);
        prop_assert_eq!(parse_binding_request(&bytes), Ok(id));
        bytes[at / 8] ^= 1 << (at % 8);
        prop_assert!(parse_binding_request(&bytes).is_err());
    }

    #[test]
    fn no_prefix_is_taken_for_the_whole(cut in 0..REQUEST_LEN) {
        prop_assert!(parse_binding_request(&binding_request(&ID)[..cut]).is_err());
    }

    #[test]
    fn nothing_panics(tail in prop::collection::vec(any::<u8>(), 0..64), kind: bool) {
        let kind = if kind { BINDING_REQUEST } else { BINDING_SUCCESS };
        let _ = parse_binding_request(&tail);
        let _ = parse_binding_request(&message(kind, &tail));
        let _ = parse_binding_response(&message(kind, &tail));
    }
}
