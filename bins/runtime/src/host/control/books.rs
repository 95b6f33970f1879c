//! What of a state is in force, as numbers of the node: which rules a session has, and which sessions name a peer. So that a
//! change costs what it is, and not what all is.

use std::collections::{BTreeSet, HashMap};

use control_proto::Grant;
use router_core::rules::{Rule, SessionId};
use wg_proto::PublicKey;

use super::grants;

#[derive(Debug, Default)]
pub(super) struct Books {
    rules: HashMap<SessionId, Vec<SessionId>>,
    names: HashMap<SessionId, Vec<PublicKey>>,
    named: HashMap<PublicKey, BTreeSet<SessionId>>,
}

impl Books {
    /// The grant names these peers, whether they are there or not.
    pub(super) fn enter(&mut self, grant: &Grant) {
        let keys: Vec<PublicKey> = grants::keys(grant).collect();
        for key in &keys {
            self.named.entry(*key).or_default().insert(grant.session);
        }
        self.names.insert(grant.session, keys);
    }

    /// The session's grant is gone.
    pub(super) fn strike(&mut self, session: SessionId) {
        for key in self.names.remove(&session).unwrap_or_default() {
            if let Some(sessions) = self.named.get_mut(&key) {
                sessions.remove(&session);
                if sessions.is_empty() {
                    self.named.remove(&key);
                }
            }
        }
    }

    /// The session has these rules in the node.
    pub(super) fn opened(&mut self, session: SessionId, rules: &[Rule]) {
        self.rules.insert(session, rules.iter().map(|rule| rule.id).collect());
    }

    /// Forgets the session's rules, and says which they were.
    pub(super) fn closed(&mut self, session: SessionId) -> Vec<SessionId> {
        self.rules.remove(&session).unwrap_or_default()
    }

    /// The sessions whose grants name this peer.
    pub(super) fn naming(&self, key: &PublicKey) -> Vec<SessionId> {
        self.named.get(key).map_or(Vec::new(), |sessions| sessions.iter().copied().collect())
    }

    /// All rules, and whose they are.
    pub(super) fn rules(&self) -> impl Iterator<Item = (SessionId, SessionId)> + '_ {
        self.rules.iter().flat_map(|(session, rules)| rules.iter().map(|rule| (*rule, *session)))
    }
}
