//! Which ports of one address and protocol are in use: a bitmap with two summary levels.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

const WORD_BITS: usize = 64;
const WORDS: usize = 65536 / WORD_BITS;
const BLOCKS: usize = WORDS / WORD_BITS;

/// Which of 65 536 ports are in use. 8 KiB and a bit.
#[derive(Clone, Debug)]
pub(super) struct PortBitmap {
    /// One bit a port.
    words: Vec<u64>,
    /// One bit a word: no port of it is free.
    full_words: [u64; BLOCKS],
    /// One bit a block of words: no word of it has a free port.
    full_blocks: u64,
}

impl PortBitmap {
    /// All free.
    pub(super) fn new() -> PortBitmap {
        // Blocks that do not exist count as full, so that a search runs off the end.
        PortBitmap { words: vec![0; WORDS], full_words: [0; BLOCKS], full_blocks: !0 << BLOCKS }
    }

    pub(super) fn is_free(&self, port: u16) -> bool {
        let port = usize::from(port);
        self.words[port / WORD_BITS] & 1 << (port % WORD_BITS) == 0
    }

    /// Marks a port as used.
    pub(super) fn take(&mut self, port: u16) {
        let (word, block) = (usize::from(port) / WORD_BITS, usize::from(port) / WORD_BITS / WORD_BITS);
        self.words[word] |= 1 << (usize::from(port) % WORD_BITS);
        if self.words[word] == !0 {
            self.full_words[block] |= 1 << (word % WORD_BITS);
            if self.full_words[block] == !0 {
                self.full_blocks |= 1 << block;
            }
        }
    }

    /// Marks a port as free.
    pub(super) fn give_back(&mut self, port: u16) {
        let (word, block) = (usize::from(port) / WORD_BITS, usize::from(port) / WORD_BITS / WORD_BITS);
        self.words[word] &= !(1 << (usize::from(port) % WORD_BITS));
        self.full_words[block] &= !(1 << (word % WORD_BITS));
        self.full_blocks &= !(1 << block);
    }

    /// The first free port from `start` on, going round inside `range`.
    pub(super) fn next_free(&self, range: &RangeInclusive<u16>, start: u16) -> Option<u16> {
        let inside = |port: &u16| port <= range.end();
        let behind = self.next_free_from(start).filter(inside);
        behind.or_else(|| self.next_free_from(*range.start()).filter(inside))
    }

    /// The first free port from `start` up. Each level is looked at twice at most.
    fn next_free_from(&self, start: u16) -> Option<u16> {
        let start = usize::from(start);
        let word = start / WORD_BITS;
        if let Some(bit) = first_zero_from(self.words[word], start % WORD_BITS) {
            return port_at(word, bit);
        }
        let word = self.next_word_from(word + 1)?;
        port_at(word, first_zero_from(self.words[word], 0)?)
    }

    fn next_word_from(&self, start: usize) -> Option<usize> {
        let block = start / WORD_BITS;
        let here = self.full_words.get(block)?;
        if let Some(bit) = first_zero_from(*here, start % WORD_BITS) {
            return Some(block * WORD_BITS + bit);
        }
        let block = first_zero_from(self.full_blocks, block + 1)?;
        Some(block * WORD_BITS + first_zero_from(self.full_words[block], 0)?)
    }
}

/// The lowest clear bit at `start` or above.
fn first_zero_from(word: u64, start: usize) -> Option<usize> {
    let clear = !word & u64::MAX.checked_shl(u32::try_from(start).ok()?)?;
    (clear != 0).then(|| clear.trailing_zeros() as usize)
}

fn port_at(word: usize, bit: usize) -> Option<u16> {
    u16::try_from(word * WORD_BITS + bit).ok()
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Take(RangeInclusive<u16>),
        GiveBack(RangeInclusive<u16>),
        Search { low: u16, high: u16, start: u16 },
    }

    fn run() -> impl Strategy<Value = RangeInclusive<u16>> {
        let long = prop_oneof![Just(0_u16), 0..70_u16, 0..5000_u16, Just(u16::MAX)];
        (any::<u16>(), long).prop_map(|(start, len)| start..=start.saturating_add(len))
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            3 => run().prop_map(Operation::Take),
            2 => run().prop_map(Operation::GiveBack),
            3 => any::<(u16, u16, u16)>().prop_map(|(a, b, c)| {
                let (low, high) = (a.min(b), a.max(b));
                Operation::Search { low, high, start: c.clamp(low, high) }
            }),
        ]
    }

    /// Walks one by one.
    fn next_free(used: &BTreeSet<u16>, low: u16, high: u16, start: u16) -> Option<u16> {
        (start..=high).chain(low..start).find(|port| !used.contains(port))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn agrees_with_a_set_under_the_same_operations(operations in prop::collection::vec(operation(), 1..40)) {
            let (mut bitmap, mut set) = (PortBitmap::new(), BTreeSet::new());
            for operation in operations {
                match operation {
                    Operation::Take(ports) => ports.for_each(|port| {
                        bitmap.take(port);
                        set.insert(port);
                    }),
                    Operation::GiveBack(ports) => ports.for_each(|port| {
                        bitmap.give_back(port);
                        set.remove(&port);
                    }),
                    Operation::Search { low, high, start } => {
                        let found = bitmap.next_free(&(low..=high), start);
                        prop_assert_eq!(found, next_free(&set, low, high, start));
                        prop_assert!(found.is_none_or(|port| bitmap.is_free(port)));
                    }
                }
            }
        }
    }

    #[test]
    fn the_last_free_port_is_found_from_everywhere() {
        for last in [0, 63, 64, 4095, 4096, 32768, 65535] {
            let mut bitmap = PortBitmap::new();
            (0..=u16::MAX).filter(|port| *port != last).for_each(|port| bitmap.take(port));
            for start in [0, 1, 63, 64, 65, 4096, 65534, 65535] {
                assert_eq!(bitmap.next_free(&(0..=u16::MAX), start), Some(last), "{last} from {start}");
            }
            bitmap.take(last);
            assert_eq!(bitmap.next_free(&(0..=u16::MAX), 0), None);
        }
    }
}
