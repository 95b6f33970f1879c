//! Flows of sessions that have ended: both ends of TCP are reset, everybody else is told on the next packet (FLT-7).

use super::admission::release;
use super::family::{Family, egress_of, ends_of};
use super::side::{Side, leg_in_of};
use super::{Path, Road, Shared};
use crate::flow::{Direction, Flow, FlowId, Tick};
use crate::packet::build::{self, BUILT_BYTES_MAX};
use crate::rules::Dead;
use crate::verdict::DropReason;
use alloc::boxed::Box;
use wg_proto::Instant;

// Our own choices.

/// Flows looked at in one go, when a session has ended. At a few nanoseconds each, far below a batch's time.
const SWEPT_AT_ONCE: u32 = 1024;
/// Timers looked at in one go.
const EXPIRED_AT_ONCE: u32 = 256;
/// Resets that one flow may cost.
const RESETS_PER_FLOW: usize = 4;

impl Path {
    /// A session has ended: look at all flows once from here on.
    pub(crate) fn begin_sweep(&mut self) {
        self.v4.sweep.left = self.v4.flows.numbers();
        self.v6.sweep.left = self.v6.flows.numbers();
    }

    /// Whether flows of ended sessions may still wait for their reset.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.v4.sweep.left > 0 || self.v6.sweep.left > 0 || self.shared.rules.has_dead_flows()
    }

    /// When a flow or a fragment next runs out of time.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let flow = [self.v4.flows.next_expiry(), self.v6.flows.next_expiry()].into_iter().flatten().min();
        let flow = flow.map(|tick| Instant::from_nanos(tick.as_nanos()));
        [flow, self.shared.fragments.poll_timeout()].into_iter().flatten().min()
    }

    /// Some of what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let tick = Tick::from_nanos(now.as_nanos());
        if self.shared.rules.take_dead_flows(now) {
            self.begin_sweep();
        }
        self.shared.fragments.handle_timeout(now);
        let given_up = self.shared.fragments.take_given_up();
        self.shared.counters.drop_many(DropReason::FragmentGivenUp, given_up);
        expire(&mut self.v4, &mut self.shared, tick);
        expire(&mut self.v6, &mut self.shared, tick);
        sweep(&mut self.v4, &mut self.shared, now);
        sweep(&mut self.v6, &mut self.shared, now);
    }
}

impl<A: Family> Road<'_, A> {
    /// Forgets a flow whose session has ended. Says whether its ends were reset.
    pub(super) fn bury(&mut self, id: FlowId) -> bool {
        bury(self.side, self.shared, self.tick, id)
    }
}

fn bury<A: Family>(side: &mut Side<A>, shared: &mut Shared, tick: Tick, id: FlowId) -> bool {
    let is_reset = side.flows.flow(id).is_some_and(|flow| reset_both_ends(&flow, shared));
    if let Some(removed) = side.flows.remove(id) {
        release(side, shared, tick, &removed);
    }
    shared.counters.flows_reset += u64::from(is_reset);
    is_reset
}

/// Queues resets that both ends of a TCP flow believe. Says whether it is one.
fn reset_both_ends<A: Family>(flow: &Flow<'_, A>, shared: &mut Shared) -> bool {
    let Some(track) = flow.tcp() else { return false };
    for end in Direction::BOTH {
        let resets = track.resets_to(end);
        let ends = ends_of(&flow.incoming(end).inverse());
        let egress = egress_of(leg_in_of(&flow.meta(), end));
        for numbers in core::iter::once(resets.first).chain(resets.second) {
            let mut buffer = [0; BUILT_BYTES_MAX];
            let built = build::reset(&ends, numbers.seq, numbers.ack.unwrap_or(0), &mut buffer);
            let Ok(len) = built else { continue };
            match shared.outbox.push(egress, Box::from(&buffer[..len])) {
                Ok(()) => shared.counters.answers += 1,
                Err(_) => shared.counters.drop(DropReason::OutboxFull),
            }
        }
    }
    true
}

fn expire<A: Family>(side: &mut Side<A>, shared: &mut Shared, tick: Tick) {
    let mut budget = EXPIRED_AT_ONCE;
    while let Some(removed) = side.flows.expire(tick, &mut budget) {
        release(side, shared, tick, &removed);
    }
}

/// Looks for flows of ended sessions, as far as there is room for resets. TCP flows are reset. Others are left for their next
/// packet, which is answered, or for their timer, but give their ports back: nobody must wait for those.
fn sweep<A: Family>(side: &mut Side<A>, shared: &mut Shared, now: Instant) {
    for _ in 0..SWEPT_AT_ONCE.min(side.sweep.left) {
        if !shared.outbox.has_room(RESETS_PER_FLOW) {
            return;
        }
        let at = if side.sweep.at < side.flows.numbers() { side.sweep.at } else { 0 };
        (side.sweep.at, side.sweep.left) = (at + 1, side.sweep.left - 1);
        if let Some(id) = side.flows.id(at) {
            end_if_dead(side, shared, now, id);
        }
    }
}

/// Ports of a lapsed lease wait for its renewal or its end: with either, its flows are of a closed session.
fn end_if_dead<A: Family>(side: &mut Side<A>, shared: &mut Shared, now: Instant, id: FlowId) {
    let Some(flow) = side.flows.flow(id) else { return };
    let (is_tcp, tick) = (flow.tcp().is_some(), Tick::from_nanos(now.as_nanos()));
    match shared.rules.check(now, flow.meta().session) {
        Ok(()) => {}
        Err(_) if is_tcp => {
            bury(side, shared, tick, id);
        }
        Err(Dead::Closed) => {
            if let Some(held) = side.flows.disown(id) {
                release(side, shared, tick, &held);
            }
        }
        Err(Dead::Lapsed) => {}
    }
}
