//! The pages that only the running relay can answer: metrics, debugging, bootstrap DNS, and proofs for a certificate authority.
//!
//! Called by the handshake stage for each `Step::Page`. The pages that every DERP server has are in `towline_derp::http`.

mod access;
mod bootstrap;
mod debug;
mod query;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use towline_derp::http::{Page, PageRequest, Response};

use self::access::Access;
use self::bootstrap::Bootstrap;
use crate::config::{DebugConfig, HttpConfig};
use crate::metrics::{self, Local, MetricsInput, ProcessFacts};

/// Fetches the state of the relay; called for each page that shows it.
pub(crate) type Source =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = MetricsInput> + Send>> + Send + Sync>;

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers requests for pages.
pub(crate) struct Pages {
    access: Access,
    bootstrap: Arc<Bootstrap>,
    source: Source,
    memory_at_start_bytes: u64,
}

impl Pages {
    /// Begins to resolve the names of `/bootstrap-dns`; needs a tokio runtime. The names are looked up again and again until the
    /// returned value is dropped.
    pub(crate) fn start(http: &HttpConfig, debug: &DebugConfig, source: Source) -> Arc<Self> {
        let bootstrap = Arc::new(Bootstrap::new(http));
        bootstrap::refresh_while_used(&bootstrap);
        Arc::new(Self {
            access: Access::new(debug),
            bootstrap,
            source,
            memory_at_start_bytes: ProcessFacts::read().resident_bytes,
        })
    }

    /// Whether a connection from `peer` may ask for metrics and debug pages at all. With a key file everyone may ask, and
    /// [`answer`](Self::answer) looks for the key.
    pub(crate) fn debug_allowed(&self, peer: IpAddr) -> bool {
        self.access.allows_address(peer) || self.access.has_key()
    }

    /// Answers a request that `peer` made. `challenge` gives the proof for an ACME token.
    pub(crate) async fn answer(
        &self,
        request: PageRequest,
        peer: IpAddr,
        challenge: &dyn Fn(&str) -> Option<String>,
    ) -> Response {
        match request.page {
            Page::AcmeChallenge => acme(&request.path, challenge),
            Page::BootstrapDns => self.bootstrap.answer(&request.query),
            Page::Metrics | Page::Debug if !self.access.allows(peer, &request.query) => {
                Response::text(403, "debug access denied\n")
            }
            Page::Metrics => {
                let text = metrics::render(&(self.source)().await, &self.local());
                Response::with_body(200, PROMETHEUS, text.into_bytes())
            }
            Page::Debug => self.debug(&request.path).await,
        }
    }

    async fn debug(&self, path: &str) -> Response {
        match path {
            "/debug" | "/debug/" => debug::index(&(self.source)().await),
            "/debug/varz" => {
                let text = metrics::render_varz(&(self.source)().await, &self.local());
                Response::with_body(200, TEXT, text.into_bytes())
            }
            "/debug/check" => debug::check(&(self.source)().await),
            _ => not_found(),
        }
    }

    fn local(&self) -> Local {
        Local {
            process: ProcessFacts::read(),
            memory_at_start_bytes: self.memory_at_start_bytes,
            bootstrap: self.bootstrap.counts(),
        }
    }
}

/// RFC 8555 §8.3.
fn acme(path: &str, challenge: &dyn Fn(&str) -> Option<String>) -> Response {
    let token = path.strip_prefix("/.well-known/acme-challenge/");
    match token.and_then(challenge) {
        Some(proof) => Response::with_body(200, "application/octet-stream", proof.into_bytes()),
        None => not_found(),
    }
}

fn not_found() -> Response {
    Response::text(404, "404 page not found\n")
}
