//! Memory for a connection's two buffers. Handed out by budget, which has it back when it is dropped; socket works in it.
//!
//! It is used again. The C library clears what it has had before, and the system what is fresh, at a fault for each page:
//! either takes as long as all else that opening a connection takes. What a connection has left there is cleared when it ends,
//! and only that, so that no other can ever come to see it, whatever goes wrong. Nothing relies on it: smoltcp hands out
//! bytes that it was given before, and no others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use self_cell::MutBorrow;

use super::budget::Budget;

/// All zeroes when handed out: the first half for what is received, the second for what is to be sent.
pub(super) struct Buffers {
    memory: MutBorrow<Box<[u8]>>,
    bytes: usize,
    received: Reach,
    sent: Reach,
    budget: Arc<Budget>,
}

/// Nothing was written beyond so many bytes of a half.
#[derive(Debug, Default)]
struct Reach(AtomicUsize);

impl Reach {
    fn note(&self, bytes: usize) {
        self.0.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Clears what was written.
    fn clear(&self, half: &mut [u8]) {
        let reached = self.0.load(Ordering::Relaxed).min(half.len());
        half[..reached].fill(0);
    }
}

impl Buffers {
    /// `memory` is all zeroes, and counted in `budget`.
    pub(super) fn new(memory: Box<[u8]>, budget: Arc<Budget>) -> Buffers {
        let bytes = memory.len();
        let memory = MutBorrow::new(memory);
        Buffers { memory, bytes, received: Reach::default(), sent: Reach::default(), budget }
    }

    /// Both together.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Both halves, once.
    pub(super) fn halves(&self) -> (&mut [u8], &mut [u8]) {
        self.memory.borrow_mut().split_at_mut(self.bytes / 2)
    }

    /// The other end has sent so many bytes of its stream, whether or not all of those before have come. Rings begin at the start
    /// of their half, so that they reach no further.
    pub(super) fn note_received(&self, bytes: usize) {
        self.received.note(bytes);
    }

    /// So many bytes were written for the other end, all in all.
    pub(super) fn note_written(&self, bytes: usize) {
        self.sent.note(bytes);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        let nothing = MutBorrow::new(Box::default());
        let mut memory = std::mem::replace(&mut self.memory, nothing).into_inner();
        let (received, sent) = memory.split_at_mut(self.bytes / 2);
        self.received.clear(received);
        self.sent.clear(sent);
        self.budget.take_back(memory);
    }
}
