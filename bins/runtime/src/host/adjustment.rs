//! Small changes to a running program, each as it is needed, under one lock: what a change costs does not grow with what stays.
//! Called by control through [`Program::adjust`](super::program::Program::adjust).

use router_core::Node;
use router_core::rules::{Rule, RuleError, SessionId, SessionView};
use wg_proto::{AddPeerError, Instant, PeerIndex, PublicKey};

use super::peers::{self, PeerPlan};

/// A program that waits for changes; packets wait meanwhile.
pub struct Adjustment<'a> {
    pub(super) node: &'a mut Node,
    pub(super) now: Instant,
    pub(super) peers: &'a mut Vec<PeerPlan>,
}

impl Adjustment<'_> {
    /// The number of the peer with this key.
    pub fn peer(&self, key: &PublicKey) -> Option<PeerIndex> {
        self.node.device().peer_by_key(key)
    }

    /// Adds a peer, or makes it what the plan says. Says whether it is new.
    ///
    /// # Errors
    /// If it cannot be added.
    pub fn put_peer(&mut self, plan: PeerPlan) -> Result<bool, AddPeerError> {
        let new = std::slice::from_ref(&plan);
        let added = peers::add_new(self.node.device_mut(), self.now, new)?;
        let place = self.peers.iter().position(|peer| peer.public_key == plan.public_key);
        let old = place.and_then(|place| self.peers.get(place));
        peers::settle(self.node, self.now, old.map_or(&[][..], std::slice::from_ref), new);
        match place.and_then(|place| self.peers.get_mut(place)) {
            Some(peer) => *peer = plan,
            None => self.peers.push(plan),
        }
        Ok(!added.is_empty())
    }

    /// Removes a peer and closes the sessions that come from it or leave to it.
    pub fn remove_peer(&mut self, key: &PublicKey) {
        self.peers.retain(|peer| peer.public_key != *key);
        if let Some(peer) = self.peer(key) {
            self.node.remove_peer(self.now, peer);
        }
    }

    /// Opens a session of the node.
    ///
    /// # Errors
    /// If the node refuses it.
    pub fn open(&mut self, rule: &Rule) -> Result<(), RuleError> {
        self.node.open_session(self.now, rule)
    }

    /// Closes a session of the node, and says what it has carried; `None` if there was none.
    pub fn close(&mut self, id: SessionId) -> Option<SessionView> {
        let view = self.node.session(id)?;
        self.node.close_session(self.now, id);
        Some(view)
    }
}
