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
        let conn = match self.conns.get_mut(id.slot as usize) {
            Some(Some(conn)) if conn.id == id => conn,
            _ => return,
        };
        if matches!(
            conn.sending,
            Sending::UnderWay { .. } | Sending::Blocked { .. }
        ) {
            conn.has_more = true;
            return;
        }
        let Some(buf) = self.driver.send_buffer() else {
            self.ready.push(id);
            return;
        };
        let Self {
            core,
            driver,
            held,
            carries,
            now,
            ..
        } = self;
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
        let rest = match core::mem::replace(&mut conn.sending, Sending::Idle) {
            Sending::Rest { rest } => Some(rest),
            _ => None,
        };
        let filled = fill(conn, rest.as_deref(), out, &mut write_frames);
        if let Some(rest) = rest {
            self.counts.unsent_bytes -= rest.len() as u64;
            self.put_rest(rest);
        }
        match filled {
            Ok(0) => self.driver.recycle_send(buf),
            Ok(bytes) => self.send(id, buf, bytes),
            Err(error) => {
                debug!(shard = self.shard.0, slot = id.slot, %error, "connection cannot be written to");
                self.driver.recycle_send(buf);
                self.close(id);
            }
        }
    }

    fn send(&mut self, id: ConnId, buf: SendBuf, bytes: usize) {
        let Some(conn) = self.conn(id) else {
            self.driver.recycle_send(buf);
            return;
        };
        conn.sending = Sending::UnderWay { bytes };
        let socket = conn.socket;
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
        self.counts.wire_bytes_out += taken as u64;
        let offered = match self.conn(id).map(|conn| &conn.sending) {
            Some(Sending::UnderWay { bytes }) => *bytes,
            _ => taken,
        };
        if taken >= offered {
            self.driver.recycle_send(buf);
            let Some(conn) = self.conn(id) else { return };
            conn.sending = Sending::Idle;
            conn.window_bytes = (conn.window_bytes * 2).min(WINDOW_BYTES_MAX);
            if conn.has_more {
                self.ready.push(id);
            }
            return;
        }
        let mut rest = self.spare_rests.pop().unwrap_or_default();
        rest.extend_from_slice(&self.driver.send_bytes_mut(&buf)[taken..offered]);
        self.driver.recycle_send(buf);
        self.block(id, rest);
    }

    /// The socket is full: its rest waits until it has room.
    fn block(&mut self, id: ConnId, rest: Vec<u8>) {
        self.counts.unsent_bytes += rest.len() as u64;
        let now = self.now;
        let Some(conn) = self.conn(id) else { return };
        conn.window_bytes = (conn.window_bytes / 2).max(WINDOW_BYTES_MIN);
        conn.sending = Sending::Blocked { rest, since: now };
        let socket = conn.socket;
        if !core::mem::replace(&mut conn.is_listed_as_stalled, true) {
            self.stalled.push(id);
        }
        self.driver.notify_writable(socket);
    }

    /// The socket has room again.
    pub(super) fn writable(&mut self, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        if let Sending::Blocked { rest, .. } = &mut conn.sending {
            let rest = core::mem::take(rest);
            conn.sending = Sending::Rest { rest };
            self.ready.push(id);
        }
    }

    /// Sends the polite end of a connection, when nothing else of it is being sent.
    pub(super) fn write_goodbye(&mut self, id: ConnId) {
        if !self
            .conn(id)
            .is_some_and(|conn| matches!(conn.sending, Sending::Idle))
        {
            return;
        }
        // What is already due to it, such as the notice of a restart, goes before the end.
        let Some(buf) = self.driver.send_buffer() else {
            return;
        };
        let Self {
            core,
            driver,
            held,
            carries,
            now,
            ..
        } = self;
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
        let Some(Some(conn)) = self.conns.get_mut(id.slot as usize) else {
            return;
        };
        conn.window_bytes = WINDOW_BYTES_MIN;
        let bytes = fill(conn, None, out, &mut write_frames)
            .and_then(|bytes| Ok(bytes + conn.transport.write_goodbye(&mut out[bytes..])?));
        match bytes {
            Ok(bytes) if bytes > 0 => self.send(id, buf, bytes),
            _ => self.driver.recycle_send(buf),
        }
    }

    /// Takes a rest's buffer back.
    pub(super) fn put_rest(&mut self, mut rest: Vec<u8>) {
        if self.spare_rests.len() < SPARE_RESTS_MAX {
            rest.clear();
            self.spare_rests.push(rest);
        }
    }
}

/// Fills `out`: the sealed rest of the last send, what the layers themselves have to say, then frames, in records, up to
/// the connection's window. Sets `has_more`.
fn fill(
    conn: &mut Conn,
    rest: Option<&[u8]>,
    out: &mut [u8],
    write_frames: &mut impl FnMut(&mut [u8]) -> (usize, bool),
) -> Result<usize, TlsError> {
    let mut len = 0;
    if let Some(rest) = rest {
        out[..rest.len()].copy_from_slice(rest);
        len = rest.len();
    }
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

/// With less room than this, nothing written does not mean that nothing waits.
const ROOM_TOO_SMALL: usize = 1024;
