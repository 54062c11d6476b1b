//! The certificates that a relay shows now. Replaced whole while handshakes run; a handshake that
//! has begun keeps what it got, and established connections keep nothing of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use rcgen::{CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::error::CertError;
use super::pair::CertPair;
use super::self_signed::params_for;
use crate::config::ALPN_ACME;

/// TLS-ALPN-01 challenges at a time. An order has one for each name.
const CHALLENGES_MAX: usize = 16;

/// Which server names (SNI) are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SniPolicy {
    /// Any, or none: for a relay that is reached by its address.
    Any,
    /// Exactly this one; a client that sends another or none is refused, as by derper.
    Only(Box<str>),
}

impl SniPolicy {
    /// derper's rule: the hostname if it is a name, any if it is an address.
    pub fn for_hostname(hostname: &str) -> Self {
        match hostname.parse::<core::net::IpAddr>() {
            Ok(_) => Self::Any,
            Err(_) => Self::Only(hostname.trim_end_matches('.').into()),
        }
    }

    fn accepts(&self, server_name: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Only(name) => server_name.is_some_and(|asked| asked.eq_ignore_ascii_case(name)),
        }
    }
}

/// The current certificate, with the meta certificate after its chain, and the ACME challenges
/// that are open.
#[derive(Debug)]
pub struct CertStore {
    sni: SniPolicy,
    /// What the two below make together; read by every handshake.
    shown: ArcSwapOption<CertifiedKey>,
    parts: Mutex<Parts>,
    challenges: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
}

#[derive(Debug, Default)]
struct Parts {
    pair: Option<CertPair>,
    meta: Option<CertificateDer<'static>>,
}

impl CertStore {
    /// A store without a certificate: all handshakes are refused until one is set.
    pub fn new(sni: SniPolicy) -> Self {
        Self {
            sni,
            shown: ArcSwapOption::empty(),
            parts: Mutex::default(),
            challenges: ArcSwap::default(),
        }
    }

    /// Replaces certificate and key.
    pub fn set_pair(&self, pair: CertPair) {
        self.update(|parts| parts.pair = Some(pair));
    }

    /// Replaces the meta certificate; `None` shows none.
    pub fn set_meta(&self, meta: Option<CertificateDer<'static>>) {
        self.update(|parts| parts.meta = meta);
    }

    /// The current certificate and key.
    pub fn pair(&self) -> Option<CertPair> {
        self.lock_parts().pair.clone()
    }

    /// Answers TLS-ALPN-01 challenges for `domain` (RFC 8737) until
    /// [`CertStore::clear_challenge`]. `key_authorization_sha256` is the digest that the ACME
    /// client computes. Needs [`ServerOptions::acme_tls_alpn`](crate::ServerOptions).
    ///
    /// # Errors
    /// `domain` is no name, there are too many challenges, or the crypto provider failed.
    pub fn set_challenge(
        &self,
        domain: &str,
        key_authorization_sha256: &[u8; 32],
    ) -> Result<(), CertError> {
        let certified = Arc::new(challenge(domain, key_authorization_sha256)?);
        let domain = domain.to_ascii_lowercase();
        // Only ACME's task writes, so this is a check and not a race.
        let open = self.challenges.load();
        if open.len() >= CHALLENGES_MAX && !open.contains_key(&domain) {
            return Err(CertError::TooManyChallenges(CHALLENGES_MAX));
        }
        self.challenges.rcu(|open| {
            let mut open = HashMap::clone(open);
            open.insert(domain.clone(), Arc::clone(&certified));
            open
        });
        Ok(())
    }

    /// Stops answering challenges for `domain`.
    pub fn clear_challenge(&self, domain: &str) {
        let domain = domain.to_ascii_lowercase();
        self.challenges.rcu(|open| {
            let mut open = HashMap::clone(open);
            open.remove(&domain);
            open
        });
    }

    fn update(&self, change: impl FnOnce(&mut Parts)) {
        let mut parts = self.lock_parts();
        change(&mut parts);
        let shown = parts.pair.as_ref().map(|pair| {
            let mut certified = CertifiedKey::clone(&pair.certified);
            certified.cert.extend(parts.meta.clone());
            Arc::new(certified)
        });
        self.shown.store(shown);
    }

    fn lock_parts(&self) -> std::sync::MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for CertStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A challenge offers this protocol and no other (RFC 8737, section 3).
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.next() == Some(ALPN_ACME) && protocols.next().is_none() {
            let domain = hello.server_name()?.to_ascii_lowercase();
            return self.challenges.load().get(&domain).cloned();
        }
        match self.sni.accepts(hello.server_name()) {
            true => self.shown.load_full(),
            false => None,
        }
    }
}

/// The certificate that answers a challenge: the domain, and the digest in a critical extension.
fn challenge(domain: &str, digest: &[u8; 32]) -> Result<CertifiedKey, CertError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = params_for(domain)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialized_der()));
    let key =
        any_supported_type(&key).map_err(|error| CertError::UnusableKey(error.to_string()))?;
    // Not by way of `CertPair`, whose checks know no such critical extension.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}
