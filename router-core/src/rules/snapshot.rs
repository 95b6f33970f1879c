//! Applying a snapshot: a difference in which absent means delete (P17).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use wg_proto::Instant;

use super::rule::{Applied, ApplyError, RuleError, RuleSnapshot, SessionId};
use super::slots::Session;
use super::{FOREVER, Rules};

/// What a snapshot changes. Making it checks everything, so that applying it cannot fail half-way.
#[derive(Debug)]
pub(crate) struct Difference {
    closed: Vec<SessionId>,
    opened: Vec<Session>,
    renewed: Vec<(SessionId, Instant)>,
}

impl Rules {
    /// Compares what is with what should be. `allow` is asked about each rule on top.
    pub(crate) fn compare(
        &self,
        snapshot: &RuleSnapshot,
        allow: impl Fn(&Session) -> Result<(), RuleError>,
    ) -> Result<Difference, ApplyError> {
        let mut difference = Difference { closed: Vec::new(), opened: Vec::new(), renewed: Vec::new() };
        let mut wanted = BTreeSet::new();
        for rule in &snapshot.rules {
            let refused = |error| ApplyError::Rule { session: rule.id, error };
            let session = Session::new(rule).map_err(refused)?;
            allow(&session).map_err(refused)?;
            if !wanted.insert(rule.id) {
                return Err(refused(RuleError::Duplicate));
            }
            self.compare_one(session, &mut difference);
        }
        if snapshot.rules.len() > self.slots.sessions_max() as usize {
            let session = snapshot.rules[self.slots.sessions_max() as usize].id;
            return Err(ApplyError::Rule { session, error: RuleError::TooManySessions });
        }
        let absent = self.slots.ids().filter(|id| !wanted.contains(id));
        difference.closed.extend(absent);
        Ok(difference)
    }

    /// Makes it so. Sessions that stay keep their flows.
    pub(crate) fn apply(&mut self, now: Instant, difference: Difference) -> Applied {
        let (added, renewed) = (difference.opened.len(), difference.renewed.len());
        let removed = difference.closed.into_iter().filter_map(|id| self.close(id)).count();
        for session in difference.opened {
            self.open(session).expect("compare has checked number and room");
        }
        for (id, deadline) in difference.renewed {
            self.renew(now, id, Some(deadline).filter(|deadline| *deadline < FOREVER));
        }
        Applied { added: added as u32, removed: removed as u32, kept: renewed as u32 }
    }

    fn compare_one(&self, session: Session, difference: &mut Difference) {
        match self.slots.find(session.id).and_then(|slot| self.slots.session(slot)) {
            Some(present) if present.is_like(&session) => {
                difference.renewed.push((session.id, session.deadline));
            }
            Some(_) => {
                difference.closed.push(session.id);
                difference.opened.push(session);
            }
            None => difference.opened.push(session),
        }
    }
}
