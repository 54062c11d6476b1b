//! Connections that take nothing: they are closed after the write timeout, and hurt nobody until then.

use std::time::Duration;

use tracing::debug;

use super::turn::Thread;

/// How often they are looked at. It is how late a write timeout may be.
const STALL_CHECK: Duration = Duration::from_millis(250);

/// What a shard is told about its sockets.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketRules {
    /// A client that takes nothing for this long is closed; `None`: never.
    pub(super) write_timeout: Option<Duration>,
    /// The same for mesh peers.
    pub(super) mesh_write_timeout: Duration,
}

impl Thread {
    /// Closes connections whose time is over. Called in each turn, does its work now and then.
    pub(super) fn check_stalled(&mut self) {
        if self.stalled.is_empty() {
            self.stall_check = None;
            return;
        }
        let due = *self.stall_check.get_or_insert(self.now + STALL_CHECK);
        if due > self.now {
            return;
        }
        self.stall_check = Some(self.now + STALL_CHECK);
        let mut stalled = core::mem::take(&mut self.stalled);
        stalled.retain(|id| {
            let now = self.now;
            let rules = self.rules;
            let Some(conn) = self.conn(*id) else {
                return false;
            };
            let Some(since) = conn.stalled_since else {
                conn.is_listed_as_stalled = false;
                return false;
            };
            let timeout = if conn.is_mesh {
                Some(rules.mesh_write_timeout)
            } else {
                rules.write_timeout
            };
            if timeout.is_some_and(|timeout| now - since >= timeout) {
                debug!(shard = self.shard.0, slot = id.slot, "write timeout");
                self.counts.write_timeouts += 1;
                self.close(*id);
                return false;
            }
            true
        });
        self.stalled = stalled;
    }
}
