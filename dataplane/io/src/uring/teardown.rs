//! The end of a driver: everything is cancelled and waited for.

use std::io;
use std::time::{Duration, Instant};

use super::Uring;
use crate::{Completion, SocketId};

/// How long the end of a driver waits for its cancelled requests.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

impl Drop for Uring {
    fn drop(&mut self) {
        // Memory that the kernel may still write to must stay mapped, or it would become somebody
        // else's.
        if !self.drain().unwrap_or(false) {
            self.recv.leak();
            self.send.leak();
            self.provider.leak();
            self.alarm_value.leak();
        }
    }
}

impl Uring {
    fn drain(&mut self) -> io::Result<bool> {
        let deadline = Instant::now() + DROP_TIMEOUT;
        let ids: Vec<SocketId> = self.sockets.ids().collect();
        for id in ids {
            self.close(id);
        }
        let mut out = Vec::new();
        while self.sockets.len() > 0 {
            if Instant::now() > deadline {
                return Ok(false);
            }
            self.wait(Some(Duration::from_millis(10)), &mut out)?;
            for completion in out.drain(..) {
                if let Completion::Received { buf, .. } = completion {
                    self.recycle(buf);
                }
            }
        }
        self.alarm.sound();
        while self.alarm_armed {
            self.ring.enter(1, Some(Duration::from_millis(10)))?;
            self.ring.harvest();
            self.handle_harvested(&mut out);
            if Instant::now() > deadline {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
