//! Tells the service manager that the relay works (`WatchdogSec=`, `sd_watchdog_enabled(3)`), but only when it does: when
//! every shard has made a turn since the question. A shard that is stuck ends the news, and the service manager starts
//! the relay anew.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::error;

use crate::shard::{Command, ShardHandle, Shards};

/// The time within which the service manager wants to hear of us; `None` when it does not want to.
pub(crate) fn wanted() -> Option<Duration> {
    let mut micros = 0;
    // The variables name this process: children would not mistake them.
    sd_notify::watchdog_enabled(false, &mut micros).then(|| Duration::from_micros(micros))
}

/// Runs as long as the relay does.
pub(crate) async fn run(shards: Arc<Shards>, within: Duration) {
    // Twice in its time, as `sd_watchdog_enabled(3)` advises.
    let every = within / 2;
    loop {
        let next = Instant::now() + every;
        match first_stuck(shards.handles(), next).await {
            None => {
                let _ = sd_notify::notify(false, &[NotifyState::Watchdog]);
            }
            Some(shard) => error!(
                shard,
                "this shard makes no turns; the service manager is not told that all is well"
            ),
        }
        sleep_until(next).await;
    }
}

/// The first shard that has not answered until then. One that has ended, after a drain, is not stuck.
async fn first_stuck(shards: &[ShardHandle], until: Instant) -> Option<usize> {
    let ask = |shard: &ShardHandle| {
        let (reply, answer) = oneshot::channel();
        shard.ask(Command::Snapshot(reply));
        answer
    };
    let answers: Vec<_> = shards.iter().map(ask).collect();
    for (index, answer) in answers.into_iter().enumerate() {
        if timeout_at(until, answer).await.is_err() {
            return Some(index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use towline_io::{Driver, DriverConfig, DriverKind};

    use super::*;

    fn stuck(shards: &[ShardHandle], time: Duration) -> Option<usize> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        runtime.block_on(async { first_stuck(shards, Instant::now() + time).await })
    }

    #[test]
    fn only_a_shard_that_does_not_answer_is_stuck() {
        let driver = Driver::open(DriverKind::Epoll, &DriverConfig::default()).unwrap();
        let (commands, wishes) = mpsc::channel();
        let shards = [ShardHandle::new(commands, driver.waker())];
        assert_eq!(stuck(&shards, Duration::from_millis(20)), Some(0));
        drop(wishes);
        let hour = Duration::from_secs(3600);
        assert_eq!(stuck(&shards, hour), None, "it has ended");
    }
}
