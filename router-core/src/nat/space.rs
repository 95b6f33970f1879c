//! The ports of one external address and protocol: who has which, and which comes next.

use alloc::collections::BTreeMap;
use core::ops::RangeInclusive;

use rand_chacha::ChaCha12Rng;
use rand_core::Rng;

use super::hold_down::{Held, HoldDown, Remote};
use super::mapping::{Inside, Left, Mappings};
use super::ports::PortBitmap;
use crate::flow::Tick;
use crate::packet::Protocol;

// Given by specifications.

/// The last port of the class that needs privilege. MAP-4; RFC 4787 REQ-3a.
const LOW_PORT_MAX: u16 = 1023;

// Our own choice.

/// How many ports are tried before a port is refused although there may be a usable one. At 95 % of all ports in use
/// towards one far end, one flow in seven hundred is refused.
const TRIES_MAX: u32 = 128;

/// How many ports whose hold is over are freed each time a port is taken or given back.
const LET_GO_MAX: u32 = 32;

/// At most one flow per port and far end.
#[derive(Debug)]
pub(super) struct PortSpace<A> {
    ports: PortBitmap,
    /// Of ports with more than one user, how many more. Users are flows, mappings and holds.
    more_users: BTreeMap<u16, u32>,
    held: HoldDown<A>,
    pub(super) mappings: Mappings<A>,
}

/// What a flow wants of a space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<A> {
    pub(super) protocol: Protocol,
    pub(super) source_port: u16,
    pub(super) remote: Remote<A>,
}

impl<A: Copy + Ord> PortSpace<A> {
    pub(super) fn new() -> PortSpace<A> {
        PortSpace {
            ports: PortBitmap::new(),
            more_users: BTreeMap::new(),
            held: HoldDown::new(),
            mappings: Mappings::new(),
        }
    }

    /// A port that nobody has: the source port if that is free, else the next free one from a random start.
    /// MAP-5; RFC 6056 §3.3. What `vacant` says about the port comes back with it; `None` from there passes it over.
    pub(super) fn take<V>(
        &mut self,
        now: Tick,
        wish: &Wish<A>,
        random: &mut ChaCha12Rng,
        vacant: impl Fn(u16) -> Option<V>,
    ) -> Option<(u16, V)> {
        self.let_go(now);
        let class = class_of(wish.protocol, wish.source_port);
        let kept = Some(wish.source_port).filter(|port| class.contains(port) && self.ports.is_free(*port));
        let found = kept.and_then(|port| Some((port, vacant(port)?))).or_else(|| {
            let start = random_in(&class, random);
            self.free_from(&class, start, vacant)
        })?;
        self.ports.take(found.0);
        Some(found)
    }

    /// A port that others have towards other far ends: the source port if it can be, else from a random start. MAP-3.
    pub(super) fn share<V>(
        &mut self,
        wish: &Wish<A>,
        random: &mut ChaCha12Rng,
        vacant: impl Fn(u16) -> Option<V>,
    ) -> Option<(u16, V)> {
        let tries = tries(wish.protocol, wish.source_port, random);
        let mut unheld = tries.filter(|port| !self.held.is_held_for(*port, wish.remote));
        let found = unheld.find_map(|port| Some((port, vacant(port)?)))?;
        self.add_user(found.0);
        Some(found)
    }

    /// A flow has gone: its port is held before anyone gets it. MAP-6.
    pub(super) fn release(&mut self, now: Tick, port: u16, inside: Inside<A>, remote: Remote<A>) {
        match self.mappings.leave(inside, port) {
            Left::StillUsed => {}
            Left::Gone => self.held.hold(now, Held { port, remote: None }),
            Left::NotMapped => self.held.hold(now, Held { port, remote: Some(remote) }),
        }
        self.let_go(now);
    }

    /// A flow has not come about: its port is free at once.
    pub(super) fn cancel(&mut self, port: u16, inside: Inside<A>) {
        match self.mappings.leave(inside, port) {
            Left::StillUsed => {}
            Left::Gone | Left::NotMapped => self.remove_user(port),
        }
    }

    /// Some at a time, so that none has to wait for many; more than come in.
    fn let_go(&mut self, now: Tick) {
        for _ in 0..LET_GO_MAX {
            match self.held.let_go(now) {
                Some(port) => self.remove_user(port),
                None => break,
            }
        }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn let_go_all(&mut self, now: Tick) {
        while let Some(port) = self.held.let_go(now) {
            self.remove_user(port);
        }
    }

    fn free_from<V>(
        &self,
        class: &RangeInclusive<u16>,
        start: u16,
        vacant: impl Fn(u16) -> Option<V>,
    ) -> Option<(u16, V)> {
        let mut port = self.ports.next_free(class, start)?;
        for _ in 0..TRIES_MAX {
            if let Some(vacant) = vacant(port) {
                return Some((port, vacant));
            }
            let next = if port == *class.end() { *class.start() } else { port + 1 };
            port = self.ports.next_free(class, next)?;
        }
        None
    }

    fn add_user(&mut self, port: u16) {
        if self.ports.is_free(port) {
            self.ports.take(port);
        } else {
            *self.more_users.entry(port).or_default() += 1;
        }
    }

    fn remove_user(&mut self, port: u16) {
        match self.more_users.get_mut(&port) {
            Some(1) => drop(self.more_users.remove(&port)),
            Some(more) => *more -= 1,
            None => self.ports.give_back(port),
        }
    }
}

/// The ports that may stand for this one. Echo identifiers have no classes. Port 0 stands for none.
fn class_of(protocol: Protocol, port: u16) -> RangeInclusive<u16> {
    match protocol {
        Protocol::TCP | Protocol::UDP if port <= LOW_PORT_MAX => 1..=LOW_PORT_MAX,
        Protocol::TCP | Protocol::UDP => LOW_PORT_MAX + 1..=u16::MAX,
        Protocol(_) => 0..=u16::MAX,
    }
}

/// Any port of the class, each as likely as the others to within one part in 2^16.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the product of 32 bits and at most 2^16 is shifted by 32"
)]
fn random_in(class: &RangeInclusive<u16>, random: &mut ChaCha12Rng) -> u16 {
    let size = u64::from(class.end() - class.start()) + 1;
    class.start() + ((u64::from(random.next_u32()) * size) >> 32) as u16
}

/// The port itself if it is one, then random ports of its class. Neighbours would not do: where some hosts kept their
/// ports and others got the next free ones, used ports stand in long runs.
pub(super) fn tries(protocol: Protocol, port: u16, random: &mut ChaCha12Rng) -> impl Iterator<Item = u16> {
    let class = class_of(protocol, port);
    let kept = Some(port).filter(|port| class.contains(port));
    let others = core::iter::repeat_with(move || random_in(&class, random));
    kept.into_iter().chain(others.take(TRIES_MAX as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_3_privileged_ports_stand_for_privileged_ports_only() {
        for protocol in [Protocol::TCP, Protocol::UDP] {
            for (port, class) in
                [(1, 1..=1023), (1023, 1..=1023), (1024, 1024..=u16::MAX), (u16::MAX, 1024..=u16::MAX)]
            {
                assert_eq!(class_of(protocol, port), class, "{port}");
            }
        }
        assert_eq!(class_of(Protocol::ICMP, 7), 0..=u16::MAX);
    }
}
