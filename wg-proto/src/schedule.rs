//! Which peer's timer is due next: one heap for all peers, without a scan and without allocation once the
//! peers are there.

use alloc::vec::Vec;

use crate::index::PeerIndex;
use crate::time::Instant;

const ABSENT: u32 = u32::MAX;

/// A binary heap that knows where each peer stands in it, so that a peer has at most one entry. An entry may be
/// earlier than its peer's timers (setting a timer *later* is left to the next wake-up), never later.
#[derive(Default)]
pub(crate) struct Schedule {
    heap: Vec<(Instant, PeerIndex)>,
    /// Position of each peer's entry in `heap`, or `ABSENT`.
    positions: Vec<u32>,
}

impl Schedule {
    /// Makes room for peers in slots below `slots`, so that nothing is allocated later.
    pub(crate) fn reserve(&mut self, slots: usize) {
        if slots > self.positions.len() {
            self.positions.resize(slots, ABSENT);
            self.heap.reserve(slots - self.heap.len());
        }
    }

    /// Sees to it that `peer` is looked at no later than `at`.
    pub(crate) fn no_later_than(&mut self, peer: PeerIndex, at: Instant) {
        match self.positions[peer.slot()] {
            ABSENT => {
                self.heap.push((at, peer));
                self.up(self.heap.len() - 1);
            }
            position if at < self.heap[position as usize].0 => {
                self.heap[position as usize].0 = at;
                self.up(position as usize);
            }
            _ => {}
        }
    }

    /// The earliest entry.
    pub(crate) fn first(&self) -> Option<(Instant, PeerIndex)> {
        self.heap.first().copied()
    }

    /// Moves the earliest entry to `at`.
    pub(crate) fn postpone_first(&mut self, at: Instant) {
        if let Some(first) = self.heap.first_mut() {
            first.0 = at;
            self.down(0);
        }
    }

    /// Removes the entry of `peer`, if it has one.
    pub(crate) fn remove(&mut self, peer: PeerIndex) {
        let position = core::mem::replace(&mut self.positions[peer.slot()], ABSENT);
        if position == ABSENT {
            return;
        }
        let position = position as usize;
        self.heap.swap_remove(position);
        if position < self.heap.len() {
            // One of the two moves it; after a move up, what came down to `position` stays there.
            self.up(position);
            self.down(position);
        }
    }

    fn up(&mut self, mut at: usize) {
        while at > 0 && self.heap[at].0 < self.heap[(at - 1) / 2].0 {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
        self.place(at);
    }

    fn down(&mut self, mut at: usize) {
        loop {
            let children = 2 * at + 1..(2 * at + 3).min(self.heap.len());
            let Some(least) = children.min_by_key(|child| self.heap[*child].0) else {
                break;
            };
            if self.heap[least].0 >= self.heap[at].0 {
                break;
            }
            self.swap(at, least);
            at = least;
        }
        self.place(at);
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.place(a);
        self.place(b);
    }

    fn place(&mut self, at: usize) {
        self.positions[self.heap[at].1.slot()] = at as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    const PEERS: u32 = 9;

    #[derive(Debug, Clone)]
    enum Step {
        NoLaterThan(u32, u64),
        PostponeFirst(u64),
        Remove(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..PEERS, 0u64..1000).prop_map(|(peer, at)| Step::NoLaterThan(peer, at)),
            2 => (0u64..1000).prop_map(Step::PostponeFirst),
            1 => (0..PEERS).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn the_schedule_agrees_with_a_sorted_map(steps in prop::collection::vec(step(), 1..300)) {
            let (mut schedule, mut map) = (Schedule::default(), BTreeMap::<u32, u64>::new());
            schedule.reserve(PEERS as usize);
            for step in steps {
                match step {
                    Step::NoLaterThan(peer, at) => {
                        schedule.no_later_than(PeerIndex::new(peer), Instant::from_nanos(at));
                        map.entry(peer).and_modify(|old| *old = at.min(*old)).or_insert(at);
                    }
                    Step::PostponeFirst(at) => {
                        if let Some((_, peer)) = schedule.first() {
                            map.insert(peer.get(), at);
                        }
                        schedule.postpone_first(Instant::from_nanos(at));
                    }
                    Step::Remove(peer) => {
                        schedule.remove(PeerIndex::new(peer));
                        map.remove(&peer);
                    }
                }
                let first = schedule.first().map(|(at, _)| at.as_nanos());
                prop_assert_eq!(first, map.values().min().copied());
                if let Some((at, peer)) = schedule.first() {
                    prop_assert_eq!(map.get(&peer.get()), Some(&at.as_nanos()));
                }
            }
        }
    }
}
