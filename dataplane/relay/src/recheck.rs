//! Asks again whether the clients that are connected may be: one whose key was revoked is disconnected.
//!
//! Only an admission controller is asked; keys in a file are looked up when the file changes. The questions of a round
//! are spread over its time, so that a controller has the same load whatever the number of clients. Clients are found by
//! `relay`, verdicts by `admission`.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::hash::Hasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use siphasher::sip::SipHasher13;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use towline_derp::handshake::server::AdmitRequest;
use towline_derp::relay::ClientRow;
use towline_wire::limits::ADMISSION_RECHECKS_MAX;
use towline_wire::{NodePublic, Time};
use tracing::info;

use crate::admission::Recheck;
use crate::relay::Relay;
use crate::shard;

/// How often the settings are looked at between questions.
const LOOK: Duration = Duration::from_secs(1);

/// When the controller last allowed each connected key. What admission remembers is bounded, and may be less than these.
type Confirmed = Arc<Mutex<HashMap<NodePublic, Time>>>;

/// What becomes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The controller allows it.
    Confirmed,
    /// The controller does not answer, and had allowed it not too long ago.
    Kept,
    Revoked,
}

/// Runs as long as the relay does.
pub(crate) async fn run(relay: Arc<Relay>) {
    let confirmed = Confirmed::default();
    let places = Arc::new(Semaphore::new(ADMISSION_RECHECKS_MAX));
    // Without randomness the order is the same after each start, which harms nobody.
    let order_key = shard::random().unwrap_or_default();
    'rounds: loop {
        let settings = relay.config().admission.clone();
        let start = Instant::now();
        let clients = match settings.recheck_time.is_zero() || settings.verify_url.is_none() {
            true => Vec::new(),
            false => in_order(relay.all_clients().await, &order_key),
        };
        if clients.is_empty() {
            sleep_until(start + LOOK).await;
            continue;
        }
        let connected: HashSet<_> = clients.iter().map(|(request, _)| request.key).collect();
        lock(&confirmed).retain(|key, _| connected.contains(key));
        let share = settings.recheck_time.div_f64(clients.len() as f64);
        for (index, (request, connected_at)) in clients.into_iter().enumerate() {
            let due = start + share.mul_f64(index as f64 + jitter());
            if !wait_until_due(&relay, due, settings.recheck_time).await {
                continue 'rounds;
            }
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let (relay, confirmed) = (Arc::clone(&relay), Arc::clone(&confirmed));
            tokio::spawn(async move {
                recheck(&relay, &confirmed, &request, connected_at).await;
                drop(place);
            });
        }
        wait_until_due(&relay, start + settings.recheck_time, settings.recheck_time).await;
    }
}

/// Waits; true at `due`, false as soon as the time of a round is another than `recheck_time`.
async fn wait_until_due(relay: &Relay, due: Instant, recheck_time: Duration) -> bool {
    loop {
        if relay.config().admission.recheck_time != recheck_time {
            return false;
        }
        let now = Instant::now();
        if due <= now {
            return true;
        }
        sleep_until(due.min(now + LOOK)).await;
    }
}

async fn recheck(relay: &Relay, confirmed: &Confirmed, request: &AdmitRequest, connected_at: Time) {
    let now = Time(towline_io::host::now_ns());
    let answer = relay.admission().recheck(now, request).await;
    let last_answers = [
        relay.admission().allowed_at(&request.key),
        lock(confirmed).get(&request.key).copied(),
    ];
    let unheard = unheard(now, last_answers, connected_at);
    let settings = relay.config();
    // Who fails open would let them in again at once.
    let keep_time = (!settings.admission.fail_open).then_some(settings.admission.keep_time);
    match outcome(answer, unheard, keep_time) {
        Outcome::Confirmed => {
            lock(confirmed).insert(request.key, now);
        }
        Outcome::Kept => {}
        Outcome::Revoked => {
            let connections = relay.close_client(request.key).await;
            info!(key = %request.key, ?answer, connections, "disconnected: it is not admitted any more");
        }
    }
}

/// The time since the controller allowed a client, by the last of its answers that are known. One that no answer is known of
/// was let in without it (by other rules), so its time begins there.
fn unheard(now: Time, last_answers: [Option<Time>; 2], connected_at: Time) -> Duration {
    let last = last_answers.into_iter().flatten().max();
    now - last.unwrap_or(connected_at)
}

/// `unheard` is the time since the client was last allowed. While the controller is silent, that decides; without a keep
/// time nobody goes for its silence.
fn outcome(answer: Recheck, unheard: Duration, keep_time: Option<Duration>) -> Outcome {
    match answer {
        Recheck::Allowed => Outcome::Confirmed,
        Recheck::Refused => Outcome::Revoked,
        Recheck::Silent if keep_time.is_some_and(|time| unheard >= time) => Outcome::Revoked,
        Recheck::Silent => Outcome::Kept,
    }
}

/// Each key with each address once, in an order that stays the same from round to round: so each has its turn about as
/// often.
fn in_order(clients: Vec<(u16, ClientRow)>, order_key: &[u8; 16]) -> Vec<(AdmitRequest, Time)> {
    let mut clients: Vec<_> = clients
        .into_iter()
        .filter(|(_, row)| !row.mesh)
        .map(|(_, row)| {
            let request = AdmitRequest {
                key: row.key,
                addr: row.addr,
                mesh: false,
                prober: row.prober,
            };
            (request, row.connected_at)
        })
        .collect();
    clients.sort_by_cached_key(|(request, connected_at)| {
        let mut hasher = SipHasher13::new_with_key(order_key);
        hasher.write(&request.key.0);
        // Of several connections the last to be let in is the one that counts.
        let last_first = Reverse(connected_at.0);
        (hasher.finish(), request.key, request.addr.ip(), last_first)
    });
    clients.dedup_by_key(|(request, _)| (request.key, request.addr.ip()));
    clients
}

/// From 0 to 1.
fn jitter() -> f64 {
    f64::from(u32::from_ne_bytes(shard::random().unwrap_or_default())) / f64::from(u32::MAX)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_controller_disconnects_nobody_before_the_keep_time() {
        let hour = Duration::from_secs(3600);
        let second = Duration::from_secs(1);
        let silent = |unheard, keep| outcome(Recheck::Silent, unheard, keep);
        assert_eq!(silent(hour - second, Some(hour)), Outcome::Kept);
        assert_eq!(silent(hour, Some(hour)), Outcome::Revoked);
        assert_eq!(silent(hour, None), Outcome::Kept);
        let refused = outcome(Recheck::Refused, second, None);
        assert_eq!(refused, Outcome::Revoked);
        let allowed = outcome(Recheck::Allowed, 2 * hour, Some(hour));
        assert_eq!(allowed, Outcome::Confirmed);
    }

    #[test]
    fn who_reconnects_in_an_outage_gets_no_new_keep_time() {
        let at = |secs| Time::ZERO + Duration::from_secs(secs);
        let since = |last_answers, connected_at| unheard(at(1000), last_answers, connected_at);
        assert_eq!(
            since([Some(at(100)), None], at(900)),
            Duration::from_secs(900)
        );
        assert_eq!(
            since([Some(at(100)), Some(at(400))], at(50)),
            Duration::from_secs(600)
        );
        assert_eq!(since([None, None], at(900)), Duration::from_secs(100));
    }
}
