//! `/debug/`: what there is to see, and whether the numbers fit each other.

use towline_derp::http::Response;
use towline_derp::relay::Stats;

use super::TEXT;
use crate::metrics::MetricsInput;

/// The list of pages.
pub(super) fn index(input: &MetricsInput) -> Response {
    let body = format!(
        "<html><body><h1>towline relay debug</h1><ul>\n\
         <li><b>Uptime:</b> {uptime} s</li>\n\
         <li><b>Version:</b> {version}</li>\n\
         <li><b>Driver:</b> {driver}</li>\n\
         <li><b>Shards:</b> {shards}</li>\n\
         <li><a href=\"/debug/varz\">/debug/varz</a> metrics under derper's names</li>\n\
         <li><a href=\"/metrics\">/metrics</a> metrics under names of our own</li>\n\
         <li><a href=\"/debug/check\">/debug/check</a> whether the numbers fit each other</li>\n\
         </ul></body></html>\n",
        uptime = input.uptime.as_secs(),
        version = input.version,
        driver = input.modes.driver,
        shards = input.shards.len(),
    );
    Response::with_body(200, "text/html; charset=utf-8", body.into_bytes())
}

/// Looks at each shard's numbers, which were taken at one moment.
pub(super) fn check(input: &MetricsInput) -> Response {
    let wrong: Vec<String> = input
        .shards
        .iter()
        .flat_map(|(index, shard)| {
            let broken = contradictions(&shard.stats);
            broken.map(move |rule| format!("shard {index}: {rule}\n"))
        })
        .collect();
    if wrong.is_empty() {
        // derper's words: monitors look for them.
        return Response::with_body(200, TEXT, b"derp.Server ConsistencyCheck okay".as_slice());
    }
    Response::with_body(500, TEXT, wrong.concat().into_bytes())
}

fn contradictions(stats: &Stats) -> impl Iterator<Item = &'static str> {
    let all = stats.connections;
    [
        (stats.clients_local > all, "more keys than connections"),
        (
            stats.home_connections > all,
            "more home connections than connections",
        ),
        (
            stats.notideal_connections > all,
            "more not-ideal connections than connections",
        ),
        (stats.watchers > all, "more watchers than connections"),
        (
            stats.dup_client_conns > all,
            "more duplicates than connections",
        ),
        (
            stats.dup_client_keys * 2 > stats.dup_client_conns,
            "duplicate keys without duplicates",
        ),
    ]
    .into_iter()
    .filter_map(|(broken, rule)| broken.then_some(rule))
}
