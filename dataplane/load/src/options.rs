//! What to measure and how to connect. The command line of `towline bench` says it.

use std::net::IpAddr;
use std::time::Duration;

use towline_tls::cert::CertPin;
use towline_wire::MeshKey;
use towline_wire::limits::PACKET_BYTES_MAX;

use crate::error::LoadError;
use crate::stamp::STAMP_LEN;
use crate::target::Target;

/// Most bytes that a sender puts into one write.
pub(crate) const WRITE_BYTES_MAX: usize = 4 << 20;

/// One measurement.
#[derive(Clone)]
pub struct Options {
    /// The relay.
    pub target: Target,
    /// What to do with it.
    pub scenario: Scenario,
    /// The traffic of scenarios that carry packets.
    pub traffic: Traffic,
    /// How clients connect.
    pub connecting: Connecting,
    /// A relay on this machine whose CPU time and memory are read.
    pub relay_pid: Option<u32>,
}

/// One way to use a relay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scenario {
    /// Each sender to its own receiver, in a closed loop.
    Pairs,
    /// Many senders to one receiver, in a closed loop, all on one thread.
    FanIn {
        /// Senders.
        senders: u32,
    },
    /// Clients that say nothing.
    Idle {
        /// Clients.
        clients: u32,
    },
    /// Connect, get ready, leave.
    Handshakes {
        /// Connections being made at once.
        at_once: u32,
    },
    /// The pairs at a pace that does not wait for what arrives.
    Overload {
        /// Offered load; without it the peak is measured first.
        offered_mbit: Option<u64>,
        /// Offered load as a multiple of that peak.
        times: f64,
    },
    /// Round trips of small packets, beside paced pairs.
    Latency {
        /// Round trips per second.
        probes_per_second: u32,
        /// Load of the pairs; 0 for none.
        bulk_mbit: u64,
    },
}

/// The packets.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Sender and receiver pairs.
    pub pairs: u32,
    /// Bytes of each packet.
    pub size: usize,
    /// Packets under way at once for each pair.
    pub in_flight: u32,
    /// Packets in one write, each in a TLS record of its own.
    pub packets_per_write: u32,
    /// How long to measure.
    pub duration: Duration,
    /// How long to run before.
    pub warm_up: Duration,
}

/// How clients connect.
#[derive(Clone)]
pub struct Connecting {
    /// Threads of the generator.
    pub threads: u16,
    /// Instead of what the host resolves to.
    pub address: Option<IpAddr>,
    /// Which certificates are accepted.
    pub trust: Trust,
    /// Key exchanges to offer.
    pub key_exchange: KeyExchange,
    /// Versions to offer.
    pub tls_version: TlsVersion,
    /// Speak in WebSocket messages.
    pub websocket: bool,
    /// Begin as a mesh peer.
    pub mesh_key: Option<MeshKey>,
    /// Send client info at once when the server's key is known from its meta certificate.
    pub fast_start: bool,
}

/// Which certificates are accepted.
#[derive(Clone, Copy, Debug)]
pub enum Trust {
    /// Those of the host's trust store.
    Host,
    /// The one with this pin.
    Pin(CertPin),
    /// Any.
    Insecure,
}

/// Key exchanges to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519 alone.
    X25519,
    /// X25519 first, then the others that the TLS library has.
    Default,
}

/// Versions to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
    /// Both.
    Any,
}

impl Options {
    /// Whether the options make sense together.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let wrong = |text: &str| Err(LoadError::Options(text.to_owned()));
        let traffic = &self.traffic;
        if !(STAMP_LEN..=PACKET_BYTES_MAX).contains(&traffic.size) {
            return Err(LoadError::Options(format!(
                "packets have {STAMP_LEN} to {PACKET_BYTES_MAX} bytes"
            )));
        }
        if traffic.pairs == 0 || traffic.in_flight == 0 || traffic.packets_per_write == 0 {
            return wrong("pairs, packets in flight and packets in a write are at least 1");
        }
        if traffic.packets_per_write as usize * traffic.size > WRITE_BYTES_MAX {
            return wrong("the packets of one write have more than 4 MiB");
        }
        if traffic.duration.is_zero() {
            return wrong("the duration is zero");
        }
        match self.scenario {
            Scenario::FanIn { senders: 0 }
            | Scenario::Idle { clients: 0 }
            | Scenario::Handshakes { at_once: 0 } => wrong("a scenario needs at least one client"),
            Scenario::Latency {
                probes_per_second: 0,
                ..
            } => wrong("latency needs at least one probe per second"),
            Scenario::Overload { times, .. } if !(times.is_finite() && times > 0.0) => {
                wrong("the multiple of the peak must be above 0")
            }
            _ => Ok(()),
        }
    }

    /// Threads that carry traffic: one for fan-in, whose receiver frees the slots of all senders.
    pub(crate) fn worker_count(&self) -> usize {
        match self.scenario {
            Scenario::FanIn { .. } => 1,
            _ => usize::from(self.connecting.threads.max(1)).min(self.traffic.pairs as usize),
        }
    }
}
