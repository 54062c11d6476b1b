//! Who the client is: boxes, mesh keys, limits, admission.

use towline_derp::connected::RateLimit;
use towline_derp::handshake::client::{self, Opening, Options};
use towline_derp::handshake::server::{
    AdmitRequest, Config, DenyReason, ServerHandshake, Step, Verdict,
};
use towline_derp::handshake::{HandshakeError, LocalFault, Malformation, Misbehaviour, Refusal};
use towline_derp::sealed::{BoxKey, public_key};
use towline_wire::NodePublic;
use towline_wire::frame::{self, FrameType, Header};
use towline_wire::info::InfoError;
use towline_wire::limits::{CLIENT_INFO_BODY_BYTES_MAX, HANDSHAKE_WAITING_BYTES_MAX};

use crate::support::*;

const FAST: &[u8] = b"GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n";

/// A server that waits for client info.
fn upgraded(config: Config) -> ServerHandshake {
    let mut server = server(config);
    server.handle_bytes(FAST).unwrap();
    let _ = output(&mut server);
    server
}

/// A client info frame around any JSON.
fn client_info(json: &str) -> Vec<u8> {
    let shared = BoxKey::new(&client_key())
        .agree(&public_key(&server_key()))
        .unwrap();
    let nonce = [3; 24];
    let mut bytes = Vec::new();
    frame::ClientInfo {
        key: public_key(&client_key()),
        nonce,
        sealed: &shared.seal(&nonce, json.as_bytes()),
    }
    .write(&mut bytes);
    bytes
}

fn admit_request(server: &mut ServerHandshake) -> AdmitRequest {
    match server.step() {
        Step::Admit(request) => request,
        other => panic!("no admission: {other:?}"),
    }
}

/// The connection that comes of this JSON.
fn connected(
    config: Config,
    json: &str,
    limits: Option<RateLimit>,
) -> Box<towline_derp::handshake::server::Ready> {
    let mut server = upgraded(config);
    server.handle_bytes(&client_info(json)).unwrap();
    admit_request(&mut server);
    server.handle_verdict(Verdict::Allow { limits }).unwrap();
    match server.step() {
        Step::Ready(ready) => ready,
        other => panic!("not ready: {other:?}"),
    }
}

/// The JSON in a server info frame.
fn opened_server_info(frame: &[u8]) -> String {
    let body = frame::ServerInfo::parse(&frame[frame::HEADER_LEN..]).unwrap();
    let shared = BoxKey::new(&client_key())
        .agree(&public_key(&server_key()))
        .unwrap();
    let mut sealed = body.sealed.to_vec();
    String::from_utf8(shared.open(&body.nonce, &mut sealed).unwrap().to_vec()).unwrap()
}

#[test]
fn what_the_client_says_of_itself() {
    let ready = connected(
        config(),
        r#"{"version":2,"CanAckPings":true,"IsProber":true,"AppName":"probe","future":[1]}"#,
        None,
    );
    assert_eq!(ready.client.key, public_key(&client_key()));
    assert!(ready.client.can_ack_pings && ready.client.prober && ready.client.go_client);
    assert_eq!(ready.client.app_name.as_deref(), Some("probe"));
    assert_eq!(
        opened_server_info(&ready.server_info_frame),
        r#"{"version":2}"#
    );

    // What `ts_derp` writes.
    let ready = connected(
        config(),
        r#"{"can_ack_pings":false,"is_prober":false,"mesh_key":"none","version":2}"#,
        None,
    );
    assert!(!ready.client.go_client && !ready.client.mesh);
    assert_eq!(ready.client.app_name, None);
}

#[test]
fn mesh_keys() {
    let mesh = |config: Config, presented: u8| {
        let options = Options {
            mesh_key: Some(mesh_key(presented)),
            ..options()
        };
        let (ready, _) = connect(&mut server(config), &mut client(options)).unwrap();
        ready.client.mesh
    };
    let with_keys = |keys: Vec<_>| {
        let mut config = config();
        config.mesh_keys = keys;
        config
    };
    assert!(mesh(with_keys(vec![mesh_key(1)]), 1));
    assert!(mesh(with_keys(vec![mesh_key(1), mesh_key(2)]), 2));
    // A wrong key, or none to compare with, makes an ordinary client, as in derper.
    assert!(!mesh(with_keys(vec![mesh_key(1), mesh_key(2)]), 3));
    assert!(!mesh(config(), 1));
    // The zero key is Go's "no key".
    assert!(!mesh(with_keys(vec![mesh_key(0)]), 0));
}

#[test]
fn a_mesh_peer_is_admitted_as_one_and_never_limited() {
    let mut config = config();
    config.mesh_keys = vec![mesh_key(1)];
    config.announced_limit = Some(RateLimit {
        bytes_per_second: 1,
        burst_bytes: 1,
    });
    let mut server = upgraded(config);
    let json = format!(r#"{{"meshKey":"{}"}}"#, *mesh_key(1).to_hex());
    server.handle_bytes(&client_info(&json)).unwrap();
    let request = admit_request(&mut server);
    assert!(request.mesh);
    // Asking again changes nothing.
    assert_eq!(admit_request(&mut server), request);
    let limits = Some(RateLimit {
        bytes_per_second: 5,
        burst_bytes: 5,
    });
    server.handle_verdict(Verdict::Allow { limits }).unwrap();
    let Step::Ready(ready) = server.step() else {
        panic!("not ready")
    };
    assert_eq!(ready.client.limits, None);
    assert_eq!(
        opened_server_info(&ready.server_info_frame),
        r#"{"version":2}"#
    );
}

#[test]
fn limits_are_announced_on_request_only() {
    let own = RateLimit {
        bytes_per_second: 1000,
        burst_bytes: 70_000,
    };
    let default = RateLimit {
        bytes_per_second: 2000,
        burst_bytes: 80_000,
    };
    let announcing = || {
        let mut config = config();
        config.announced_limit = Some(default);
        config
    };
    let announced = |config: Config, limits| {
        let ready = connected(config, "{}", limits);
        assert_eq!(ready.client.limits, limits);
        opened_server_info(&ready.server_info_frame)
    };
    assert_eq!(announced(config(), Some(own)), r#"{"version":2}"#);
    assert_eq!(
        announced(announcing(), None),
        r#"{"version":2,"TokenBucketBytesPerSecond":2000,"TokenBucketBytesBurst":80000}"#
    );
    assert_eq!(
        announced(announcing(), Some(own)),
        r#"{"version":2,"TokenBucketBytesPerSecond":1000,"TokenBucketBytesBurst":70000}"#
    );
}

#[test]
fn a_denied_client_is_closed_without_a_word() {
    let mut server = upgraded(config());
    server.handle_bytes(&client_info("{}")).unwrap();
    assert_eq!(
        server.handle_verdict(Verdict::Deny(DenyReason::NotAllowed)),
        Err(HandshakeError::Refused(Refusal::Denied(
            DenyReason::NotAllowed
        )))
    );
    assert!(matches!(server.step(), Step::CloseAfterOutput));
    assert_eq!(output(&mut server), b"");
    // Whatever still arrives is ignored.
    assert_eq!(server.handle_bytes(b"more"), Ok(()));
}

#[test]
fn who_cannot_prove_its_key_is_not_asked_about() {
    let refused = |bytes: &[u8]| {
        let mut server = upgraded(config());
        let error = server.handle_bytes(bytes).unwrap_err();
        assert!(matches!(server.step(), Step::CloseAfterOutput));
        error
    };
    let good = client_info("{}");
    for index in frame::HEADER_LEN..good.len() {
        let mut forged = good.clone();
        forged[index] ^= 0x40;
        assert_eq!(
            refused(&forged),
            Misbehaviour::BoxDoesNotOpen.into(),
            "byte {index}"
        );
    }
    let mut zero = good.clone();
    zero[frame::HEADER_LEN..][..32].fill(0);
    assert_eq!(refused(&zero), Misbehaviour::ZeroKey.into());
    let info = |error| HandshakeError::Malformed(Malformation::Info(error));
    assert_eq!(refused(&client_info("not JSON")), info(InfoError::Json));
    assert_eq!(
        refused(&client_info(r#"{"meshKey":"none"}"#)),
        info(InfoError::MeshKey)
    );
}

#[test]
fn the_first_frame_must_be_client_info_of_a_sane_length() {
    let refused = |kind: u8, len: u32| {
        upgraded(config())
            .handle_bytes(&Header { kind, len }.write())
            .err()
    };
    let max = u32::try_from(CLIENT_INFO_BODY_BYTES_MAX).unwrap();
    let length = |len| Some(Misbehaviour::FrameLength { kind: 2, len }.into());
    assert_eq!(refused(2, 55), length(55));
    assert_eq!(refused(2, 56), None);
    assert_eq!(refused(2, max), None);
    assert_eq!(refused(2, max + 1), length(max + 1));
    assert_eq!(refused(2, u32::MAX), length(u32::MAX));
    let send_packet = FrameType::SendPacket as u8;
    let unexpected = Misbehaviour::UnexpectedFrame { kind: send_packet };
    assert_eq!(refused(send_packet, 100), Some(unexpected.into()));
}

/// 256 KiB announced and nothing sent must not cost 256 KiB.
#[test]
fn memory_follows_what_was_received_not_what_was_announced() {
    let mut server = upgraded(config());
    let len = u32::try_from(CLIENT_INFO_BODY_BYTES_MAX).unwrap();
    server
        .handle_bytes(&Header { kind: 2, len }.write())
        .unwrap();
    assert!(server.held_bytes() < 1024, "{}", server.held_bytes());
    for _ in 0..20 {
        server.handle_bytes(&[0; 1000]).unwrap();
    }
    assert!(server.held_bytes() < 3 * 20_000, "{}", server.held_bytes());
}

#[test]
fn what_comes_behind_client_info_is_handed_over_untouched() {
    let packet = b"\x04\x00\x00\x00\x21 and so on";
    for when in [
        "with client info",
        "while admission is asked",
        "after the verdict",
    ] {
        let mut server = upgraded(config());
        let mut first = client_info("{}");
        if when == "with client info" {
            first.extend_from_slice(packet);
        }
        server.handle_bytes(&first).unwrap();
        if when == "while admission is asked" {
            server.handle_bytes(packet).unwrap();
        }
        server.handle_verdict(ALLOW).unwrap();
        if when == "after the verdict" {
            server.handle_bytes(packet).unwrap();
        }
        let Step::Ready(ready) = server.step() else {
            panic!("not ready")
        };
        assert_eq!(ready.leftover, packet, "{when}");
        let error = server.handle_bytes(b"lost");
        assert_eq!(error, Err(LocalFault::FedAfterReady.into()));
    }
}

#[test]
fn a_caller_that_reads_on_while_admission_is_asked_is_stopped() {
    let mut server = upgraded(config());
    server.handle_bytes(&client_info("{}")).unwrap();
    server
        .handle_bytes(&vec![0; HANDSHAKE_WAITING_BYTES_MAX])
        .unwrap();
    assert_eq!(
        server.handle_bytes(&[0]),
        Err(LocalFault::FedWhileWaiting.into())
    );
    assert!(matches!(server.step(), Step::CloseAfterOutput));
}

#[test]
fn a_server_that_cannot_prove_its_key() {
    // The client knows another key from the certificate than the server has.
    let expected = public_key(&client_key());
    let mut deceived = client(Options {
        opening: Opening::FastStart(expected),
        ..options()
    });
    let mut honest = server(config());
    honest
        .handle_bytes(&deceived.poll_output().unwrap())
        .unwrap_err();

    // It gets a server info that somebody else sealed.
    let server_public = public_key(&server_key());
    let mut deceived = client(Options {
        opening: Opening::FastStart(server_public),
        ..options()
    });
    let mut bytes = Vec::new();
    frame::ServerInfo {
        nonce: [0; 24],
        sealed: &[0; 40],
    }
    .write(&mut bytes);
    assert_eq!(
        deceived.handle_bytes(&bytes),
        Err(Misbehaviour::BoxDoesNotOpen.into())
    );
    assert!(matches!(deceived.step(), client::Step::Over));
}

#[test]
fn a_client_takes_only_the_frames_of_a_handshake() {
    let server_public = public_key(&server_key());
    let mut fast = client(Options {
        opening: Opening::FastStart(server_public),
        ..options()
    });
    // A fast start discards the server key, even another one.
    let mut bytes = Vec::new();
    frame::ServerKey {
        key: NodePublic([5; 32]),
    }
    .write(&mut bytes);
    fast.handle_bytes(&bytes).unwrap();
    assert!(matches!(fast.step(), client::Step::NeedInput));
    let packet = Header { kind: 5, len: 40 }.write();
    assert_eq!(
        fast.handle_bytes(&packet),
        Err(Misbehaviour::UnexpectedFrame { kind: 5 }.into())
    );

    let mut raw = client(options());
    raw.handle_bytes(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        .unwrap();
    let header = Header { kind: 1, len: 1025 }.write();
    assert_eq!(
        raw.handle_bytes(&header),
        Err(Misbehaviour::FrameLength { kind: 1, len: 1025 }.into())
    );
}
