//! STUN: tells clients the address that their datagrams come from. Binding requests only.
//!
//! Runs on the control runtime. A source prefix gets a bounded number of answers, so that nobody uses the relay to flood
//! another; the table of prefixes has a fixed size.

mod counters;
mod limiter;

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use towline_wire::Time;
use towline_wire::limits::STUN_REQUEST_BYTES_MAX;
use towline_wire::stun::{StunError, TransactionId, binding_response, parse_binding_request};
use tracing::debug;

pub(crate) use counters::StunCounters;
use limiter::Limiter;

/// Receives taken with one system call.
const RECEIVES_MAX: usize = 8;
/// Room for one receive; the kernel may join datagrams of a source.
const RECEIVE_BYTES: usize = 64 << 10;
/// Datagrams after which the other tasks of the thread have a turn: a socket that always has more is always ready, and
/// waiting for one that is ready gives nothing up.
const DATAGRAMS_PER_TURN: usize = 64;
/// After a failed receive: a socket that is broken for good does not keep a core busy.
const READ_ERROR_PAUSE: Duration = Duration::from_millis(10);

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
    let mut taken = 0;
    loop {
        if taken >= DATAGRAMS_PER_TURN {
            taken = 0;
            tokio::task::yield_now().await;
        }
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
                tokio::time::sleep(READ_ERROR_PAUSE).await;
                continue;
            }
        };
        let now = Time(towline_io::host::now_ns());
        for (slot, meta) in slots.iter().zip(&metas).take(received) {
            let (socket, counters) = (&socket, &counters);
            let mut answer = |datagram: &[u8]| {
                taken += 1;
                answer(socket, &state, counters, &mut limiter, now, meta, datagram);
            };
            // An empty datagram has no chunk.
            match meta.len {
                0 => answer(&[]),
                len => slot[..len].chunks(meta.stride.max(1)).for_each(answer),
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
    let transaction = match parse(datagram) {
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

/// What is too long for a request is not looked at: summing it up would cost more than it is worth.
fn parse(datagram: &[u8]) -> Result<TransactionId, StunError> {
    if datagram.len() > STUN_REQUEST_BYTES_MAX {
        return Err(StunError::NotStun);
    }
    parse_binding_request(datagram)
}

#[cfg(test)]
mod tests;
