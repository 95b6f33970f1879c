//! What the data path keeps for one IP version.

use alloc::vec::Vec;
use core::net::IpAddr;

use rand_chacha::ChaCha12Rng;
use rand_core::Rng;

use super::ahead::Ahead;
use super::family::Family;
use super::seed;
use super::source_check::Vouched;
use crate::flow::{Direction, FlowId, FlowMeta, FlowTable, Leg, Tuple, TupleHash};
use crate::nat::Nat;

/// Flows and translations of one IP version.
#[derive(Debug)]
pub(super) struct Side<A> {
    pub(super) flows: FlowTable<A>,
    pub(super) nat: Nat<A>,
    /// The flow of the packet before: packets come in runs.
    pub(super) previous: Option<(FlowId, Direction)>,
    pub(super) ahead: Ahead<A>,
    pub(super) ours: Ours<A>,
    /// Sources that were checked lately.
    pub(super) vouched: Vouched<A>,
    /// How many flows the search for dead ones has still to look at, and where it is.
    pub(super) sweep: Sweep,
}

/// A round over all flows that looks for dead ones.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    pub(super) at: u32,
    pub(super) left: u32,
}

/// Addresses of our own.
#[derive(Debug)]
pub(crate) struct Ours<A> {
    /// Inside the tunnels, in the order of the configuration.
    overlay: Vec<A>,
    /// Of pools, ascending.
    external: Vec<A>,
    changes: u64,
}

impl<A: Family> Side<A> {
    pub(super) fn new(flows_max: u32, overlay: &[IpAddr], random: &mut ChaCha12Rng) -> Side<A> {
        let mut key = [0; 16];
        random.fill_bytes(&mut key);
        let overlay = overlay.iter().filter_map(|address| of_version(*address)).collect();
        let flows = FlowTable::new(flows_max, &key);
        Side {
            ahead: Ahead::new(&flows),
            flows,
            nat: Nat::new(seed(random)),
            previous: None,
            ours: Ours { overlay, external: Vec::new(), changes: 0 },
            vouched: Vouched::new(),
            sweep: Sweep::default(),
        }
    }

    /// Searches the flow table for a packet's tuple, taken by value for its owner to keep in registers. It is hashed unless
    /// that was done ahead, and if there is no flow its hash comes back.
    #[inline(never)]
    pub(super) fn look_up(
        &self,
        tuple: Tuple<A>,
        ahead: Option<usize>,
    ) -> Result<(FlowId, Direction), TupleHash> {
        let sought = ahead.and_then(|packet| self.ahead.of(packet)).filter(|sought| sought.tuple == tuple);
        let hash = sought.map_or_else(|| self.flows.hash(&tuple), |sought| sought.hash);
        self.flows.lookup_hashed(hash, &tuple).ok_or(hash)
    }
}

impl<A: Family> Ours<A> {
    /// Replaces the addresses of pools.
    pub(super) fn set_external(&mut self, mut external: Vec<A>) {
        external.sort_unstable();
        external.dedup();
        self.external = external;
        self.changes += 1;
    }

    /// How often they have changed.
    #[inline]
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether it is one of our own inside the tunnels.
    #[inline]
    pub(super) fn is_overlay(&self, address: A) -> bool {
        self.overlay.contains(&address)
    }

    /// Whether it is one that flows are translated to.
    #[inline]
    pub(super) fn is_external(&self, address: A) -> bool {
        let is_between = self.external.first().is_some_and(|first| *first <= address)
            && self.external.last().is_some_and(|last| address <= *last);
        is_between && self.external.binary_search(&address).is_ok()
    }

    /// Whether it is one of either kind.
    #[inline]
    pub(super) fn has(&self, address: A) -> bool {
        self.is_overlay(address) || self.is_external(address)
    }

    /// Whether it is none of ours.
    pub(super) fn is_neither(&self, address: A) -> bool {
        !self.has(address)
    }

    /// The address that answers a packet to `destination`: that very address if it is ours, else our first one.
    pub(super) fn answering(&self, destination: A) -> Option<A> {
        if self.has(destination) { Some(destination) } else { self.overlay.first().copied() }
    }
}

/// Where packets of this direction come in.
#[inline]
pub(super) fn leg_in_of(meta: &FlowMeta, direction: Direction) -> Leg {
    match direction {
        Direction::Original => meta.ingress,
        Direction::Reply => meta.egress,
    }
}

/// Where packets of this direction leave.
#[inline]
pub(super) fn leg_out_of(meta: &FlowMeta, direction: Direction) -> Leg {
    leg_in_of(meta, direction.reversed())
}

/// The address, if it is of this version.
pub(super) fn of_version<A: Family>(address: IpAddr) -> Option<A> {
    let addresses = crate::packet::Addresses::new(address, address).ok()?;
    A::pair(addresses).map(|(address, _)| address)
}
