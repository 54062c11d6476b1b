//! Who may connect: everyone, the keys of a file, or those whom an admission controller allows.
//!
//! Asked by the handshake stage for each client, after it has proven its key. Mesh peers are never asked about: they hold
//! the mesh key. An unknown key is refused while the controller cannot be reached, unless the operator said otherwise.

mod allow_file;
mod cache;
mod callback;
mod controller;
mod counters;
mod generation;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use towline_derp::handshake::server::{AdmitRequest, DenyReason, Verdict};
use towline_wire::{NodePublic, Time};

use self::allow_file::AllowFile;
use self::callback::Callback;
use self::counters::AdmissionCounters;
pub(crate) use self::generation::{AllowedKeys, Generation};
use crate::admin::AdmissionMode;
use crate::config::AdmissionConfig;

/// Decides who may connect.
pub(crate) struct Admission {
    rules: ArcSwap<Rules>,
    /// Grows after the allowed keys have changed.
    generation: AtomicU64,
    counters: Arc<AdmissionCounters>,
}

/// A verdict, and what it was given by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
    pub(crate) generation: Generation,
}

/// What is known of a client that is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recheck {
    Allowed,
    Refused,
    /// The controller does not answer.
    Silent,
}

/// What a configuration says.
struct Rules {
    config: AdmissionConfig,
    file: Option<AllowFile>,
    callback: Option<Arc<Callback>>,
}

impl Admission {
    /// # Errors
    /// The file of allowed keys cannot be read, with the line that is wrong.
    pub(crate) fn new(config: &AdmissionConfig) -> anyhow::Result<Self> {
        let counters = Arc::new(AdmissionCounters::default());
        let rules = Rules::new(config, None, &counters)?;
        Ok(Self {
            rules: ArcSwap::from_pointee(rules),
            generation: AtomicU64::new(0),
            counters,
        })
    }

    /// Takes new rules, if they are other than those in force. What the same controller said before is still known.
    ///
    /// # Errors
    /// As [`Self::new`]; the rules stay as they were.
    pub(crate) fn configure(&self, config: &AdmissionConfig) -> anyhow::Result<()> {
        let old = self.rules.load();
        if old.config != *config {
            let rules = Rules::new(config, Some(&old), &self.counters)?;
            self.rules.store(Arc::new(rules));
        }
        Ok(())
    }

    /// Whether this client may connect. Probers are clients as others, as in derper.
    pub(crate) async fn decide(&self, now: Time, request: &AdmitRequest) -> Decision {
        loop {
            // Before the keys are looked at: newer ones may be attributed to an older generation, never the reverse.
            let generation = Generation(self.generation.load(Ordering::Acquire));
            let rules = self.rules.load_full();
            let verdict = match request.mesh {
                true => Verdict::Allow { limits: None },
                false => judge(&rules, now, request).await,
            };
            // Other rules may have come while the controller was asked; a verdict by the old ones is worth nothing.
            if Arc::ptr_eq(&rules, &self.rules.load()) {
                if !request.mesh {
                    self.counters
                        .count_verdict(matches!(verdict, Verdict::Allow { .. }));
                }
                return Decision {
                    verdict,
                    generation,
                };
            }
        }
    }

    /// Whether a client that is connected may stay, as far as can be said now.
    pub(crate) async fn recheck(&self, now: Time, request: &AdmitRequest) -> Recheck {
        let rules = self.rules.load_full();
        let answer = match (&rules.file, &rules.callback) {
            (Some(file), _) if file.allows(&request.key) => Recheck::Allowed,
            (_, Some(callback)) => callback.recheck(now, request).await,
            (Some(_), None) => Recheck::Refused,
            (None, None) => Recheck::Allowed,
        };
        // By rules that are no more in force nobody goes: the next round asks by the new ones.
        let answer = match Arc::ptr_eq(&rules, &self.rules.load()) {
            true => answer,
            false => Recheck::Silent,
        };
        self.counters.count_recheck(answer == Recheck::Refused);
        answer
    }

    /// When the controller last said that a key is allowed. A connection that came since, in an outage, does not count.
    pub(crate) fn allowed_at(&self, key: &NodePublic) -> Option<Time> {
        self.rules.load().callback.as_ref()?.allowed_at(key)
    }

    /// Whether the file of allowed keys has changed since it was read.
    pub(crate) fn changed(&self) -> bool {
        let rules = self.rules.load();
        rules.file.as_ref().is_some_and(AllowFile::has_changed)
    }

    /// Reads the file again; gives the keys that may stay connected where the file alone decides.
    ///
    /// # Errors
    /// The file is broken: the keys stay as they were.
    pub(crate) fn reload(&self) -> anyhow::Result<Option<AllowedKeys>> {
        let rules = self.rules.load();
        let Some(file) = &rules.file else {
            return Ok(None);
        };
        let keys = file.reload()?;
        let generation = Generation(self.generation.fetch_add(1, Ordering::AcqRel) + 1);
        let allowed = AllowedKeys { generation, keys };
        Ok(rules.callback.is_none().then_some(allowed))
    }

    pub(crate) fn mode(&self) -> AdmissionMode {
        let rules = self.rules.load();
        match (&rules.file, &rules.callback) {
            (_, Some(_)) => AdmissionMode::Callback,
            (Some(_), None) => AdmissionMode::AllowList,
            (None, None) => AdmissionMode::Open,
        }
    }

    /// What the operator should know.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.mode() == AdmissionMode::Open {
            warnings.push(
                "anyone may use this relay; --admission-allow-file or --verify-client-url closes it to others".to_owned(),
            );
        }
        let rules = self.rules.load();
        let callback = rules.callback.as_ref();
        if callback.is_some_and(|callback| callback.fails_open()) {
            warnings.push(
                "anyone may use this relay while the admission controller cannot be reached"
                    .to_owned(),
            );
        }
        warnings
    }

    /// Verdicts, questions and errors since start, by the names of their counters.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 7] {
        self.counters.counts()
    }

    /// Keys in the file.
    pub(crate) fn allowed_keys(&self) -> Option<u64> {
        self.rules.load().file.as_ref().map(AllowFile::len)
    }

    /// Verdicts of the controller that are remembered.
    pub(crate) fn cached_answers(&self) -> Option<u64> {
        let rules = self.rules.load();
        let callback = rules.callback.as_ref();
        callback.map(|callback| callback.cached_answers())
    }

    /// Whether the controller answered the last question.
    pub(crate) fn controller_reachable(&self) -> Option<bool> {
        self.rules.load().callback.as_ref()?.is_reachable()
    }
}

async fn judge(rules: &Rules, now: Time, request: &AdmitRequest) -> Verdict {
    let in_file = |file: &AllowFile| file.allows(&request.key);
    match (&rules.file, &rules.callback) {
        (None, None) => Verdict::Allow { limits: None },
        (Some(file), _) if in_file(file) => Verdict::Allow { limits: None },
        (_, Some(callback)) => callback.decide(now, request).await,
        (Some(_), None) => Verdict::Deny(DenyReason::NotAllowed),
    }
}

impl Rules {
    fn new(
        config: &AdmissionConfig,
        old: Option<&Self>,
        counters: &Arc<AdmissionCounters>,
    ) -> anyhow::Result<Self> {
        let file = config
            .allow_file
            .as_deref()
            .map(AllowFile::open)
            .transpose()?;
        let callback = config.verify_url.as_deref().map(|url| {
            let callback = Callback::new(url, config, Arc::clone(counters));
            let old = old.filter(|old| old.config.verify_url == config.verify_url);
            if let Some(old) = old.and_then(|old| old.callback.as_ref()) {
                callback.remember_as(old);
            }
            Arc::new(callback)
        });
        Ok(Self {
            config: config.clone(),
            file,
            callback,
        })
    }
}

#[cfg(test)]
mod tests;
