//! What happens next, in order of time; at the same time, in order of coming in.

use alloc::collections::BTreeMap;

use wg_proto::Instant;

/// The most things under way at once. Above, the newest are lost, as in a full queue.
const AGENDA_MAX: usize = 1 << 18;

/// Things that will happen.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    waiting: BTreeMap<(Instant, u64), T>,
    serial: u64,
    /// How many did not fit.
    pub(super) overflowed: u64,
}

impl<T> Agenda<T> {
    pub(super) fn new() -> Agenda<T> {
        Agenda { waiting: BTreeMap::new(), serial: 0, overflowed: 0 }
    }

    pub(super) fn push(&mut self, at: Instant, thing: T) {
        if self.waiting.len() == AGENDA_MAX {
            self.overflowed += 1;
            return;
        }
        self.waiting.insert((at, self.serial), thing);
        self.serial += 1;
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.keys().next().map(|(at, _)| *at)
    }

    /// The next thing that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<T> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
