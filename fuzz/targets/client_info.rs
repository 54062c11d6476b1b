//! What a client says of itself in its sealed box, from a client that holds its key: the box opens only unchanged,
//! anything in it is read or refused, and what is read can be written and read again.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use towline_derp::handshake::server::{ServerHandshake, Step, Verdict};
use towline_derp::handshake::{HandshakeError, Malformation, Misbehaviour};
use towline_fuzz::derp::{self, KNOWN};
use towline_fuzz::take_byte;
use towline_wire::frame::{self, HEADER_LEN};
use towline_wire::info::{ClientInfo, InfoError};
use towline_wire::limits::APP_NAME_BYTES_MAX;

/// Input: a byte (0, or the place where the box is changed on the way), then the JSON.
fn run(mut input: &[u8]) -> Option<()> {
    let place = take_byte(&mut input)?;
    if place > 0 {
        change_on_the_way(input, place);
        return None;
    }
    let parsed = ClientInfo::parse(input);
    if let Ok(info) = &parsed {
        write_again(info);
    }
    introduce(input, parsed);
    Some(())
}

/// Written again it says the same.
fn write_again(info: &ClientInfo) {
    assert!(info.app_name.len() <= APP_NAME_BYTES_MAX);
    assert!(!info.app_name.chars().any(char::is_control));
    let again = ClientInfo::parse(&info.to_json()).expect("what we write we read");
    assert!(match (&info.mesh_key, &again.mesh_key) {
        (Some(said), Some(read)) => said.ct_eq(read),
        (said, read) => said.is_none() && read.is_none(),
    });
    // By this, clients of Go are told from others. What we write is like theirs.
    let again = ClientInfo {
        can_ack_pings_go: info.can_ack_pings_go,
        ..again
    };
    assert_eq!(format!("{again:?}"), format!("{info:?}"));
}

/// A relay takes it as `parsed` says.
fn introduce(json: &[u8], parsed: Result<ClientInfo, InfoError>) {
    let (mut server, fed) = feed(&client_info_frame(json));
    let info = match parsed {
        Ok(info) => info,
        Err(error) => {
            let error = HandshakeError::from(Malformation::Info(error));
            return assert_eq!(fed, Err(error));
        }
    };
    assert_eq!(fed, Ok(()));
    let Step::Admit(request) = server.step() else {
        panic!("admission was not asked")
    };
    let mesh = (info.mesh_key).is_some_and(|key| key.ct_eq(&derp::mesh_key()));
    assert_eq!((request.mesh, request.prober), (mesh, info.is_prober));
    assert_eq!(request.key, KNOWN.client);
    let verdict = server.handle_verdict(Verdict::Allow { limits: None });
    assert_eq!(verdict, Ok(()));
    let Step::Ready(ready) = server.step() else {
        panic!("an admitted client is not ready")
    };
    let client = ready.client;
    assert_eq!(client.app_name.as_deref().unwrap_or(""), info.app_name);
    assert_eq!((client.key, client.mesh), (request.key, mesh));
}

/// One bit of key, nonce or box is another.
fn change_on_the_way(json: &[u8], place: u8) {
    let mut frame = client_info_frame(json);
    let body = &mut frame[HEADER_LEN..];
    let place = usize::from(place) * 7;
    body[place / 8 % body.len()] ^= 1 << (place % 8);
    let (_, fed) = feed(&frame);
    let error = HandshakeError::from(Misbehaviour::BoxDoesNotOpen);
    // Curve25519 ignores the highest bit of a key (RFC 7748 section 5); to us it is another client.
    if !(place / 8 % body_len(&frame) == 31 && place % 8 == 7) {
        assert_eq!(fed, Err(error));
    }
}

fn feed(frame: &[u8]) -> (ServerHandshake, Result<(), HandshakeError>) {
    let mut server = derp::server();
    let request = b"GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\n\r\n";
    server.handle_bytes(request).expect("an upgrade");
    let fed = server.handle_bytes(frame);
    (server, fed)
}

const fn body_len(frame: &[u8]) -> usize {
    frame.len() - HEADER_LEN
}

fn client_info_frame(json: &[u8]) -> Vec<u8> {
    let (key, nonce) = (KNOWN.client, [9; 24]);
    let sealed = &KNOWN.at_client.seal(&nonce, json);
    let mut bytes = Vec::new();
    frame::ClientInfo { key, nonce, sealed }.write(&mut bytes);
    bytes
}

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});
