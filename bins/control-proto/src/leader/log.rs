//! The latest changes, for agents that have all before them. Older ones are forgotten: who lacks one gets a snapshot.

use std::collections::VecDeque;

use crate::frame;
use crate::item::Change;
use crate::message::ENTRIES_MAX;
use crate::position::Generation;

// Our own choices.
/// Changes kept at most.
const CHANGES_MAX: usize = 16_384;
/// Bytes of them at most.
const BYTES_MAX: usize = 16 << 20;
/// Bytes of changes in one message: several fit into a frame, and a revocation does not wait behind a long one.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// Changes in the order of their generations.
#[derive(Debug)]
pub(super) struct Log {
    /// The generation before the first of them.
    base: Generation,
    changes: VecDeque<(Change, usize)>,
    bytes: usize,
}

impl Log {
    pub(super) fn new() -> Log {
        Log { base: Generation(0), changes: VecDeque::new(), bytes: 0 }
    }

    /// The generation of the last change.
    pub(super) fn end(&self) -> Generation {
        self.base.after(self.changes.len())
    }

    /// Adds a change; forgets the oldest ones for it, if need be.
    pub(super) fn push(&mut self, change: Change) {
        let bytes = bytes_of(&change);
        self.changes.push_back((change, bytes));
        self.bytes += bytes;
        while self.changes.len() > CHANGES_MAX || self.bytes > BYTES_MAX {
            let Some((_, bytes)) = self.changes.pop_front() else { break };
            self.base = self.base.after(1);
            self.bytes -= bytes;
        }
    }

    /// Whether every change after `generation` is here.
    pub(super) fn reaches_back_to(&self, generation: Generation) -> bool {
        self.base <= generation && generation <= self.end()
    }

    /// As many of the changes after `generation` as one message takes.
    pub(super) fn after(&self, generation: Generation) -> Vec<Change> {
        let Some(skipped) = generation.changes_since(self.base) else { return Vec::new() };
        let mut bytes = 0;
        let fits = self.changes.iter().skip(skipped as usize).take(ENTRIES_MAX).take_while(|(_, more)| {
            let is_first = bytes == 0;
            bytes += more;
            is_first || bytes <= MESSAGE_BYTES_MAX
        });
        fits.map(|(change, _)| change.clone()).collect()
    }
}

/// In a message.
pub(super) fn bytes_of(value: &impl serde::Serialize) -> usize {
    frame::encode(value).map_or(usize::MAX >> 1, |frame| frame.len())
}
