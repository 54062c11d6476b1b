//! `/bootstrap-dns`: addresses of the names that a client needs to get started, for clients whose own DNS does not work.
//!
//! Names are resolved in the background; a request is answered from memory.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde::Serialize as _;
use siphasher::sip::SipHasher13;
use towline_derp::http::Response;
use towline_wire::limits::BOOTSTRAP_DNS_REFRESH;
use tracing::warn;

use super::query;
use crate::config::HttpConfig;
use crate::metrics::BootstrapCounts;

/// Names remembered for counting different ones; then counting begins anew (derper).
const QUERIED_NAMES_MAX: usize = 500;
/// The longest name that is remembered: longer ones are no DNS names (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;

type Addresses = BTreeMap<String, Vec<IpAddr>>;

/// The names and their addresses.
pub(super) struct Bootstrap {
    published_names: Vec<String>,
    unpublished_names: Vec<String>,
    published: ArcSwap<Addresses>,
    unpublished: ArcSwap<Addresses>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    published_hits: AtomicU64,
    published_misses: AtomicU64,
    unpublished_hits: AtomicU64,
    unpublished_misses: AtomicU64,
    queried: Mutex<HashSet<String>>,
}

/// Resolves the names now and every `BOOTSTRAP_DNS_REFRESH` until `bootstrap` is dropped.
pub(super) fn refresh_while_used(bootstrap: &Arc<Bootstrap>) {
    if bootstrap.published_names.is_empty() && bootstrap.unpublished_names.is_empty() {
        return;
    }
    let bootstrap = Arc::downgrade(bootstrap);
    tokio::spawn(async move {
        while let Some(bootstrap) = bootstrap.upgrade() {
            bootstrap.refresh().await;
            drop(bootstrap);
            tokio::time::sleep(BOOTSTRAP_DNS_REFRESH).await;
        }
    });
}

impl Bootstrap {
    pub(super) fn new(config: &HttpConfig) -> Self {
        Self {
            published_names: config.bootstrap_dns_names.clone(),
            unpublished_names: config
                .unpublished_bootstrap_dns_names
                .iter()
                .map(|name| name.0.clone())
                .collect(),
            published: ArcSwap::default(),
            unpublished: ArcSwap::default(),
            counters: Counters::default(),
        }
    }

    /// Answers a request: one unpublished name when it is asked for, or else all published ones.
    pub(super) fn answer(&self, query: &str) -> Response {
        self.counters.requests.fetch_add(1, Relaxed);
        let asked = query::value(query, "q").filter(|name| !name.is_empty());
        if let Some(name) = asked {
            self.counters.remember(&name);
            if let Some(answer) = self.unpublished(&name) {
                return answer;
            }
            self.counters.published(self.published.load().get(&name));
        }
        json(&self.published.load())
    }

    pub(super) fn counts(&self) -> BootstrapCounts {
        let counters = &self.counters;
        let queried = counters
            .queried
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        BootstrapCounts {
            requests: counters.requests.load(Relaxed),
            published_hits: counters.published_hits.load(Relaxed),
            published_misses: counters.published_misses.load(Relaxed),
            unpublished_hits: counters.unpublished_hits.load(Relaxed),
            unpublished_misses: counters.unpublished_misses.load(Relaxed),
            queried_domains: queried.len() as u64,
        }
    }

    /// The answer to a name that is served only when it is asked for.
    fn unpublished(&self, asked: &str) -> Option<Response> {
        let addresses = self.unpublished.load();
        let found = addresses.get(asked).filter(|found| !found.is_empty())?;
        self.counters.unpublished_hits.fetch_add(1, Relaxed);
        Some(json(&Addresses::from([(asked.to_owned(), found.clone())])))
    }

    pub(super) async fn refresh(&self) {
        let published = resolve(&self.published_names, &self.published.load()).await;
        self.published.store(Arc::new(published));
        let unpublished = resolve(&self.unpublished_names, &self.unpublished.load()).await;
        self.unpublished.store(Arc::new(unpublished));
    }
}

impl Counters {
    fn remember(&self, name: &str) {
        if name.len() > NAME_BYTES_MAX {
            return;
        }
        let mut queried = self.queried.lock().unwrap_or_else(PoisonError::into_inner);
        if queried.len() >= QUERIED_NAMES_MAX && !queried.contains(name) {
            queried.clear();
        }
        queried.insert(name.to_owned());
    }

    fn published(&self, addresses: Option<&Vec<IpAddr>>) {
        let counter = match addresses {
            Some(addresses) if !addresses.is_empty() => &self.published_hits,
            Some(_) => &self.published_misses,
            None => &self.unpublished_misses,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// Looks the names up, one after the other. A name that does not resolve keeps its last addresses: old ones help more than none.
async fn resolve(names: &[String], before: &Addresses) -> Addresses {
    let mut resolved = Addresses::new();
    for name in names {
        match tokio::net::lookup_host((name.as_str(), 0)).await {
            Ok(found) => {
                let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                addresses.sort_unstable();
                addresses.dedup();
                shuffle(&mut addresses);
                resolved.insert(name.clone(), addresses);
            }
            Err(error) => {
                warn!(name, %error, "bootstrap DNS name does not resolve");
                if let Some(addresses) = before.get(name) {
                    resolved.insert(name.clone(), addresses.clone());
                }
            }
        }
    }
    resolved
}

/// Puts the addresses in a random order, so that clients do not all prefer IPv6 (derper).
fn shuffle(addresses: &mut [IpAddr]) {
    let mut key = [0; 16];
    // Without randomness the order is the same each time, which harms nobody.
    let _ = getrandom::fill(&mut key);
    addresses.sort_by_cached_key(|address| hash(&key, *address));
}

fn hash(key: &[u8; 16], address: IpAddr) -> u64 {
    let mut hasher = SipHasher13::new_with_key(key);
    match address {
        IpAddr::V4(ip) => hasher.write(&ip.octets()),
        IpAddr::V6(ip) => hasher.write(&ip.octets()),
    }
    hasher.finish()
}

/// Go's `json.MarshalIndent`; nothing at all when there are no names.
fn json(addresses: &Addresses) -> Response {
    let mut body = Vec::new();
    if !addresses.is_empty() {
        let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut body, format);
        addresses
            .serialize(&mut serializer)
            .expect("a map of strings always becomes JSON");
    }
    Response::with_body(200, "application/json", body)
}
