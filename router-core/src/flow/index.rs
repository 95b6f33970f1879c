//! The hash index: from a tuple's tag to candidate flows, eight bytes an entry.
//!
//! Open addressing with linear probing. An entry's home is computed from its own tag, so removal can close the gap
//! by moving later entries back without looking at any flow: there are no tombstones, and a table that has been
//! full is as fast as a new one.

use alloc::vec;
use alloc::vec::Vec;

use super::tuple::Direction;

/// Entries per flow: two are used, so the index is at most two thirds full and probes stay within a cache line or two.
const ENTRIES_PER_FLOW: usize = 3;

/// An empty entry. Used ones are never 0, because the value half starts at 1.
const EMPTY: u64 = 0;

/// Holds two entries for each of up to a fixed number of flows.
#[derive(Debug)]
pub(crate) struct Index {
    /// Zeroed pages from the allocator: untouched ones cost no memory.
    entries: Vec<u64>,
}

impl Index {
    /// An index for `flows_max` flows.
    pub(crate) fn new(flows_max: u32) -> Index {
        let entries = (flows_max as usize).saturating_mul(ENTRIES_PER_FLOW).max(ENTRIES_PER_FLOW);
        Index { entries: vec![EMPTY; entries] }
    }

    /// The first candidate under this tag that `is_it` confirms.
    #[inline]
    pub(crate) fn find(
        &self,
        tag: u32,
        mut is_it: impl FnMut(u32, Direction) -> bool,
    ) -> Option<(u32, Direction)> {
        let mut position = self.home(tag);
        loop {
            let entry = self.entries[position];
            if entry == EMPTY {
                return None;
            }
            if entry_tag(entry) == tag {
                let (flow, direction) = entry_value(entry);
                if is_it(flow, direction) {
                    return Some((flow, direction));
                }
            }
            position = self.next(position);
        }
    }

    /// Reads where a search under this tag begins, and nothing else: no branch waits for the memory.
    #[inline]
    pub(crate) fn touch(&self, tag: u32) -> u64 {
        self.entries[self.home(tag)]
    }

    /// The first entry under this tag, confirmed by nothing.
    #[inline]
    pub(crate) fn guess(&self, tag: u32) -> Option<(u32, Direction)> {
        self.find(tag, |_, _| true)
    }

    /// Adds an entry. The caller keeps to the number of flows given at construction.
    pub(crate) fn insert(&mut self, tag: u32, flow: u32, direction: Direction) {
        let mut position = self.home(tag);
        while self.entries[position] != EMPTY {
            position = self.next(position);
        }
        self.entries[position] = pack(tag, flow, direction);
    }

    /// Removes an entry; nothing happens if it is not there.
    pub(crate) fn remove(&mut self, tag: u32, flow: u32, direction: Direction) {
        let wanted = pack(tag, flow, direction);
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

fn pack(tag: u32, flow: u32, direction: Direction) -> u64 {
    let value = (u64::from(flow) << 1 | direction.index() as u64) + 1;
    u64::from(tag) << 32 | value
}

#[allow(clippy::cast_possible_truncation, reason = "the upper half was shifted down")]
fn entry_tag(entry: u64) -> u32 {
    (entry >> 32) as u32
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn entry_value(entry: u64) -> (u32, Direction) {
    let value = entry as u32 - 1;
    (value >> 1, if value & 1 == 0 { Direction::Original } else { Direction::Reply })
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
            let mut index = Index::new(8);
            let mut list: Vec<(u32, u32, Direction)> = Vec::new();
            for (insert, tag, flow) in operations {
                let direction = if tag % 2 == 0 { Direction::Original } else { Direction::Reply };
                let known = list.iter().position(|entry| *entry == (tag, flow, direction));
                match (insert, known) {
                    (true, None) if list.len() < 16 => {
                        index.insert(tag, flow, direction);
                        list.push((tag, flow, direction));
                    }
                    (false, Some(position)) => {
                        index.remove(tag, flow, direction);
                        list.swap_remove(position);
                    }
                    (true | false, _) => {}
                }
                for &(tag, flow, direction) in &list {
                    let found = index.find(tag, |f, d| (f, d) == (flow, direction));
                    prop_assert_eq!(found, Some((flow, direction)));
                }
                let used = index.entries.iter().filter(|entry| **entry != EMPTY).count();
                prop_assert_eq!(used, list.len());
            }
        }
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut index = Index::new(1);
        index.insert(5, 0, Direction::Original);
        index.remove(5, 0, Direction::Reply);
        index.remove(6, 0, Direction::Original);
        assert_eq!(index.find(5, |_, _| true), Some((0, Direction::Original)));
    }
}
