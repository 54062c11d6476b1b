//! TLS and where certificates come from.

use std::path::PathBuf;

use super::setting::{Kind, Setting, setting, words};

/// TLS and certificates.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsConfig {
    /// What the operator asked for; see [`TlsConfig::enabled`] for what follows from it.
    pub switch: TlsSwitch,
    /// Whether the main listener speaks TLS. With [`TlsSwitch::Auto`] the rule is derper's: port
    /// 443, or a certificate mode that needs no public port (manual, self-signed).
    pub enabled: bool,
    /// Where certificates come from (`-certmode`).
    pub mode: CertMode,
    /// Directory of certificates and ACME state (`-certdir`). Manual certificates are
    /// `<dir>/<hostname>.crt` and `.key`.
    pub cert_dir: PathBuf,
    /// Name or IP address in the certificate (`-hostname`).
    pub hostname: String,
    /// ACME account and authority.
    pub acme: AcmeConfig,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            switch: TlsSwitch::Auto,
            enabled: true,
            mode: CertMode::Acme,
            cert_dir: PathBuf::new(),
            hostname: DERPER_HOSTNAME.to_owned(),
            acme: AcmeConfig::default(),
        }
    }
}

/// derper's default of `-hostname`. Nobody but Tailscale gets a certificate for it.
pub const DERPER_HOSTNAME: &str = "derp.tailscale.com";

/// Whether to speak TLS on the main listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsSwitch {
    /// derper's rule: see [`TlsConfig::enabled`].
    #[default]
    Auto,
    /// Always.
    On,
    /// Never: a proxy in front ends TLS.
    Off,
}

/// Where certificates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertMode {
    /// From an ACME authority (derper's name: `letsencrypt`).
    Acme,
    /// From files that the operator puts there; an IP address without files gets a self-signed
    /// certificate valid for a year, as with derper.
    Manual,
    /// A self-signed certificate for a name or an IP address, pinned in the DERP map.
    SelfSigned,
}

/// ACME account and authority.
#[derive(Clone, Debug, PartialEq)]
pub struct AcmeConfig {
    /// Contact address of the account (`-acme-email`).
    pub email: Option<String>,
    /// URL of the authority's directory.
    pub directory_url: String,
    /// PEM file of roots to trust for the authority's own HTTPS, instead of the host's.
    pub ca_file: Option<PathBuf>,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self {
            email: None,
            directory_url: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            ca_file: None,
        }
    }
}

words!(TlsSwitch { "auto" => Auto, "on" => On, "off" => Off });

words!(CertMode {
    "acme" | "letsencrypt" => Acme,
    "manual" => Manual,
    "self-signed" => SelfSigned,
});

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        set: |config, text| {
            if text == "gcp" {
                return Err(
                    "gcp (Google Trust Services) is not offered; use acme, or fetch the \
                            certificate with another tool and use manual"
                        .to_owned(),
                );
            }
            config.tls.mode = super::setting::Field::parse(text)?;
            Ok(())
        },
        ..setting!(
            Certificates,
            "certmode",
            "tls.certmode",
            "MODE",
            tls.mode,
            "Where certificates come from: an ACME authority (derper's name: letsencrypt), files in --certdir, or made here and pinned in the DERP map"
        )
    },
    setting!(
        Certificates,
        "certdir",
        "tls.certdir",
        "DIR",
        tls.cert_dir,
        "Directory of certificates; manual ones are <hostname>.crt and <hostname>.key [default: tailscale/derper-certs in the user's cache directory]"
    ),
    setting!(
        Certificates,
        "hostname",
        "tls.hostname",
        "NAME",
        tls.hostname,
        "Name or IP address that clients use, and for which the certificate is; with TLS it must be given, unless --certmode is manual [default there, as derper's: derp.tailscale.com]"
    ),
    setting!(
        Certificates,
        "tls",
        "tls.switch",
        "WHEN",
        tls.switch,
        "Speak TLS on the main listener: auto is the rule of --listen; off when a proxy in front ends TLS"
    ),
    setting!(
        Certificates,
        "acme-email",
        "tls.acme_email",
        "ADDRESS",
        tls.acme.email,
        "Contact address of the ACME account"
    ),
    Setting {
        set: |config, text| {
            if !text.starts_with("https://") {
                return Err(format!(
                    "{text:?} is not the URL of an ACME directory; it starts with https://"
                ));
            }
            text.clone_into(&mut config.tls.acme.directory_url);
            Ok(())
        },
        ..setting!(
            Certificates,
            "acme-directory-url",
            "tls.acme_directory_url",
            "URL",
            tls.acme.directory_url,
            "Directory of the ACME authority"
        )
    },
    setting!(
        Certificates,
        "acme-ca-file",
        "tls.acme_ca_file",
        "FILE",
        tls.acme.ca_file,
        "Trust these roots (PEM) for the authority's own HTTPS, for a private authority"
    ),
];

const _: () = assert!(matches!(SETTINGS[0].kind, Kind::Choice(_)));
