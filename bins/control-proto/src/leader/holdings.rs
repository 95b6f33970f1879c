//! What an agent may hold, as far as its leader can know: what it has answered for, which revocations it has not, and when it can
//! have no lease any more.

use std::collections::BTreeMap;

use router_core::rules::SessionId;
use wg_proto::Instant;

use crate::position::Generation;

// Our own choice.
/// Sessions that are remembered one by one until their removal is answered for. With more, all that are gone count as not
/// yet removed until the agent has everything.
const REMOVING_MAX: usize = 65_536;

#[derive(Debug)]
pub(super) struct Holdings {
    /// The newest generation it has answered for.
    acked: Option<Generation>,
    /// The newest generation that took something away, or made it another.
    revoked: Generation,
    removing: BTreeMap<SessionId, Generation>,
    /// Until this is answered for, it may hold sessions that nobody remembers.
    unknown: Option<Generation>,
    /// When its last lease is over at the latest.
    lapses_at: Instant,
}

impl Holdings {
    /// Of an agent that may have had a lease until `lapses_at` from whoever led it before.
    pub(super) fn unknown(lapses_at: Instant) -> Holdings {
        let unknown = Some(Generation(0));
        Holdings { acked: None, revoked: Generation(0), removing: BTreeMap::new(), unknown, lapses_at }
    }

    pub(super) fn acked(&self) -> Option<Generation> {
        self.acked
    }

    pub(super) fn lapses_at(&self) -> Instant {
        self.lapses_at
    }

    /// Whether the agent has answered for this generation.
    pub(super) fn has(&self, generation: Generation) -> bool {
        self.acked.is_some_and(|acked| acked >= generation)
    }

    /// Whether everything that was taken away is answered for.
    pub(super) fn is_rid_of_all(&self) -> bool {
        self.has(self.revoked)
    }

    /// A session's grant was taken away in this generation.
    pub(super) fn removed(&mut self, session: SessionId, generation: Generation) {
        self.removing.insert(session, generation);
        if self.removing.len() > REMOVING_MAX {
            self.removing.clear();
            self.unknown = Some(generation);
        }
    }

    /// A session's grant is back: what was known of its removal matters no more.
    pub(super) fn restored(&mut self, session: SessionId) {
        self.removing.remove(&session);
    }

    /// Something was taken away or made another in this generation.
    pub(super) fn revoked(&mut self, generation: Generation) {
        self.revoked = generation;
    }

    /// The agent has answered for everything up to this generation.
    pub(super) fn acknowledge(&mut self, generation: Generation) {
        self.acked = Some(generation);
        self.removing.retain(|_, removed| *removed > generation);
        self.unknown = self.unknown.filter(|unknown| *unknown > generation);
    }

    /// The agent has nothing that can be told in generations any more; what was granted may still be in force.
    pub(super) fn forget_acks(&mut self) {
        self.acked = None;
    }

    /// A lease ends at this moment at the latest.
    pub(super) fn leased(&mut self, until: Instant) {
        self.lapses_at = self.lapses_at.max(until);
    }

    /// Whether a session that is not wanted may still be in force.
    pub(super) fn may_hold(&self, now: Instant, session: SessionId) -> bool {
        now < self.lapses_at && (self.unknown.is_some() || self.removing.contains_key(&session))
    }

    /// Without a lease nothing passes: whatever was to be removed is as good as removed, and no lease comes before it is.
    pub(super) fn lapse(&mut self, now: Instant) {
        if now >= self.lapses_at {
            self.removing.clear();
            self.unknown = None;
        }
    }

    /// When [`lapse`](Holdings::lapse) has something to do.
    pub(super) fn next_lapse(&self) -> Option<Instant> {
        let waits = self.unknown.is_some() || !self.removing.is_empty();
        waits.then_some(self.lapses_at)
    }
}
