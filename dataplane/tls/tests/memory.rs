//! What a session holds and what its packets allocate. A binary of its own, for its allocator,
//! and one test, so that nothing else allocates meanwhile.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustls::pki_types::{ServerName, UnixTime};
use towline_tls::cert::{CertPair, CertStore, SelfSigned, ServerTrust, SniPolicy};
use towline_tls::{
    ClientConfig, ClientHandshake, ClientOptions, Opened, ServerConfig, ServerHandshake,
    ServerOptions, Session, Version, Versions,
};

/// Bytes of the Rust heap in use, and allocations so far.
static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        HELD_BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sessions that are measured at a time: enough that a page more or less does not show.
const SESSIONS: usize = 1000;

#[test]
fn a_session_is_small_and_its_records_allocate_nothing() {
    for versions in [Versions::OnlyTls13, Versions::OnlyTls12] {
        let (server, client) = configs(versions);
        records_allocate_nothing(&server, &client);

        // Warm the allocator with as many sessions, so that only what is held is counted.
        drop(sessions(&server, &client));
        let held = HELD_BYTES.load(Relaxed);
        let mut sessions = sessions(&server, &client);
        let per_session = (HELD_BYTES.load(Relaxed) - held) / SESSIONS;

        let rested = resident_bytes();
        sessions.iter_mut().for_each(wake);
        let expanded_keys = (resident_bytes() - rested) / SESSIONS;

        println!(
            "{versions:?}: {per_session} bytes of Rust heap a session (the struct itself {}), \
             {expanded_keys} more of C heap while it does not rest",
            size_of::<Session>(),
        );
        assert!(per_session <= 1024, "{per_session}");
        assert!(expanded_keys <= 1536, "{expanded_keys}");
    }
}

/// `SESSIONS` resting sessions of a server. They lie in one block, which is part of the measure.
fn sessions(server: &ServerConfig, client: &ClientConfig) -> Vec<Session> {
    let mut sessions = Vec::with_capacity(SESSIONS);
    for _ in 0..SESSIONS {
        let mut session = connect(server, client).0;
        session.rest();
        sessions.push(session);
    }
    sessions
}

/// Expands both keys: one record out, and one in, which does not authenticate.
fn wake(session: &mut Session) {
    session.seal(&mut [0; 100], 1).unwrap();
    let mut record = [0; 45];
    record[..5].copy_from_slice(&[23, 3, 3, 0, 40]);
    session.open(&mut record).unwrap_err();
}

fn records_allocate_nothing(server: &ServerConfig, client: &ClientConfig) {
    let (mut server, mut client) = connect(server, client);
    let mut buf = vec![0; 17_000];
    let before = ALLOCATIONS.load(Relaxed);
    for size in (0..1000).map(|i| 1 + i * 16) {
        for (from, to) in [(0, 1), (1, 0)] {
            let ends = [&mut server, &mut client];
            let len = ends[from].seal(&mut buf, size).unwrap();
            let opened = ends[to].open(&mut buf[..len]).unwrap();
            assert!(matches!(opened, Opened::Data(range) if range.len() == size));
            assert!(!ends[to].has_output());
        }
    }
    assert_eq!(ALLOCATIONS.load(Relaxed), before);
}

fn configs(versions: Versions) -> (ServerConfig, ClientConfig) {
    let made = SelfSigned::generate("192.0.2.1", UnixTime::now()).unwrap();
    let pair = CertPair::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes());
    let store = CertStore::new(SniPolicy::Any);
    store.set_pair(pair.unwrap());
    let server = ServerOptions {
        tickets: 0,
        ..ServerOptions::default()
    };
    let client = ClientOptions {
        versions,
        ..ClientOptions::default()
    };
    (
        ServerConfig::new(Arc::new(store), &server).unwrap(),
        ClientConfig::new(ServerTrust::Pinned(made.pin), &client).unwrap(),
    )
}

/// The sessions of a server and its client.
fn connect(server: &ServerConfig, client: &ClientConfig) -> (Session, Session) {
    let mut server = ServerHandshake::new(server).unwrap();
    let name = ServerName::try_from("192.0.2.1").unwrap();
    let mut client = ClientHandshake::new(client, name).unwrap();
    let (mut at_server, mut at_client) = (None, None);
    while at_server.is_none() || at_client.is_none() {
        while let Some(bytes) = client.poll_output() {
            at_server = server.handle_bytes(&bytes).unwrap();
        }
        while let Some(bytes) = server.poll_output() {
            at_client = client.handle_bytes(&bytes).unwrap();
        }
    }
    let (at_server, at_client) = (at_server.unwrap(), at_client.unwrap());
    assert!([Version::Tls12, Version::Tls13].contains(&at_server.version));
    (at_server.session, at_client.session)
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
