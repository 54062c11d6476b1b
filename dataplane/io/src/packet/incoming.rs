//! The messages of one `recvmmsg`, next to all that they point to.

use std::os::fd::OwnedFd;

use super::address::Name;
use super::control::Control;
use super::shared::Shared;
use super::sys::{Errno, empty_message, recvmmsg};
use super::{Arrival, address, control};

struct Slot {
    iov: libc::iovec,
    name: Name,
    control: Control,
    buffer: u16,
}

pub(crate) struct Incoming {
    messages: Vec<libc::mmsghdr>,
    slots: Box<[Slot]>,
}

impl Incoming {
    pub(crate) fn new(count: u16) -> Self {
        let slot = |_| Slot {
            iov: libc::iovec {
                iov_base: core::ptr::null_mut(),
                iov_len: 0,
            },
            name: Name::EMPTY,
            control: Control::EMPTY,
            buffer: 0,
        };
        Self {
            messages: Vec::with_capacity(count.into()),
            slots: (0..count).map(slot).collect(),
        }
    }

    /// Receives once into as many free buffers as there are slots, each a whole buffer. True when there may be more.
    pub(crate) fn receive(
        &mut self,
        socket: &OwnedFd,
        shared: &mut Shared,
        out: &mut Vec<Arrival>,
    ) -> Result<bool, Errno> {
        self.load(shared);
        // SAFETY: each message points into its slot and to a buffer that was free, to which nobody
        // else refers.
        let result = unsafe { recvmmsg(socket, &mut self.messages) };
        let count = *result.as_ref().unwrap_or(&0);
        // Those used last are to be on top again.
        for slot in self.slots[count..self.messages.len()].iter().rev() {
            shared.free.push(slot.buffer);
        }
        for (slot, message) in self.slots.iter().zip(&self.messages[..count]) {
            let header = &message.msg_hdr;
            let name = slot.name.0.get(..header.msg_namelen as usize);
            let control = slot.control.bytes.get(..header.msg_controllen);
            let told = control::read(control.unwrap_or(&[]));
            let cut = header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
            let range = (0, message.msg_len);
            let from = name.and_then(address::read);
            shared.datagrams(slot.buffer, range, from, &told, cut, out);
        }
        result.map(|count| count == self.messages.len())
    }

    fn load(&mut self, shared: &mut Shared) {
        self.messages.clear();
        for slot in &mut self.slots {
            let Some(buffer) = shared.free.pop() else {
                break;
            };
            let (start, len) = shared.recv.spare(buffer);
            slot.buffer = buffer;
            slot.iov = libc::iovec {
                iov_base: start.cast(),
                iov_len: len as usize,
            };
            let mut header = empty_message();
            header.msg_name = core::ptr::from_mut(&mut slot.name).cast();
            header.msg_namelen = size_of::<Name>() as u32;
            header.msg_iov = &raw mut slot.iov;
            header.msg_iovlen = 1;
            header.msg_control = slot.control.bytes.as_mut_ptr().cast();
            header.msg_controllen = slot.control.bytes.len() as _;
            self.messages.push(libc::mmsghdr {
                msg_hdr: header,
                msg_len: 0,
            });
        }
    }
}
