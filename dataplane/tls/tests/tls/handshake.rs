//! Handshakes of our client with our server: what both learn, and how they fail.

use rustls::AlertDescription;
use towline_tls::{
    Cipher, ClientConfig, ClientHandshake, ClientOptions, HandshakeError, KeyExchange,
    ServerConfig, ServerHandshake, ServerOptions, Session, Version, Versions,
};

use crate::common::{META_KEY, configs, connect, host, receive, seal, sessions, store, suites};

#[test]
fn every_suite_connects_and_carries_data_both_ways() {
    for (version, cipher) in suites() {
        let (mut server, mut client) = sessions(version, cipher);
        for size in [0, 1, 15, 16, 17, 1400, 16384] {
            let data = vec![size as u8; size];
            let mut wire = seal(&mut server, &data);
            assert_eq!(receive(&mut client, &mut wire), Ok(data.clone()));
            let mut wire = seal(&mut client, &data);
            assert_eq!(receive(&mut server, &mut wire), Ok(data));
        }
    }
}

#[test]
fn both_sides_learn_what_was_agreed() {
    for (version, cipher) in suites() {
        let (server, client) = configs(version, cipher);
        let (server, client) = connect(&server, &client, usize::MAX).unwrap();
        assert_eq!((server.version, server.cipher), (version, cipher));
        assert_eq!((client.version, client.cipher), (version, cipher));
        assert_eq!(server.alpn.as_deref(), Some(b"http/1.1".as_slice()));
        assert!(!server.resumed && !client.resumed);
        assert!(!server.is_acme_challenge());
        // In TLS 1.2 certificates are sent in the clear, so its clients do not fast-start.
        let meta_key = (version == Version::Tls13).then_some(META_KEY);
        assert_eq!(client.meta_key, meta_key);
    }
}

#[test]
fn bytes_one_at_a_time_are_the_same_as_all_at_once() {
    for (version, cipher) in suites() {
        let (server, client) = configs(version, cipher);
        for chunk in [1, 2, 5, 100] {
            let (server, client) = connect(&server, &client, chunk).unwrap();
            assert_eq!(server.version, version);
            assert_eq!(client.cipher, cipher);
        }
    }
}

#[test]
fn the_server_prefers_aes_128_gcm_and_tls_1_3() {
    let (store, trust) = store();
    let server = ServerConfig::new(store, &ServerOptions::default()).unwrap();
    let client = ClientOptions {
        ciphers: vec![
            Cipher::ChaCha20Poly1305,
            Cipher::Aes256Gcm,
            Cipher::Aes128Gcm,
        ],
        ..ClientOptions::default()
    };
    let client = ClientConfig::new(trust, &client).unwrap();
    let (server, _) = connect(&server, &client, usize::MAX).unwrap();
    assert_eq!(server.version, Version::Tls13);
    assert_eq!(server.cipher, Cipher::Aes128Gcm);
}

#[test]
fn key_exchanges_meet_with_a_retry_where_needed() {
    use KeyExchange::{OnlyPostQuantum, OnlyX25519, PreferPostQuantum, PreferX25519};
    use rustls::NamedGroup;
    for (at_server, at_client, agreed) in [
        (PreferX25519, PreferX25519, NamedGroup::X25519),
        (
            PreferPostQuantum,
            PreferPostQuantum,
            NamedGroup::X25519MLKEM768,
        ),
        (OnlyX25519, PreferPostQuantum, NamedGroup::X25519),
        (OnlyPostQuantum, PreferX25519, NamedGroup::X25519MLKEM768),
    ] {
        let (store, trust) = store();
        let server = ServerOptions {
            key_exchange: at_server,
            ..ServerOptions::default()
        };
        let client = ClientOptions {
            key_exchange: at_client,
            ..ClientOptions::default()
        };
        let server = ServerConfig::new(store, &server).unwrap();
        let client = ClientConfig::new(trust, &client).unwrap();
        for chunk in [1, usize::MAX] {
            let (server, client) = connect(&server, &client, chunk).unwrap();
            assert_eq!(server.key_exchange, Some(agreed));
            assert_eq!(client.key_exchange, Some(agreed));
        }
    }
}

#[test]
fn tickets_resume_and_the_meta_key_is_known_again() {
    for version in [Version::Tls13, Version::Tls12] {
        let (store, trust) = store();
        let server = ServerConfig::new(store, &ServerOptions::default()).unwrap();
        let client = ClientOptions {
            versions: crate::common::only(version),
            resumption_servers: 2,
            ..ClientOptions::default()
        };
        let client = ClientConfig::new(trust, &client).unwrap();
        for resumed in [false, true, true] {
            let (server, mut client) = connect(&server, &client, usize::MAX).unwrap();
            assert_eq!((server.resumed, client.resumed), (resumed, resumed));
            let meta_key = (version == Version::Tls13).then_some(META_KEY);
            assert_eq!(client.meta_key, meta_key);
            receive(&mut client.session, &mut client.leftover).unwrap();
        }
    }
}

#[test]
fn without_tickets_nothing_resumes() {
    let (store, trust) = store();
    let server = ServerOptions {
        tickets: 0,
        ..ServerOptions::default()
    };
    let server = ServerConfig::new(store, &server).unwrap();
    let client = ClientOptions {
        resumption_servers: 2,
        ..ClientOptions::default()
    };
    let client = ClientConfig::new(trust, &client).unwrap();
    for _ in 0..2 {
        let (_, client) = connect(&server, &client, usize::MAX).unwrap();
        assert!(!client.resumed);
        assert!(client.leftover.is_empty());
    }
}

#[test]
fn the_peer_is_told_why_a_handshake_failed() {
    let (store, trust) = store();
    let server = ServerOptions {
        versions: Versions::OnlyTls13,
        ..ServerOptions::default()
    };
    let client = ClientOptions {
        versions: Versions::OnlyTls12,
        ..ClientOptions::default()
    };
    let server = ServerConfig::new(store, &server).unwrap();
    let client = ClientConfig::new(trust, &client).unwrap();
    let mut server = ServerHandshake::new(&server).unwrap();
    let mut client = ClientHandshake::new(&client, host()).unwrap();

    let error = server.handle_bytes(&client.poll_output().unwrap());
    assert!(
        matches!(error, Err(HandshakeError::Refused(_))),
        "{error:?}"
    );
    let error = client.handle_bytes(&server.poll_output().unwrap());
    assert!(
        matches!(
            error,
            Err(HandshakeError::Alert(AlertDescription::ProtocolVersion))
        ),
        "{error:?}"
    );
    assert!(matches!(
        server.handle_bytes(b"x"),
        Err(HandshakeError::Ended)
    ));
    assert!(matches!(
        client.handle_bytes(b"x"),
        Err(HandshakeError::Ended)
    ));
}

#[test]
fn what_is_not_tls_is_refused_at_its_fifth_byte() {
    let (server, _) = configs(Version::Tls13, Cipher::Aes128Gcm);
    for bytes in [
        &b"GET /derp HTTP/1.1\r\n"[..],
        &[0; 8],
        &[22, 3, 1, 255, 255],
    ] {
        let mut server = ServerHandshake::new(&server).unwrap();
        for byte in &bytes[..4] {
            assert!(server.handle_bytes(&[*byte]).unwrap().is_none());
        }
        let error = server.handle_bytes(&bytes[4..5]);
        assert!(matches!(error, Err(HandshakeError::Peer(_))), "{error:?}");
    }
}

#[test]
fn handshake_input_is_bounded() {
    let (server, _) = configs(Version::Tls13, Cipher::Aes128Gcm);
    let mut server = ServerHandshake::new(&server).unwrap();
    // A hello of 60,000 bytes, in records of 1,000.
    let mut fed = 0;
    let error = loop {
        let mut record = vec![22, 3, 1, 0x03, 0xe8];
        record.resize(1005, 0);
        if fed == 0 {
            record[5..9].copy_from_slice(&[1, 0, 0xea, 0x60]);
        }
        match server.handle_bytes(&record) {
            Ok(established) => assert!(established.is_none()),
            Err(error) => break error,
        }
        fed += record.len();
        assert!(fed < 60_000, "the server takes everything");
    };
    assert!(
        matches!(error, HandshakeError::TooLarge { .. }),
        "{error:?}"
    );
}

#[test]
fn a_changed_handshake_byte_never_connects_or_panics() {
    let (server_config, client_config) = configs(Version::Tls13, Cipher::Aes128Gcm);
    let mut client = ClientHandshake::new(&client_config, host()).unwrap();
    let hello = client.poll_output().unwrap();
    for at in 0..hello.len() {
        let mut hello = hello.clone();
        hello[at] ^= 0x41;
        let mut server = ServerHandshake::new(&server_config).unwrap();
        // The transcript differs now, so the server's flight cannot convince a client.
        if server.handle_bytes(&hello).is_ok()
            && let Some(flight) = server.poll_output()
        {
            assert!(!flight.is_empty());
        }
    }
}

#[test]
fn sessions_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Session>();
    assert_send::<ServerHandshake>();
    assert_send::<ClientHandshake>();
}
