//! Pages beside DERP, and who may read the inner ones.

use std::net::IpAddr;
use std::path::PathBuf;

use super::IpPrefix;
use super::setting::{Field, Item, Kind, Setting, setting};

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
pub struct UnpublishedName(pub String);

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

impl Field for HomePage {
    const KIND: Kind = Kind::Text;
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(Self::Default),
            "blank" => Ok(Self::Blank),
            url if url.starts_with("http://") || url.starts_with("https://") => {
                Ok(Self::Redirect(url.to_owned()))
            }
            _ => Err(format!(
                "{text:?} is neither blank nor a URL that starts with http:// or https://"
            )),
        }
    }
    fn show(&self) -> toml::Value {
        match self {
            Self::Default => "".into(),
            Self::Blank => "blank".into(),
            Self::Redirect(url) => url.as_str().into(),
        }
    }
}

impl Item for String {
    fn parse(text: &str) -> Result<Self, String> {
        dns_name(text).map(str::to_owned)
    }
    fn show(&self) -> String {
        self.clone()
    }
}

impl Item for UnpublishedName {
    fn parse(text: &str) -> Result<Self, String> {
        // In derper a TXT record of the second name says which share of askers gets an answer.
        if let Some((name, txt)) = text.split_once('/') {
            return Err(format!(
                "{text:?}: the share of askers is not read from {txt:?} here; {name:?} alone answers everybody"
            ));
        }
        dns_name(text).map(|name| Self(name.to_owned()))
    }
    fn show(&self) -> String {
        self.0.clone()
    }
}

fn dns_name(text: &str) -> Result<&str, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || text.len() > 255 || !text.chars().all(fits) {
        return Err(format!("{text:?} is not a host name"));
    }
    Ok(text)
}

impl Field for IpAddr {
    const KIND: Kind = Kind::Text;
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is not an IP address"))
    }
    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        reloads: true,
        ..setting!(
            Pages,
            "home",
            "http.home",
            "PAGE",
            http.home,
            "What / shows: nothing given, a short page; blank, an empty one; a URL, a redirect to it"
        )
    },
    setting!(
        Pages,
        "bootstrap-dns-names",
        "http.bootstrap_dns_names",
        "NAME,…",
        http.bootstrap_dns_names,
        "Names whose addresses are published at /bootstrap-dns"
    ),
    setting!(
        Pages,
        "unpublished-bootstrap-dns-names",
        "http.unpublished_bootstrap_dns_names",
        "NAME,…",
        http.unpublished_bootstrap_dns_names,
        "Names answered at /bootstrap-dns?q=NAME but not listed"
    ),
    setting!(
        Pages,
        "debug-trusted-cidrs",
        "debug.trusted_cidrs",
        "CIDR,…",
        debug.trusted_cidrs,
        "Sources that may read /metrics and /debug/, besides loopback and Tailscale addresses (derper: TS_DEBUG_TRUSTED_CIDRS)"
    ),
    setting!(
        Pages,
        "debug-allow-ip",
        "debug.allow_ip",
        "IP",
        debug.allow_ip,
        "One more source that may (derper: TS_ALLOW_DEBUG_IP)"
    ),
    setting!(
        Pages,
        "debug-key-file",
        "debug.key_file",
        "FILE",
        debug.key_file,
        "File whose content, given as ?debugkey=, opens these pages to anyone (derper: TS_DEBUG_KEY_PATH)"
    ),
];
