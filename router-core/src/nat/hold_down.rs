//! Ports that were given back and are not given out yet. MAP-6; RFC 6888 REQ-8: 120 s, first in first out.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use crate::flow::Tick;
use crate::flow::ticks;

// Given by specifications.

/// How long a port stays unused after its last flow. RFC 6888 REQ-8.
pub const HOLD_DOWN: Duration = Duration::from_secs(120);

// Our own choice.

/// The most entries held per address and protocol. Beyond, the oldest is let go early: each is some 40 bytes for v6, and
/// a port that is reused early still answers only to its exact flow.
const HELD_MAX: usize = 131_072;

/// The far end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Remote<A> {
    pub(super) address: A,
    pub(super) port: u16,
}

/// A port, held for everyone or, where ports are shared between far ends, for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held<A> {
    pub(super) port: u16,
    pub(super) remote: Option<Remote<A>>,
}

/// At most [`HELD_MAX`] ports, in the order they were given back.
#[derive(Clone, Debug)]
pub(super) struct HoldDown<A> {
    queue: VecDeque<(Tick, Held<A>)>,
    pairs: BTreeSet<(u16, Remote<A>)>,
}

impl<A: Copy + Ord> HoldDown<A> {
    pub(super) fn new() -> HoldDown<A> {
        HoldDown { queue: VecDeque::new(), pairs: BTreeSet::new() }
    }

    /// Starts holding.
    pub(super) fn hold(&mut self, now: Tick, held: Held<A>) {
        self.queue.push_back((now.after(ticks(HOLD_DOWN)), held));
        self.pairs.extend(held.remote.map(|remote| (held.port, remote)));
    }

    /// Lets go the next port that has been held long enough, or that there is no room to hold.
    pub(super) fn let_go(&mut self, now: Tick) -> Option<u16> {
        let crowded = self.queue.len() > HELD_MAX;
        let (_, held) = self.queue.pop_front_if(|(until, _)| crowded || *until <= now)?;
        if let Some(remote) = held.remote {
            self.pairs.remove(&(held.port, remote));
        }
        Some(held.port)
    }

    /// Whether the port must not be used towards this far end.
    pub(super) fn is_held_for(&self, port: u16, remote: Remote<A>) -> bool {
        self.pairs.contains(&(port, remote))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMOTE: Remote<u8> = Remote { address: 1, port: 53 };

    fn at(secs: u64) -> Tick {
        Tick::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn map_6_a_freed_port_is_held_120_seconds_first_in_first_out() {
        let mut held: HoldDown<u8> = HoldDown::new();
        held.hold(at(0), Held { port: 5, remote: None });
        held.hold(at(10), Held { port: 3, remote: None });
        assert_eq!(held.let_go(at(119)), None);
        assert_eq!(held.let_go(at(121)), Some(5));
        assert_eq!(held.let_go(at(121)), None);
        assert_eq!(held.let_go(at(131)), Some(3));
    }

    #[test]
    fn map_6_a_shared_port_is_held_for_the_far_end_it_was_used_towards() {
        let mut held = HoldDown::new();
        held.hold(at(0), Held { port: 5, remote: Some(REMOTE) });
        assert!(held.is_held_for(5, REMOTE));
        assert!(!held.is_held_for(5, Remote { address: 2, ..REMOTE }));
        assert_eq!(held.let_go(at(121)), Some(5));
        assert!(!held.is_held_for(5, REMOTE));
    }

    #[test]
    fn p27_more_than_the_most_lets_the_oldest_go_early() {
        let mut held: HoldDown<u8> = HoldDown::new();
        for port in 0..=HELD_MAX {
            held.hold(at(0), Held { port: port as u16, remote: None });
        }
        assert_eq!(held.let_go(at(0)), Some(0));
        assert_eq!(held.let_go(at(0)), None);
    }
}
