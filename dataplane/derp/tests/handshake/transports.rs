//! Every way to open a connection, our client against our server, and the exact bytes of each.

use towline_derp::handshake::client::{self, Opening};
use towline_derp::handshake::server::{OpeningKind, Stage, Step};
use towline_derp::handshake::{HandshakeError, Misbehaviour, Refusal};
use towline_derp::sealed::public_key;
use towline_derp::websocket::Event;

use crate::support::*;

fn opened_by(opening: Opening) -> client::Options {
    client::Options {
        opening,
        ..options()
    }
}

#[test]
fn raw() {
    let (mut server, mut client) = (server(config()), client(opened_by(Opening::Raw)));
    let (at_server, at_client) = connect(&mut server, &mut client).unwrap();
    assert_eq!(at_server.opening, OpeningKind::Raw);
    assert_eq!(at_server.client.key, public_key(&client_key()));
    assert_eq!(at_server.client.addr, conn().peer);
    assert!(at_server.client.go_client);
    assert!(!at_server.client.mesh && !at_server.client.prober && !at_server.client.not_ideal);
    assert!(at_server.leftover.is_empty() && at_server.websocket.is_none());
    assert_eq!(at_client.server_key, public_key(&server_key()));
    assert_eq!(at_client.server_info.version, 2);
    assert!(at_client.leftover.is_empty() && at_client.websocket.is_none());
    assert!(matches!(server.step(), Step::CloseAfterOutput));
    assert!(matches!(client.step(), client::Step::Over));
}

#[test]
fn the_bytes_of_a_raw_upgrade() {
    let mut client = client(opened_by(Opening::Raw));
    let request = client.poll_output().unwrap();
    assert_eq!(
        String::from_utf8(request.clone()).unwrap(),
        "GET /derp HTTP/1.1\r\nHost: derp.example.com\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n"
    );

    let mut server = server(config());
    server.handle_bytes(&request).unwrap();
    let key = public_key(&server_key());
    let mut expected = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\
         Derp-Version: 2\r\nDerp-Public-Key: {}\r\n\r\n",
        key.to_hex()
    )
    .into_bytes();
    expected.extend_from_slice(b"\x01\x00\x00\x00\x28DERP\xf0\x9f\x94\x91");
    expected.extend_from_slice(&key.0);
    assert_eq!(output(&mut server), expected);
    assert_eq!(server.stage(), Stage::ClientInfo);
}

#[test]
fn fast_start() {
    let key = public_key(&server_key());
    let mut client = client(opened_by(Opening::FastStart(key)));
    let sent = client.poll_output().unwrap();
    let head = b"GET /derp HTTP/1.1\r\nHost: derp.example.com\r\nConnection: Upgrade\r\n\
                 Upgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n";
    assert!(sent.starts_with(head));
    assert_eq!(sent[head.len()], 2, "the client info follows at once");

    let mut server = server(config());
    server.handle_bytes(&sent).unwrap();
    // No answer in HTTP, yet the server key comes first.
    assert!(output(&mut server).starts_with(b"\x01\x00\x00\x00\x28DERP"));
    assert!(matches!(server.step(), Step::Admit(_)));
    assert_eq!(server.stage(), Stage::Admission);

    let mut client = self::client(opened_by(Opening::FastStart(key)));
    let mut server = self::server(config());
    let (at_server, at_client) = connect(&mut server, &mut client).unwrap();
    assert_eq!(at_server.opening, OpeningKind::FastStart);
    assert_eq!(at_client.server_key, key);
}

/// The server's answer to a fast start whose marker got lost on the way.
#[test]
fn a_fast_start_that_is_answered_all_the_same() {
    const MARKER: &[u8] = b"Derp-Fast-Start: 1\r\n";
    let mut client = client(opened_by(Opening::FastStart(public_key(&server_key()))));
    let mut sent = client.poll_output().unwrap();
    let marker = sent.windows(MARKER.len()).position(|bytes| bytes == MARKER);
    let marker = marker.unwrap();
    sent.drain(marker..marker + MARKER.len());

    let mut server = server(config());
    server.handle_bytes(&sent).unwrap();
    let (at_server, _) = connect(&mut server, &mut client).unwrap();
    assert_eq!(at_server.opening, OpeningKind::Raw);
}

#[test]
fn a_server_that_does_not_upgrade() {
    for opening in [
        Opening::Raw,
        Opening::FastStart(public_key(&server_key())),
        Opening::WebSocket,
    ] {
        let mut client = client(opened_by(opening));
        let answered = client.handle_bytes(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(answered, Err(HandshakeError::Refused(Refusal::Status(404))));
        assert!(matches!(client.step(), client::Step::Over));
    }
}

#[test]
fn websocket() {
    let (mut server, mut client) = (server(config()), client(opened_by(Opening::WebSocket)));
    let (at_server, at_client) = connect(&mut server, &mut client).unwrap();
    assert_eq!(at_server.opening, OpeningKind::WebSocket);
    assert_eq!(at_client.server_key, public_key(&server_key()));

    // Both codecs go on where the handshake stopped.
    let (mut at_server, mut at_client) =
        (at_server.websocket.unwrap(), at_client.websocket.unwrap());
    let mut payload = *b"a frame of DERP";
    let mut header = at_client.header_for(payload.len());
    header.mask(&mut payload);
    let mut bytes = [header.as_bytes(), &payload].concat();
    let mut at = 0;
    let event = at_server.decode(&mut bytes, &mut at).unwrap();
    let Some(Event::Payload(range)) = event else {
        panic!("no payload: {event:?}");
    };
    assert_eq!(&bytes[range], b"a frame of DERP");
}

#[test]
fn the_bytes_of_a_websocket_upgrade() {
    // The key and its answer are the example of RFC 6455 section 1.3.
    let request = "GET /derp HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: websocket\r\nOrigin: https://elsewhere.example\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Extensions: permessage-deflate\r\n\
                   Sec-WebSocket-Protocol: chat, derp\r\nDerp-Fast-Start: 1\r\n\r\n";
    let mut server = server(config());
    server.handle_bytes(request.as_bytes()).unwrap();
    let mut expected = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Protocol: derp\r\n\r\n\
        \x82\x2d\x01\x00\x00\x00\x28DERP\xf0\x9f\x94\x91"
        .to_vec();
    expected.extend_from_slice(&public_key(&server_key()).0);
    assert_eq!(output(&mut server), expected);
}

/// Early clients write `Upgrade: WebSocket` and speak raw DERP; only the sub-protocol tells.
#[test]
fn websocket_without_the_sub_protocol_is_raw() {
    for more in [
        "",
        "Sec-WebSocket-Protocol: derper\r\n",
        "Sec-WebSocket-Protocol: chat\r\n",
    ] {
        let mut server = server(config());
        let request = format!(
            "GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n{more}\r\n"
        );
        server.handle_bytes(request.as_bytes()).unwrap();
        let mut client = client(opened_by(Opening::Raw));
        let _ = client.poll_output();
        let (at_server, _) = connect(&mut server, &mut client).unwrap();
        assert_eq!(at_server.opening, OpeningKind::Raw, "{more}");
    }
}

/// `ts_derp` 0.6 upgrades with POST, without a body.
#[test]
fn post_upgrades_too() {
    for length in ["", "content-length: 0\r\n"] {
        let mut server = server(config());
        let request = format!(
            "POST /derp HTTP/1.1\r\nhost: a\r\nupgrade: DERP\r\nconnection: Upgrade\r\n{length}\r\n"
        );
        server.handle_bytes(request.as_bytes()).unwrap();
        assert!(output(&mut server).starts_with(b"HTTP/1.1 101 "));
        assert_eq!(server.stage(), Stage::ClientInfo);
    }
}

#[test]
fn upgrades_that_break_the_rules() {
    use towline_derp::http::BadUpgrade;
    let websocket = "Upgrade: websocket\r\nSec-WebSocket-Protocol: derp\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let cases = [
        (
            "GET",
            "Upgrade: DERP\r\nContent-Length: 3\r\n".to_owned(),
            BadUpgrade::Body,
            400,
        ),
        (
            "GET",
            "Upgrade: DERP\r\nTransfer-Encoding: chunked\r\n".to_owned(),
            BadUpgrade::Body,
            400,
        ),
        (
            "GET",
            "Upgrade: DERP\r\nContent-Length: 0\r\nContent-Length: 0\r\n".to_owned(),
            BadUpgrade::Body,
            400,
        ),
        (
            "PUT",
            "Upgrade: DERP\r\n".to_owned(),
            BadUpgrade::Method,
            405,
        ),
        ("POST", websocket.to_owned(), BadUpgrade::Method, 405),
        (
            "GET",
            format!("{websocket}Sec-WebSocket-Version: 13\r\n{key}"),
            BadUpgrade::Connection,
            426,
        ),
        (
            "GET",
            format!("{websocket}Connection: upgrade\r\n{key}"),
            BadUpgrade::WebSocketVersion,
            400,
        ),
        (
            "GET",
            format!("{websocket}Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n"),
            BadUpgrade::WebSocketKey,
            400,
        ),
        (
            "GET",
            format!("{websocket}Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n{key}{key}"),
            BadUpgrade::WebSocketKey,
            400,
        ),
        (
            "GET",
            format!(
                "{websocket}Connection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2hvcnQ=\r\n"
            ),
            BadUpgrade::WebSocketKey,
            400,
        ),
    ];
    for (method, fields, bad, status) in cases {
        let mut server = server(config());
        let request = format!("{method} /derp HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let error = Err(HandshakeError::PeerMisbehaved(Misbehaviour::Upgrade(bad)));
        assert_eq!(server.handle_bytes(request.as_bytes()), error, "{fields}");
        let answer = String::from_utf8(output(&mut server)).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert!(matches!(server.step(), Step::CloseAfterOutput));
    }
}

#[test]
fn a_websocket_answer_that_does_not_fit() {
    let accept =
        "Sec-WebSocket-Protocol: derp\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for fields in ["", accept] {
        let mut client = client(opened_by(Opening::WebSocket));
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
        assert_eq!(
            client.handle_bytes(answer.as_bytes()),
            Err(HandshakeError::PeerMisbehaved(
                Misbehaviour::WebSocketAnswer
            ))
        );
    }
}

#[test]
fn the_ideal_node_is_only_ever_another_one() {
    for (ideal_node, not_ideal) in [(None, false), (Some("1b".to_owned()), true)] {
        let mut client = client(client::Options {
            ideal_node,
            ..options()
        });
        let (at_server, _) = connect(&mut server(config()), &mut client).unwrap();
        assert_eq!(at_server.client.not_ideal, not_ideal);
    }
    // An empty field says nothing.
    let mut server = server(config());
    let request = "GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: derp\r\nIdeal-Node:\r\n\r\n";
    server.handle_bytes(request.as_bytes()).unwrap();
    let mut client = client(options());
    let _ = client.poll_output();
    let (at_server, _) = connect(&mut server, &mut client).unwrap();
    assert!(!at_server.client.not_ideal);
}

#[test]
fn what_cannot_stand_in_a_head_is_not_sent() {
    use towline_derp::handshake::LocalFault;
    use towline_derp::handshake::client::{ClientHandshake, Options};
    let broken = [
        Options {
            host: "a\r\nX: y".to_owned(),
            ..options()
        },
        Options {
            host: String::new(),
            ..options()
        },
        Options {
            path: "derp".to_owned(),
            ..options()
        },
        Options {
            path: "/derp HTTP/1.1".to_owned(),
            ..options()
        },
        Options {
            ideal_node: Some("1b\n".to_owned()),
            ..options()
        },
    ];
    for options in broken {
        let error = ClientHandshake::new(options, [9; 64]).err();
        assert_eq!(error, Some(HandshakeError::Local(LocalFault::NotHttpText)));
    }
}
