//! What a request asks for.

use core::net::SocketAddr;

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::values;
use super::{KEY_BYTES, Reader, UapiError};

/// A request of `wg`.
pub enum Request {
    /// `get=1`: everything is to be printed.
    Get,
    /// `set=1`: something is to be changed.
    Set(SetDevice),
}

impl Request {
    /// Reads a whole request; the empty line at its end may be missing. Interfaces are named by number in endpoints.
    ///
    /// # Errors
    /// It is not a request; nothing of it is to be done.
    pub fn parse(text: &str) -> Result<Self, UapiError> {
        let mut reader = Reader::default();
        let (mut used, mut read) = reader.read(text.as_bytes());
        for _ in 0..2 {
            // A last line that is not ended, then an empty one.
            if read.is_none() {
                (_, read) = reader.read(b"\n");
                used = text.len();
            }
        }
        let request = read.unwrap_or(Err(UapiError::Operation))?;
        if used < text.len() {
            let line = text.as_bytes()[..used]
                .iter()
                .filter(|byte| **byte == b'\n');
            let line = line.count() + 1;
            return Err(UapiError::Line { line });
        }
        Ok(request)
    }
}

/// Changes of an interface. What is `None` stays as it is.
#[derive(Default)]
pub struct SetDevice {
    /// The private key, not yet clamped; `Some(None)` removes it.
    pub private_key: Option<Option<Zeroizing<[u8; KEY_BYTES]>>>,
    /// The UDP port; 0 for any.
    pub listen_port: Option<u16>,
    /// The mark of outgoing datagrams; 0 for none.
    pub fwmark: Option<u32>,
    /// All peers are removed before those below are set.
    pub replace_peers: bool,
    /// Peers in the order in which they are to be set. One may come twice.
    pub peers: Vec<SetPeer>,
}

/// Changes of a peer. What is `None` stays as it is.
pub struct SetPeer {
    /// Who it is.
    pub public_key: [u8; KEY_BYTES],
    /// It is removed, and nothing else of this counts.
    pub remove: bool,
    /// Nothing is done if it does not exist.
    pub update_only: bool,
    /// The preshared key; zeros for none.
    pub preshared_key: Option<Zeroizing<[u8; KEY_BYTES]>>,
    /// Where it is.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives; 0 for none.
    pub persistent_keepalive_interval: Option<u16>,
    /// All its allowed IPs are removed before those below are changed.
    pub replace_allowed_ips: bool,
    /// Changes of its allowed IPs, in order.
    pub allowed_ips: Vec<AllowedIp>,
}

/// A change of allowed IPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedIp {
    /// The network, without bits of hosts.
    pub network: IpNet,
    /// It is taken from the peer, if the peer has it (`allowed_ip=-…`), and not given to it.
    pub remove: bool,
}

/// Why a line is refused; the reader knows which one it is.
pub(super) enum Refused {
    Key,
    Value(&'static str),
}

impl SetDevice {
    /// Takes a line.
    pub(super) fn line(
        &mut self,
        key: &str,
        value: &str,
        scope: fn(&str) -> Option<u32>,
    ) -> Result<(), Refused> {
        if key == "public_key" {
            let public_key = values::key(value).ok_or(Refused::Value("public_key"))?;
            self.peers.push(SetPeer::new(*public_key));
            return Ok(());
        }
        match self.peers.last_mut() {
            Some(peer) => peer.line(key, value, scope),
            None => self.device_line(key, value),
        }
    }

    fn device_line(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        match key {
            "private_key" => {
                let key = values::key(value).ok_or(Refused::Value("private_key"))?;
                let is_zero = key.iter().fold(0, |bits, byte| bits | byte) == 0;
                self.private_key = Some((!is_zero).then_some(key));
            }
            "listen_port" => {
                self.listen_port =
                    Some(values::number(value).ok_or(Refused::Value("listen_port"))?);
            }
            "fwmark" => self.fwmark = Some(values::number(value).ok_or(Refused::Value("fwmark"))?),
            "replace_peers" => self.replace_peers = yes(value, "replace_peers")?,
            _ => return Err(Refused::Key),
        }
        Ok(())
    }
}

impl SetPeer {
    /// Nothing about a peer.
    #[must_use]
    pub const fn new(public_key: [u8; KEY_BYTES]) -> Self {
        Self {
            public_key,
            remove: false,
            update_only: false,
            preshared_key: None,
            endpoint: None,
            persistent_keepalive_interval: None,
            replace_allowed_ips: false,
            allowed_ips: Vec::new(),
        }
    }

    fn line(
        &mut self,
        key: &str,
        value: &str,
        scope: fn(&str) -> Option<u32>,
    ) -> Result<(), Refused> {
        match key {
            "remove" => self.remove = yes(value, "remove")?,
            "update_only" => self.update_only = yes(value, "update_only")?,
            "preshared_key" => {
                self.preshared_key =
                    Some(values::key(value).ok_or(Refused::Value("preshared_key"))?);
            }
            "endpoint" => {
                let endpoint = values::endpoint(value, scope).ok_or(Refused::Value("endpoint"))?;
                self.endpoint = Some(endpoint);
            }
            "persistent_keepalive_interval" => {
                let seconds = values::number(value);
                let seconds = seconds.ok_or(Refused::Value("persistent_keepalive_interval"))?;
                self.persistent_keepalive_interval = Some(seconds);
            }
            "replace_allowed_ips" => {
                self.replace_allowed_ips = yes(value, "replace_allowed_ips")?;
                // Lines count in their order: it removes what came before it in the request too.
                self.allowed_ips.clear();
            }
            "allowed_ip" => {
                let (network, remove) = match value.strip_prefix('-') {
                    Some(network) => (network, true),
                    None => (value, false),
                };
                let network = values::network(network).ok_or(Refused::Value("allowed_ip"))?;
                self.allowed_ips.push(AllowedIp { network, remove });
            }
            "protocol_version" if value == "1" => {}
            "protocol_version" => return Err(Refused::Value("protocol_version")),
            _ => return Err(Refused::Key),
        }
        Ok(())
    }
}

/// Flags can only be set.
fn yes(value: &str, key: &'static str) -> Result<bool, Refused> {
    if value == "true" {
        Ok(true)
    } else {
        Err(Refused::Value(key))
    }
}
