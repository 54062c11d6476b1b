//! STUN over loopback sockets.

use std::net::Ipv4Addr;
use std::time::Duration;

use towline_wire::limits::{STUN_PER_PREFIX_BURST, STUN_REQUEST_BYTES_MAX};
use towline_wire::stun::{TransactionId, binding_request, parse_binding_response};

use super::*;

/// Asks `server` from a socket bound to `from` and returns the answer and who gave it.
async fn ask(
    from: &str,
    server: SocketAddr,
    datagram: &[u8],
) -> Option<(Vec<u8>, SocketAddr, SocketAddr)> {
    let socket = tokio::net::UdpSocket::bind(from).await.unwrap();
    socket.send_to(datagram, server).await.unwrap();
    let mut answer = [0; 256];
    let answered =
        tokio::time::timeout(Duration::from_secs(1), socket.recv_from(&mut answer)).await;
    let (len, by) = answered.ok()?.unwrap();
    Some((answer[..len].to_vec(), by, socket.local_addr().unwrap()))
}

fn start(address: &str) -> (SocketAddr, Arc<StunCounters>) {
    let socket = bind(address.parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let counters = Arc::new(StunCounters::default());
    tokio::spawn(serve(socket, Arc::clone(&counters)));
    (address, counters)
}

fn count(counters: &StunCounters, name: &str) -> u64 {
    let dispositions = counters.counts().dispositions;
    dispositions
        .into_iter()
        .find(|(known, _)| *known == name)
        .unwrap()
        .1
}

#[tokio::test]
async fn an_ipv6_client_is_told_its_ipv6_address() {
    let (server, counters) = start("[::1]:0");
    let transaction = TransactionId([3; 12]);
    let request = binding_request(&transaction);
    let (answer, by, own) = ask("[::1]:0", server, &request).await.unwrap();
    assert_eq!(answer.len(), 44, "an address of 16 bytes");
    assert_eq!(parse_binding_response(&answer).unwrap(), (transaction, own));
    assert_eq!(by, server);
    assert_eq!((counters.counts().ipv4, counters.counts().ipv6), (0, 1));
}

#[tokio::test]
async fn a_dual_stack_socket_tells_ipv4_clients_an_ipv4_address() {
    let (server, counters) = start("[::]:0");
    let transaction = TransactionId([7; 12]);
    let request = binding_request(&transaction);
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let (answer, by, own) = ask("127.0.0.1:0", to, &request).await.unwrap();
    assert_eq!(parse_binding_response(&answer).unwrap(), (transaction, own));
    assert_eq!(by, to);
    assert_eq!(answer.len(), 32, "an address of 4 bytes");
    let to = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, server.port()));
    let (answer, _, own) = ask("[::1]:0", to, &request).await.unwrap();
    assert_eq!(parse_binding_response(&answer).unwrap(), (transaction, own));
    assert_eq!((counters.counts().ipv4, counters.counts().ipv6), (1, 1));
}

#[tokio::test]
async fn the_answer_comes_from_the_address_that_was_asked() {
    let (server, _) = start("0.0.0.0:0");
    let request = binding_request(&TransactionId([1; 12]));
    for host in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 9, 9, 9]] {
        let to = SocketAddr::from((host, server.port()));
        let (_, by, _) = ask("0.0.0.0:0", to, &request).await.unwrap();
        assert_eq!(by, to);
    }
}

#[tokio::test]
async fn what_is_no_request_is_counted_and_not_answered() {
    let (server, counters) = start("127.0.0.1:0");
    let mut request = binding_request(&TransactionId([1; 12]));
    let last = request.len() - 1;
    request[last] ^= 1;
    assert!(ask("127.0.0.1:0", server, &request).await.is_none());
    assert!(ask("127.0.0.1:0", server, b"hello").await.is_none());
    let long = [0; STUN_REQUEST_BYTES_MAX + 1];
    assert!(ask("127.0.0.1:0", server, &long).await.is_none());
    let of = |name| count(&counters, name);
    assert_eq!(of("bad_fingerprint"), 1);
    assert_eq!(of("not_stun"), 2);
    assert_eq!(of("success"), 0);
}

#[tokio::test]
async fn other_tasks_have_their_turns_while_there_is_always_more_to_read() {
    const WAITING: u64 = 200;
    let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let asker = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..WAITING {
        let sent = asker.send_to(b"hello", socket.local_addr().unwrap());
        sent.unwrap();
    }
    let counters = Arc::new(StunCounters::default());
    tokio::spawn(serve(socket, Arc::clone(&counters)));
    let taken = || count(&counters, "not_stun");
    while taken() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(taken() <= DATAGRAMS_PER_TURN as u64 + 8, "{}", taken());
    while taken() < WAITING {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_flood_from_one_prefix_is_cut_and_others_are_still_answered() {
    let (server, counters) = start("0.0.0.0:0");
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let request = binding_request(&TransactionId([1; 12]));
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // In lots, so that none is lost in a full socket.
    for _ in 0..4 {
        for _ in 0..STUN_PER_PREFIX_BURST / 2 {
            socket.send_to(&request, server).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (answered, refused) = (
        count(&counters, "success"),
        count(&counters, "rate_limited"),
    );
    assert!(answered >= u64::from(STUN_PER_PREFIX_BURST), "{answered}");
    assert!(refused > u64::from(STUN_PER_PREFIX_BURST / 2), "{refused}");
    assert!(ask("127.0.1.1:0", server, &request).await.is_some());
}
