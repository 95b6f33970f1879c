//! What is kept for whoever writes down what passed and what did not: flows that are over, and who sent what was refused. Nothing
//! unless it is asked for. Called where flows are forgotten and packets refused, never for packets that pass.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use wg_proto::Instant;

use crate::flow::Removed;
use crate::packet::{Ends, Protocol};
use crate::rules::SessionId;
use crate::verdict::{DropReason, Ingress};

use super::family::{Family, ends_of};

// Our own choice.
/// Sides that refused packets came from and that are told apart; of more, nothing is kept but the counters.
const INGRESSES_MAX: usize = 65_536;

/// A flow that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedFlow {
    /// The session whose rule let it pass.
    pub session: SessionId,
    /// The protocol above IP.
    pub protocol: Protocol,
    /// Addresses and ports of the opening packet as it came in.
    pub original: Ends,
    /// Addresses and ports of answers as they came in.
    pub reply: Ends,
    /// Bytes in the opening packet's direction, and back.
    pub bytes: [u64; 2],
    /// When a packet last refreshed it.
    pub last_seen: Instant,
}

/// Packets that were refused, all from one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusals {
    /// Where they came in.
    pub from: Ingress,
    /// How many.
    pub packets: u64,
    /// The last of them.
    pub last: RefusedPacket,
}

/// A packet that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedPacket {
    /// Why.
    pub reason: DropReason,
    /// The protocol above IP.
    pub protocol: Protocol,
    /// From where to where, as it came in.
    pub ends: Ends,
}

/// What is kept until it is taken.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// 0: nothing is kept, also of refusals.
    flows_max: usize,
    flows: VecDeque<EndedFlow>,
    /// Flows that are not among these: there was no room, or nobody knows any more whose they were.
    flows_lost: u64,
    refused: BTreeMap<Ingress, Refusals>,
}

impl Journal {
    /// Keeps as many flows as this from now on; of more, the oldest are lost.
    pub(crate) fn keep(&mut self, flows_max: usize) {
        self.flows_max = flows_max;
        self.flows.truncate(flows_max);
    }

    #[inline]
    pub(super) fn is_kept(&self) -> bool {
        self.flows_max > 0
    }

    /// A flow is over.
    pub(super) fn ended<A: Family>(&mut self, flow: &Removed<A>, session: Option<SessionId>) {
        let Some(session) = session else {
            self.flows_lost += 1;
            return;
        };
        if self.flows.len() >= self.flows_max {
            self.flows.pop_front();
            self.flows_lost += 1;
        }
        self.flows.push_back(EndedFlow {
            session,
            protocol: flow.original.protocol,
            original: ends_of(&flow.original),
            reply: ends_of(&flow.reply),
            bytes: flow.bytes,
            last_seen: Instant::from_nanos(flow.last_seen.as_nanos()),
        });
    }

    /// A packet was refused.
    pub(super) fn refused(&mut self, from: Ingress, last: RefusedPacket) {
        let is_full = self.refused.len() >= INGRESSES_MAX;
        match self.refused.get_mut(&from) {
            Some(refusals) => {
                refusals.packets += 1;
                refusals.last = last;
            }
            None if is_full => {}
            None => _ = self.refused.insert(from, Refusals { from, packets: 1, last }),
        }
    }

    /// At most `max` of the flows that are over, the oldest first, and how many were lost.
    pub(crate) fn take_flows(&mut self, max: usize) -> (Vec<EndedFlow>, u64) {
        let max = max.min(self.flows.len());
        (self.flows.drain(..max).collect(), core::mem::take(&mut self.flows_lost))
    }

    /// What was refused since the last time.
    pub(crate) fn take_refusals(&mut self) -> Vec<Refusals> {
        core::mem::take(&mut self.refused).into_values().collect()
    }
}

/// Whether a packet refused for this reason says something of who sent it: it was not allowed, or not theirs to send. What only
/// came late, broken or too fast for a moment does not.
pub(super) fn is_telling(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::SourceNotAssigned
            | DropReason::MartianSource
            | DropReason::SourceIsOurs
            | DropReason::OverlayAddressOutsideTunnel
            | DropReason::NotAllowed
            | DropReason::WrongIngress
            | DropReason::SessionClosed
            | DropReason::LeaseLapsed
            | DropReason::CapFlows
            | DropReason::CapHalfOpen
            | DropReason::CapPorts
            | DropReason::CapNewFlows
    )
}
