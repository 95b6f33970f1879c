//! Endpoint-independent mappings: one external port per inside end, whoever it talks to. RFC 4787 REQ-1.

use alloc::collections::BTreeMap;

/// An inside host's address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inside<A> {
    pub(super) address: A,
    pub(super) port: u16,
}

/// The mappings of one external address and protocol. At most one per external port.
#[derive(Clone, Debug)]
pub(super) struct Mappings<A> {
    by_inside: BTreeMap<Inside<A>, Mapped>,
    by_port: BTreeMap<u16, Inside<A>>,
}

#[derive(Clone, Copy, Debug)]
struct Mapped {
    port: u16,
    flows: u32,
}

impl<A: Copy + Ord> Mappings<A> {
    pub(super) fn new() -> Mappings<A> {
        Mappings { by_inside: BTreeMap::new(), by_port: BTreeMap::new() }
    }

    /// The external port of this inside end.
    pub(super) fn port_of(&self, inside: Inside<A>) -> Option<u16> {
        self.by_inside.get(&inside).map(|mapped| mapped.port)
    }

    /// The inside end of this external port.
    pub(super) fn inside_of(&self, port: u16) -> Option<Inside<A>> {
        self.by_port.get(&port).copied()
    }

    /// Makes a mapping for its first flow.
    pub(super) fn add(&mut self, inside: Inside<A>, port: u16) {
        self.by_inside.insert(inside, Mapped { port, flows: 1 });
        self.by_port.insert(port, inside);
    }

    /// One more flow uses the mapping.
    pub(super) fn join(&mut self, inside: Inside<A>) {
        if let Some(mapped) = self.by_inside.get_mut(&inside) {
            mapped.flows += 1;
        }
    }

    /// One flow fewer uses the mapping, and the last takes it down.
    pub(super) fn leave(&mut self, inside: Inside<A>, port: u16) -> Left {
        let Some(mapped) = self.by_inside.get_mut(&inside).filter(|mapped| mapped.port == port) else {
            return Left::NotMapped;
        };
        mapped.flows -= 1;
        if mapped.flows > 0 {
            return Left::StillUsed;
        }
        self.by_inside.remove(&inside);
        self.by_port.remove(&port);
        Left::Gone
    }
}

/// What is left of a mapping after a flow has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The flow had its port for itself.
    NotMapped,
    /// Other flows use it.
    StillUsed,
    /// Nothing: the port is free to be held.
    Gone,
}
