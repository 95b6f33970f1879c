//! Which counters of a session were received already.
//! Read first: RFC 6479. Called by device, only with counters of authentic packets.

use alloc::boxed::Box;

use crate::constants::REPLAY_WINDOW;
use crate::counter::Counter;

const BITS: u64 = 8192;
const WORDS: usize = (BITS / 64) as usize;

/// A ring of 8192 bits behind the newest counter. One word is always being cleared, so 8128 are usable.
/// Allocated with its session, 1 KiB.
pub(crate) struct ReplayWindow {
    /// One more than the newest counter received; zero before the first.
    next: u64,
    ring: Box<[u64; WORDS]>,
}

impl ReplayWindow {
    pub(crate) fn new() -> ReplayWindow {
        ReplayWindow { next: 0, ring: Box::new([0; WORDS]) }
    }

    /// Marks `counter` as received. Returns what it was: only [`Arrival::Newest`] and [`Arrival::Late`] packets
    /// may be used.
    pub(crate) fn receive(&mut self, counter: Counter) -> Arrival {
        let value = counter.get();
        if !counter.is_usable() || value.saturating_add(1 + REPLAY_WINDOW) < self.next {
            return Arrival::TooOld;
        }
        let newest = value >= self.next;
        if newest {
            self.advance(value);
        }
        let word = &mut self.ring[word_of(value)];
        let bit = 1 << (value % 64);
        let seen = *word & bit != 0;
        *word |= bit;
        match (seen, newest) {
            (true, _) => Arrival::Seen,
            (false, true) => Arrival::Newest,
            (false, false) => Arrival::Late,
        }
    }

    /// Makes `value` the newest counter: clears the words between.
    fn advance(&mut self, value: u64) {
        let last_word = self.next.checked_sub(1).map(|last| last / 64);
        let words = last_word.map_or(WORDS as u64, |last| value / 64 - last);
        for back in 0..words.min(WORDS as u64) {
            self.ring[word_of(value.wrapping_sub(back * 64))] = 0;
        }
        self.next = value + 1;
    }
}

const fn word_of(value: u64) -> usize {
    (value / 64) as usize % WORDS
}

/// How a counter arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Higher than all before.
    Newest,
    /// New, but a higher one came before.
    Late,
    /// Received before.
    Seen,
    /// So far behind the newest that nobody remembers, or past the counters that exist.
    TooOld,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants::REJECT_AFTER_MESSAGES;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    /// The slow twin: remembers everything.
    #[derive(Default)]
    struct Memory {
        seen: BTreeSet<u64>,
    }

    impl Memory {
        fn receive(&mut self, value: u64) -> Arrival {
            let newest = self.seen.last().copied();
            if value >= REJECT_AFTER_MESSAGES || newest.is_some_and(|newest| value + REPLAY_WINDOW < newest) {
                return Arrival::TooOld;
            }
            match (self.seen.insert(value), newest) {
                (false, _) => Arrival::Seen,
                (true, Some(newest)) if value < newest => Arrival::Late,
                (true, _) => Arrival::Newest,
            }
        }
    }

    #[test]
    fn p11_window_accepts_and_refuses_as_the_kernel_does() {
        use Arrival::*;
        let mut window = ReplayWindow::new();
        let end = REJECT_AFTER_MESSAGES;
        for (counter, arrival) in [
            (0, Newest),
            (0, Seen),
            (1, Newest),
            (1, Seen),
            (9, Newest),
            (8, Late),
            (7, Late),
            (7, Seen),
            (8192, Newest),
            (8192 - 8128, Late),
            (8192 - 8128 - 1, TooOld),
            (9, TooOld),
            (8193, Newest),
            (8193 - 8128, Late),
            (8193 + 8192, Newest),
            (8193 + 8192 - 8128, Late),
            (8193, TooOld),
            (1 << 40, Newest),
            ((1 << 40) - 1, Late),
            (end - 1, Newest),
            (end - 1, Seen),
            (end, TooOld),
            (u64::MAX, TooOld),
            (end - 1 - 8128, Late),
            (end - 2 - 8128, TooOld),
        ] {
            assert_eq!(window.receive(Counter::new(counter)), arrival, "{counter}");
        }
    }

    fn near_and_far() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => 0u64..20_000,
            2 => 8_000u64..8_400,
            1 => (0u64..70_000).prop_map(|back| REJECT_AFTER_MESSAGES + 3 - back.min(20_000)),
        ]
    }

    proptest! {
        #[test]
        fn p11_window_agrees_with_its_slow_twin(counters in prop::collection::vec(near_and_far(), 1..400)) {
            let (mut window, mut memory) = (ReplayWindow::new(), Memory::default());
            for counter in counters {
                prop_assert_eq!(window.receive(Counter::new(counter)), memory.receive(counter), "{}", counter);
            }
        }

        #[test]
        fn p11_window_agrees_with_its_slow_twin_on_walks(steps in prop::collection::vec(-9_000i64..9_000, 1..600)) {
            let (mut window, mut memory) = (ReplayWindow::new(), Memory::default());
            let mut at = 20_000i64;
            for step in steps {
                at = (at + step).max(0);
                let value = at as u64;
                prop_assert_eq!(window.receive(Counter::new(value)), memory.receive(value), "{}", value);
            }
        }
    }
}
