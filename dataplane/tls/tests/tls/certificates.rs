//! What a relay shows, what changes it at run time, and what a client accepts.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, RootCertStore};
use towline_tls::cert::{
    CertError, CertPair, CertPin, CertStore, SelfSigned, ServerTrust, SniPolicy, meta,
};
use towline_tls::{
    ClientConfig, ClientHandshake, ClientOptions, HandshakeError, ServerConfig, ServerHandshake,
    ServerOptions,
};

use crate::common::{HOST, META_KEY};

fn now() -> UnixTime {
    UnixTime::now()
}

fn pair(made: &SelfSigned) -> CertPair {
    CertPair::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes()).unwrap()
}

/// What the client got to know, or the error of the side that refused: the server's before the
/// client's.
fn dial(
    store: &Arc<CertStore>,
    trust: ServerTrust,
    name: &str,
) -> Result<Option<[u8; 32]>, HandshakeError> {
    let store: Arc<CertStore> = Arc::clone(store);
    let server = ServerConfig::new(store, &ServerOptions::default())?;
    let client = ClientConfig::new(trust, &ClientOptions::default())?;
    let mut server = ServerHandshake::new(&server)?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientHandshake::new(&client, name)?;
    server.handle_bytes(&client.poll_output().unwrap())?;
    let established = client.handle_bytes(&server.poll_output().unwrap());
    if let Err(HandshakeError::Untrusted(_)) = &established {
        let told = server.handle_bytes(&client.poll_output().unwrap());
        assert!(matches!(told, Err(HandshakeError::Alert(_))), "{told:?}");
    }
    Ok(established?.unwrap().meta_key)
}

fn is_refused(result: &Result<Option<[u8; 32]>, HandshakeError>) -> bool {
    matches!(result, Err(HandshakeError::Refused(_)))
}

#[test]
fn a_name_is_answered_and_others_are_not() {
    let made = SelfSigned::generate(HOST, now()).unwrap();
    let store = Arc::new(CertStore::new(SniPolicy::for_hostname(HOST)));
    store.set_pair(pair(&made));
    let trust = || ServerTrust::AnyoneInsecurely;
    dial(&store, trust(), HOST).unwrap();
    dial(&store, trust(), &HOST.to_ascii_uppercase()).unwrap();
    assert!(is_refused(&dial(&store, trust(), "other.example")));
    // An address is not sent as a server name.
    assert!(is_refused(&dial(&store, trust(), "192.0.2.1")));
}

#[test]
fn a_relay_with_an_address_answers_all() {
    let made = SelfSigned::generate("192.0.2.1", now()).unwrap();
    let store = Arc::new(CertStore::new(SniPolicy::for_hostname("192.0.2.1")));
    store.set_pair(pair(&made));
    dial(&store, ServerTrust::Pinned(made.pin), "192.0.2.1").unwrap();
    dial(&store, ServerTrust::AnyoneInsecurely, "any.example").unwrap();
    // The pinned certificate must still carry the name, as in Tailscale's clients.
    let error = dial(&store, ServerTrust::Pinned(made.pin), "any.example");
    assert!(
        matches!(error, Err(HandshakeError::Untrusted(_))),
        "{error:?}"
    );
}

#[test]
fn without_a_certificate_all_are_refused() {
    let store = Arc::new(CertStore::new(SniPolicy::Any));
    assert!(is_refused(&dial(
        &store,
        ServerTrust::AnyoneInsecurely,
        HOST
    )));
}

#[test]
fn a_replaced_certificate_is_shown_at_once_with_the_meta_certificate_after_it() {
    let (old, new) = (
        SelfSigned::generate(HOST, now()).unwrap(),
        SelfSigned::generate(HOST, now()).unwrap(),
    );
    let store = Arc::new(CertStore::new(SniPolicy::for_hostname(HOST)));
    store.set_pair(pair(&old));
    assert_eq!(
        dial(&store, ServerTrust::Pinned(old.pin), HOST).unwrap(),
        None
    );

    store.set_meta(Some(meta::certificate(&META_KEY, now()).unwrap()));
    let key = dial(&store, ServerTrust::Pinned(old.pin), HOST).unwrap();
    assert_eq!(key, Some(META_KEY));

    store.set_pair(pair(&new));
    assert_eq!(store.pair().unwrap().pin(), new.pin);
    let key = dial(&store, ServerTrust::Pinned(new.pin), HOST).unwrap();
    assert_eq!(key, Some(META_KEY));
    let error = dial(&store, ServerTrust::Pinned(old.pin), HOST);
    assert!(
        matches!(error, Err(HandshakeError::Untrusted(_))),
        "{error:?}"
    );
}

#[test]
fn roots_accept_a_chain_that_is_followed_by_a_meta_certificate() {
    let made = SelfSigned::generate(HOST, now()).unwrap();
    let store = Arc::new(CertStore::new(SniPolicy::Any));
    store.set_pair(pair(&made));
    store.set_meta(Some(meta::certificate(&META_KEY, now()).unwrap()));
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(made.certificate_pem.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let key = dial(&store, ServerTrust::Roots(roots.clone()), HOST).unwrap();
    assert_eq!(key, Some(META_KEY));
    let error = dial(&store, ServerTrust::Roots(roots), "other.example");
    assert!(
        matches!(error, Err(HandshakeError::Untrusted(_))),
        "{error:?}"
    );
    let no_roots = ServerTrust::Roots(RootCertStore::empty());
    assert!(matches!(
        dial(&store, no_roots, HOST),
        Err(HandshakeError::Local(_))
    ));
}

#[test]
fn a_pin_refuses_dates_and_strangers() {
    let day = 24 * 3600;
    let at = |secs| UnixTime::since_unix_epoch(Duration::from_secs(secs));
    let today = now().as_secs();
    for (made_at, expected) in [
        (today - 366 * day, CertificateError::Expired),
        (today + 2 * day, CertificateError::NotValidYet),
    ] {
        let made = SelfSigned::generate(HOST, at(made_at)).unwrap();
        let store = Arc::new(CertStore::new(SniPolicy::Any));
        store.set_pair(pair(&made));
        match dial(&store, ServerTrust::Pinned(made.pin), HOST) {
            Err(HandshakeError::Untrusted(error)) => assert_eq!(error, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn pins_are_read_and_written_as_in_a_derp_map() {
    let made = SelfSigned::generate(HOST, now()).unwrap();
    let text = made.pin.to_string();
    assert_eq!(text.len(), "sha256-raw:".len() + 64);
    assert_eq!(text.parse(), Ok(made.pin));
    let digits = "0123456789abcdef".repeat(4);
    for bad in [
        "",
        "sha256-raw:",
        &digits,
        &format!("sha256-raw:{}", &digits[1..]),
        &format!("sha256-raw:{digits}0"),
        &format!("sha256-raw:{}z", &digits[1..]),
    ] {
        assert_eq!(bad.parse::<CertPin>(), Err(CertError::BadPin), "{bad}");
    }
}

#[test]
fn names_that_no_certificate_can_carry_are_refused() {
    for name in [
        "",
        "a b",
        "relay..example",
        "-",
        "http://relay.example",
        "1.2.3",
    ] {
        let made = SelfSigned::generate(name, now());
        assert!(matches!(made, Err(CertError::BadName(_))), "{name}");
    }
    for name in [HOST, "localhost", "192.0.2.1", "2001:db8::1"] {
        SelfSigned::generate(name, now()).unwrap();
    }
}

/// Dials as an ACME authority does: the one protocol, and any certificate.
fn challenge(store: &Arc<CertStore>, name: &str) -> Result<Vec<u8>, HandshakeError> {
    let options = ServerOptions {
        acme_tls_alpn: true,
        ..ServerOptions::default()
    };
    let store: Arc<CertStore> = Arc::clone(store);
    let server = ServerConfig::new(store, &options)?;
    let mut server = ServerHandshake::new(&server)?;

    let pki = crate::rustls_peer::Pki::new();
    let mut client = pki.rustls_client(towline_tls::Version::Tls13, towline_tls::Cipher::Aes128Gcm);
    client.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let seen = Arc::new(crate::rustls_peer::AcceptAny::default());
    let verifier = Arc::clone(&seen);
    client.dangerous().set_certificate_verifier(verifier);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let mut client = crate::rustls_peer::RustlsPeer(client.into());
    server.handle_bytes(&client.output())?;
    client.feed(&server.poll_output().unwrap()).unwrap();
    let established = server.handle_bytes(&client.output())?.unwrap();
    assert!(established.is_acme_challenge());
    Ok(seen.certificate())
}

#[test]
fn acme_challenges_are_answered_while_they_are_open() {
    let store = Arc::new(CertStore::new(SniPolicy::for_hostname(HOST)));
    let refused = |result: Result<Vec<u8>, HandshakeError>| {
        assert!(
            matches!(result, Err(HandshakeError::Refused(_))),
            "{result:?}"
        );
    };
    refused(challenge(&store, HOST));
    store.set_challenge(HOST, &[0xc5; 32]).unwrap();
    let certificate = challenge(&store, HOST).unwrap();
    // OCTET STRING of the digest, in the acmeIdentifier extension.
    let digest = [&[0x04, 0x20][..], &[0xc5; 32]].concat();
    assert!(
        certificate
            .windows(digest.len())
            .any(|window| window == digest)
    );
    refused(challenge(&store, "other.example"));
    // Everyone else sees no challenge.
    assert!(is_refused(&dial(
        &store,
        ServerTrust::AnyoneInsecurely,
        HOST
    )));
    store.clear_challenge(HOST);
    refused(challenge(&store, HOST));
}

#[test]
fn open_challenges_are_bounded() {
    let store = CertStore::new(SniPolicy::Any);
    let error = (0..100)
        .find_map(|i| {
            store
                .set_challenge(&format!("n{i}.example"), &[0; 32])
                .err()
        })
        .unwrap();
    assert!(matches!(error, CertError::TooManyChallenges(_)));
    store.set_challenge("n0.example", &[1; 32]).unwrap();
    store.clear_challenge("n0.example");
    store.set_challenge("another.example", &[0; 32]).unwrap();
}

#[test]
fn a_client_with_another_protocol_is_refused() {
    let pki = crate::rustls_peer::Pki::new();
    let server = pki.our_server(&ServerOptions::default());
    let mut server = ServerHandshake::new(&server).unwrap();
    let mut client = pki.rustls_client(towline_tls::Version::Tls13, towline_tls::Cipher::Aes128Gcm);
    client.alpn_protocols = vec![b"h2".to_vec()];
    let client = rustls::ClientConnection::new(Arc::new(client), crate::common::host()).unwrap();
    let mut client = crate::rustls_peer::RustlsPeer(client.into());
    let error = server.handle_bytes(&client.output());
    assert!(
        matches!(error, Err(HandshakeError::Refused(_))),
        "{error:?}"
    );
    let told = client.feed(&server.poll_output().unwrap()).unwrap_err();
    let no_protocol = AlertDescription::NoApplicationProtocol;
    assert_eq!(told, rustls::Error::AlertReceived(no_protocol));
}
