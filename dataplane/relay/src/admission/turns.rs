//! Whose question goes to the controller next: those about keys that it allowed before, then those about strangers.
//!
//! However many strangers come while a controller is slow, they leave places for known keys, and a known one that waits is
//! passed by none of them. Those who wait are bounded by the places of handshakes and of rechecks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use towline_wire::limits::{ADMISSION_IN_FLIGHT_MAX, ADMISSION_STRANGERS_MAX};

/// Whom a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A key that the controller allowed before, as far as that is remembered, or that is connected.
    Known,
    Stranger,
}

#[derive(Default)]
pub(super) struct Turns(Mutex<Lines>);

/// The right to ask, until it is dropped.
pub(super) struct Turn {
    turns: Arc<Turns>,
    about: About,
}

#[derive(Default)]
struct Lines {
    known: Line,
    strangers: Line,
}

#[derive(Default)]
struct Line {
    /// Some of them may have gone.
    waiting: VecDeque<oneshot::Sender<Turn>>,
    under_way: usize,
}

impl Turns {
    /// Waits for a turn. `None` does not happen while the relay runs.
    pub(super) async fn wait(self: &Arc<Self>, about: About) -> Option<Turn> {
        let (sender, turn) = oneshot::channel();
        self.lock().line(about).join(sender);
        self.call();
        turn.await.ok()
    }

    /// Gives turns to all who may have one.
    fn call(self: &Arc<Self>) {
        loop {
            let next = self.lock().next();
            let Some((about, sender)) = next else { return };
            // One that has just gone gives its turn back by this. The lock is not held.
            let _ = sender.send(Turn {
                turns: Arc::clone(self),
                about,
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().line(self.about).under_way -= 1;
        self.turns.call();
    }
}

impl Lines {
    fn line(&mut self, about: About) -> &mut Line {
        match about {
            About::Known => &mut self.known,
            About::Stranger => &mut self.strangers,
        }
    }

    fn next(&mut self) -> Option<(About, oneshot::Sender<Turn>)> {
        if self.known.under_way + self.strangers.under_way >= ADMISSION_IN_FLIGHT_MAX {
            return None;
        }
        if let Some(sender) = self.known.leave() {
            return Some((About::Known, sender));
        }
        if self.strangers.under_way >= ADMISSION_STRANGERS_MAX {
            return None;
        }
        let sender = self.strangers.leave()?;
        Some((About::Stranger, sender))
    }
}

impl Line {
    fn join(&mut self, sender: oneshot::Sender<Turn>) {
        // Before it grows, those who have gone make room: it stays within twice the number of those who are there.
        if self.waiting.len() == self.waiting.capacity() {
            self.waiting.retain(|sender| !sender.is_closed());
        }
        self.waiting.push_back(sender);
    }

    fn leave(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(sender) = self.waiting.pop_front() {
            if !sender.is_closed() {
                self.under_way += 1;
                return Some(sender);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Waiting = tokio::task::JoinHandle<Option<Turn>>;

    fn wait(turns: &Arc<Turns>, about: About) -> Waiting {
        let turns = Arc::clone(turns);
        tokio::spawn(async move { turns.wait(about).await })
    }

    /// How many have their turn, once all that runs has run.
    async fn called(waiting: &[Waiting]) -> usize {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        waiting.iter().filter(|turn| turn.is_finished()).count()
    }

    #[tokio::test]
    async fn strangers_leave_places_for_those_who_are_known() {
        let turns = Arc::new(Turns::default());
        let strangers: Vec<_> = (0..1000).map(|_| wait(&turns, About::Stranger)).collect();
        assert_eq!(called(&strangers).await, ADMISSION_STRANGERS_MAX);
        let known: Vec<_> = (0..100).map(|_| wait(&turns, About::Known)).collect();
        let left = ADMISSION_IN_FLIGHT_MAX - ADMISSION_STRANGERS_MAX;
        assert_eq!(called(&known).await, left);
        // A place that a stranger leaves is for a known one that waits.
        let mut strangers = strangers;
        drop(strangers.remove(0).await.unwrap());
        assert_eq!(called(&known).await, left + 1);
        assert_eq!(called(&strangers).await, ADMISSION_STRANGERS_MAX - 1);
    }

    #[tokio::test]
    async fn who_goes_leaves_nothing_behind() {
        let turns = Arc::new(Turns::default());
        let mut held = Vec::new();
        for _ in 0..ADMISSION_IN_FLIGHT_MAX {
            held.push(turns.wait(About::Known).await.unwrap());
        }
        for _ in 0..1000 {
            let impatient = wait(&turns, About::Stranger);
            tokio::task::yield_now().await;
            impatient.abort();
            assert!(impatient.await.is_err());
        }
        assert!(turns.lock().strangers.waiting.len() <= 4);
        // Called, and gone before it saw that.
        let late = wait(&turns, About::Known);
        tokio::task::yield_now().await;
        held.clear();
        late.abort();
        let _ = late.await;
        let lines = turns.lock();
        assert_eq!((lines.known.under_way, lines.strangers.under_way), (0, 0));
    }
}
