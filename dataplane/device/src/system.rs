//! What the tunnel does not take from the system itself: time and randomness.

use std::time::{Duration, SystemTime};

use towline_io::host::now_ns;
use towline_wire::Time;

/// `CLOCK_BOOTTIME`, as the tunnel wants it.
pub(crate) fn now() -> Time {
    Time(now_ns())
}

/// Since 1970; a clock before that counts as that.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Keys and indices come from the system's randomness.
pub(crate) struct SystemEntropy;

impl towline_tunnel::Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        // Without randomness there is no secret: better no process than a guessable one.
        if let Err(error) = getrandom::fill(bytes) {
            tracing::error!(%error, "the system gives no randomness");
            std::process::abort();
        }
    }
}
