//! Seeds of TLS: steps of a peer with keys (`towline_tls::fuzzing` tells their layout), a hello, certificates.

use towline_fuzz::derp::KNOWN;
use towline_tls::cert::{SelfSigned, ServerTrust, meta};
use towline_tls::pki_types::pem::PemObject;
use towline_tls::pki_types::{CertificateDer, ServerName, UnixTime};
use towline_tls::{ClientConfig, ClientHandshake, ClientOptions, Versions};

use crate::{EVERY_BYTE, Seed};

/// A step is a kind, two bytes, a length and as many bytes: 0 data, 1 padded data, 2 an alert, 3 a handshake message,
/// 4 a key update, 5 a ticket, 6 any content, 7 data with a changed bit.
pub(crate) fn record_layer() -> Vec<Seed> {
    let talk: &[u8] = &[
        0, 0, 9, 0, 4, 1, 0, 0, 1, 0, 7, 200, 4, 0, 0, 0, 5, 0, 0, 0, 0, 64, 0, 0,
    ];
    let close: &[u8] = &[0, 0, 3, 0, 2, 1, 0, 0];
    vec![
        ("tls13-aes128-to-server", steps(0, talk)),
        ("tls13-aes256-to-client", steps(1 + 2, talk)),
        ("tls13-chacha-to-server", steps(4, talk)),
        ("tls12-aes128-to-client", steps(1 + 6, talk)),
        ("tls12-aes256-to-server", steps(8, talk)),
        ("tls12-chacha-to-client", steps(1 + 10, talk)),
        ("close-notify", steps(0, close)),
        ("close-notify-tls12", steps(6, close)),
        ("fatal-alert", steps(1, &[2, 2, 40, 0])),
        ("warning-alert", steps(0, &[2, 1, 90, 0, 0, 0, 1, 0])),
        ("finished-again", steps(1, &[3, 20, 2, 3, 1, 2, 3])),
        ("renegotiation-tls12", steps(7, &[3, 0, 0, 0])),
        ("change-cipher-spec", steps(0, &[6, 20, 0, 1, 1])),
        ("changed-bit", steps(0, &[7, 0, 9, 8])),
        ("longest-data", steps(0, &[0, 0x40, 0, 0])),
        // Zeros at the end of a content are padding: the type is the 22 before them.
        (
            "handshake-under-padding",
            steps(0, &[6, 0, 0, 4, 0, 0, 0, 22]),
        ),
    ]
}

fn steps(role_and_suite: u8, steps: &[u8]) -> Vec<u8> {
    [&[role_and_suite], steps].concat()
}

/// A record is a type, two bytes of length and as many bytes; the type 255 makes them a raw record.
pub(crate) fn sealed_records() -> Vec<Seed> {
    let update: &[u8] = &[22, 0, 5, 24, 0, 0, 1, 1, 23, 0, 2, 8, 8];
    let halves: &[u8] = &[22, 0, 3, 24, 0, 0, 22, 0, 2, 1, 0, 23, 0, 1, 7];
    vec![
        ("data", steps(0, &[23, 0, 3, 1, 2, 3, 23, 0, 0])),
        ("data-tls12", steps(7, &[23, 0, 3, 1, 2, 3, 23, 0, 0])),
        ("key-updates", steps(1, &[update, update].concat())),
        ("key-update-in-halves", steps(0, halves)),
        (
            "key-update-with-more",
            steps(0, &[22, 0, 6, 24, 0, 0, 1, 0, 4]),
        ),
        ("ticket", steps(1, &[22, 0, 8, 4, 0, 0, 4, 1, 2, 3, 4])),
        ("close-notify", steps(0, &[21, 0, 2, 1, 0])),
        ("hello-request-tls12", steps(7, &[22, 0, 4, 0, 0, 0, 0])),
        ("padding-alone", steps(0, &[0, 0, 3, 0, 0, 0])),
        (
            "raw-record",
            steps(0, &[255, 0, 8, 23, 3, 3, 0, 3, 1, 2, 3]),
        ),
    ]
}

pub(crate) fn tls_hello() -> Vec<Seed> {
    let both = hello(Versions::default());
    let broken = both
        .iter()
        .map(|byte| byte ^ u8::from(*byte == 3))
        .collect();
    let piece = |hello: Vec<u8>| [vec![EVERY_BYTE], hello].concat();
    vec![
        ("hello", piece(both)),
        ("hello-tls12", piece(hello(Versions::OnlyTls12))),
        ("hello-broken", piece(broken)),
        ("http", piece(b"GET / HTTP/1.1\r\n\r\n".to_vec())),
        ("alert", piece(vec![21, 3, 3, 0, 2, 2, 40])),
        ("data-too-early", piece(vec![23, 3, 3, 0, 1, 9])),
        ("empty-record", piece(vec![22, 3, 3, 0, 0])),
    ]
}

fn hello(versions: Versions) -> Vec<u8> {
    let options = ClientOptions {
        versions,
        ..ClientOptions::default()
    };
    let trust = ServerTrust::AnyoneInsecurely;
    let config = ClientConfig::new(trust, &options).expect("a configuration");
    let name = ServerName::try_from("relay.example").expect("a name");
    let mut client = ClientHandshake::new(&config, name).expect("a handshake");
    client.poll_output().expect("a hello")
}

pub(crate) fn meta_certificate() -> Vec<Seed> {
    let now = UnixTime::now();
    let meta = meta::certificate(&KNOWN.server.0, now).expect("a certificate");
    let other = SelfSigned::generate("relay.example", now).expect("a certificate");
    let other = CertificateDer::from_pem_slice(other.certificate_pem.as_bytes());
    let cut = meta[..meta.len() / 2].to_vec();
    vec![
        ("meta", meta.to_vec()),
        ("self-signed", other.expect("our own PEM").to_vec()),
        ("meta-cut", cut),
    ]
}
