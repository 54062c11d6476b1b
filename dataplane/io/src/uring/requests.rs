//! What the driver asks of the kernel, but for sends.

use io_uring::{opcode, squeue, types};

use super::buffers::GROUP;
use super::socket::{
    CANCEL_POLL, CANCEL_RECV, KEEPS_FROM_RECV, MEASURED, POLL, RECV, STARVED, Socket,
};
use super::user_data::{Op, pack, pack_plain};
use super::{Uring, ring};
use crate::flags::Flags;
use crate::{Features, MEASURED_BYTES, SocketId};

impl Uring {
    /// Sees that a socket that should have a receive gets one with the next wait: a flush receives nothing new.
    pub(super) fn settle(&mut self, id: SocketId) {
        let wants_one = |socket: &Socket| !socket.flags.intersects(KEEPS_FROM_RECV);
        if self
            .sockets
            .get_mut(id)
            .is_some_and(|socket| wants_one(socket))
        {
            self.unsettled.push(id);
        }
    }

    /// Arms the receives of those that were to be settled.
    pub(super) fn arm_unsettled(&mut self) {
        let mut unsettled = core::mem::take(&mut self.unsettled);
        unsettled.drain(..).for_each(|id| self.arm(id));
        self.unsettled = unsettled;
    }

    fn arm(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.flags.intersects(KEEPS_FROM_RECV) {
            return;
        }
        socket.flags.insert(RECV);
        let fd = ring::fd(&socket.fd);
        let measured = socket.flags.intersects(MEASURED);
        let mut bytes = self.recv.buffer_bytes();
        if measured {
            bytes = bytes.min(MEASURED_BYTES);
        }
        let entry = if self.ring.features().contains(Features::MULTISHOT_RECV) && !measured {
            opcode::RecvMulti::new(fd, GROUP).build()
        } else {
            receive_once(fd, bytes, 0)
        };
        self.push(&entry.user_data(pack(Op::Recv, id)));
    }

    pub(super) fn cancel_recv(&mut self, id: SocketId) {
        self.cancel(id, RECV, CANCEL_RECV, Op::Recv, Op::CancelRecv);
    }

    pub(super) fn cancel_poll(&mut self, id: SocketId) {
        self.cancel(id, POLL, CANCEL_POLL, Op::Poll, Op::CancelPoll);
    }

    pub(super) fn cancel(
        &mut self,
        id: SocketId,
        armed: Flags,
        cancelling: Flags,
        target: Op,
        op: Op,
    ) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if !socket.flags.intersects(armed) || socket.flags.intersects(cancelling) {
            return;
        }
        socket.flags.insert(cancelling);
        let entry = opcode::AsyncCancel::new(pack(target, id))
            .build()
            .user_data(pack(op, id));
        self.push(&entry);
    }

    /// Arms as many starved receives as there are buffers. True when more of them could be armed at
    /// once.
    pub(super) fn feed_starved(&mut self) -> bool {
        let fed = self
            .starved
            .len()
            .min(usize::from(self.provider.provided()));
        for _ in 0..fed {
            let Some(id) = self.starved.pop_front() else {
                break;
            };
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.flags.remove(STARVED);
                self.settle(id);
            }
        }
        fed > 0 && !self.starved.is_empty()
    }

    pub(super) fn arm_alarm(&mut self) {
        if self.alarm_armed {
            return;
        }
        self.alarm_armed = true;
        let fd = types::Fd(self.alarm.eventfd());
        let value = self.alarm_value.at(0, size_of::<u64>());
        let entry = opcode::Read::new(fd, value, size_of::<u64>() as u32).build();
        self.push(&entry.user_data(pack_plain(Op::Alarm, 0)));
    }

    pub(super) fn provide(&mut self, buffer: u16) {
        if let Err(error) = self.provider.provide(&mut self.ring, &self.recv, buffer) {
            self.fault = Some(error);
        }
    }

    pub(super) fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: requests of this driver point only into its pools and `alarm_value`, which
        // outlive the ring (or are leaked); a part with a request in flight has no handle outside;
        // descriptors stay open until `finish`.
        if let Err(error) = unsafe { self.ring.push(entry) } {
            self.fault = Some(error);
        }
    }
}

/// A receive of at most `bytes` into a provided buffer; `flags` as for `recv`.
pub(super) fn receive_once(fd: types::Fd, bytes: u32, flags: i32) -> squeue::Entry {
    opcode::Recv::new(fd, core::ptr::null_mut(), bytes)
        .buf_group(GROUP)
        .flags(flags)
        .build()
        .flags(squeue::Flags::BUFFER_SELECT)
}
