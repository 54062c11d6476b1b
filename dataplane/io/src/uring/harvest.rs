//! What each completion of the kernel means for its socket.

use std::io;

use io_uring::cqueue;

use super::Uring;
use super::socket::{
    CANCEL_POLL, CANCEL_RECV, CLOSING, ENDED, IN_FLIGHT, MEASURED, PAUSED, POLL, RECV, SEND,
    STARVED, TIMED,
};
use super::user_data::{Op, unpack};
use crate::flags::Flags;
use crate::{Completion, Features, RecvBuf, SocketId};

impl Uring {
    pub(super) fn handle_harvested(&mut self, out: &mut Vec<Completion>) {
        let mut index = 0;
        while let Some(entry) = self.ring.harvested(index) {
            index += 1;
            self.handle(&entry, out);
        }
        self.ring.clear_harvested();
        self.stats.kernel_completions += index as u64;
    }

    pub(super) fn handle(&mut self, entry: &cqueue::Entry, out: &mut Vec<Completion>) {
        let Some((op, id)) = unpack(entry.user_data()) else {
            self.stats.stale_completions += 1;
            return;
        };
        let result = entry.result();
        match op {
            Op::Recv => self.handle_recv(id, result, entry.flags(), out),
            Op::Send => self.handle_send(id, result, out),
            Op::Poll => self.handle_poll(id, out),
            Op::CancelRecv => self.handle_cancel(id, CANCEL_RECV, result, out),
            Op::CancelPoll => self.handle_cancel(id, CANCEL_POLL, result, out),
            Op::Alarm => self.handle_alarm(result),
            Op::Provide => self.set_fault(result),
        }
    }

    fn handle_recv(&mut self, id: SocketId, result: i32, flags: u32, out: &mut Vec<Completion>) {
        let (buf, full) = self.take_filled(result, flags);
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stats.stale_completions += 1;
            self.discard(buf);
            return;
        };
        let token = socket.token;
        if !cqueue::more(flags) {
            socket.flags.remove(RECV);
        }
        if socket.flags.intersects(CLOSING) {
            self.discard(buf);
            self.finish(id, out);
            return;
        }
        let timed = socket.flags.intersects(TIMED);
        // Then the receive that was armed before may still bring something.
        let cancelling = socket.flags.intersects(CANCEL_RECV);
        let bytes = buf.as_ref().map_or(0, RecvBuf::len);
        if let Some(buf) = buf {
            self.stats.received += 1;
            self.stats.received_bytes += buf.len() as u64;
            out.push(Completion::Received { token, buf });
        } else if result == -libc::ENOBUFS {
            self.stats.recv_starved += 1;
            socket.flags.insert(STARVED);
            self.starved.push_back(id);
        } else if !matches!(-result, libc::ECANCELED | libc::EAGAIN | libc::EINTR) {
            socket.flags.insert(ENDED);
            let error = (result < 0).then(|| io::Error::from_raw_os_error(-result));
            out.push(Completion::Ended { token, error });
        }
        if timed && !cancelling && result != -libc::ECANCELED {
            self.count_fetch(id, bytes, full);
        } else if !timed && bytes > 0 {
            self.count_arrival(id, bytes);
        }
        self.settle(id);
    }

    /// The received bytes of a completion, with the accounts of the buffer they came in, and whether they filled that.
    fn take_filled(&mut self, result: i32, flags: u32) -> (Option<RecvBuf>, bool) {
        let Some(buffer) = cqueue::buffer_select(flags) else {
            return (None, false);
        };
        let incremental = self.ring.features().contains(Features::INCREMENTAL);
        if result > 0 {
            let retire = !(incremental && cqueue::buffer_more(flags));
            if retire {
                self.provider.taken();
            }
            let full = self.recv.spare(buffer).1 == result as u32;
            return (Some(self.recv.filled(buffer, result as u32, retire)), full);
        }
        // Kernels do not take a buffer for an end or an error; should one do so, it comes straight
        // back. (Of an incremental buffer the kernel says wrongly that it is done, when it received
        // nothing.)
        if !incremental {
            self.provider.taken();
            if self.recv.retire(buffer) {
                self.provide(buffer);
            }
        }
        (None, false)
    }

    fn handle_send(&mut self, id: SocketId, result: i32, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stats.stale_completions += 1;
            return;
        };
        socket.flags.remove(SEND);
        let (token, buf) = (socket.token, self.send.taken(socket.send_buf));
        let result = if result < 0 {
            Err(io::Error::from_raw_os_error(-result))
        } else {
            Ok(result as usize)
        };
        self.stats.count_send(&result);
        out.push(Completion::Sent { token, result, buf });
        self.finish(id, out);
    }

    fn handle_poll(&mut self, id: SocketId, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stats.stale_completions += 1;
            return;
        };
        socket.flags.remove(POLL);
        if !socket.flags.intersects(CLOSING) {
            out.push(Completion::Writable {
                token: socket.token,
            });
        }
        self.finish(id, out);
    }

    fn handle_cancel(&mut self, id: SocketId, flag: Flags, result: i32, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stats.stale_completions += 1;
            return;
        };
        socket.flags.remove(flag);
        // The request was just running and may have gone to sleep again.
        if result == -libc::EALREADY {
            if flag == CANCEL_POLL {
                self.cancel_poll(id);
            } else if socket.flags.intersects(PAUSED | CLOSING | MEASURED | TIMED) {
                self.cancel_recv(id);
            }
        }
        self.settle(id);
        self.finish(id, out);
    }

    fn handle_alarm(&mut self, result: i32) {
        self.alarm_armed = false;
        if !matches!(-result, libc::EINTR | libc::EAGAIN | libc::ECANCELED) {
            self.set_fault(result);
        }
    }

    /// A failure that the driver cannot go on with.
    fn set_fault(&mut self, result: i32) {
        if result < 0 && self.fault.is_none() {
            self.fault = Some(io::Error::from_raw_os_error(-result));
        }
    }

    /// Ends a closing socket that has nothing in flight any more.
    pub(super) fn finish(&mut self, id: SocketId, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let busy = socket.flags.intersects(IN_FLIGHT);
        if busy || !socket.flags.intersects(CLOSING) {
            return;
        }
        if let Some(socket) = self.sockets.remove(id) {
            out.push(Completion::Closed {
                token: socket.token,
            });
        }
    }

    fn discard(&mut self, buf: Option<RecvBuf>) {
        if let Some(buf) = buf {
            self.stats.discarded_bytes += buf.len() as u64;
            self.recycle(buf);
        }
    }
}
