//! What a handshake says on its way and does not repeat at its end: the traffic secrets.
//!
//! `rustls` gives keys out at the end but keeps the secrets they come from, which a TLS 1.3 key
//! update needs, in a structure of 0.9 KiB for each connection. It names them to its key log, so
//! each handshake has a key log of its own that remembers two secrets (96 bytes) and the rest
//! is dropped. Nothing is ever written anywhere.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::KeyLog;
use zeroize::Zeroizing;

use crate::suite::SECRET_BYTES_MAX;

const CLIENT_SECRET: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER_SECRET: &str = "SERVER_TRAFFIC_SECRET_0";

/// The TLS 1.3 secrets of a new connection; zero in TLS 1.2.
pub(super) struct Seen {
    pub(super) client_secret: Zeroizing<[u8; SECRET_BYTES_MAX]>,
    pub(super) server_secret: Zeroizing<[u8; SECRET_BYTES_MAX]>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            client_secret: Zeroizing::new([0; SECRET_BYTES_MAX]),
            server_secret: Zeroizing::new([0; SECRET_BYTES_MAX]),
        }
    }
}

/// The key log of one handshake.
#[derive(Default)]
pub(super) struct Witness {
    seen: Mutex<Seen>,
}

impl Witness {
    pub(super) fn take(&self) -> Seen {
        core::mem::take(&mut *self.lock())
    }

    /// Nothing panics while it holds the lock, and a half-written `Seen` would do no harm.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl core::fmt::Debug for Witness {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

impl KeyLog for Witness {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        let mut seen = self.lock();
        let slot = match label {
            CLIENT_SECRET => &mut seen.client_secret,
            SERVER_SECRET => &mut seen.server_secret,
            _ => return,
        };
        if let Some(slot) = slot.get_mut(..secret.len()) {
            slot.copy_from_slice(secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, CLIENT_SECRET | SERVER_SECRET)
    }
}
