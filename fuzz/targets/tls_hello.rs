//! The very first bytes of a stranger: a TLS handshake, fed to our driver of `rustls` in pieces. It never gets past
//! the hello, and never costs more than an alert.
#![no_main]
#![forbid(unsafe_code)]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use towline_fuzz::Cuts;
use towline_tls::cert::{CertPair, CertStore, SelfSigned, SniPolicy};
use towline_tls::pki_types::UnixTime;
use towline_tls::{ServerConfig, ServerHandshake, ServerOptions};

static CONFIG: LazyLock<ServerConfig> = LazyLock::new(|| {
    let made = SelfSigned::generate("relay.example", UnixTime::now()).expect("a certificate");
    let pair = CertPair::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes());
    let store = CertStore::new(SniPolicy::Any);
    store.set_pair(pair.expect("the pair that was just made"));
    ServerConfig::new(Arc::new(store), &ServerOptions::default()).expect("a configuration")
});

/// Input: cuts, the stream.
fn run(mut input: &[u8]) -> Option<()> {
    let cuts = Cuts::take(&mut input)?;
    let whole = feed(core::iter::once(input));
    assert_eq!(feed(cuts.pieces(input)), whole);
    Some(())
}

/// Whether it failed, and how many records were answered: their bytes hold fresh keys.
fn feed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (bool, usize) {
    let mut server = ServerHandshake::new(&CONFIG).expect("a handshake");
    let (mut output, mut failed) = (Vec::new(), false);
    for piece in pieces {
        let established = server.handle_bytes(piece);
        assert!(
            !matches!(established, Ok(Some(_))),
            "nobody guesses a Finished"
        );
        while let Some(bytes) = server.poll_output() {
            output.extend(bytes);
        }
        failed = established.is_err();
        if failed {
            break;
        }
    }
    (failed, records(&output))
}

fn records(mut output: &[u8]) -> usize {
    let mut count = 0;
    while let Some(len) = towline_tls::record_len(output).expect("we send good records") {
        output = &output[len..];
        count += 1;
    }
    assert!(output.is_empty(), "we send whole records");
    count
}

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});
