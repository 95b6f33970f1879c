//! Audit events for others: to syslog, and into a file. Read first: docs/operations.md, "Audit". Called by run; calls store.
//!
//! The store is the queue: each output follows the chain from where it was, also after a restart, so a receiver that is away
//! for a while misses nothing. One that stays away is given up on, [`BACKLOG_MAX`] events back: what it missed is counted, and it
//! is told which events those were.

mod file;
mod place;
mod position;
mod syslog;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use self::file::EventFile;
pub(crate) use self::place::{NoPlace, SyslogPlace};
use self::position::Position;
use self::syslog::Syslog;
use crate::store::audit::Entry;
use crate::store::{Store, StoreError};

// Our own choices.
/// Events that an output may be behind. A year of a quiet installation, an hour of one under attack.
const BACKLOG_MAX: u64 = 100_000;
/// Events read at a time.
const BATCH: u32 = 256;
/// How soon new events are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After an output failed: this, then twice as long each time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// For what is left when the server stops.
const LAST_TIME: Duration = Duration::from_millis(500);

/// Where events go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExportSettings {
    pub(crate) syslog: Option<SyslogPlace>,
    pub(crate) file: Option<PathBuf>,
}

/// What was missed: from this event to that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    first: u64,
    last: u64,
}

impl Gap {
    fn count(self) -> u64 {
        self.last - self.first + 1
    }
}

/// Why an output did not take it.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    System(#[from] std::io::Error),
    #[error("it took too long")]
    Late,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All outputs.
pub(crate) struct Exports {
    store: Store,
    directory: PathBuf,
    /// Reloads come from a thread outside of it.
    tasks: Handle,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    settings: ExportSettings,
    tasks: Vec<Task>,
}

struct Task {
    stop: Arc<Notify>,
    handle: JoinHandle<()>,
}

impl Exports {
    /// Begins to follow the chain. Where each output is, is kept in `directory`. Call it inside a tokio runtime.
    pub(crate) fn start(store: Store, directory: PathBuf, settings: ExportSettings) -> Exports {
        let exports = Exports { store, directory, tasks: Handle::current(), current: Mutex::default() };
        exports.take(settings);
        exports
    }

    /// Follows it to other outputs. One that cannot be reached is no fault: it is tried again.
    pub(crate) fn take(&self, settings: ExportSettings) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.settings == settings {
            return;
        }
        // Each ends with what it has in hand. What that was may be told once more by those that follow.
        for task in current.tasks.drain(..) {
            task.stop.notify_one();
        }
        let start = |output: Output| {
            let export = Export {
                position: Position::of(&self.directory, output.name()),
                output,
                store: self.store.clone(),
                backlog_max: BACKLOG_MAX,
            };
            let stop = Arc::new(Notify::new());
            let stopped = Arc::clone(&stop);
            Task { stop, handle: self.tasks.spawn(async move { export.run(&stopped).await }) }
        };
        let outputs =
            settings.syslog.iter().map(|place| Output::Syslog(Box::new(Syslog::new(place.clone()))));
        let outputs =
            outputs.chain(settings.file.iter().map(|path| Output::File(EventFile::new(path.clone()))));
        let tasks = outputs.map(start).collect();
        *current = Current { settings, tasks };
    }

    /// Has what was written so far told, as far as that goes fast, and ends.
    pub(crate) async fn stop(&self) {
        let tasks = {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut current.tasks)
        };
        for task in &tasks {
            task.stop.notify_one();
        }
        let ended = async {
            for task in tasks {
                let _ = task.handle.await;
            }
        };
        if timeout(2 * LAST_TIME, ended).await.is_err() {
            tracing::warn!("audit events are left to be told: they will be after the next start");
        }
    }
}

enum Output {
    Syslog(Box<Syslog>),
    File(EventFile),
}

impl Output {
    fn name(&self) -> &'static str {
        match self {
            Output::Syslog(_) => "syslog",
            Output::File(_) => "file",
        }
    }

    async fn tell(&mut self, gap: Option<Gap>, entries: &[Entry]) -> Result<(), ExportError> {
        match self {
            Output::Syslog(syslog) => syslog.tell(gap, entries).await,
            Output::File(file) => file.tell(gap, entries).await,
        }
    }
}

/// One output, and how far it is.
struct Export {
    output: Output,
    position: Position,
    store: Store,
    backlog_max: u64,
}

impl Export {
    async fn run(mut self, stopped: &Notify) {
        let mut pause = RETRY_FIRST;
        let mut is_well = true;
        loop {
            let wait = match self.step().await {
                Ok(told) => {
                    if !std::mem::replace(&mut is_well, true) {
                        tracing::info!(output = self.output.name(), "audit events are taken again");
                    }
                    pause = RETRY_FIRST;
                    if told == BATCH as usize { Duration::ZERO } else { LOOK_EVERY }
                }
                Err(why) => {
                    if std::mem::replace(&mut is_well, false) {
                        tracing::error!(output = self.output.name(), %why, "audit events are not taken; trying again");
                    }
                    let wait = pause;
                    pause = (2 * pause).min(RETRY_MAX);
                    wait
                }
            };
            self.store.meter().set_export(self.output.name(), is_well);
            tokio::select! {
                () = sleep(wait) => {}
                () = stopped.notified() => break,
            }
        }
        if is_well {
            let _ = timeout(LAST_TIME, async { while matches!(self.step().await, Ok(told) if told > 0) {} })
                .await;
        }
    }

    /// Tells what is new, a batch at most; says how much.
    async fn step(&mut self) -> Result<usize, ExportError> {
        let mut tx = self.store.read().await?;
        let newest = tx.newest_event().await?;
        let gap = self.gap(newest);
        let from = gap.map_or(self.position.told(), |gap| gap.last);
        let entries = tx.audit_after(from, BATCH).await?;
        drop(tx);
        let last = entries.last().map_or(from, |entry| entry.link.seq);
        if last > self.position.told() {
            self.output.tell(gap, &entries).await?;
            self.position.set(last)?;
        }
        let (name, meter) = (self.output.name(), self.store.meter());
        meter.exported(name, entries.len() as u64, newest.saturating_sub(last));
        if let Some(gap) = gap {
            meter.export_lost(name, gap.count());
            tracing::error!(
                output = name,
                first = gap.first,
                last = gap.last,
                "too far behind: audit events were left out"
            );
        }
        Ok(entries.len())
    }

    /// What has to be left out.
    fn gap(&self, newest: u64) -> Option<Gap> {
        let told = self.position.told();
        (newest.saturating_sub(told) > self.backlog_max)
            .then(|| Gap { first: told + 1, last: newest - self.backlog_max })
    }
}

#[cfg(test)]
mod tests;
