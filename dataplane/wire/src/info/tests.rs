//! What clients really send, and the traps of Go's JSON.

use proptest::prelude::*;

use super::{ClientInfo, InfoError, ServerInfo};
use crate::MeshKey;
use crate::limits::APP_NAME_BYTES_MAX;

const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn client(json: &str) -> ClientInfo {
    ClientInfo::parse(json.as_bytes()).unwrap()
}

fn refused(json: &str) -> InfoError {
    ClientInfo::parse(json.as_bytes()).unwrap_err()
}

#[test]
fn a_go_client() {
    let info = client(r#"{"version":2,"CanAckPings":true,"IsProber":true,"AppName":"k8s-proxy"}"#);
    assert_eq!(info.version, 2);
    assert!(info.can_ack_pings && info.can_ack_pings_go && info.is_prober);
    assert_eq!(info.app_name, "k8s-proxy");
    assert!(info.mesh_key.is_none());
}

#[test]
fn ts_derp_is_told_by_its_names_and_its_mesh_key_is_none_of_ours() {
    let info = client(r#"{"can_ack_pings":false,"is_prober":false,"mesh_key":"none","version":2}"#);
    assert_eq!(info.version, 2);
    assert!(!info.can_ack_pings && !info.can_ack_pings_go);
    assert!(info.mesh_key.is_none());
    let snake = client(&format!(
        r#"{{"mesh_key":"{HEX}","can_ack_pings":true,"is_prober":true}}"#
    ));
    assert!(snake.mesh_key.is_none(), "mesh_key is not meshKey");
    assert!(!snake.can_ack_pings && !snake.is_prober);
}

#[test]
fn names_match_without_regard_to_case() {
    let info = client(r#"{"VERSION":2,"canackpings":true,"iSpRoBeR":true,"appname":"x"}"#);
    assert_eq!(info.version, 2);
    assert!(info.can_ack_pings && info.is_prober);
    assert!(!info.can_ack_pings_go, "Go cases it CanAckPings");
    assert_eq!(info.app_name, "x");
}

#[test]
fn go_is_told_by_the_name_whatever_its_value() {
    assert!(client(r#"{"CanAckPings":false}"#).can_ack_pings_go);
    assert!(client(r#"{"CanAckPings":null}"#).can_ack_pings_go);
    assert!(
        client(r#"{"CanAck\u0050ings":true}"#).can_ack_pings_go,
        "an escape is a spelling"
    );
    assert!(!client("{}").can_ack_pings_go);
}

#[test]
fn a_mesh_key_is_64_digits_or_an_error() {
    for name in ["meshKey", "MeshKey", "MESHKEY"] {
        let info = client(&format!(r#"{{"{name}":"{HEX}"}}"#));
        let expected = MeshKey::from_hex(HEX).ok().unwrap();
        assert!(
            info.mesh_key.is_some_and(|key| key.ct_eq(&expected)),
            "{name}"
        );
    }
    for value in [
        r#""""#.to_owned(),
        r#""none""#.to_owned(),
        "null".to_owned(),
        format!(r#""{}""#, &HEX[..62]),
        format!(r#""{HEX}00""#),
        format!(r#"" {}""#, &HEX[1..]),
        format!(r#""{}zz""#, &HEX[2..]),
    ] {
        assert_eq!(
            refused(&format!(r#"{{"meshKey":{value}}}"#)),
            InfoError::MeshKey,
            "{value}"
        );
    }
    assert_eq!(refused(r#"{"meshKey":7}"#), InfoError::Json);
}

#[test]
fn absent_and_zero_mesh_keys_are_none() {
    assert!(client("{}").mesh_key.is_none());
    assert!(
        client(&format!(r#"{{"meshKey":"{}"}}"#, "0".repeat(64)))
            .mesh_key
            .is_none()
    );
}

#[test]
fn unknown_names_are_skipped_with_whatever_they_hold() {
    let nested = format!(
        r#"{{"a":{}1{},"version":2}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    for json in [
        r#"{"x":{"meshKey":"none","version":"?"},"version":2}"#,
        r#"{"x":[1,2,{"y":null}],"version":2}"#,
        r#"{"":1e999,"version":2}"#,
        &nested,
    ] {
        assert_eq!(client(json).version, 2);
    }
}

#[test]
fn null_changes_nothing_and_the_last_of_a_repeated_name_counts() {
    let info = client(r#"{"version":1,"version":2,"VERSION":null,"IsProber":null,"AppName":null}"#);
    assert_eq!(info.version, 2);
    assert!(!info.is_prober);
    assert_eq!(info.app_name, "");
    assert_eq!(client("null").version, 0);
    assert_eq!(client(" {} \n").version, 0);
}

#[test]
fn a_wrong_type_is_an_error() {
    for json in [
        "",
        "{",
        "[]",
        "2",
        "\"\"",
        "{}{}",
        "{} x",
        "{'a':1}",
        r#"{"version":"2"}"#,
        r#"{"version":2.5}"#,
        r#"{"version":1e2}"#,
        r#"{"version":99999999999999999999}"#,
        r#"{"CanAckPings":"true"}"#,
        r#"{"IsProber":1}"#,
        r#"{"AppName":1}"#,
        "{\"AppName\":\"tab\there\"}",
        "{\"line\nbreak\":1}",
        r#"{"AppName":["x"]}"#,
    ] {
        assert_eq!(refused(json), InfoError::Json, "{json}");
    }
}

#[test]
fn text_that_is_not_unicode_is_replaced_as_in_go() {
    let info = ClientInfo::parse(b"{\"\xff\":\"\xff\",\"AppName\":\"a\xffb\"}").unwrap();
    assert_eq!(info.app_name, "a\u{fffd}b");
    assert_eq!(client(r#"{"x":"\ud800","version":2}"#).version, 2);
}

#[test]
fn a_long_name_is_cut_between_characters() {
    let info = client(&format!(r#"{{"AppName":"x{}"}}"#, "é".repeat(1000)));
    assert_eq!(info.app_name.len(), APP_NAME_BYTES_MAX - 1);
}

#[test]
fn a_name_does_not_speak_to_terminals() {
    assert_eq!(
        client(r#"{"AppName":"a\u001b[2J\n\u009bb"}"#).app_name,
        "a?[2J??b"
    );
}

#[test]
fn a_client_is_written_as_go_writes_it() {
    let plain = ClientInfo::default();
    assert_eq!(**plain.to_json(), *br#"{"version":2,"CanAckPings":false}"#);
    let all = ClientInfo {
        mesh_key: MeshKey::from_hex(HEX).ok(),
        can_ack_pings: true,
        is_prober: true,
        app_name: "bench".into(),
        ..plain
    };
    let expected = format!(
        r#"{{"meshKey":"{HEX}","version":2,"CanAckPings":true,"IsProber":true,"AppName":"bench"}}"#
    );
    assert_eq!(**all.to_json(), *expected.as_bytes());
}

#[test]
fn a_mesh_key_is_not_left_in_an_outgrown_buffer() {
    let worst = ClientInfo {
        mesh_key: MeshKey::from_hex(HEX).ok(),
        version: i64::MIN,
        is_prober: true,
        app_name: "\0".repeat(APP_NAME_BYTES_MAX),
        ..ClientInfo::default()
    };
    let json = worst.to_json();
    assert_eq!(
        json.capacity(),
        256 + 6 * APP_NAME_BYTES_MAX,
        "the buffer was never moved"
    );
}

#[test]
fn debug_output_has_no_secret() {
    let info = client(&format!(r#"{{"meshKey":"{HEX}"}}"#));
    let text = format!("{info:?}");
    assert!(text.contains("has_mesh_key: true") && !text.contains("0a0b"));
}

#[test]
fn a_server_is_written_as_derper_writes_it() {
    assert_eq!(ServerInfo::default().to_json(), br#"{"version":2}"#);
    let limited = ServerInfo {
        token_bucket_bytes_per_second: 1_000_000,
        token_bucket_bytes_burst: 65_568,
        ..ServerInfo::default()
    };
    let json =
        br#"{"version":2,"TokenBucketBytesPerSecond":1000000,"TokenBucketBytesBurst":65568}"#;
    assert_eq!(limited.to_json(), json);
    assert_eq!(ServerInfo::parse(json), Ok(limited));
}

#[test]
fn a_server_is_read_as_go_reads_it() {
    assert_eq!(
        ServerInfo::parse(br#"{"version":2,"Future":{}}"#),
        Ok(ServerInfo::default())
    );
    let camel = ServerInfo::parse(br#"{"tokenBucketBytesPerSecond":5}"#).unwrap();
    assert_eq!(camel.token_bucket_bytes_per_second, 5);
    assert_eq!(ServerInfo::parse(b"{}").unwrap().version, 0);
    assert_eq!(
        ServerInfo::parse(br#"{"version":"2"}"#),
        Err(InfoError::Json)
    );
}

proptest! {
    #[test]
    fn a_client_comes_back(
        mesh_key in prop::option::of(prop::array::uniform32(1_u8..)),
        version: i64,
        can_ack_pings: bool,
        is_prober: bool,
        app_name in "\\PC{0,32}",
    ) {
        let info = ClientInfo {
            mesh_key: mesh_key.map(MeshKey::from_bytes),
            version,
            can_ack_pings,
            is_prober,
            app_name,
            ..ClientInfo::default()
        };
        let json = info.to_json();
        let back = ClientInfo::parse(&json).unwrap();
        prop_assert_eq!(&**back.to_json(), &**json);
        prop_assert!(back.can_ack_pings_go);
    }

    #[test]
    fn a_server_comes_back(version: i64, per_second: i64, burst: i64) {
        let info = ServerInfo {
            version,
            token_bucket_bytes_per_second: per_second,
            token_bucket_bytes_burst: burst,
        };
        prop_assert_eq!(ServerInfo::parse(&info.to_json()), Ok(info));
    }

    #[test]
    fn no_prefix_panics_or_passes(len in 0..100_usize, noise in prop::collection::vec(any::<u8>(), 0..64)) {
        let whole = format!(r#"{{"meshKey":"{HEX}","version":2,"CanAckPings":true}}"#);
        prop_assert!(ClientInfo::parse(&whole.as_bytes()[..len]).is_err());
        let _ = ClientInfo::parse(&noise);
        let _ = ServerInfo::parse(&noise);
    }
}
