//! Memory for connections' buffers: bounded in total, and shared so that the first are not slow and the last not refused.
//! Called by stack.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::buffers::Buffers;

// Our own choices.
/// This part of the budget is for connections of the least size, the rest for larger ones.
const SMALL_PART: usize = 2;
/// A new connection gets this part of what is left for larger ones.
const SHARE: usize = 64;
/// Both buffers of a connection together, at least: 8 KiB each way, more than five full segments.
pub(super) const CONNECTION_BYTES_MIN: usize = 16 * 1024;
/// At most: 2 MiB each way, a gigabit over 16 ms.
pub(super) const CONNECTION_BYTES_MAX: usize = 4 * 1024 * 1024;
/// At most this part of the budget is kept for connections to come, within the budget,
const KEPT_PART: usize = 16;
/// and no more than this: enough for connections that follow each other; after a crowd the rest is the system's again.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes that buffers may have, and have.
#[derive(Debug)]
pub(super) struct Budget {
    max: usize,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// Bytes of connections.
    used: usize,
    /// What connections have left, all zeroes, oldest first.
    kept: VecDeque<Box<[u8]>>,
    kept_bytes: usize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Budget {
        Budget { max, books: Mutex::default() }
    }

    pub(super) fn used(&self) -> usize {
        self.lock().used
    }

    /// A share for one more connection; `None` if not even the least is left.
    pub(super) fn grant(self: &Arc<Budget>) -> Option<Buffers> {
        self.hand_out(|used| share(self.max, used))
    }

    /// So many bytes, whatever the share is.
    #[cfg(test)]
    pub(super) fn exactly(self: &Arc<Budget>, bytes: usize) -> Option<Buffers> {
        self.hand_out(|used| (used + bytes <= self.max).then_some(bytes))
    }

    /// What is kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<Box<[u8]>> {
        self.lock().kept.iter().cloned().collect()
    }

    /// Has memory back that was handed out, all zeroes again.
    pub(super) fn take_back(&self, memory: Box<[u8]>) {
        let kept_max = kept_max(self.max);
        let mut books = self.lock();
        books.used -= memory.len();
        let surplus = if memory.len() <= kept_max {
            books.kept_bytes += memory.len();
            books.kept.push_back(memory);
            books.shrink_to(kept_max)
        } else {
            vec![memory]
        };
        drop(books);
        // Giving it back to the system takes long.
        drop(surplus);
    }

    fn hand_out(self: &Arc<Budget>, choose: impl FnOnce(usize) -> Option<usize>) -> Option<Buffers> {
        let mut books = self.lock();
        let bytes = choose(books.used)?;
        books.used += bytes;
        let kept = books.take(bytes);
        let left = self.max - books.used;
        let surplus = books.shrink_to(left);
        drop(books);
        drop(surplus);
        let memory = kept.unwrap_or_else(|| vec![0; bytes].into_boxed_slice());
        Some(Buffers::new(memory, Arc::clone(self)))
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // Nothing in between can panic.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// The newest of this size: it is the likeliest to be in the processor's cache.
    fn take(&mut self, bytes: usize) -> Option<Box<[u8]>> {
        let at = self.kept.iter().rposition(|memory| memory.len() == bytes)?;
        self.kept_bytes -= bytes;
        self.kept.remove(at)
    }

    /// Gives up the oldest until no more than so many bytes are kept.
    fn shrink_to(&mut self, bytes: usize) -> Vec<Box<[u8]>> {
        let mut surplus = Vec::new();
        while self.kept_bytes > bytes
            && let Some(oldest) = self.kept.pop_front()
        {
            self.kept_bytes -= oldest.len();
            surplus.push(oldest);
        }
        surplus
    }
}

/// So much is kept of a budget.
fn kept_max(max: usize) -> usize {
    (max / KEPT_PART).min(KEPT_BYTES_MAX)
}

/// A power of two between the bounds, and never more than is left.
fn share(max: usize, used: usize) -> Option<usize> {
    let left = max.saturating_sub(used);
    let for_larger = left.saturating_sub(max / SMALL_PART);
    let wanted = (for_larger / SHARE).clamp(CONNECTION_BYTES_MIN, CONNECTION_BYTES_MAX);
    let rounded = if wanted.is_power_of_two() { wanted } else { wanted.next_power_of_two() / 2 };
    (rounded <= left).then_some(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn the_first_get_much_and_the_last_get_the_least_and_all_together_never_too_much() {
        let budget = Arc::new(Budget::new(256 * MIB));
        let mut granted = Vec::new();
        while let Some(buffers) = budget.grant() {
            granted.push(buffers);
            assert!(budget.used() <= 256 * MIB && granted.len() < 10_000);
        }
        assert_eq!(granted[0].bytes(), 2 * MIB);
        assert_eq!(granted.last().unwrap().bytes(), CONNECTION_BYTES_MIN);
        assert_eq!(budget.used(), 256 * MIB, "not a byte is left over");
        assert!(granted.len() > 8000, "{}", granted.len());
        drop(granted);
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.grant().unwrap().bytes(), 2 * MIB);
    }

    #[test]
    fn shares_are_powers_of_two_within_bounds() {
        let max = 1024 * MIB;
        for (used, granted) in [
            (0, Some(CONNECTION_BYTES_MAX)),
            (max / 2 - 64 * 128 * 1024, Some(128 * 1024)),
            (max / 2 - 64 * 100 * 1024, Some(64 * 1024)),
            (max / 2, Some(CONNECTION_BYTES_MIN)),
            (max - CONNECTION_BYTES_MIN, Some(CONNECTION_BYTES_MIN)),
            (max - CONNECTION_BYTES_MIN + 1, None),
            (max, None),
        ] {
            assert_eq!(share(max, used), granted, "{used}");
        }
    }

    #[test]
    fn what_a_connection_leaves_serves_the_next_and_holds_nothing_of_the_first() {
        let budget = Arc::new(Budget::new(64 * MIB));
        let first = budget.exactly(MIB).unwrap();
        let (received, sent) = first.halves();
        received[..1000].fill(1);
        sent[..MIB / 2].fill(2);
        let place = received.as_ptr();
        first.note_received(1000);
        // Rings go round.
        first.note_written(3 * MIB);
        drop(first);
        let second = budget.exactly(MIB).unwrap();
        let (received, sent) = second.halves();
        assert_eq!(received.as_ptr(), place, "it is other memory");
        assert!(received.iter().chain(&*sent).all(|byte| *byte == 0), "it is not clear");
    }

    #[test]
    fn little_is_kept_and_it_gives_way_to_connections() {
        let max = 64 * MIB;
        let budget = Arc::new(Budget::new(max));
        let kept_bytes = || budget.kept().iter().map(|memory| memory.len()).sum::<usize>();
        let held: Vec<_> = (0..32).map(|_| budget.exactly(MIB).unwrap()).collect();
        drop(held);
        assert_eq!((kept_bytes(), budget.used()), (kept_max(max), 0));
        // One that is too large to be kept.
        drop(budget.exactly(8 * MIB).unwrap());
        assert_eq!(kept_bytes(), kept_max(max));
        assert_eq!((kept_max(64 * MIB), kept_max(1024 * MIB)), (4 * MIB, 8 * MIB));
        let all = budget.exactly(max - MIB).unwrap();
        assert_eq!((kept_bytes(), budget.used()), (MIB, max - MIB));
        drop(budget.exactly(MIB / 2).unwrap());
        assert!(kept_bytes() + budget.used() <= max, "{} {}", kept_bytes(), budget.used());
        drop(all);
    }
}
