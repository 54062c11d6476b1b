//! STUN: tells clients the address that their datagrams come from. Binding requests only.
//!
//! Runs on the control runtime. A source prefix gets a bounded number of answers, so that nobody uses the relay to flood
//! another; the table of prefixes has a fixed size.

mod counters;
mod limiter;

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use towline_wire::Time;
use towline_wire::stun::{binding_response, parse_binding_request};
use tracing::debug;

pub(crate) use counters::StunCounters;
use limiter::Limiter;

/// Receives taken with one system call.
const RECEIVES_MAX: usize = 8;
/// Room for one receive; the kernel may join datagrams of a source.
const RECEIVE_BYTES: usize = 64 << 10;

/// A socket for STUN; the IPv6 wildcard takes IPv4 too.
///
/// # Errors
/// What the kernel says: the port is taken, or the address is not of this host.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Answers until the task is dropped.
///
/// # Errors
/// The socket cannot be watched, or the kernel has no random bytes.
pub(crate) async fn serve(socket: UdpSocket, counters: Arc<StunCounters>) -> anyhow::Result<()> {
    let state = UdpSocketState::new((&socket).into())?;
    socket.set_nonblocking(true)?;
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    let mut limiter = Limiter::new(crate::shard::random()?);
    let mut memory = vec![0; RECEIVES_MAX * RECEIVE_BYTES];
    let mut metas = [RecvMeta::default(); RECEIVES_MAX];
    loop {
        socket.readable().await?;
        let mut slots = memory
            .chunks_exact_mut(RECEIVE_BYTES)
            .map(IoSliceMut::new)
            .collect::<Vec<_>>();
        let received = socket.try_io(Interest::READABLE, || {
            state.recv((&socket).into(), &mut slots, &mut metas)
        });
        let received = match received {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => {
                counters.count_read_error();
                debug!(%error, "STUN receive failed");
                continue;
            }
        };
        let now = Time(towline_io::host::now_ns());
        for (slot, meta) in slots.iter().zip(&metas).take(received) {
            for datagram in slot[..meta.len].chunks(meta.stride.max(1)) {
                answer(
                    &socket,
                    &state,
                    &counters,
                    &mut limiter,
                    now,
                    meta,
                    datagram,
                );
            }
        }
    }
}

fn answer(
    socket: &tokio::net::UdpSocket,
    state: &UdpSocketState,
    counters: &StunCounters,
    limiter: &mut Limiter,
    now: Time,
    meta: &RecvMeta,
    datagram: &[u8],
) {
    let transaction = match parse_binding_request(datagram) {
        Ok(transaction) => transaction,
        Err(error) => return counters.count_refused(error),
    };
    let source = meta.addr.ip().to_canonical();
    counters.count_family(source);
    if !limiter.allows(now, source) {
        counters.count_limited();
        return;
    }
    let response = binding_response(&transaction, SocketAddr::new(source, meta.addr.port()));
    let transmit = Transmit {
        destination: meta.addr,
        ecn: None,
        contents: &response,
        segment_size: None,
        // The answer leaves from the address that was asked.
        src_ip: meta.dst_ip,
    };
    // A full send buffer is the asker's loss: it asks again.
    match socket.try_io(Interest::WRITABLE, || {
        state.try_send(socket.into(), &transmit)
    }) {
        Ok(()) => counters.count_success(),
        Err(error) => {
            counters.count_write_error();
            debug!(%error, "STUN answer not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

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

    #[tokio::test]
    async fn a_dual_stack_socket_tells_ipv4_clients_an_ipv4_address() {
        let (server, _) = start("[::]:0");
        let transaction = TransactionId([7; 12]);
        let request = binding_request(&transaction);
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        let (answer, by, own) = ask("127.0.0.1:0", to, &request).await.unwrap();
        assert_eq!(parse_binding_response(&answer).unwrap(), (transaction, own));
        assert_eq!(by, to);
        let to = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, server.port()));
        let (answer, _, own) = ask("[::1]:0", to, &request).await.unwrap();
        assert_eq!(parse_binding_response(&answer).unwrap(), (transaction, own));
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
        let counts = counters.counts();
        let of = |name| {
            counts
                .dispositions
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, count)| *count)
        };
        assert_eq!(of("bad_fingerprint"), Some(1));
        assert_eq!(of("not_stun"), Some(1));
        assert_eq!(of("success"), Some(0));
    }
}
