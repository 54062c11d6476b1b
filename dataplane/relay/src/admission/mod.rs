//! Who may connect: everyone, the keys of a file, or those whom an admission controller allows.
//!
//! Asked by the handshake stage for each client, after it has proven its key. Mesh peers are never asked about: they hold
//! the mesh key. An unknown key is refused while the controller cannot be reached, unless the operator said otherwise.

mod allow_file;
mod cache;
mod callback;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use towline_derp::handshake::server::DenyReason;
use towline_derp::handshake::server::{AdmitRequest, Verdict};
use towline_wire::limits::ADMISSION_IN_FLIGHT_MAX;
use towline_wire::{NodePublic, Time};
use tracing::warn;

use self::allow_file::AllowFile;
use self::cache::{Cache, Known};
use self::callback::{Answer, Controller, NoAnswer};
use crate::admin::AdmissionMode;
use crate::config::AdmissionConfig;

/// Decides who may connect.
pub(crate) struct Admission {
    file: Option<AllowFile>,
    callback: Option<Callback>,
}

struct Callback {
    controller: Arc<Controller>,
    cache: Mutex<Cache>,
    questions: Semaphore,
    fail_open: bool,
    /// Whether the last question was answered; `None` before the first.
    reachable: Mutex<Option<bool>>,
}

impl Admission {
    /// # Errors
    /// The file of allowed keys cannot be read, with the line that is wrong.
    pub(crate) fn new(config: &AdmissionConfig) -> anyhow::Result<Self> {
        let file = config
            .allow_file
            .as_deref()
            .map(AllowFile::open)
            .transpose()?;
        let callback = config.verify_url.as_deref().map(|url| Callback {
            controller: Arc::new(Controller::new(url)),
            cache: Mutex::new(Cache::new(config.cache_time, config.keep_time)),
            questions: Semaphore::new(ADMISSION_IN_FLIGHT_MAX),
            fail_open: config.fail_open,
            reachable: Mutex::new(None),
        });
        Ok(Self { file, callback })
    }

    /// Whether this client may connect.
    pub(crate) async fn decide(&self, now: Time, request: &AdmitRequest) -> Verdict {
        if request.mesh || (self.file.is_none() && self.callback.is_none()) {
            return Verdict::Allow { limits: None };
        }
        if self
            .file
            .as_ref()
            .is_some_and(|file| file.allows(&request.key))
        {
            return Verdict::Allow { limits: None };
        }
        match &self.callback {
            Some(callback) => callback.decide(now, request).await,
            None => Verdict::Deny(DenyReason::NotAllowed),
        }
    }

    /// Whether the file of allowed keys has changed since it was read.
    pub(crate) fn changed(&self) -> bool {
        self.file.as_ref().is_some_and(AllowFile::has_changed)
    }

    /// Reads the file again; gives the keys that may stay connected where the file alone decides.
    ///
    /// # Errors
    /// The file is broken: the keys stay as they were.
    pub(crate) fn reload(&self) -> anyhow::Result<Option<HashSet<NodePublic>>> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let keys = file.reload()?;
        Ok(self.callback.is_none().then_some(keys))
    }

    pub(crate) fn mode(&self) -> AdmissionMode {
        match (&self.file, &self.callback) {
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
        if self
            .callback
            .as_ref()
            .is_some_and(|callback| callback.fail_open)
        {
            warnings.push(
                "anyone may use this relay while the admission controller cannot be reached"
                    .to_owned(),
            );
        }
        warnings
    }

    /// Keys in the file.
    pub(crate) fn allowed_keys(&self) -> Option<u64> {
        self.file.as_ref().map(AllowFile::len)
    }

    /// Verdicts of the controller that are remembered.
    pub(crate) fn cached_answers(&self) -> Option<u64> {
        self.callback
            .as_ref()
            .map(|callback| callback.cache().len())
    }

    /// Whether the controller answered the last question.
    pub(crate) fn controller_reachable(&self) -> Option<bool> {
        let callback = self.callback.as_ref()?;
        *callback
            .reachable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Callback {
    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn decide(&self, now: Time, request: &AdmitRequest) -> Verdict {
        let known = self.cache().get(now, &request.key);
        if let Some(Known {
            answer,
            is_fresh: true,
        }) = known
        {
            return verdict(answer);
        }
        let asked = match self.questions.acquire().await {
            Ok(_place) => self.controller.ask(request.key, request.addr.ip()).await,
            Err(_) => Err(NoAnswer::Unreachable("the relay is stopping".to_owned())),
        };
        self.note_reachable(asked.as_ref().err());
        match (asked, known) {
            (Ok(answer), _) => {
                self.cache().put(now, request.key, answer);
                verdict(answer)
            }
            // An outage does not lock out who was allowed before it.
            (Err(_), Some(Known { answer, .. })) if answer.allow => verdict(answer),
            (Err(NoAnswer::Unreachable(_)), _) if self.fail_open => Verdict::Allow { limits: None },
            (Err(_), _) => Verdict::Deny(DenyReason::Unavailable),
        }
    }

    /// Says once when an outage begins, and once when it ends.
    fn note_reachable(&self, error: Option<&NoAnswer>) {
        let mut reachable = self
            .reachable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match (error, *reachable) {
            (Some(error), None | Some(true)) => {
                warn!(%error, fail_open = self.fail_open, "the admission controller does not answer");
            }
            (None, Some(false)) => warn!("the admission controller answers again"),
            _ => {}
        }
        *reachable = Some(error.is_none());
    }
}

fn verdict(answer: Answer) -> Verdict {
    match answer.allow {
        true => Verdict::Allow {
            limits: answer.limits,
        },
        false => Verdict::Deny(DenyReason::NotAllowed),
    }
}

#[cfg(test)]
mod tests;
