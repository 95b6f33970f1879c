//! When leases lapse, ordered. One entry for each session that has a lease.

use alloc::collections::BTreeSet;

use wg_proto::Instant;

use super::FOREVER;

#[derive(Debug, Default)]
pub(super) struct Leases(BTreeSet<(Instant, u32)>);

impl Leases {
    pub(super) fn set(&mut self, deadline: Instant, slot: u32) {
        if deadline < FOREVER {
            self.0.insert((deadline, slot));
        }
    }

    pub(super) fn clear(&mut self, deadline: Instant, slot: u32) {
        if deadline < FOREVER {
            self.0.remove(&(deadline, slot));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out the first slot whose lease has lapsed.
    pub(super) fn pop(&mut self, now: Instant) -> Option<u32> {
        let first @ (_, slot) = *self.0.first().filter(|(deadline, _)| *deadline <= now)?;
        self.0.remove(&first);
        Some(slot)
    }
}
