//! What is answered.

use core::fmt::{self, Write};
use core::net::SocketAddr;
use core::time::Duration;

use data_encoding::HEXLOWER;
use ipnet::IpNet;
use zeroize::Zeroizing;

use super::{Errno, KEY_BYTES};

/// Bytes that an answer cannot exceed: of the interface with the end of the answer, of a peer, and of an allowed IP.
/// Keys take 64 digits each, the largest numbers 20.
const DEVICE_BYTES_MAX: usize = 256;
const PEER_BYTES_MAX: usize = 640;
const ALLOWED_IP_BYTES_MAX: usize = 64;

/// The answer to a request.
pub enum Answer<'a> {
    /// To a `get`.
    Got(&'a Snapshot),
    /// To a `set` that was done.
    Done,
    /// To what was refused.
    Refused(Errno),
}

/// An interface as it is.
#[derive(Default)]
pub struct Snapshot {
    /// The private key, if it has one.
    pub private_key: Option<Zeroizing<[u8; KEY_BYTES]>>,
    /// The UDP port; 0 for none yet.
    pub listen_port: u16,
    /// The mark of outgoing datagrams; 0 for none.
    pub fwmark: u32,
    /// Its peers.
    pub peers: Vec<PeerSnapshot>,
}

/// A peer as it is.
pub struct PeerSnapshot {
    /// Who it is.
    pub public_key: [u8; KEY_BYTES],
    /// The preshared key, if there is one.
    pub preshared_key: Option<Zeroizing<[u8; KEY_BYTES]>>,
    /// Where it was last seen.
    pub endpoint: Option<SocketAddr>,
    /// When the last handshake was done, since 1970; zero for never.
    pub last_handshake: Duration,
    /// Bytes sent to it.
    pub tx_bytes: u64,
    /// Bytes received from it.
    pub rx_bytes: u64,
    /// Seconds between keepalives; 0 for none.
    pub persistent_keepalive_interval: u16,
    /// Its allowed IPs.
    pub allowed_ips: Vec<IpNet>,
}

impl Answer<'_> {
    /// The text, which may hold secrets. It is allocated once, so that no copy of them is left behind.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.bytes_max()));
        self.write(&mut text).expect("a string takes everything");
        debug_assert!(text.len() <= self.bytes_max());
        text
    }

    fn bytes_max(&self) -> usize {
        let Self::Got(snapshot) = self else {
            return DEVICE_BYTES_MAX;
        };
        let peers = snapshot
            .peers
            .iter()
            .map(|peer| PEER_BYTES_MAX + peer.allowed_ips.len() * ALLOWED_IP_BYTES_MAX);
        DEVICE_BYTES_MAX + peers.sum::<usize>()
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let errno = match self {
            Self::Got(snapshot) => {
                snapshot.write(text)?;
                0
            }
            Self::Done => 0,
            Self::Refused(errno) => errno.0,
        };
        // As wireguard-go writes it and `wg` takes it: the number of a failure is negative.
        write!(text, "errno={}\n\n", -errno)
    }
}

impl Snapshot {
    fn write(&self, text: &mut String) -> fmt::Result {
        if let Some(private_key) = &self.private_key {
            write_key(text, "private_key", private_key);
        }
        if self.listen_port != 0 {
            writeln!(text, "listen_port={}", self.listen_port)?;
        }
        if self.fwmark != 0 {
            writeln!(text, "fwmark={}", self.fwmark)?;
        }
        self.peers.iter().try_for_each(|peer| peer.write(text))
    }
}

impl PeerSnapshot {
    fn write(&self, text: &mut String) -> fmt::Result {
        write_key(text, "public_key", &self.public_key);
        let none = Zeroizing::new([0; KEY_BYTES]);
        let preshared_key = self.preshared_key.as_ref().unwrap_or(&none);
        write_key(text, "preshared_key", preshared_key);
        text.push_str("protocol_version=1\n");
        if let Some(endpoint) = self.endpoint {
            writeln!(text, "endpoint={endpoint}")?;
        }
        let last = self.last_handshake;
        writeln!(text, "last_handshake_time_sec={}", last.as_secs())?;
        writeln!(text, "last_handshake_time_nsec={}", last.subsec_nanos())?;
        writeln!(text, "tx_bytes={}", self.tx_bytes)?;
        writeln!(text, "rx_bytes={}", self.rx_bytes)?;
        let interval = self.persistent_keepalive_interval;
        writeln!(text, "persistent_keepalive_interval={interval}")?;
        self.allowed_ips
            .iter()
            .try_for_each(|network| writeln!(text, "allowed_ip={network}"))
    }
}

fn write_key(text: &mut String, name: &str, key: &[u8; KEY_BYTES]) {
    let mut digits = Zeroizing::new([0; 2 * KEY_BYTES]);
    HEXLOWER.encode_mut(key, &mut *digits);
    text.push_str(name);
    text.push('=');
    text.push_str(str::from_utf8(&*digits).expect("hexadecimal digits are ASCII"));
    text.push('\n');
}
