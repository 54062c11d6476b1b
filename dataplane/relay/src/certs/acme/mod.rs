//! Certificates from an ACME authority (RFC 8555), by HTTP-01 or TLS-ALPN-01.
//!
//! State in `certdir`: the certificate with its key in one file, so that both change in one step,
//! under the name and in the format of derper's cache (a relay that replaces derper keeps its
//! certificate); and our own account. When to try is the caller's.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use instant_acme::ChallengeType;
use rustls_pki_types::UnixTime;
use towline_tls::cert::{CertPair, CertStore};

use super::files::{self, PairFilesError};
use crate::config::{AcmeConfig, TlsConfig};
use crate::secret_file::{self, Existing};

mod account;
mod order;
#[cfg(test)]
mod tests;

/// An authority that takes longer is asked again later.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Tokens of HTTP-01 challenges that are open, and the body that answers each. An order for one
/// name has one.
type Tokens = Arc<Mutex<HashMap<String, String>>>;

pub(super) struct Acme {
    hostname: String,
    authority: AcmeConfig,
    certificate_path: PathBuf,
    account_path: PathBuf,
    tokens: Tokens,
    /// What worked last, or in the beginning what derper tries first.
    kind: Mutex<ChallengeType>,
}

impl Acme {
    pub(super) fn new(config: &TlsConfig, hostname: &str) -> anyhow::Result<Self> {
        super::create_cert_dir(&config.cert_dir)?;
        Self::check(config)?;
        Ok(Self {
            hostname: hostname.to_owned(),
            authority: config.acme.clone(),
            certificate_path: config.cert_dir.join(hostname),
            account_path: config.cert_dir.join("acme-account.json"),
            tokens: Tokens::default(),
            kind: Mutex::new(ChallengeType::TlsAlpn01),
        })
    }

    /// Whether the authority's own roots can be read. What is kept may be missing or of no use: another is fetched.
    pub(super) fn check(config: &TlsConfig) -> anyhow::Result<()> {
        if let Some(path) = &config.acme.ca_file {
            account::roots(path)?;
        }
        Ok(())
    }

    /// The kept certificate, unless it has expired or is of no use.
    pub(super) fn load(&self, now: UnixTime) -> Option<CertPair> {
        match self.read_kept() {
            Ok(pair) if pair.not_after_secs() > now.as_secs() => Some(pair),
            Ok(_) => None,
            Err(PairFilesError::Missing(_)) => None,
            Err(error) => {
                tracing::warn!(%error, "the kept certificate is of no use; getting another");
                None
            }
        }
    }

    fn read_kept(&self) -> Result<CertPair, PairFilesError> {
        let pem = files::read(&self.certificate_path)?;
        let path = || self.certificate_path.clone();
        let pair = CertPair::from_pem(&pem, &pem).map_err(|cause| PairFilesError::Content {
            path: path(),
            cause,
        })?;
        files::check_name(&pem, &self.hostname).map_err(|reason| PairFilesError::OtherName {
            path: path(),
            hostname: self.hostname.clone(),
            reason,
        })?;
        Ok(pair)
    }

    /// The body that answers an HTTP-01 challenge.
    pub(super) fn challenge(&self, token: &str) -> Option<String> {
        self.tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(token)
            .cloned()
    }

    /// Gets a new certificate and keeps it. Tries the kind of challenge that worked last, then
    /// the other: which of the two ports the authority can reach is nothing that we can know.
    pub(super) async fn obtain(&self, store: &CertStore) -> anyhow::Result<CertPair> {
        tokio::time::timeout(ATTEMPT_TIMEOUT, self.obtain_by_either(store))
            .await
            .unwrap_or_else(|_| {
                let secs = ATTEMPT_TIMEOUT.as_secs();
                anyhow::bail!("{} took over {secs} s", self.authority.directory_url)
            })
    }

    async fn obtain_by_either(&self, store: &CertStore) -> anyhow::Result<CertPair> {
        let account = account::open(&self.authority, &self.account_path).await?;
        let first = self.lock_kind().clone();
        let mut causes = Vec::new();
        for kind in [first.clone(), other_kind(&first)] {
            let answers = order::Answers {
                store,
                tokens: &self.tokens,
            };
            match order::run(&account, &self.hostname, &kind, answers).await {
                Ok(issued) => {
                    *self.lock_kind() = kind;
                    return self.keep(&issued);
                }
                Err(order::OrderError::Challenge(cause)) => {
                    causes.push(format!("{}: {cause}", kind_name(&kind)));
                }
                Err(order::OrderError::AccountGone(cause)) => {
                    account::forget(&self.account_path)?;
                    return Err(cause.into());
                }
                Err(order::OrderError::Other(cause)) => return Err(cause),
            }
        }
        anyhow::bail!(
            "the authority could not check that {} is us ({})",
            self.hostname,
            causes.join("; ")
        )
    }

    fn keep(&self, issued: &order::Issued) -> anyhow::Result<CertPair> {
        let pem = issued.to_pem();
        let pair = CertPair::from_pem(pem.as_bytes(), pem.as_bytes())
            .context("the authority's certificate")?;
        // A certificate that cannot be kept is used all the same, but costs another at restart.
        let path = &self.certificate_path;
        if let Err(error) = secret_file::write(path, pem.as_bytes(), Existing::Replaced) {
            let path = path.display();
            tracing::error!(%error, "cannot write {path}; the certificate is lost at restart");
        }
        Ok(pair)
    }

    fn lock_kind(&self) -> std::sync::MutexGuard<'_, ChallengeType> {
        self.kind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long until a third of the certificate's lifetime is left; zero when less is.
pub(super) fn renewal_wait(pair: &CertPair, now: UnixTime) -> Duration {
    let lifetime_secs = pair.not_after_secs().saturating_sub(pair.not_before_secs());
    let due_secs = pair.not_after_secs().saturating_sub(lifetime_secs / 3);
    Duration::from_secs(due_secs.saturating_sub(now.as_secs()))
}

fn other_kind(kind: &ChallengeType) -> ChallengeType {
    match kind {
        ChallengeType::TlsAlpn01 => ChallengeType::Http01,
        _ => ChallengeType::TlsAlpn01,
    }
}

fn kind_name(kind: &ChallengeType) -> &'static str {
    match kind {
        ChallengeType::TlsAlpn01 => "TLS-ALPN-01 (port 443)",
        _ => "HTTP-01 (port 80)",
    }
}
