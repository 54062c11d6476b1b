//! Our account at the authority: made once, kept in `certdir`, bound to one directory URL.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use instant_acme::{Account, AccountBuilder, AccountCredentials, HttpClient, NewAccount};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::files::{self, PairFilesError};
use crate::config::AcmeConfig;
use crate::secret_file::{self, Existing};

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
    secret_file::write(path, &text, Existing::Replaced)
        .with_context(|| format!("cannot write {}", path.display()))?;
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
    match &authority.ca_file {
        Some(path) => Ok(Account::builder_with_http(client(roots(path)?))),
        None => Account::builder().context("cannot make the client of the ACME authority"),
    }
}

/// A client that trusts these roots and no others.
fn client(roots: RootCertStore) -> Box<dyn HttpClient> {
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .enable_http2()
        .build();
    Box::new(Client::builder(TokioExecutor::new()).build(connector))
}

/// All certificates of the file.
pub(super) fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let place = || format!("cannot read the roots in {}", path.display());
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(place)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).with_context(place)?;
    }
    anyhow::ensure!(!roots.is_empty(), "{} holds no certificate", path.display());
    Ok(roots)
}
