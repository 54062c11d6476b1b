//! Writing: frames are gathered into as few records as possible, sealed, and sent, one send per connection and turn.
//!
//! A socket that does not take everything gets less at a time from then on: what is sealed can neither be dropped nor
//! overtaken, so little of it should wait.

use std::io;

use towline_derp::relay::{ConnId, FrameBuf};
use towline_io::SendBuf;
use towline_tls::TlsError;
use tracing::debug;

use super::conn::{Conn, Sending, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN};
use super::turn::{Thread, TurnBuffers};

/// Rests kept for reuse; more are freed.
const SPARE_RESTS_MAX: usize = 1024;

impl Thread {
    /// Writes what waits for a connection, if its socket may be written to.
    pub(super) fn write(&mut self, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        if !conn.sending.may_write() {
            conn.has_more = true;
            // It was only begun, by an earlier part of this turn.
            let is_under_way = matches!(conn.sending, Sending::UnderWay { .. });
            self.more_waits |= is_under_way;
            return;
        }
        match self.fill(id, false) {
            Filled::Nothing => {}
            Filled::Send(buf, bytes) => self.send(id, buf, bytes),
            Filled::NoBuffer => {
                self.more_waits = true;
                self.ready.push(id);
            }
            Filled::Broken => self.close(id),
        }
    }

    /// Sends the polite end of a connection, when nothing of it is under way: what is due to it already, such as the notice of
    /// a restart or the alert that says what it did wrong, goes first.
    pub(super) fn write_goodbye(&mut self, id: ConnId) {
        let may_write = self.conn(id).is_some_and(|conn| match &conn.sending {
            Sending::Idle => true,
            // What a handshake left unsent is no more. There is room for it beside a goodbye.
            Sending::Rest { rest } => rest.len() <= WINDOW_BYTES_MIN,
            Sending::UnderWay { .. } | Sending::Blocked { .. } => false,
        });
        if may_write && let Filled::Send(buf, bytes) = self.fill(id, true) {
            self.send(id, buf, bytes);
        }
    }

    /// Fills a send buffer for a connection that may be written to.
    fn fill(&mut self, id: ConnId, and_goodbye: bool) -> Filled {
        let Some(buf) = self.driver.send_buffer() else {
            return Filled::NoBuffer;
        };
        let Self {
            core,
            driver,
            conns,
            held,
            carries,
            now,
            ..
        } = self;
        let frames_before = core.stats().frames_written;
        let (out, received) = driver.send_bytes_and_received(&buf);
        let buffers = TurnBuffers {
            received,
            held,
            carries,
        };
        let mut write_frames = |room: &mut [u8]| {
            let mut frames = FrameBuf::new(room);
            let more = core.write_frames(*now, id, &buffers, &mut frames);
            (frames.len(), more)
        };
        let Some(Some(conn)) = conns.get_mut(id.slot as usize) else {
            driver.recycle_send(buf);
            return Filled::Nothing;
        };
        let rest = match core::mem::replace(&mut conn.sending, Sending::Idle) {
            Sending::Rest { rest } => Some(rest),
            _ => None,
        };
        let filled = if and_goodbye {
            fill_last(conn, rest.as_deref(), out, &mut write_frames)
        } else {
            fill(conn, rest.as_deref(), out, &mut write_frames)
        };
        if let Some(rest) = rest {
            self.put_rest(rest);
        }
        match filled {
            Ok(bytes) if bytes > 0 => {
                let frames = self.core.stats().frames_written - frames_before;
                self.counts.observed.write_frames.observe(frames);
                Filled::Send(buf, bytes)
            }
            Ok(_) => {
                self.driver.recycle_send(buf);
                Filled::Nothing
            }
            Err(error) => {
                debug!(shard = self.shard.0, slot = id.slot, %error, "connection cannot be written to");
                self.driver.recycle_send(buf);
                Filled::Broken
            }
        }
    }

    fn send(&mut self, id: ConnId, buf: SendBuf, bytes: usize) {
        let Some(conn) = self.conn(id) else {
            self.driver.recycle_send(buf);
            return;
        };
        conn.sending = Sending::UnderWay { bytes };
        let (socket, has_more) = (conn.socket, conn.has_more);
        self.more_waits |= has_more;
        self.driver.send(socket, buf, bytes);
    }

    /// A send is over.
    pub(super) fn sent(&mut self, id: ConnId, result: io::Result<usize>, buf: SendBuf) {
        let taken = match result {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => {
                debug!(shard = self.shard.0, slot = id.slot, %error, "send failed");
                self.driver.recycle_send(buf);
                self.close(id);
                return;
            }
        };
        let offered = match self.conn(id).map(|conn| &conn.sending) {
            Some(Sending::UnderWay { bytes }) => *bytes,
            _ => taken,
        };
        if taken >= offered {
            self.driver.recycle_send(buf);
            let Some(conn) = self.conn(id) else { return };
            conn.sending = Sending::Idle;
            conn.stalled_since = None;
            conn.window_bytes = (conn.window_bytes * 2).min(WINDOW_BYTES_MAX);
            if conn.has_more {
                self.ready.push(id);
            }
            return;
        }
        let mut rest = self.spare_rests.pop().unwrap_or_default();
        rest.extend_from_slice(&self.driver.send_bytes_mut(&buf)[taken..offered]);
        self.driver.recycle_send(buf);
        self.block(id, rest, taken > 0);
    }

    /// The socket is full: its rest waits until it has room.
    fn block(&mut self, id: ConnId, rest: Vec<u8>, took_some: bool) {
        self.counts.unsent_bytes += rest.len() as u64;
        let now = self.now;
        let Some(conn) = self.conn(id) else {
            self.put_rest(rest);
            return;
        };
        if took_some || conn.stalled_since.is_none() {
            conn.stalled_since = Some(now);
        }
        conn.window_bytes = (conn.window_bytes / 2).max(WINDOW_BYTES_MIN);
        conn.sending = Sending::Blocked { rest };
        let socket = conn.socket;
        if !core::mem::replace(&mut conn.is_listed_as_stalled, true) {
            self.stalled.push(id);
        }
        self.driver.notify_writable(socket);
    }

    /// The socket has room again.
    pub(super) fn writable(&mut self, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        if let Sending::Blocked { rest } = &mut conn.sending {
            let rest = core::mem::take(rest);
            conn.sending = Sending::Rest { rest };
            self.ready.push(id);
        }
    }

    /// Takes back the buffer of a rest that is written, or whose connection is gone.
    pub(super) fn put_rest(&mut self, mut rest: Vec<u8>) {
        self.counts.unsent_bytes -= rest.len() as u64;
        if self.spare_rests.len() < SPARE_RESTS_MAX {
            rest.clear();
            self.spare_rests.push(rest);
        }
    }
}

/// What came of filling a send buffer.
enum Filled {
    /// There is nothing to write.
    Nothing,
    /// So many bytes are to be sent.
    Send(SendBuf, usize),
    /// All send buffers are under way.
    NoBuffer,
    /// The connection's layers cannot go on.
    Broken,
}

/// Fills `out` for the last time. After an error of its layers only what they say themselves is left to be written.
fn fill_last(
    conn: &mut Conn,
    rest: Option<&[u8]>,
    out: &mut [u8],
    write_frames: &mut impl FnMut(&mut [u8]) -> (usize, bool),
) -> Result<usize, TlsError> {
    let mut len = put(rest, out);
    len += conn.transport.write_output(&mut out[len..])?;
    conn.window_bytes = WINDOW_BYTES_MIN;
    if let Ok(written) = fill(conn, None, &mut out[len..], write_frames) {
        len += written;
        len += conn.transport.write_goodbye(&mut out[len..])?;
    }
    Ok(len)
}

/// Fills `out`: the sealed rest of the last send, what the layers themselves have to say, then frames, in records, up to
/// the connection's window. Sets `has_more`.
fn fill(
    conn: &mut Conn,
    rest: Option<&[u8]>,
    out: &mut [u8],
    write_frames: &mut impl FnMut(&mut [u8]) -> (usize, bool),
) -> Result<usize, TlsError> {
    let mut len = put(rest, out);
    let window = conn.window_bytes.max(len).min(out.len());
    let out = &mut out[..window];
    conn.has_more = true;
    while conn.has_more {
        if conn.transport.has_output() {
            let written = conn.transport.write_output(&mut out[len..])?;
            if written == 0 {
                break;
            }
            len += written;
        }
        let mut more = false;
        let written = conn.transport.write_record(&mut out[len..], |room| {
            let (written, left) = write_frames(room);
            more = left;
            written
        })?;
        if written == 0 {
            // Either there is nothing to write or there is no room: only the protocol knows, so ask again later.
            conn.has_more = len > 0 && out.len() - len < ROOM_TOO_SMALL;
            break;
        }
        len += written;
        conn.has_more = more;
    }
    Ok(len)
}

/// Copies the sealed rest of the last send to the start of `out`; says how long it is.
fn put(rest: Option<&[u8]>, out: &mut [u8]) -> usize {
    let rest = rest.unwrap_or_default();
    out[..rest.len()].copy_from_slice(rest);
    rest.len()
}

/// With less room than this, nothing written does not mean that nothing waits.
const ROOM_TOO_SMALL: usize = 1024;
