//! `towline relay status`: how a running relay is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use towline_relay::admin::{
    AdmissionMode, CertificateState, CertificateStatus, DriverStatus, ListenerKind, Status,
};

use crate::admin::Relay;
use crate::failure::Failure;
use crate::print::{self, Output};
use crate::units;

/// What to show.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    relay: Relay,
    /// Print a table for people or JSON for programs
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Asks and prints.
pub(crate) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let status = args.relay.connect()?.status()?;
    match args.output {
        Output::Json => print::json(&status),
        Output::Table => print::text(&tables(&status)),
    }
}

fn tables(status: &Status) -> String {
    let mut text = print::fields(&fields(status));
    if !status.shards.is_empty() {
        text.push('\n');
        text.push_str(&shards(status));
    }
    if !status.mesh.is_empty() {
        text.push('\n');
        text.push_str(&mesh(status));
    }
    for warning in &status.warnings {
        text.push_str(&format!("\nwarning: {warning}\n"));
    }
    text
}

fn fields(status: &Status) -> Vec<(&'static str, String)> {
    let connections = &status.connections;
    let state = if status.draining {
        "draining"
    } else {
        "running"
    };
    let uptime = units::age(Duration::from_millis(status.uptime_ms));
    let mut fields = vec![
        (
            "relay",
            format!("{} (towline {})", status.hostname, status.version),
        ),
        (
            "state",
            format!("{state}, up {uptime}, process {}", status.process_id),
        ),
        ("key", status.server_key.to_string()),
        ("driver", driver(&status.driver)),
        ("admission", admission(status)),
        (
            "clients",
            format!(
                "{} connections of {} keys, {} mesh peers, {} in their handshake",
                units::count(connections.clients),
                units::count(connections.keys),
                units::count(connections.mesh),
                units::count(connections.half_open),
            ),
        ),
        (
            "accepted",
            format!(
                "{} since start, {} turned away",
                units::count(connections.accepted_total),
                units::count(connections.rejected_total)
            ),
        ),
        ("memory", units::bytes(status.resident_bytes)),
    ];
    for listener in &status.listeners {
        let kind = match (listener.kind, listener.tls) {
            (ListenerKind::Derp, true) => "DERP over TLS",
            (ListenerKind::Derp, false) => "DERP over plain HTTP",
            (ListenerKind::Http, _) => "plain HTTP",
            (ListenerKind::Stun, _) => "STUN",
        };
        fields.push(("listening", format!("{} ({kind})", listener.address)));
    }
    if let Some(certificate) = &status.certificate {
        fields.extend(self::certificate(certificate));
    }
    fields
}

fn driver(driver: &DriverStatus) -> String {
    let mut text = driver.name.clone();
    if let Some(cause) = &driver.fallback_cause {
        text.push_str(&format!(" (not io_uring: {cause})"));
    }
    let (on, off): (Vec<_>, Vec<_>) = driver.features.iter().partition(|feature| feature.on);
    for (label, features) in [("with", on), ("without", off)] {
        if !features.is_empty() {
            let names: Vec<_> = features
                .iter()
                .map(|feature| feature.name.as_str())
                .collect();
            text.push_str(&format!(" {label} {}", names.join(", ")));
        }
    }
    text
}

fn admission(status: &Status) -> String {
    let admission = &status.admission;
    let mut text = match admission.mode {
        AdmissionMode::Open => "open to everyone".to_owned(),
        AdmissionMode::AllowList => "keys in a file".to_owned(),
        AdmissionMode::Callback => "admission controller".to_owned(),
    };
    if let Some(keys) = admission.allowed_keys {
        text.push_str(&format!(", {} keys in the file", units::count(keys)));
    }
    if let Some(answers) = admission.cached_answers {
        text.push_str(&format!(", {} answers cached", units::count(answers)));
    }
    if admission.controller_reachable == Some(false) {
        text.push_str(", CONTROLLER DOES NOT ANSWER, OR NOT USABLY");
    }
    text
}

fn certificate(certificate: &CertificateStatus) -> Vec<(&'static str, String)> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let end = certificate.not_after_unix_s.unwrap_or_default();
    let left = u64::try_from(end).unwrap_or(0).saturating_sub(now);
    let state = match certificate.state {
        CertificateState::WaitingForFirstCertificate => "waiting for first certificate".to_owned(),
        CertificateState::InUse => format!("valid for {}", units::age(Duration::from_secs(left))),
        CertificateState::Expired => "EXPIRED".to_owned(),
    };
    let names = certificate.names.join(", ");
    let mut fields = vec![(
        "certificate",
        format!("{} for {names}, {state}", certificate.mode),
    )];
    if let Some(pin) = &certificate.sha256_raw {
        fields.push(("", pin.clone()));
    }
    if let Some(error) = &certificate.last_error {
        fields.push(("", format!("last attempt to get one failed: {error}")));
    }
    fields
}

fn shards(status: &Status) -> String {
    let rows: Vec<_> = status
        .shards
        .iter()
        .map(|shard| {
            vec![
                shard.shard.to_string(),
                units::count(shard.connections),
                units::bytes(shard.queued_bytes),
                units::count(shard.packets_received),
                units::count(shard.packets_sent),
                units::count(shard.packets_dropped),
                units::age(Duration::from_millis(shard.cpu_ms)),
            ]
        })
        .collect();
    let headings = [
        "SHARD ",
        "CONNECTIONS ",
        "QUEUED ",
        "RECEIVED ",
        "SENT ",
        "DROPPED ",
        "CPU TIME ",
    ];
    print::table(&headings, &rows)
}

fn mesh(status: &Status) -> String {
    let rows: Vec<_> = status
        .mesh
        .iter()
        .map(|peer| {
            let state = match (peer.is_self, peer.connected, &peer.last_error) {
                (true, ..) => "this relay".to_owned(),
                (_, true, _) => "connected".to_owned(),
                (_, false, Some(error)) => format!("not connected: {error}"),
                (_, false, None) => "connecting".to_owned(),
            };
            let key = peer
                .server_key
                .map_or_else(|| "-".to_owned(), |key| key.to_string());
            vec![peer.host.clone(), state, key]
        })
        .collect();
    print::table(&["MESH PEER", "STATE", "KEY"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_well() {
        let json = include_str!("../tests/status.json");
        let status: Status = serde_json::from_str(json).unwrap();
        let text = tables(&status);
        for part in [
            "relay        relay.example.com (towline 0.1.0)\n",
            "driver       epoll (not io_uring: disabled by seccomp) without multishot-recv\n",
            "admission    open to everyone\n",
            "listening    [::]:443 (DERP over TLS)\n",
            "EXPIRED",
            "    0        1,234  1.0 MiB",
            "b.example.com  not connected: connection refused  -\n",
            "\nwarning: everyone may use this relay\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing:\n{text}");
        }
    }
    #[test]
    fn a_certificate_that_never_was_has_not_expired() {
        let certificate = CertificateStatus {
            mode: "acme".to_owned(),
            state: CertificateState::WaitingForFirstCertificate,
            names: vec!["relay.example.com".to_owned()],
            not_after_unix_s: None,
            sha256_raw: None,
            last_error: Some("port 80 is shut".to_owned()),
        };
        let lines: Vec<_> = super::certificate(&certificate)
            .into_iter()
            .map(|(_, line)| line)
            .collect();
        assert_eq!(
            lines,
            [
                "acme for relay.example.com, waiting for first certificate",
                "last attempt to get one failed: port 80 is shut"
            ]
        );
        let json = serde_json::to_value(&certificate).unwrap();
        assert_eq!(json["state"], "waiting_for_first_certificate");
    }
}
