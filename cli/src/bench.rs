//! `towline bench`: the arguments of measurements. What measures is `towline_load`.

mod progress;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use towline_load::{LoadError, Options, Trust};
use towline_relay::config::{MeshKeySource, parse_bytes, parse_duration};

use crate::failure::Failure;
use crate::print::{self, Output};

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// Measure any DERP relay: ours, derper, or another
    Relay(RelayArgs),
}

/// A measurement of a relay.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = false,
    after_help = "\
Examples:
  Four pairs, as fast as they get, for ten seconds:
      towline bench relay https://relay.example.com
  Round trips of small packets beside bulk traffic at half a gigabit per second:
      towline bench relay https://relay.example.com latency --bulk-mbit 500
  What an idle client costs, on a local relay whose process is watched:
      towline bench relay https://127.0.0.1:8443 --insecure --relay-pid 4711 idle --clients 10000

The report says how much CPU time the generator itself used, and marks a run in which it was the limit."
)]
pub(crate) struct RelayArgs {
    /// The relay: https://host[:port] or http://host[:port], with or without /derp
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) url: String,

    /// What to measure; pairs when not given
    #[command(subcommand)]
    pub(crate) scenario: Option<Scenario>,

    #[command(flatten)]
    pub(crate) traffic: Traffic,

    #[command(flatten)]
    pub(crate) connecting: Connecting,

    /// Process of a relay on this machine, whose CPU time and memory are reported too
    #[arg(long, value_name = "PID", global = true, help_heading = "Report")]
    pub(crate) relay_pid: Option<u32>,

    /// Print a table for people or JSON for programs; progress goes to stderr
    #[arg(
        long,
        value_enum,
        default_value_t,
        global = true,
        help_heading = "Report"
    )]
    pub(crate) output: Output,

    /// Show no progress
    #[arg(long, global = true, help_heading = "Report")]
    pub(crate) quiet: bool,
}

/// One way to use a relay.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Pairs of clients, each sender to its own receiver, as fast as they get
    Pairs,
    /// Many senders to one receiver: how fair the relay is to them
    FanIn {
        /// Senders
        #[arg(long, value_name = "COUNT", default_value_t = 8)]
        senders: u32,
    },
    /// Clients that connect and say nothing: memory for each
    Idle {
        /// Clients
        #[arg(long, value_name = "COUNT", default_value_t = 1000)]
        clients: u32,
    },
    /// Connect, get ready, leave: connections per second
    Handshakes {
        /// Connections being made at once
        #[arg(long, value_name = "COUNT", default_value_t = 32)]
        at_once: u32,
    },
    /// More than the relay can carry: what still arrives, against its own peak
    Overload {
        /// Offered load in Mbit/s [default: found by measuring the peak first, then --times it]
        #[arg(long, value_name = "MBIT", value_parser = clap::value_parser!(u64).range(1..))]
        offered_mbit: Option<u64>,
        /// Offered load as a multiple of the measured peak
        #[arg(
            long,
            value_name = "FACTOR",
            default_value_t = 2.0,
            conflicts_with = "offered_mbit"
        )]
        times: f64,
    },
    /// Round trips of small packets, alone or beside bulk traffic
    Latency {
        /// Round trips per second
        #[arg(long, value_name = "COUNT", default_value_t = 200)]
        probes_per_second: u32,
        /// Bulk traffic beside them in Mbit/s, over the pairs; 0 is none
        #[arg(long, value_name = "MBIT", default_value_t = 0)]
        bulk_mbit: u64,
    },
}

/// The traffic of scenarios that carry packets.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Traffic")]
pub(crate) struct Traffic {
    /// Sender and receiver pairs
    #[arg(long, value_name = "COUNT", default_value_t = 4, global = true,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) pairs: u32,

    /// Bytes of each packet, at most 64KiB
    #[arg(long, value_name = "BYTES", default_value = "1400", global = true, value_parser = parse_size)]
    pub(crate) size: usize,

    /// Packets that each pair has under way at once
    #[arg(long, value_name = "COUNT", default_value_t = 24, global = true,
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) in_flight: u32,

    /// Packets that a sender puts into one write; real clients put one, in a TLS record of its own
    #[arg(long, value_name = "COUNT", default_value_t = 1, global = true,
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) packets_per_write: u32,

    /// How long to measure, after the warm-up
    #[arg(long, value_name = "TIME", default_value = "10s", global = true, value_parser = parse_duration)]
    pub(crate) duration: Duration,

    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "1s", global = true, value_parser = parse_duration)]
    pub(crate) warm_up: Duration,
}

/// How clients connect.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connecting")]
pub(crate) struct Connecting {
    /// Threads of the generator
    #[arg(long, value_name = "COUNT", default_value_t = 1, global = true,
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,

    /// Connect to this address instead of what the URL's host resolves to
    #[arg(long, value_name = "IP", global = true)]
    pub(crate) address: Option<std::net::IpAddr>,

    /// Accept any certificate
    #[arg(long, global = true)]
    pub(crate) insecure: bool,

    /// Accept the certificate with this SHA-256, as CertName of a DERP map: sha256-raw:<hex>
    #[arg(long, value_name = "PIN", global = true, conflicts_with = "insecure")]
    pub(crate) pin: Option<String>,

    /// Key exchanges to offer; x25519 makes relays with and without post-quantum ones comparable
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) tls_kx: KeyExchange,

    /// Versions of TLS to offer
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) tls_version: TlsVersion,

    /// Speak DERP in WebSocket messages
    #[arg(long, global = true)]
    pub(crate) websocket: bool,

    /// Read the server's key and wait for its HTTP answer, even where fast start would be possible
    #[arg(long, global = true)]
    pub(crate) no_fast_start: bool,

    /// File with the mesh key, to connect as relays of the region do
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub(crate) mesh_key: Option<PathBuf>,
}

/// Key exchanges to offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyExchange {
    /// X25519 only.
    X25519,
    /// What the TLS library offers.
    #[default]
    Default,
}

/// Versions of TLS to offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsVersion {
    /// 1.2 only.
    #[value(name = "1.2")]
    Tls12,
    /// 1.3 only.
    #[value(name = "1.3")]
    Tls13,
    /// Either.
    #[default]
    Any,
}

fn parse_size(text: &str) -> Result<usize, String> {
    let most = towline_wire::limits::PACKET_BYTES_MAX;
    match usize::try_from(parse_bytes(text)?) {
        // The least room for the sequence number and the time that the generator writes.
        Ok(size) if (32..=most).contains(&size) => Ok(size),
        _ => Err(format!("give 32 to {most} bytes")),
    }
}

/// Measures and reports.
pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let Subject::Relay(relay) = &args.subject;
    let options = options(relay)?;
    let bar = progress::Bar::new(relay.quiet, &options);
    let report = towline_load::run(&options, &|step| bar.show(step)).map_err(|error| match error {
        LoadError::Options(problem) => Failure::usage(problem),
        error => Failure::Failed(error.into()),
    });
    bar.clear();
    let report = report?;
    match relay.output {
        Output::Json => print::json(&report)?,
        Output::Table => print::text(&report::table(&report))?,
    }
    if report.clients_lost > 0 && report.clients_lost == report.clients {
        return Err(Failure::Failed(anyhow::anyhow!(
            "the relay closed all {} connections while it was measured; the figures are of the time before too",
            report.clients
        )));
    }
    Ok(())
}

/// What the arguments mean to the load generator.
fn options(relay: &RelayArgs) -> Result<Options, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
    let Connecting {
        threads, address, ..
    } = relay.connecting;
    let trust = match &relay.connecting.pin {
        Some(pin) => Trust::Pin(pin.parse().map_err(|error| usage(&error))?),
        None if relay.connecting.insecure => Trust::Insecure,
        None => Trust::Host,
    };
    // As the relay reads it: of a file during rotation, the key that is sent.
    let mesh_key = match &relay.connecting.mesh_key {
        Some(path) => {
            let keys = MeshKeySource::File(path.clone()).load();
            keys.map_err(|error| usage(&error))?.into_iter().next()
        }
        None => None,
    };
    Ok(Options {
        target: relay.url.parse().map_err(|error| usage(&error))?,
        scenario: scenario(relay.scenario.as_ref()),
        traffic: towline_load::Traffic {
            pairs: relay.traffic.pairs,
            size: relay.traffic.size,
            in_flight: relay.traffic.in_flight,
            packets_per_write: relay.traffic.packets_per_write,
            duration: relay.traffic.duration,
            warm_up: relay.traffic.warm_up,
        },
        connecting: towline_load::Connecting {
            threads,
            address,
            trust,
            key_exchange: match relay.connecting.tls_kx {
                KeyExchange::X25519 => towline_load::KeyExchange::X25519,
                KeyExchange::Default => towline_load::KeyExchange::Default,
            },
            tls_version: match relay.connecting.tls_version {
                TlsVersion::Tls12 => towline_load::TlsVersion::Tls12,
                TlsVersion::Tls13 => towline_load::TlsVersion::Tls13,
                TlsVersion::Any => towline_load::TlsVersion::Any,
            },
            websocket: relay.connecting.websocket,
            mesh_key,
            fast_start: !relay.connecting.no_fast_start,
        },
        relay_pid: relay.relay_pid,
    })
}

fn scenario(scenario: Option<&Scenario>) -> towline_load::Scenario {
    use towline_load::Scenario as Load;
    match scenario {
        None | Some(Scenario::Pairs) => Load::Pairs,
        Some(&Scenario::FanIn { senders }) => Load::FanIn { senders },
        Some(&Scenario::Idle { clients }) => Load::Idle { clients },
        Some(&Scenario::Handshakes { at_once }) => Load::Handshakes { at_once },
        Some(&Scenario::Overload {
            offered_mbit,
            times,
        }) => Load::Overload {
            offered_mbit,
            times,
        },
        Some(&Scenario::Latency {
            probes_per_second,
            bulk_mbit,
        }) => Load::Latency {
            probes_per_second,
            bulk_mbit,
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn parse(line: &str) -> Result<RelayArgs, clap::Error> {
        let command = BenchArgs::augment_args(Command::new("bench"));
        let matches = command.try_get_matches_from(line.split(' '))?;
        let Subject::Relay(relay) = BenchArgs::from_arg_matches(&matches)?.subject;
        Ok(relay)
    }

    #[test]
    fn a_url_is_enough() {
        let relay = parse("bench relay https://relay.example.com").unwrap();
        assert!(relay.scenario.is_none());
        assert_eq!(
            (
                relay.traffic.pairs,
                relay.traffic.size,
                relay.traffic.in_flight
            ),
            (4, 1400, 24)
        );
        assert_eq!(relay.traffic.duration, Duration::from_secs(10));
        assert_eq!(relay.connecting.tls_kx, KeyExchange::Default);
    }

    #[test]
    fn options_stand_before_or_after_the_scenario() {
        let before = parse("bench relay https://h --insecure --pairs 20 latency --bulk-mbit 500");
        let after = parse("bench relay https://h latency --bulk-mbit 500 --insecure --pairs 20");
        for relay in [before.unwrap(), after.unwrap()] {
            assert!(matches!(
                relay.scenario,
                Some(Scenario::Latency { bulk_mbit: 500, .. })
            ));
            assert!(relay.connecting.insecure);
            assert_eq!(relay.traffic.pairs, 20);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "bench relay",
            "bench relay https://h sideways",
            "bench relay https://h --size 1MiB",
            "bench relay https://h --size 8",
            "bench relay https://h --pairs 0",
            "bench relay https://h --duration 10",
            "bench relay https://h --insecure --pin sha256-raw:00",
            "bench relay https://h overload --times 3 --offered-mbit 5",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
