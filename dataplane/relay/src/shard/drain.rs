//! Leaving without hurting clients: their connections close spread over a time, so that they do not all come to the next
//! relay at once.

use std::time::Duration;

use towline_derp::relay::ConnId;
use towline_wire::Time;
use towline_wire::limits::RESTART_TRY_FOR;

use super::turn::Thread;

/// The plan of a drain.
pub(super) struct Drain {
    /// Connections still to be closed, the last one first.
    rest: Vec<ConnId>,
    /// Time between two closes.
    pace: Duration,
    next: Time,
}

impl Drain {
    pub(super) fn due(&self) -> Option<Time> {
        (!self.rest.is_empty()).then_some(self.next)
    }
}

impl Thread {
    /// Tells the clients that bear it and plans the closes.
    pub(super) fn begin_drain(&mut self, over: Duration) {
        if self.drain.is_some() {
            return;
        }
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        self.core
            .restart_notice(ms(over), ms(over.saturating_add(RESTART_TRY_FOR)));
        // Clients at home here go last: they lose most.
        let mut rows: Vec<_> = self
            .core
            .clients()
            .map(|row| (row.home, row.conn))
            .collect();
        rows.sort_by_key(|(home, _)| !home);
        let mut rest: Vec<_> = rows.into_iter().map(|(_, conn)| conn).collect();
        // Uplinks are no clients: they stay until the last client is gone.
        let uplinks = self.conns.iter().flatten().filter(|conn| conn.is_uplink());
        rest.splice(0..0, uplinks.map(|conn| conn.id).collect::<Vec<_>>());
        let pace = over / u32::try_from(rest.len().max(1)).unwrap_or(u32::MAX);
        self.drain = Some(Drain {
            rest,
            pace,
            next: self.now,
        });
    }

    /// Closes the connections whose time has come.
    pub(super) fn continue_drain(&mut self) {
        while let Some(drain) = &mut self.drain
            && drain.next <= self.now
            && let Some(id) = drain.rest.pop()
        {
            drain.next += drain.pace;
            self.close_politely(id);
        }
    }
}
