//! `towline relay clients`: who is connected to a running relay.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use towline_relay::admin::{ClientEntry, ClientsQuery};
use towline_wire::NodePublic;

use crate::admin::Relay;
use crate::failure::Failure;
use crate::print::{self, Output};
use crate::units;

/// Which clients to show.
#[derive(Args, Debug)]
pub(crate) struct ClientsArgs {
    #[command(flatten)]
    relay: Relay,
    /// Only the connections of this key
    #[arg(long, value_name = "NODEKEY")]
    key: Option<NodePublic>,
    /// Show at most this many; 0 shows all
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    limit: u64,
    /// Print a table for people or JSON for programs
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What a program reads.
#[derive(Serialize)]
struct Listing {
    clients: Vec<ClientEntry>,
    /// Connections in all, shown or not.
    total: u64,
}

/// Asks, page by page, and prints.
pub(crate) fn run(args: &ClientsArgs) -> Result<(), Failure> {
    let listing = ask(args)?;
    match args.output {
        Output::Json => print::json(&listing),
        Output::Table => {
            let rows: Vec<_> = listing.clients.iter().map(row).collect();
            print::text(&print::table(&HEADINGS, &rows))?;
            let shown = listing.clients.len() as u64;
            if args.key.is_none() && shown < listing.total {
                print::note(&format!(
                    "{} of {} connections; --limit 0 shows all",
                    units::count(shown),
                    units::count(listing.total)
                ));
            }
            Ok(())
        }
    }
}

fn ask(args: &ClientsArgs) -> Result<Listing, Failure> {
    let mut relay = args.relay.connect()?;
    let wanted = if args.limit == 0 {
        u64::MAX
    } else {
        args.limit
    };
    let mut listing = Listing {
        clients: Vec::new(),
        total: 0,
    };
    let mut after = None;
    loop {
        let missing = wanted - listing.clients.len() as u64;
        let limit = u32::try_from(missing).unwrap_or(u32::MAX);
        let page = relay.clients(ClientsQuery {
            key: args.key,
            after,
            limit,
        })?;
        listing.clients.extend(page.clients);
        listing.total = page.total;
        after = page.next;
        if after.is_none() || listing.clients.len() as u64 >= wanted {
            return Ok(listing);
        }
    }
}

const HEADINGS: [&str; 10] = [
    "KEY",
    "ADDRESS",
    "SHARD ",
    "CONNECTED ",
    "RECEIVED ",
    "SENT ",
    "QUEUED ",
    "DROPPED ",
    "LIMIT ",
    "NOTES",
];

fn row(client: &ClientEntry) -> Vec<String> {
    let notes = [
        (client.home, "home"),
        (client.mesh, "mesh"),
        (client.prober, "prober"),
        (!client.active, "standby"),
    ];
    let notes = notes
        .iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, note)| *note);
    let notes: Vec<&str> = notes.chain(client.app_name.as_deref()).collect();
    let limit = client.limit_bytes_per_second;
    vec![
        client.key.to_string(),
        client.address.to_string(),
        client.shard.to_string(),
        units::age(Duration::from_millis(client.connected_ms)),
        units::bytes(client.bytes_received),
        units::bytes(client.bytes_sent),
        units::bytes(client.queued_bytes),
        units::count(client.packets_dropped),
        limit.map_or_else(
            || "-".to_owned(),
            |limit| format!("{}/s", units::bytes(limit)),
        ),
        // What a client calls itself may hold anything; a terminal must not obey it.
        notes.join(", ").escape_debug().to_string(),
    ]
}
