//! One send: the message that the kernel reads, next to all that it points to.

use std::net::SocketAddr;

use super::Local;
use super::address::Name;
use super::control::Control;
use super::sys::empty_message;

/// What the owner asked for.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) len: usize,
    pub(crate) segment_bytes: usize,
    pub(crate) to: SocketAddr,
    pub(crate) local: Option<Local>,
    pub(crate) ecn: u8,
}

impl Order {
    /// Datagrams in it.
    pub(crate) fn segments(&self) -> usize {
        self.len.div_ceil(self.segment_bytes.max(1)).max(1)
    }
}

/// Points into itself: stays where it is from [`Self::address`] to the end of the send.
pub(crate) struct Outgoing {
    pub(crate) header: libc::msghdr,
    iov: libc::iovec,
    name: Name,
    control: Control,
    /// As the owner gave it.
    pub(crate) order: Order,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self {
            header: empty_message(),
            iov: libc::iovec {
                iov_base: core::ptr::null_mut(),
                iov_len: 0,
            },
            name: Name::EMPTY,
            control: Control::EMPTY,
            order: Order {
                len: 0,
                segment_bytes: 0,
                to: SocketAddr::from(([0, 0, 0, 0], 0)),
                local: None,
                ecn: 0,
            },
        }
    }

    /// Makes the message of an order whose bytes are at `start`; `whole`: its segments, if there
    /// are several, leave in one send.
    pub(crate) fn address(&mut self, order: &Order, start: *mut u8, whole: bool) {
        let segment_bytes = (whole && order.segments() > 1).then_some(order.segment_bytes as u16);
        self.control
            .write(order.to.is_ipv6(), order.local, segment_bytes, order.ecn);
        self.iov = libc::iovec {
            iov_base: start.cast(),
            iov_len: order.len,
        };
        self.header.msg_namelen = self.name.write(&order.to);
        self.header.msg_name = core::ptr::from_mut(&mut self.name).cast();
        self.header.msg_iov = &raw mut self.iov;
        self.header.msg_iovlen = 1;
        let control = &mut self.control;
        self.header.msg_controllen = control.len as _;
        self.header.msg_control = match control.len {
            0 => core::ptr::null_mut(),
            _ => control.bytes.as_mut_ptr().cast(),
        };
    }
}
