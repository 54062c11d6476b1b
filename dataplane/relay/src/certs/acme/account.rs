//! Our account at the authority: made once, kept in `certdir`, bound to one directory URL.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use instant_acme::{Account, AccountBuilder, AccountCredentials, NewAccount};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::files::{self, PairFilesError, write_secret};
use crate::config::AcmeConfig;

/// The part of the kept account that says whose it is.
#[derive(Deserialize)]
struct Kept {
    directory: Option<String>,
}

/// The kept account, or a new one if there is none for this authority.
pub(super) async fn open(authority: &AcmeConfig, path: &Path) -> anyhow::Result<Account> {
    if let Some(credentials) = load(authority, path)? {
        return Ok(builder(authority)?.from_credentials(credentials).await?);
    }
    let contact = authority
        .email
        .as_ref()
        .map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.as_deref().into_iter().collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let directory_url = authority.directory_url.clone();
    let (account, credentials) = builder(authority)?
        .create(&new, directory_url, None)
        .await
        .with_context(|| format!("no account at {}", authority.directory_url))?;
    let text = Zeroizing::new(serde_json::to_vec(&credentials)?);
    write_secret(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(account)
}

/// Forgets an account that the authority does not know any more.
pub(super) fn forget(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn load(authority: &AcmeConfig, path: &Path) -> anyhow::Result<Option<AccountCredentials>> {
    let text = match files::read(path) {
        Err(PairFilesError::Missing(_)) => return Ok(None),
        text => text?,
    };
    let not_ours = || format!("{} is not an ACME account of ours", path.display());
    let kept: Kept = serde_json::from_slice(&text).with_context(not_ours)?;
    if kept.directory.as_ref() != Some(&authority.directory_url) {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&text).with_context(not_ours)?))
}

fn builder(authority: &AcmeConfig) -> anyhow::Result<AccountBuilder> {
    // The client takes the process's provider; an error means that there is one.
    let _ = aws_lc_rs::default_provider().install_default();
    let built = match &authority.ca_file {
        Some(path) => Account::builder_with_root(path),
        None => Account::builder(),
    };
    built.context("cannot make the client of the ACME authority")
}

/// The client takes one root: more would be passed over in silence.
pub(super) fn check_ca_file(path: &Path) -> anyhow::Result<()> {
    let count = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the roots in {}", path.display()))?
        .len();
    anyhow::ensure!(
        count == 1,
        "{} holds {count} certificates; --acme-ca-file takes exactly one, the root",
        path.display()
    );
    Ok(())
}
