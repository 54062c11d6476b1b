//! What the packet driver asks of the kernel.

use io_uring::{opcode, squeue, types};

use super::{TUN, Uring};
use crate::Features;
use crate::packet::shared::Shared;
use crate::packet::sys::empty_message;
use crate::packet::{Family, RECV_HEAD_BYTES};
use crate::slab::SocketId;
use crate::uring::ring;
use crate::uring::user_data::{Op, pack, pack_plain};

/// What the kernel writes in front of a datagram (`struct io_uring_recvmsg_out`), the sender's
/// address and the control messages, with room to spare: the datagram begins on a cache line.
const OUT_BYTES: usize = 16;
const NAME_BYTES: usize = 32;
const CONTROL_BYTES: usize = RECV_HEAD_BYTES - NAME_BYTES - OUT_BYTES;
const _: () = assert!(NAME_BYTES >= crate::packet::address::NAME_BYTES);
const _: () = assert!(CONTROL_BYTES >= crate::packet::control::CONTROL_BYTES);

/// Says how much room a multishot receive leaves for what.
pub(super) fn receive_message() -> libc::msghdr {
    let mut message = empty_message();
    message.msg_namelen = NAME_BYTES as u32;
    message.msg_controllen = CONTROL_BYTES as _;
    message
}

impl Uring {
    /// Sees that every source has its buffers and its request.
    pub(super) fn arm(&mut self, shared: &mut Shared) {
        self.arm_alarm(shared);
        self.first = (self.first + 1) % 3;
        for source in [self.first, self.first + 1, self.first + 2] {
            self.arm_source(source % 3, shared);
        }
    }

    fn arm_source(&mut self, source: usize, shared: &mut Shared) {
        let fd = match source {
            TUN if shared.tun.gone => return,
            TUN => ring::fd(&shared.tun.fd),
            _ => {
                let family = [Family::V4, Family::V6][source];
                let Some(socket) = shared.sockets.get(family) else {
                    return;
                };
                ring::fd(&socket.fd)
            }
        };
        if source == TUN && !self.ring.features().contains(Features::MULTISHOT_READ) {
            self.poll_tun(fd);
            return;
        }
        self.provide(source, shared);
        if self.sources[source].armed {
            return;
        }
        if self.providers[source].provided() == 0 {
            shared.stats.recv_starved += 1;
            return;
        }
        let group = source as u16;
        let entry = match source {
            TUN => opcode::ReadMulti::new(fd, 0, group).build(),
            _ => opcode::RecvMsgMulti::new(fd, &raw const *self.message, group).build(),
        };
        self.sources[source].armed = true;
        self.push(&entry.user_data(pack(Op::Recv, self.id(source))));
    }

    /// Fills the buffer group of a source up to a turn.
    fn provide(&mut self, source: usize, shared: &mut Shared) {
        let provider = &mut self.providers[source];
        while provider.provided() < shared.turn {
            let Some(buffer) = shared.free.pop() else {
                break;
            };
            if let Err(error) = provider.provide(&mut self.ring, &shared.recv, buffer) {
                self.fault = Some(error);
            }
        }
        provider.publish();
    }

    /// Before Linux 6.7 a request tells when TUN is to be read by hand.
    fn poll_tun(&mut self, fd: types::Fd) {
        if self.sources[TUN].armed || self.tun_readable {
            return;
        }
        self.sources[TUN].armed = true;
        let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32).build();
        self.push(&entry.user_data(pack(Op::Recv, self.id(TUN))));
    }

    /// Makes the send of a filled slot of the outbox.
    pub(crate) fn send(&mut self, shared: &mut Shared, index: u16) {
        let to = shared.outbox.to(index);
        let whole = shared.sockets.to(&to).and_then(|socket| {
            let whole = shared.outbox.is_whole(index, socket);
            whole.then(|| ring::fd(&socket.fd))
        });
        let Some(fd) = whole else {
            // A train without GSO is one system call, which a ring does not have. Those before it
            // leave first.
            if let Err(error) = self.flush(shared) {
                self.fault = Some(error);
            }
            let (sockets, stats) = (&mut shared.sockets, &mut shared.stats);
            shared.outbox.send_split(index, sockets, stats);
            return;
        };
        // MSG_DONTWAIT: completes at once, full or not; nothing of a send ever waits in the kernel.
        let entry = opcode::SendMsg::new(fd, shared.outbox.message(index))
            .flags(libc::MSG_DONTWAIT as u32)
            .build();
        self.sending += 1;
        self.push(&entry.user_data(pack_plain(Op::Send, index.into())));
    }

    /// Asks for the end of a source's request.
    pub(super) fn cancel(&mut self, source: usize) {
        let id = self.id(source);
        let entry = opcode::AsyncCancel::new(pack(Op::Recv, id)).build();
        self.push(&entry.user_data(pack(Op::CancelRecv, id)));
    }

    fn arm_alarm(&mut self, shared: &Shared) {
        if self.alarm_armed {
            return;
        }
        self.alarm_armed = true;
        let fd = types::Fd(shared.alarm.eventfd());
        let value = self.alarm_value.at(0, size_of::<u64>());
        let entry = opcode::Read::new(fd, value, size_of::<u64>() as u32).build();
        self.push(&entry.user_data(pack_plain(Op::Alarm, 0)));
    }

    fn id(&self, source: usize) -> SocketId {
        SocketId {
            slot: source as u32,
            generation: self.sources[source].generation,
        }
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: requests of this driver point only into its pools, the slots of its outbox,
        // `message` and `alarm_value`, which outlive the ring (or are leaked); a buffer with a
        // request has no handle outside, a slot is left alone until its completion; descriptors
        // stay open until their requests are over.
        if let Err(error) = unsafe { self.ring.push(entry) } {
            self.fault = Some(error);
        }
    }
}
