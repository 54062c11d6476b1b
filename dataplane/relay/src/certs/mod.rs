//! Certificates of the running relay: where they come from, how they are kept in `certdir`, and
//! when they are replaced. Handshakes read the [`CertStore`]; connections that are up keep nothing
//! of it, so a new certificate touches none of them.
//!
//! What a certificate is, and checking it, is `towline_tls::cert`; this module adds the files, the
//! clock and the ACME authority. Called by the start of the relay, its control runtime, the HTTP
//! pages (ACME tokens) and the admin socket (status).

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustls_pki_types::UnixTime;
use tokio::sync::Notify;
use towline_tls::cert::{CertError, CertPair, CertStore, SniPolicy, meta};
use towline_wire::NodePublic;
use towline_wire::derp_map::DerpNode;
use towline_wire::limits::STUN_PORT;

use self::acme::Acme;
use self::files::{PairFiles, PairFilesError, Stamp};
use crate::admin::{CertificateState, CertificateStatus};
use crate::config::{CertMode, ListenConfig, StunConfig, TlsConfig};
use crate::file_stamp::Watch;

mod acme;
mod files;
mod retry;
mod self_signed;
#[cfg(test)]
mod tests;

/// How often manual files are looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// How often the meta certificate is made anew. It is valid 30 days.
const META_REFRESH_INTERVAL: Duration = Duration::from_secs(3 * 24 * 3600);

/// How often expiry is looked at. Short against any lifetime, and so a wall clock that is set, or
/// a machine that slept, delays nothing for long.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_secs(3600);

/// How often it is said that the certificate expires soon and nobody has brought another.
const EXPIRY_WARNING_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// A region of one's own: 900 to 999 are free for everybody, and derper prints 900.
const HINT_REGION_ID: i64 = 900;

const HTTPS_PORT: u16 = 443;

/// The certificates of this relay.
pub(crate) struct Certificates {
    /// Without a final dot.
    hostname: String,
    mode: CertMode,
    server_public: NodePublic,
    store: Arc<CertStore>,
    source: Source,
    /// Of the node for the DERP map.
    derp_port: i32,
    stun_port: i32,
    /// Of the last attempt to renew or reload; `None` when it went well.
    last_error: Mutex<Option<String>>,
    /// Ends a wait for the next attempt at the ACME authority.
    retry_now: Notify,
}

enum Source {
    /// The main listener speaks no TLS.
    Off,
    Manual {
        files: PairFiles,
        watch: Box<Mutex<Watch<Stamp>>>,
    },
    SelfSigned(PairFiles),
    Acme(Box<Acme>),
}

impl Certificates {
    /// Loads or makes the certificate, and makes the meta certificate. With ACME there may be no
    /// certificate yet; handshakes are refused until [`Certificates::run`] has one.
    ///
    /// # Errors
    /// Manual files are missing or wrong, or `certdir` cannot be written; in words for the
    /// operator.
    pub(crate) fn start(config: &TlsConfig, server_public: &NodePublic) -> anyhow::Result<Self> {
        let now = UnixTime::now();
        let (hostname, files) = pair_files(config);
        let store = CertStore::new(SniPolicy::for_hostname(hostname));
        let source = match config.mode {
            _ if !config.enabled => Source::Off,
            CertMode::Manual => {
                // Looked at before it is read, so that no change in between is missed.
                let watch = Watch::new(files.stamp());
                let pair = match files.load(hostname) {
                    Err(PairFilesError::Missing(_)) if is_address(hostname) => {
                        self_signed::make(&files, hostname, now)?
                    }
                    loaded => loaded?,
                };
                store.set_pair(pair);
                files.warn_if_exposed();
                let watch = Box::new(Mutex::new(watch));
                Source::Manual { files, watch }
            }
            CertMode::SelfSigned => {
                store.set_pair(self_signed::load_or_make(&files, hostname, now)?);
                Source::SelfSigned(files)
            }
            CertMode::Acme => {
                let acme = Acme::new(config, hostname)?;
                if let Some(pair) = acme.load(now) {
                    store.set_pair(pair);
                }
                Source::Acme(Box::new(acme))
            }
        };
        let certificates = Self {
            hostname: hostname.to_owned(),
            mode: config.mode,
            server_public: *server_public,
            store: Arc::new(store),
            source,
            derp_port: 0,
            stun_port: 0,
            last_error: Mutex::new(None),
            retry_now: Notify::new(),
        };
        if config.enabled {
            certificates
                .refresh_meta(now)
                .context("making the meta certificate")?;
            certificates.warn_of_expiry(now);
        }
        Ok(certificates)
    }

    /// Reads what a start would read, and makes nothing.
    ///
    /// # Errors
    /// Those of [`Certificates::start`] for files that are there, or should be.
    pub(crate) fn check(config: &TlsConfig) -> anyhow::Result<()> {
        let (hostname, files) = pair_files(config);
        match config.mode {
            _ if !config.enabled => {}
            CertMode::Manual => match files.load(hostname) {
                Err(PairFilesError::Missing(_)) if is_address(hostname) => {
                    self_signed::refuse_half(&files)?;
                }
                loaded => drop(loaded?),
            },
            CertMode::SelfSigned => {
                self_signed::load_kept(&files, hostname, UnixTime::now())?;
            }
            CertMode::Acme => Acme::check(config)?,
        }
        Ok(())
    }

    /// What handshakes resolve from.
    pub(crate) fn store(&self) -> Arc<CertStore> {
        Arc::clone(&self.store)
    }

    /// Makes a new meta certificate, valid 30 days around `now`.
    ///
    /// # Errors
    /// The crypto provider failed; the old one stays.
    pub(crate) fn refresh_meta(&self, now: UnixTime) -> Result<(), CertError> {
        let meta = meta::certificate(&self.server_public.0, now)?;
        self.store.set_meta(Some(meta));
        Ok(())
    }

    /// Takes the ports of the node for the DERP map from where the relay listens.
    pub(crate) fn on_ports(mut self, listen: &ListenConfig, stun: &StunConfig) -> Self {
        // The map's words for the standard ports are 0, and for no STUN -1.
        self.derp_port = match listen.address.port {
            HTTPS_PORT => 0,
            port => i32::from(port),
        };
        self.stun_port = match stun.port {
            _ if !stun.enabled => -1,
            STUN_PORT => 0,
            port => i32::from(port),
        };
        self
    }

    /// For a certificate that clients must pin: the node to paste into a DERP map, as derper
    /// prints it, and its ports.
    pub(crate) fn derp_map_hint(&self) -> Option<String> {
        let pinned = match self.source {
            Source::SelfSigned(_) => true,
            Source::Manual { .. } => is_address(&self.hostname),
            Source::Off | Source::Acme(_) => false,
        };
        let pair = self.store.pair().filter(|_| pinned)?;
        serde_json::to_string(&DerpNode {
            name: "custom".to_owned(),
            region_id: HINT_REGION_ID,
            host_name: self.hostname.clone(),
            cert_name: pair.pin().to_string(),
            derp_port: self.derp_port,
            stun_port: self.stun_port,
            ..DerpNode::default()
        })
        .ok()
    }

    /// The body that answers `/.well-known/acme-challenge/<token>`, while such a challenge is
    /// open.
    pub(crate) fn challenge(&self, token: &str) -> Option<String> {
        match &self.source {
            Source::Acme(acme) => acme.challenge(token),
            Source::Off | Source::Manual { .. } | Source::SelfSigned(_) => None,
        }
    }

    /// When the certificate in use expires, in seconds since 1970.
    pub(crate) fn not_after_secs(&self) -> Option<u64> {
        self.store.pair().map(|pair| pair.not_after_secs())
    }

    /// The certificate in use or awaited, for the admin socket.
    pub(crate) fn status(&self) -> Option<CertificateStatus> {
        if matches!(self.source, Source::Off) {
            return None;
        }
        let pair = self.store.pair();
        let not_after_secs = pair.as_ref().map(CertPair::not_after_secs);
        let state = match not_after_secs {
            None => CertificateState::WaitingForFirstCertificate,
            Some(end) if end <= UnixTime::now().as_secs() => CertificateState::Expired,
            Some(_) => CertificateState::InUse,
        };
        let mode = match self.mode {
            CertMode::Acme => "acme",
            CertMode::Manual => "manual",
            CertMode::SelfSigned => "self-signed",
        };
        Some(CertificateStatus {
            mode: mode.to_owned(),
            state,
            names: vec![self.hostname.clone()],
            not_after_unix_s: not_after_secs.map(|end| i64::try_from(end).unwrap_or(i64::MAX)),
            sha256_raw: pair.map(|pair| pair.pin().to_string()),
            last_error: self.lock_last_error().clone(),
        })
    }

    /// Loads the files again (`SIGHUP`), or with ACME tries again at once if it waits after a
    /// failure.
    ///
    /// # Errors
    /// Why the new files are refused. The old certificate stays.
    pub(crate) fn reload(&self) -> Result<(), String> {
        match &self.source {
            Source::Manual { files, .. } | Source::SelfSigned(files) => {
                let loaded = files.load(&self.hostname);
                let result = loaded.map_err(|error| error.to_string());
                self.lock_last_error()
                    .clone_from(&result.as_ref().err().cloned());
                self.store.set_pair(result?);
                files.warn_if_exposed();
                self.warn_of_expiry(UnixTime::now());
            }
            Source::Acme(_) => self.retry_now.notify_waiters(),
            Source::Off => {}
        }
        Ok(())
    }

    /// Keeps the certificates current. Runs as long as the relay, on the control runtime.
    pub(crate) async fn run(self: Arc<Self>) {
        match &self.source {
            Source::Off => {}
            Source::Manual { files, watch } => {
                tokio::join!(
                    self.keep_meta(),
                    self.keep_manual(files, watch),
                    self.keep_warning()
                );
            }
            Source::SelfSigned(files) => {
                tokio::join!(
                    self.keep_meta(),
                    self.keep_self_signed(files),
                    self.keep_warning()
                );
            }
            Source::Acme(acme) => {
                tokio::join!(self.keep_meta(), self.keep_acme(acme));
            }
        }
    }

    async fn keep_meta(&self) {
        loop {
            tokio::time::sleep(META_REFRESH_INTERVAL).await;
            if let Err(error) = self.refresh_meta(UnixTime::now()) {
                tracing::warn!(%error, "the meta certificate is not renewed; trying again later");
            }
        }
    }

    async fn keep_warning(&self) {
        loop {
            tokio::time::sleep(EXPIRY_WARNING_INTERVAL).await;
            self.warn_of_expiry(UnixTime::now());
        }
    }

    async fn keep_manual(&self, files: &PairFiles, watch: &Mutex<Watch<Stamp>>) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            self.look_at_files(files, watch);
        }
    }

    /// Says how it went once for each change, whichever way it goes.
    fn look_at_files(&self, files: &PairFiles, watch: &Mutex<Watch<Stamp>>) {
        let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        if !files.have_changed(&mut watch) {
            return;
        }
        match self.reload() {
            Ok(()) => tracing::info!(hostname = self.hostname, "certificate files reloaded"),
            Err(error) => tracing::warn!(
                error,
                "the new certificate files are refused; the old certificate stays"
            ),
        }
    }

    async fn keep_self_signed(&self, files: &PairFiles) {
        loop {
            tokio::time::sleep(EXPIRY_CHECK_INTERVAL).await;
            let now = UnixTime::now();
            let valid = self
                .store
                .pair()
                .is_some_and(|pair| pair.not_after_secs() > now.as_secs());
            if valid {
                continue;
            }
            match self_signed::make(files, &self.hostname, now) {
                Ok(pair) => {
                    self.store.set_pair(pair);
                    *self.lock_last_error() = None;
                    let node = self.derp_map_hint();
                    tracing::warn!(
                        node,
                        "the self-signed certificate expired and there is a new one; \
                         clients need its pin in the DERP map"
                    );
                }
                Err(error) => self.note_failure("no new self-signed certificate", &error),
            }
        }
    }

    async fn keep_acme(&self, acme: &Acme) {
        let mut backoff = retry::Backoff::new();
        loop {
            let now = UnixTime::now();
            let wait = match self.store.pair() {
                Some(pair) => acme::renewal_wait(&pair, now),
                None => Duration::ZERO,
            };
            if !wait.is_zero() {
                tokio::time::sleep(wait.min(EXPIRY_CHECK_INTERVAL)).await;
                continue;
            }
            match acme.obtain(&self.store).await {
                Ok(pair) => {
                    tracing::info!(
                        hostname = self.hostname,
                        not_after_unix_s = pair.not_after_secs(),
                        "certificate obtained"
                    );
                    self.store.set_pair(pair);
                    *self.lock_last_error() = None;
                    backoff = retry::Backoff::new();
                }
                Err(error) => {
                    self.note_failure("no certificate from the ACME authority", &error);
                }
            }
            // After a success too: a certificate that is due again at once must not make a storm.
            let wait = backoff.next_wait();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.retry_now.notified() => {}
            }
        }
    }

    fn note_failure(&self, what: &str, error: &anyhow::Error) {
        let cause = format!("{error:#}");
        tracing::warn!(cause, "{what}; trying again later");
        *self.lock_last_error() = Some(cause);
    }

    fn warn_of_expiry(&self, now: UnixTime) {
        if matches!(self.source, Source::Acme(_)) {
            return;
        }
        let Some(pair) = self.store.pair() else {
            return;
        };
        let left_secs = pair.not_after_secs().saturating_sub(now.as_secs());
        if left_secs == 0 {
            tracing::warn!(
                hostname = self.hostname,
                "the certificate has expired; clients refuse it"
            );
        } else if left_secs < self_signed::EXPIRY_WARNING.as_secs() {
            let days = left_secs / (24 * 3600);
            tracing::warn!(
                hostname = self.hostname,
                days,
                "the certificate expires soon"
            );
        }
    }

    fn lock_last_error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name without a final dot, and where its pair is kept.
fn pair_files(config: &TlsConfig) -> (&str, PairFiles) {
    let hostname = config.hostname.trim_end_matches('.');
    (hostname, PairFiles::new(&config.cert_dir, hostname))
}

fn is_address(hostname: &str) -> bool {
    hostname.parse::<IpAddr>().is_ok()
}

/// Makes the directory of certificates, for the owner alone.
fn create_cert_dir(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot create the certificate directory {}", dir.display()))
}
