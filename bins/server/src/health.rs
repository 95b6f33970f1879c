//! Whether the server can do its work: its store takes what is written to it, and its own router is led. Called by run, for
//! `/readyz`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use sluice_runtime::host::control::Link;
use sluice_runtime::host::moment::Moment;
use tokio::time::{MissedTickBehavior, interval};

use crate::store::{Store, StoreError};

/// How often the store is written to for nothing but this: a commit takes milliseconds.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What makes a clock run true moves it by less in so short a time.
const STEP_MIN: Duration = Duration::from_secs(2);

/// Cloning it is cheap, and both are the same.
#[derive(Clone)]
pub(crate) struct Health {
    link: Link,
    problem: Arc<Mutex<Option<String>>>,
}

impl Health {
    /// Of a server whose own router has this link.
    pub(crate) fn new(link: Link) -> Health {
        Health { link, problem: Arc::default() }
    }

    /// Whether it can do its work.
    ///
    /// # Errors
    /// Why not, in words for its operator.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if let Some(problem) = self.problem().clone() {
            return Err(problem);
        }
        self.link.ready().map_err(|why| format!("the embedded router: {why}"))
    }

    /// Looks after the store as long as the server runs.
    pub(crate) async fn watch(self, store: Store) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before_tick = Moment::now();
        loop {
            ticks.tick().await;
            let now = Moment::now();
            if let Some(seconds) = clock_step(before_tick, now) {
                tracing::error!(
                    seconds,
                    "the clock was stepped: sessions end when it says so, leases and tunnels do not care"
                );
                store.meter().clock_stepped();
            }
            before_tick = now;
            let problem = look(&store).await.err().map(|why| why.to_string());
            let mut before = self.problem();
            match (&*before, &problem) {
                (None, Some(why)) => tracing::error!(%why, "the store cannot be written"),
                (Some(_), None) => tracing::info!("the store can be written again"),
                (None, None) | (Some(_), Some(_)) => {}
            }
            *before = problem;
        }
    }

    fn problem(&self) -> MutexGuard<'_, Option<String>> {
        // It is replaced in one move, so it is whole whoever panicked.
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By how many seconds the wall clock ran away from the time since boot, if somebody set it.
fn clock_step(before: Moment, now: Moment) -> Option<i64> {
    let nanos = |moment: Moment| i128::from(moment.unix.secs) * 1_000_000_000 + i128::from(moment.unix.nanos);
    let wall = nanos(now) - nanos(before);
    let boot = i128::from(now.boot.as_nanos()) - i128::from(before.boot.as_nanos());
    let away = wall - boot;
    (away.unsigned_abs() > STEP_MIN.as_nanos())
        .then(|| i64::try_from(away / 1_000_000_000).unwrap_or(if away < 0 { i64::MIN } else { i64::MAX }))
}

/// Writes, and counts what metrics tell.
async fn look(store: &Store) -> Result<(), StoreError> {
    let census = store.read().await?.census().await?;
    store.meter().set_sessions(&census);
    let mut tx = store.write().await?;
    tx.touch(Timestamp::now()).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use wg_proto::{Instant, UnixTime};

    use super::*;

    #[test]
    fn a_clock_that_somebody_set_is_noticed_in_both_directions_and_one_that_is_slewed_is_not() {
        let at = |boot_secs: u64, unix_secs: u64| Moment {
            boot: Instant::from_nanos(boot_secs * 1_000_000_000),
            unix: UnixTime::new(unix_secs, 0),
        };
        let before = at(100, 1_790_000_000);
        for (after, step) in [
            (at(105, 1_790_000_005), None),
            (at(105, 1_790_000_006), None),
            (at(105, 1_790_003_605), Some(3600)),
            (at(105, 1_789_996_405), Some(-3600)),
            // Ten years.
            (at(105, 2_105_360_005), Some(315_360_000)),
            (at(105, 1_474_640_005), Some(-315_360_000)),
            // A suspended machine's boot time goes on.
            (at(50_105, 1_790_050_005), None),
        ] {
            assert_eq!(clock_step(before, after), step);
        }
    }
}
