//! Handshakes of our client with our server.

use crate::common::{configs, connect, receive, seal, suites};
use towline_tls::Version;

#[test]
fn every_suite_connects_and_carries_data_both_ways() {
    for (version, cipher) in suites() {
        let (server, client) = configs(version, cipher);
        let (mut server, mut client) = connect(&server, &client, usize::MAX).unwrap();
        assert_eq!((server.version, server.cipher), (version, cipher));
        assert_eq!((client.version, client.cipher), (version, cipher));
        assert_eq!(server.server_name.as_deref(), Some(crate::common::HOST));
        assert_eq!(server.alpn.as_deref(), Some(b"http/1.1".as_slice()));
        let meta_key = (version == Version::Tls13).then_some(crate::common::META_KEY);
        assert_eq!(client.meta_key, meta_key);

        for size in [0, 1, 15, 16, 17, 1400, 16384] {
            let data = vec![size as u8; size];
            client.leftover.extend(seal(&mut server.session, &data));
            let got = receive(&mut client.session, &mut client.leftover);
            assert_eq!(got, Ok(data.clone()));
            server.leftover.extend(seal(&mut client.session, &data));
            let got = receive(&mut server.session, &mut server.leftover);
            assert_eq!(got, Ok(data));
        }
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
