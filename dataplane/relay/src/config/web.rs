//! Pages beside DERP, and who may read the inner ones.

use std::net::IpAddr;
use std::path::PathBuf;

use super::IpPrefix;

/// Pages beside DERP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpConfig {
    /// What `/` and unknown paths show (`-home`).
    pub home: HomePage,
    /// Names resolved and published at `/bootstrap-dns` (`-bootstrap-dns-names`).
    pub bootstrap_dns_names: Vec<String>,
    /// Names answered at `/bootstrap-dns?q=` but not listed (`-unpublished-bootstrap-dns-names`).
    pub unpublished_bootstrap_dns_names: Vec<UnpublishedName>,
}

/// What `/` and unknown paths show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HomePage {
    /// A short page that says what this is.
    #[default]
    Default,
    /// An empty page.
    Blank,
    /// A redirect (302) to this URL.
    Redirect(String),
}

/// A name that `/bootstrap-dns` answers when asked for by name only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpublishedName {
    /// The name.
    pub name: String,
    /// DNS name whose TXT record holds the share of askers, 0 to 100, that get an answer.
    pub percent_txt: Option<String>,
}

/// Who may read `/metrics` and `/debug/`. Loopback and Tailscale addresses always may; nobody
/// may through a proxy that adds `X-Forwarded-For`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DebugConfig {
    /// Further sources that may (derper: `TS_DEBUG_TRUSTED_CIDRS`).
    pub trusted_cidrs: Vec<IpPrefix>,
    /// One more source that may (derper: `TS_ALLOW_DEBUG_IP`).
    pub allow_ip: Option<IpAddr>,
    /// File whose trimmed content, given as `?debugkey=`, opens the pages to anyone (derper:
    /// `TS_DEBUG_KEY_PATH`). Read at each use.
    pub key_file: Option<PathBuf>,
}
