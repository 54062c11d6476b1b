//! Who may read metrics and debug pages: derper's rules. A forwarded request (`X-Forwarded-For`) has been refused before.

use std::net::IpAddr;
use std::path::PathBuf;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::query;
use crate::bounded_file;
use crate::config::{DebugConfig, IpPrefix};

/// Larger than any key; a longer file opens nothing.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// The rules.
pub(super) struct Access {
    trusted: Vec<IpPrefix>,
    allowed: Option<IpAddr>,
    key_file: Option<PathBuf>,
}

impl Access {
    pub(super) fn new(config: &DebugConfig) -> Self {
        Self {
            trusted: config.trusted_cidrs.clone(),
            allowed: config.allow_ip.map(|ip| ip.to_canonical()),
            key_file: config.key_file.clone(),
        }
    }

    /// Whether the address alone is enough.
    pub(super) fn allows_address(&self, peer: IpAddr) -> bool {
        // A dual-stack socket shows an IPv4 peer as a mapped IPv6 address.
        let peer = peer.to_canonical();
        peer.is_loopback()
            || is_tailscale(peer)
            || self.allowed == Some(peer)
            || self.trusted.iter().any(|prefix| prefix.contains(peer))
    }

    /// Whether there is a key that opens the pages to any address.
    pub(super) const fn has_key(&self) -> bool {
        self.key_file.is_some()
    }

    /// Whether the address or the `debugkey` of the query is enough.
    pub(super) fn allows(&self, peer: IpAddr, query: &str) -> bool {
        self.allows_address(peer) || self.has_right_key(query)
    }

    /// The file is read at each use, so a new key holds at once. An empty file opens nothing.
    fn has_right_key(&self, query: &str) -> bool {
        let (Some(file), Some(given)) = (&self.key_file, query::value(query, "debugkey")) else {
            return false;
        };
        let Ok(key) = bounded_file::open_text(file, KEY_FILE_BYTES_MAX) else {
            return false;
        };
        let key = key.trim();
        !key.is_empty() && verify_slices_are_equal(key.as_bytes(), given.as_bytes()).is_ok()
    }
}

/// 100.64.0.0/10 without the range of ChromeOS's virtual machines, 100.115.92.0/23, and fd7a:115c:a1e0::/48
/// (`tsaddr.IsTailscaleIP`).
fn is_tailscale(peer: IpAddr) -> bool {
    match peer {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            a == 100 && b & 0xc0 == 64 && !(b == 115 && c & 0xfe == 92)
        }
        IpAddr::V6(ip) => ip.segments()[..3] == [0xfd7a, 0x115c, 0xa1e0],
    }
}
