//! Steps: each is shown while it goes on, and then with its outcome and how long it took. The first that fails ends the
//! demonstration, by name.

use std::fmt;
use std::time::{Duration, Instant};

use sluice_runtime::host::failure::{Exit, Failure};
use sluice_runtime::service::{Wake, Wakes};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::terminal::{Mark, Terminal};

/// Far above what any step takes.
const LIMIT: Duration = Duration::from_secs(20);

/// Takes steps.
pub(super) struct Steps<'a> {
    pub(super) terminal: Terminal,
    tasks: &'a Runtime,
    wakes: &'a Wakes,
}

/// Why a step failed, in words.
pub(super) struct Trouble(String);

impl<E: fmt::Display> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl Trouble {
    /// For what is not a step of its own.
    pub(super) fn into_failure(self) -> Failure {
        Failure::new(Exit::Failed, self.0)
    }
}

/// What a step brings about, and how that is told.
pub(super) type Outcome<T> = Result<(T, String), Trouble>;

impl<'a> Steps<'a> {
    pub(super) fn new(terminal: Terminal, tasks: &'a Runtime, wakes: &'a Wakes) -> Self {
        Self { terminal, tasks, wakes }
    }

    /// Takes one step.
    ///
    /// # Errors
    /// Which one failed and why, or that a signal came.
    pub(super) fn take<T>(&self, what: &str, work: impl Future<Output = Outcome<T>>) -> Result<T, Failure> {
        let working = self.terminal.working(what);
        let started = Instant::now();
        let outcome = self.tasks.block_on(async { timeout(LIMIT, work).await });
        let took = started.elapsed();
        drop(working);
        match outcome.unwrap_or_else(|_| Err("it takes too long".into())) {
            Ok((value, told)) => {
                self.terminal.step(Mark::Good, what, &told, Some(took));
                self.check_for_signals().map(|()| value)
            }
            Err(Trouble(why)) => {
                self.terminal.step(Mark::Bad, what, &why, Some(took));
                Err(Failure::new(Exit::Failed, format!("step \"{what}\" failed")).because_text(why))
            }
        }
    }

    /// Does something that is not shown.
    pub(super) fn quietly<T>(&self, work: impl Future<Output = T>) -> T {
        self.tasks.block_on(work)
    }

    fn check_for_signals(&self) -> Result<(), Failure> {
        match self.wakes.next(Duration::ZERO) {
            Some(Wake::Stop) => Err(Failure::new(Exit::Failed, "stopped by a signal")),
            Some(Wake::Failed(why)) => Err(Failure::new(Exit::Failed, format!("the client stopped: {why}"))),
            Some(Wake::Reload) | None => Ok(()),
        }
    }
}
