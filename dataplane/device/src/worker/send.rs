//! What the worker sends, with the addresses of the tunnel in the words of the driver.

use std::net::SocketAddr;

use towline_io::SendBuf;
use towline_io::packet::{Local, PacketDriver};
use towline_tunnel::{Endpoint, Source};

/// Queues a train (`(len, slot_bytes)`) to where its peer is.
pub(super) fn send(
    driver: &mut PacketDriver,
    buf: SendBuf,
    (len, slot_bytes): (usize, usize),
    to: &Endpoint,
    ecn: u8,
) {
    driver.send(buf, len, slot_bytes, to.address, to.source.map(local), ecn);
}

fn local(source: Source) -> Local {
    Local {
        address: source.address,
        interface: source.interface,
    }
}

/// Where a datagram came from, and what it reached.
pub(super) fn endpoint(from: SocketAddr, local: Option<Local>) -> Endpoint {
    let source = local
        .filter(|local| !local.address.is_unspecified())
        .map(|local| Source {
            address: local.address,
            interface: local.interface,
        });
    Endpoint {
        address: from,
        source,
    }
}
