//! The ACME client against Pebble, Let's Encrypt's test authority, which really fetches the
//! answers of the challenges.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;
use tokio::time::{sleep, timeout};
use towline_wire::NodePublic;

use self::pebble::Pebble;
use super::super::Certificates;
use crate::admin::CertificateState;
use crate::config::{AcmeConfig, CertMode, TlsConfig};

mod pebble;

const HOSTNAME: &str = "relay.example.com";

/// Many times what Pebble needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(pebble: &Pebble) -> Arc<Certificates> {
    let config = TlsConfig {
        enabled: true,
        mode: CertMode::Acme,
        cert_dir: pebble.dir().join("certs"),
        hostname: HOSTNAME.to_owned(),
        acme: AcmeConfig {
            email: Some("operator@example.com".to_owned()),
            directory_url: pebble.directory_url(),
            ca_file: Some(pebble.ca_file()),
        },
        ..TlsConfig::default()
    };
    let certificates = Certificates::start(&config, &NodePublic([7; 32])).unwrap();
    Arc::new(certificates)
}

/// Runs the background task until there is a certificate; gives its pin.
async fn obtain(certificates: &Arc<Certificates>) -> String {
    let running = tokio::spawn(Arc::clone(certificates).run());
    let got = timeout(PATIENCE, async {
        loop {
            let status = certificates.status().unwrap();
            assert_eq!(status.last_error, None);
            if let Some(pin) = status.sha256_raw {
                assert_eq!(status.state, CertificateState::InUse);
                return pin;
            }
            assert_eq!(status.state, CertificateState::WaitingForFirstCertificate);
            sleep(Duration::from_millis(50)).await;
        }
    });
    let pin = got.await.expect("a certificate");
    running.abort();
    pin
}

#[tokio::test]
async fn http_01_gives_a_certificate_that_is_kept() {
    let pebble = Pebble::start().await;
    pebble.close_tls();
    let certificates = start(&pebble);
    assert!(certificates.store().pair().is_none());
    let answering = pebble.answer_http(Arc::clone(&certificates));
    let pin = obtain(&certificates).await;
    answering.abort();

    let dir = pebble.dir().join("certs");
    for name in [HOSTNAME, "acme-account.json"] {
        let mode = fs::metadata(dir.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    let pair = certificates.store().pair().unwrap();
    let now = UnixTime::now();
    let left = super::renewal_wait(&pair, now).as_secs();
    let lifetime = pair.not_after_secs() - pair.not_before_secs();
    assert!(
        left.abs_diff(lifetime * 2 / 3) < 3600,
        "{left} of {lifetime}"
    );

    let again = start(&pebble);
    assert_eq!(
        again.status().unwrap().sha256_raw,
        Some(pin),
        "kept over a restart"
    );
}

#[tokio::test]
async fn tls_alpn_01_gives_a_certificate_too() {
    let pebble = Pebble::start().await;
    let certificates = start(&pebble);
    pebble.answer_tls(certificates.store());
    obtain(&certificates).await;
}

#[tokio::test]
async fn a_failure_tells_what_the_authority_saw_and_an_account_that_is_gone_is_made_anew() {
    let pebble = Pebble::start().await;
    let certificates = start(&pebble);
    let super::super::Source::Acme(acme) = &certificates.source else {
        panic!("not ACME");
    };
    // One port is closed, and nobody answers at the other.
    pebble.close_tls();
    let error = acme.obtain(&certificates.store()).await.unwrap_err();
    let error = format!("{error:#}");
    for part in ["TLS-ALPN-01 (port 443): ", "HTTP-01 (port 80): ", "connect"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }

    let path = pebble.dir().join("certs/acme-account.json");
    let mut account: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    account["id"] = format!("{}gone", account["id"].as_str().unwrap()).into();
    fs::write(&path, account.to_string()).unwrap();
    acme.obtain(&certificates.store()).await.unwrap_err();
    assert!(!path.exists(), "the account is forgotten");

    let answering = pebble.answer_http(Arc::clone(&certificates));
    acme.obtain(&certificates.store()).await.unwrap();
    assert!(path.exists());
    answering.abort();
}
