//! The hash index: from a tag, half of a keyed hash, to the numbers of what may be meant, eight bytes an entry. Flows stand in
//! one, and senders.
//!
//! Open addressing with linear probing. An entry's home is computed from its own tag, so removal can close the gap
//! by moving later entries back without looking at what they stand for: there are no tombstones, and a table that has been
//! full is as fast as a new one.

use alloc::vec;
use alloc::vec::Vec;

/// An empty entry. Used ones are never 0, because the number's half starts at 1.
const EMPTY: u64 = 0;

/// Our own choice: in a full index, nine of ten entries stand in their home or one of the next three places.
const NEAR: usize = 4;

/// Holds up to a fixed number of entries.
#[derive(Debug)]
pub(crate) struct Index {
    /// Zeroed pages from the allocator: untouched ones cost no memory.
    entries: Vec<u64>,
}

impl Index {
    /// An index for `used_max` entries: with half as many again it is at most two thirds full, and probes stay within a
    /// cache line or two.
    pub(crate) fn new(used_max: u32) -> Index {
        let used_max = (used_max as usize).max(2);
        Index { entries: vec![EMPTY; used_max + used_max / 2] }
    }

    /// The first candidate under this tag that `is_it` confirms.
    #[inline]
    pub(crate) fn find(&self, tag: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut position = self.home(tag);
        loop {
            let entry = self.entries[position];
            if entry == EMPTY {
                return None;
            }
            if entry_tag(entry) == tag && is_it(entry_number(entry)) {
                return Some(entry_number(entry));
            }
            position = self.next(position);
        }
    }

    /// Reads where a search under this tag begins, and nothing else: no branch waits for the memory.
    #[inline]
    pub(crate) fn touch(&self, tag: u32) -> u64 {
        let home = self.home(tag);
        self.entries[home] ^ self.entries.get(home + NEAR - 1).unwrap_or(&EMPTY)
    }

    /// The first entry under this tag, confirmed by nothing. Nearly always it is near its home; at which place is anybody's
    /// guess, and the processor's would be wrong: near ones are compared without a branch for each.
    #[inline]
    pub(crate) fn guess(&self, tag: u32) -> Option<u32> {
        let near = self.entries[self.home(tag)..].first_chunk::<NEAR>();
        let first = near
            .into_iter()
            .flatten()
            .rev()
            .fold(EMPTY, |first, entry| if entry_tag(*entry) == tag { *entry } else { first });
        if first == EMPTY { self.find(tag, |_| true) } else { Some(entry_number(first)) }
    }

    /// Adds an entry. The caller keeps to how many were promised at construction, and to numbers below `u32::MAX`.
    pub(crate) fn insert(&mut self, tag: u32, number: u32) {
        let mut position = self.home(tag);
        while self.entries[position] != EMPTY {
            position = self.next(position);
        }
        self.entries[position] = pack(tag, number);
    }

    /// Removes an entry; nothing happens if it is not there.
    pub(crate) fn remove(&mut self, tag: u32, number: u32) {
        let wanted = pack(tag, number);
        let mut position = self.home(tag);
        while self.entries[position] != wanted {
            if self.entries[position] == EMPTY {
                return;
            }
            position = self.next(position);
        }
        self.close_gap(position);
    }

    /// Moves back each following entry that may stand in the gap without passing its home, until one is empty.
    fn close_gap(&mut self, mut gap: usize) {
        let mut position = self.next(gap);
        while self.entries[position] != EMPTY {
            let home = self.home(entry_tag(self.entries[position]));
            if self.distance(home, position) >= self.distance(gap, position) {
                self.entries[gap] = self.entries[position];
                gap = position;
            }
            position = self.next(position);
        }
        self.entries[gap] = EMPTY;
    }

    /// Spreads the tag over any number of entries without dividing.
    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.entries.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, position: usize) -> usize {
        if position + 1 == self.entries.len() { 0 } else { position + 1 }
    }

    /// How far `to` lies behind `from`, going round.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.entries.len() - from }
    }
}

/// Has the processor read all of this into the cache. Each read is to depend on no other: it then waits for them together,
/// as long as little else stands between them.
#[inline(always)]
pub(crate) fn touch_all(reads: impl Iterator<Item = u64>) {
    core::hint::black_box(reads.fold(0, |all, read| all ^ read));
}

fn pack(tag: u32, number: u32) -> u64 {
    u64::from(tag) << 32 | (u64::from(number) + 1)
}

#[allow(clippy::cast_possible_truncation, reason = "the upper half was shifted down")]
fn entry_tag(entry: u64) -> u32 {
    (entry >> 32) as u32
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn entry_number(entry: u64) -> u32 {
    entry as u32 - 1
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use proptest::prelude::*;

    use super::*;

    /// Few tags near the wrap-around, so that runs collide, overlap and go round the end.
    fn operations() -> impl Strategy<Value = Vec<(bool, u32, u32)>> {
        let tag = prop_oneof![
            Just(0),
            Just(u32::MAX),
            Just(u32::MAX - 1),
            0xF000_0000_u32..,
            0..0x1000_0000_u32,
            any::<u32>()
        ];
        prop::collection::vec((any::<bool>(), tag, 0..8_u32), 0..200)
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_list_under_the_same_operations(operations in operations()) {
            let mut index = Index::new(16);
            let mut list: Vec<(u32, u32)> = Vec::new();
            for (insert, tag, number) in operations {
                let known = list.iter().position(|entry| *entry == (tag, number));
                match (insert, known) {
                    (true, None) if list.len() < 16 => {
                        index.insert(tag, number);
                        list.push((tag, number));
                    }
                    (false, Some(position)) => {
                        index.remove(tag, number);
                        list.swap_remove(position);
                    }
                    (true | false, _) => {}
                }
                for &(tag, number) in &list {
                    prop_assert_eq!(index.find(tag, |found| found == number), Some(number));
                    prop_assert_eq!(index.guess(tag), index.find(tag, |_| true));
                }
                let used = index.entries.iter().filter(|entry| **entry != EMPTY).count();
                prop_assert_eq!(used, list.len());
            }
        }
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut index = Index::new(1);
        index.insert(5, 0);
        index.remove(5, 1);
        index.remove(6, 0);
        assert_eq!(index.find(5, |_| true), Some(0));
    }
}
