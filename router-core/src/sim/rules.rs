//! Changes of rules, told to the node and to its twin alike, and what is asserted about both.

use alloc::string::String;

use wg_proto::{Instant, PeerIndex};

use super::{Sim, StationId, Twin};
use crate::rules::{Applied, Rule, RuleSnapshot, SessionId};

impl Sim {
    /// The number under which one station knows another. Panics if it does not: that is a mistake in a test.
    pub fn peer(&self, at: StationId, of: StationId) -> PeerIndex {
        let key = self.node(of).device().public_key().expect("every station has a key");
        self.node(at).device().peer_by_key(&key).expect("the stations know each other")
    }

    /// Gives a node its rules. Panics if it refuses them.
    pub fn apply(&mut self, id: StationId, snapshot: &RuleSnapshot) -> Applied {
        let now = self.now();
        let applied = self.node_mut(id).apply(now, snapshot).expect("the snapshot is right");
        self.tell(id, |twin| twin.apply(now, snapshot));
        applied
    }

    /// Opens a session. Panics if the node refuses it.
    pub fn open_session(&mut self, id: StationId, rule: &Rule) {
        let now = self.now();
        self.node_mut(id).open_session(now, rule).expect("the rule is right");
        self.tell(id, |twin| twin.open(rule));
    }

    /// Closes a session. Says whether there was one.
    pub fn close_session(&mut self, id: StationId, session: SessionId) -> bool {
        let now = self.now();
        self.tell(id, |twin| twin.close(session));
        self.node_mut(id).close_session(now, session)
    }

    /// Gives a session a new lease. Says whether there is such a session.
    pub fn renew_lease(&mut self, id: StationId, session: SessionId, lease: Option<Instant>) -> bool {
        let now = self.now();
        self.tell(id, |twin| twin.renew(now, session, lease));
        self.node_mut(id).renew_lease(now, session, lease)
    }

    /// Gives a node a lease of its own.
    pub fn set_node_lease(&mut self, id: StationId, lease: Option<Instant>) {
        let now = self.now();
        self.tell(id, |twin| twin.set_node_lease(now, lease));
        self.node_mut(id).set_node_lease(now, lease);
    }

    /// Safety: panics, with the seed, if any node forwarded what its twin says it must not, or if any host got a packet
    /// with a wrong checksum.
    pub fn assert_forwarded_was_allowed(&self) {
        self.assert_none(|twin| &twin.wrongly_forwarded, "forwarded, but not allowed");
        let corrupt: u64 = self.hosts.iter().map(|host| host.corrupt).sum();
        assert_eq!(corrupt, 0, "seed {}: packets arrived with a wrong checksum", self.seed());
    }

    /// Liveness: panics, with the seed, if any node refused what its twin says must pass.
    pub fn assert_allowed_got_through(&self) {
        self.assert_none(|twin| &twin.wrongly_refused, "allowed, but refused");
    }

    fn assert_none(&self, of: impl Fn(&Twin) -> &[String], what: &str) {
        for station in &self.stations {
            let wrong = station.twin.as_ref().map(&of).unwrap_or_default();
            let list = wrong.join("\n");
            assert!(wrong.is_empty(), "seed {}: {what} by {}:\n{list}", self.seed(), station.name);
        }
    }

    fn tell(&mut self, id: StationId, news: impl FnOnce(&mut Twin)) {
        if let Some(twin) = &mut self.station_mut(id).twin {
            news(twin);
        }
    }
}
