//! Certificates that the relay makes for itself, kept so that the pin in a DERP map stays right
//! over restarts.

use std::time::Duration;

use anyhow::Context as _;
use rustls_pki_types::UnixTime;
use towline_tls::cert::{CertPair, SelfSigned};

use super::files::{PairFiles, PairFilesError};
use crate::secret_file::{self, Existing};

/// How long before its end an operator hears of it at every start.
pub(super) const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 3600);

/// The kept certificate if it is for this name and has not expired, or else a new one.
pub(super) fn load_or_make(
    files: &PairFiles,
    hostname: &str,
    now: UnixTime,
) -> anyhow::Result<CertPair> {
    match load_kept(files, hostname, now)? {
        Some(pair) => Ok(pair),
        None => make(files, hostname, now),
    }
}

/// The kept certificate; `None` when a new one has to be made.
///
/// # Errors
/// There is something that may be somebody's.
pub(super) fn load_kept(
    files: &PairFiles,
    hostname: &str,
    now: UnixTime,
) -> anyhow::Result<Option<CertPair>> {
    match files.load(hostname) {
        Ok(pair) if pair.not_after_secs() > now.as_secs() => return Ok(Some(pair)),
        Ok(_) => tracing::warn!(
            "{} has expired and is replaced; clients need the new pin in the DERP map",
            files.certificate.display()
        ),
        Err(PairFilesError::Missing(_)) => {}
        Err(error @ PairFilesError::OtherName { .. }) => {
            tracing::warn!(%error, "it is replaced");
        }
        // Perhaps somebody's real key, with a mistake in it: not ours to overwrite.
        Err(error) => {
            return Err(error).context("move the two files away to get a new certificate");
        }
    }
    refuse_half(files)?;
    Ok(None)
}

/// Makes a certificate and keeps it.
pub(super) fn make(files: &PairFiles, hostname: &str, now: UnixTime) -> anyhow::Result<CertPair> {
    refuse_half(files)?;
    if let Some(dir) = files.certificate.parent() {
        super::create_cert_dir(dir)?;
    }
    let made = SelfSigned::generate(hostname, now)?;
    let pair = CertPair::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes())?;
    for (path, content) in [
        (&files.key, made.key_pem.as_bytes()),
        (&files.certificate, made.certificate_pem.as_bytes()),
    ] {
        secret_file::write(path, content, Existing::Replaced)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(pair)
}

/// One file without the other is no room for a new pair.
pub(super) fn refuse_half(files: &PairFiles) -> anyhow::Result<()> {
    let (has_certificate, has_key) = (files.certificate.exists(), files.key.exists());
    if has_certificate != has_key {
        let (there, missing) = match has_key {
            true => (&files.key, &files.certificate),
            false => (&files.certificate, &files.key),
        };
        anyhow::bail!(
            "there is {} without {}; add the other one, or move it away to get a new certificate",
            there.display(),
            missing.display()
        );
    }
    Ok(())
}
