//! Decides by the admission controller: remembers its verdicts, asks each question once at a time, and carries known
//! clients over its outages. What is said over HTTP is `controller`'s.
//!
//! A question outlives the client that raised it: its answer is remembered for the next attempt, and the bound on
//! questions under way holds however many clients come and go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use towline_derp::handshake::server::{AdmitRequest, DenyReason, Verdict};
use towline_wire::limits::ADMISSION_TIMEOUT;
use towline_wire::{NodePublic, Time};
use tracing::{info, warn};

use super::Recheck;
use super::cache::{Cache, Known};
use super::controller::{Answer, Controller, NoAnswer, Question};
use super::counters::AdmissionCounters;
use super::turns::{About, Turns};
use crate::config::AdmissionConfig;

/// After a question that did not reach the controller, clients it allowed before are let in unasked for so long: else
/// each would wait a whole timeout, and a controller that hangs would hold up all who reconnect.
const OUTAGE_PAUSE: Duration = ADMISSION_TIMEOUT;

type Outcome = Result<Answer, NoAnswer>;

pub(super) struct Callback {
    controller: Controller,
    cache: Mutex<Cache>,
    turns: Arc<Turns>,
    under_way: Mutex<HashMap<Question, watch::Receiver<Option<Outcome>>>>,
    fail_open: bool,
    health: Mutex<Health>,
    counters: Arc<AdmissionCounters>,
}

#[derive(Default)]
struct Health {
    /// Whether the last question was answered; `None` before the first.
    answers: Option<bool>,
    paused_until: Option<Time>,
}

/// The only question of its kind under way. Dropping it before it left lets another client ask.
struct Inquiry {
    callback: Arc<Callback>,
    question: Question,
    outcome: watch::Sender<Option<Outcome>>,
}

/// How an answer came.
enum Heard {
    Remembered(Known),
    /// It was asked for, until this time.
    Outcome(Time, Outcome),
}

enum Begun {
    Ours(Inquiry),
    Anothers(watch::Receiver<Option<Outcome>>),
}

impl Callback {
    pub(super) fn new(
        url: &str,
        config: &AdmissionConfig,
        counters: Arc<AdmissionCounters>,
    ) -> Self {
        Self {
            controller: Controller::new(url),
            cache: Mutex::new(Cache::new(config.cache_time, config.keep_time)),
            turns: Arc::default(),
            under_way: Mutex::default(),
            fail_open: config.fail_open,
            health: Mutex::default(),
            counters,
        }
    }

    pub(super) async fn decide(self: &Arc<Self>, now: Time, request: &AdmitRequest) -> Verdict {
        let question = Question::about(request);
        let about = match self.allowed_at(&request.key) {
            Some(_) => About::Known,
            None => About::Stranger,
        };
        match self.hear(now, question, about).await {
            Heard::Remembered(known) => {
                self.counters.count_cache_hit();
                verdict(known.answer)
            }
            Heard::Outcome(now, outcome) => self.judge(now, &question, outcome),
        }
    }

    /// What the controller says of a client that it allowed before.
    pub(super) async fn recheck(self: &Arc<Self>, now: Time, request: &AdmitRequest) -> Recheck {
        let question = Question::about(request);
        let (last_word, is_of_now) = match self.hear(now, question, About::Known).await {
            Heard::Remembered(known) => (Some(known.answer), known.is_fresh),
            Heard::Outcome(_, Ok(answer)) => (Some(answer), true),
            Heard::Outcome(now, Err(_)) => {
                let known = lock(&self.cache).get(now, &question);
                (known.map(|known| known.answer), false)
            }
        };
        match last_word {
            Some(answer) if !answer.allow => Recheck::Refused,
            Some(_) if is_of_now => Recheck::Allowed,
            _ => Recheck::Silent,
        }
    }

    /// When the controller last allowed a key, as far as that is remembered.
    pub(super) fn allowed_at(&self, key: &NodePublic) -> Option<Time> {
        lock(&self.cache).allowed_at(key)
    }

    /// The answer to a question: remembered, or asked for.
    async fn hear(self: &Arc<Self>, now: Time, question: Question, about: About) -> Heard {
        let started = Instant::now();
        loop {
            let now = now + started.elapsed();
            if let Some(known) = self.unasked(now, &question) {
                return Heard::Remembered(known);
            }
            let outcome = match self.begin(question) {
                Begun::Ours(inquiry) => inquiry.run(now, about).await,
                Begun::Anothers(mut outcome) => outcome
                    .wait_for(Option::is_some)
                    .await
                    .ok()
                    .and_then(|outcome| outcome.clone()),
            };
            if let Some(outcome) = outcome {
                return Heard::Outcome(now, outcome);
            }
        }
    }

    /// Takes over the answers that `old` remembers.
    pub(super) fn remember_as(&self, old: &Self) {
        lock(&self.cache).copy_from(&lock(&old.cache));
    }

    pub(super) const fn fails_open(&self) -> bool {
        self.fail_open
    }

    pub(super) fn cached_answers(&self) -> u64 {
        lock(&self.cache).len()
    }

    pub(super) fn is_reachable(&self) -> Option<bool> {
        lock(&self.health).answers
    }

    /// What needs no question.
    fn unasked(&self, now: Time, question: &Question) -> Option<Known> {
        let known = lock(&self.cache).get(now, question)?;
        let paused = || {
            lock(&self.health)
                .paused_until
                .is_some_and(|until| now < until)
        };
        (known.is_fresh || (known.answer.allow && paused())).then_some(known)
    }

    fn begin(self: &Arc<Self>, question: Question) -> Begun {
        let mut under_way = lock(&self.under_way);
        if let Some(outcome) = under_way.get(&question) {
            return Begun::Anothers(outcome.clone());
        }
        let (sender, receiver) = watch::channel(None);
        under_way.insert(question, receiver);
        Begun::Ours(Inquiry {
            callback: Arc::clone(self),
            question,
            outcome: sender,
        })
    }

    fn judge(&self, now: Time, question: &Question, outcome: Outcome) -> Verdict {
        let error = match outcome {
            Ok(answer) => return verdict(answer),
            Err(error) => error,
        };
        // An outage neither locks out who was allowed before it, nor lets in who was refused.
        if let Some(known) = lock(&self.cache).get(now, question) {
            return verdict(known.answer);
        }
        match error {
            NoAnswer::Unreachable(_) if self.fail_open => Verdict::Allow { limits: None },
            _ => Verdict::Deny(DenyReason::Unavailable),
        }
    }

    fn learn(&self, now: Time, question: &Question, outcome: &Outcome) {
        match outcome {
            Ok(answer) => lock(&self.cache).put(now, question, *answer),
            Err(_) => self.counters.count_error(),
        }
        self.note_health(now, outcome.as_ref().err());
    }

    /// Says once when an outage begins, and once when it ends.
    fn note_health(&self, now: Time, error: Option<&NoAnswer>) {
        let mut health = lock(&self.health);
        match (error, health.answers) {
            (Some(error), None | Some(true)) => {
                warn!(%error, fail_open = self.fail_open, "the admission controller does not answer");
            }
            (None, Some(false)) => info!("the admission controller answers again"),
            _ => {}
        }
        health.answers = Some(error.is_none());
        health.paused_until = match error {
            Some(NoAnswer::Unreachable(_)) => Some(now + OUTAGE_PAUSE),
            // It is there, even when it has nothing of use to say about this key.
            Some(NoAnswer::Unusable(_)) | None => None,
        };
    }
}

impl Inquiry {
    /// Asks when it is its turn. `None` when the question has become needless meanwhile.
    async fn run(self, now: Time, about: About) -> Option<Outcome> {
        let started = Instant::now();
        let turns = Arc::clone(&self.callback.turns);
        let turn = turns.wait(about).await;
        if self
            .callback
            .unasked(now + started.elapsed(), &self.question)
            .is_some()
        {
            return None;
        }
        let asked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            self.callback.counters.count_question();
            let outcome = self.callback.controller.ask(&self.question);
            self.callback
                .learn(now + started.elapsed(), &self.question, &outcome);
            self.outcome.send_replace(Some(outcome.clone()));
            outcome
        });
        Some(
            asked
                .await
                .unwrap_or_else(|error| Err(NoAnswer::Unreachable(error.to_string()))),
        )
    }
}

impl Drop for Inquiry {
    fn drop(&mut self) {
        lock(&self.callback.under_way).remove(&self.question);
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

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
