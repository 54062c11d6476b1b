//! The admission controller: derper's HTTP callback (`tailcfg.DERPAdmitClientRequest` and its response).
//!
//! POST `{"NodePublic":"nodekey:…","Source":"ip"}`, answered by `{"Allow":bool}` and, ours, optional limits:
//! `"BytesPerSecond"` and `"BurstBytes"`.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use towline_derp::connected::RateLimit;
use towline_derp::handshake::server::AdmitRequest;
use towline_wire::NodePublic;
use towline_wire::limits::{ADMISSION_BODY_BYTES_MAX, ADMISSION_TIMEOUT, RATE_BURST_BYTES_MIN};

/// Why there is no verdict.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// It could not be asked.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It answered something else, which for derper too is not a reason to let anyone in.
    #[error("its answer is of no use: {0}")]
    Unusable(String),
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) allow: bool,
    pub(super) limits: Option<RateLimit>,
}

pub(super) struct Controller {
    url: String,
    agent: ureq::Agent,
}

/// What the controller is asked. Equal questions have one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Question {
    #[serde(rename = "NodePublic")]
    pub(super) key: NodePublic,
    #[serde(rename = "Source")]
    pub(super) source: IpAddr,
}

impl Question {
    pub(super) fn about(request: &AdmitRequest) -> Self {
        Self {
            key: request.key,
            source: request.addr.ip(),
        }
    }
}

/// Names as Go writes them, or with a small first letter, which Go would take too.
#[derive(Deserialize)]
struct Body {
    #[serde(rename = "Allow", alias = "allow", default)]
    allow: bool,
    #[serde(rename = "BytesPerSecond", alias = "bytesPerSecond", default)]
    bytes_per_second: u64,
    #[serde(rename = "BurstBytes", alias = "burstBytes", default)]
    burst_bytes: u64,
}

impl Controller {
    pub(super) fn new(url: &str) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ureq::tls::TlsConfig::builder()
            .provider(ureq::tls::TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(host_roots())
            .build();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(ADMISSION_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls)
            .build();
        Self {
            url: url.to_owned(),
            agent: config.new_agent(),
        }
    }

    /// Asks, for up to [`ADMISSION_TIMEOUT`]; blocks the thread.
    pub(super) fn ask(&self, question: &Question) -> Result<Answer, NoAnswer> {
        let question = serde_json::to_vec(question)
            .map_err(|error| NoAnswer::Unreachable(error.to_string()))?;
        let mut response = self
            .agent
            .post(&self.url)
            .content_type("application/json")
            .send(&question[..])
            .map_err(|error| NoAnswer::Unreachable(error.to_string()))?;
        if response.status().as_u16() != 200 {
            return Err(NoAnswer::Unusable(format!(
                "HTTP status {}",
                response.status()
            )));
        }
        let body = response
            .body_mut()
            .with_config()
            .limit(ADMISSION_BODY_BYTES_MAX as u64);
        let body = body
            .read_to_vec()
            .map_err(|error| NoAnswer::Unusable(error.to_string()))?;
        let body: Body =
            serde_json::from_slice(&body).map_err(|error| NoAnswer::Unusable(error.to_string()))?;
        let limits = (body.bytes_per_second > 0).then_some(RateLimit {
            bytes_per_second: body.bytes_per_second,
            burst_bytes: body.burst_bytes.max(RATE_BURST_BYTES_MIN as u64),
        });
        Ok(Answer {
            allow: body.allow,
            limits,
        })
    }
}

/// The host's trust store; `SSL_CERT_FILE` may replace it.
fn host_roots() -> ureq::tls::RootCerts {
    let loaded = rustls_native_certs::load_native_certs();
    let certs: Vec<_> = loaded
        .certs
        .iter()
        .map(|cert| ureq::tls::Certificate::from_der(cert).to_owned())
        .collect();
    ureq::tls::RootCerts::from(certs)
}
