//! What the record layer costs for one record, sealed and opened in place: a packet of a tunnel
//! and a full record.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rustls::pki_types::{ServerName, UnixTime};
use towline_tls::cert::{CertPair, CertStore, SelfSigned, ServerTrust, SniPolicy};
use towline_tls::{
    Cipher, ClientConfig, ClientHandshake, ClientOptions, KeyExchange, ServerConfig,
    ServerHandshake, ServerOptions, Session, Versions,
};

const SIZES: [usize; 2] = [1400, 16_384];

const SUITES: [(&str, Versions, Cipher); 4] = [
    ("tls13 aes-128-gcm", Versions::OnlyTls13, Cipher::Aes128Gcm),
    ("tls13 aes-256-gcm", Versions::OnlyTls13, Cipher::Aes256Gcm),
    (
        "tls13 chacha20",
        Versions::OnlyTls13,
        Cipher::ChaCha20Poly1305,
    ),
    ("tls12 aes-128-gcm", Versions::OnlyTls12, Cipher::Aes128Gcm),
];

fn records(c: &mut Criterion) {
    for (name, versions, cipher) in SUITES {
        let (server, client) = configs(versions, cipher, KeyExchange::OnlyX25519);
        for size in SIZES {
            let mut group = c.benchmark_group(format!("{name} {size} bytes"));
            group.throughput(Throughput::Bytes(size as u64));
            let (mut session, _) = connect(&server, &client);
            let mut buf = vec![0; size + 64];
            group.bench_function("seal", |b| {
                b.iter(|| black_box(session.seal(&mut buf, size)));
            });
            let (mut session, mut sender) = connect(&server, &client);
            group.bench_function("open", |b| {
                b.iter_batched_ref(
                    || {
                        let mut record = vec![0; size + 64];
                        let len = sender.seal(&mut record, size);
                        record.truncate(len.expect("the key has not been used up"));
                        record
                    },
                    |record| session.open(record).expect("records are in order"),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

fn handshakes(c: &mut Criterion) {
    for (name, key_exchange) in [
        ("x25519", KeyExchange::OnlyX25519),
        ("x25519mlkem768", KeyExchange::OnlyPostQuantum),
    ] {
        let (server, client) = configs(Versions::OnlyTls13, Cipher::Aes128Gcm, key_exchange);
        c.bench_function(&format!("handshake, both sides, {name}"), |b| {
            b.iter(|| black_box(connect(&server, &client)));
        });
    }
}

fn configs(
    versions: Versions,
    cipher: Cipher,
    key_exchange: KeyExchange,
) -> (ServerConfig, ClientConfig) {
    let made = SelfSigned::generate("192.0.2.1", UnixTime::now()).expect("a good name");
    let pair = CertPair::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes());
    let store = CertStore::new(SniPolicy::Any);
    store.set_pair(pair.expect("they were just made"));
    let server = ServerOptions {
        key_exchange,
        ..ServerOptions::default()
    };
    let client = ClientOptions {
        versions,
        key_exchange,
        ciphers: vec![cipher],
        ..ClientOptions::default()
    };
    (
        ServerConfig::new(Arc::new(store), &server).expect("good options"),
        ClientConfig::new(ServerTrust::Pinned(made.pin), &client).expect("good options"),
    )
}

/// The sessions of a server, which has taken nothing yet, and of its client.
fn connect(server: &ServerConfig, client: &ClientConfig) -> (Session, Session) {
    let name = ServerName::try_from("192.0.2.1").expect("an address");
    let mut server = ServerHandshake::new(server).expect("a good configuration");
    let mut client = ClientHandshake::new(client, name).expect("a good configuration");
    let (mut at_server, mut at_client) = (None, None);
    while at_server.is_none() || at_client.is_none() {
        while let Some(bytes) = client.poll_output() {
            at_server = server.handle_bytes(&bytes).expect("a good client");
        }
        while at_client.is_none()
            && let Some(bytes) = server.poll_output()
        {
            at_client = client.handle_bytes(&bytes).expect("a good server");
        }
    }
    let (server, client) = (at_server.expect("done"), at_client.expect("done"));
    (server.session, client.session)
}

criterion_group!(benches, records, handshakes);
criterion_main!(benches);
