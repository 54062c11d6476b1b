//! One order for one name, by one kind of challenge.

use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Context as _;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeHandle, ChallengeType, Error, Identifier, NewOrder,
    Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use towline_tls::cert::CertStore;
use zeroize::Zeroizing;

use super::Tokens;

/// How often, and how long, to ask whether an order came forward.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// What the authority calls an account that it does not know.
const ACCOUNT_GONE: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Where challenges are answered from.
pub(super) struct Answers<'a> {
    pub(super) store: &'a CertStore,
    pub(super) tokens: &'a Tokens,
}

/// A certificate chain and its key.
pub(super) struct Issued {
    chain_pem: String,
    key_pem: Zeroizing<String>,
}

/// Why an order gave no certificate.
#[derive(Debug)]
pub(super) enum OrderError {
    /// The authority could not reach our answer, or offers no such challenge: another kind may
    /// work.
    Challenge(String),
    /// Another account is needed.
    AccountGone(Problem),
    /// Trying another kind would not help.
    Other(anyhow::Error),
}

impl Issued {
    /// Key first, then the chain, as derper's cache has them.
    pub(super) fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}{}", *self.key_pem, self.chain_pem))
    }
}

/// Orders a certificate and answers the challenges until the authority has decided.
pub(super) async fn run(
    account: &Account,
    hostname: &str,
    kind: &ChallengeType,
    answers: Answers<'_>,
) -> Result<Issued, OrderError> {
    let names = [Identifier::Dns(hostname.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    // Taken back when this ends, whichever way it ends.
    let mut open = OpenAnswers {
        answers,
        hostname,
        token: None,
    };
    answer(&mut order, kind, &mut open).await?;
    if order.state().status != OrderStatus::Ready {
        let cause = match order.poll_ready(&POLLING).await {
            Ok(OrderStatus::Ready) => None,
            Ok(_) => Some("the order became invalid".to_owned()),
            // The order's own error: polling as such was answered.
            Err(Error::Api(problem)) if problem.r#type.as_deref() != Some(ACCOUNT_GONE) => {
                Some(problem.to_string())
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(cause) = cause {
            let cause = refusal(&mut order).await.unwrap_or(cause);
            return Err(OrderError::Challenge(cause));
        }
    }
    drop(open);
    finish(&mut order, hostname).await
}

async fn answer(
    order: &mut Order,
    kind: &ChallengeType,
    open: &mut OpenAnswers<'_>,
) -> Result<(), OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let Some(mut challenge) = authorization.challenge(kind.clone()) else {
            return Err(OrderError::Challenge("it is not offered".to_owned()));
        };
        open.put(&challenge)?;
        challenge.set_ready().await?;
    }
    Ok(())
}

async fn finish(order: &mut Order, hostname: &str) -> Result<Issued, OrderError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot make a key")?;
    let mut params = CertificateParams::new(vec![hostname.to_owned()]).context("bad hostname")?;
    params.distinguished_name = DistinguishedName::new();
    let request = params
        .serialize_request(&key)
        .context("cannot make a certificate request")?;
    order.finalize_csr(request.der()).await?;
    Ok(Issued {
        chain_pem: order.poll_certificate(&POLLING).await?,
        key_pem: Zeroizing::new(key.serialize_pem()),
    })
}

/// What the authority says of a challenge that failed: it tells an operator which port is shut.
async fn refusal(order: &mut Order) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        // Without the answer there is still the order's own error.
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let cause = state.challenges.iter().find_map(|it| it.error.as_ref());
        if let Some(cause) = cause {
            return Some(cause.to_string());
        }
    }
    None
}

/// Answers that are open as long as this lives.
struct OpenAnswers<'a> {
    answers: Answers<'a>,
    hostname: &'a str,
    token: Option<String>,
}

impl OpenAnswers<'_> {
    fn put(&mut self, challenge: &ChallengeHandle<'_>) -> anyhow::Result<()> {
        let authorization = challenge.key_authorization();
        if challenge.r#type == ChallengeType::TlsAlpn01 {
            let digest = authorization.digest();
            let digest = digest.as_ref().try_into().context("not a SHA-256 digest")?;
            return Ok(self.answers.store.set_challenge(self.hostname, digest)?);
        }
        let token = self.token.insert(challenge.token.clone()).clone();
        let mut tokens = self.lock_tokens();
        tokens.insert(token, authorization.as_str().to_owned());
        Ok(())
    }

    fn lock_tokens(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, String>> {
        self.answers
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenAnswers<'_> {
    fn drop(&mut self) {
        self.answers.store.clear_challenge(self.hostname);
        if let Some(token) = &self.token {
            self.lock_tokens().remove(token);
        }
    }
}

impl From<Error> for OrderError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) if problem.r#type.as_deref() == Some(ACCOUNT_GONE) => {
                Self::AccountGone(problem)
            }
            error => Self::Other(error.into()),
        }
    }
}

impl From<anyhow::Error> for OrderError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}
