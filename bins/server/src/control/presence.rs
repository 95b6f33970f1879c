//! What the audit is told of an agent: that it came, went, took or refused what it is to have. Called by news and plan. An agent
//! that comes and goes all the time, by its own fault or will, does not fill the audit: what repeats is counted.

use std::time::Duration;

use control_proto::{Ack, Problem};
use jiff::Timestamp;

use crate::engine::AgentDid;

// Our own choice.
/// So often at most is it told that an agent has come, or refuses.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Events that wait while they cannot be written down; the latest are left out then.
const UNTOLD_MAX: usize = 64;

/// One agent, as the audit knows it.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// Whether the audit says that it is there.
    told_here: bool,
    /// When that was last told.
    told_at: Option<Timestamp>,
    /// How often it has come since.
    arrivals: u32,
    software: Option<String>,
    /// It has come, and not answered for anything yet.
    awaits: bool,
    /// It has a lease, as far as the audit knows.
    holds: bool,
    /// The last problem told, and when.
    problem: Option<(Timestamp, String)>,
    /// What the audit does not know yet.
    untold: Vec<AgentDid>,
}

/// How an agent stands at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    pub(super) is_up: bool,
    /// It may forward.
    pub(super) has_lease: bool,
}

impl Presence {
    /// It said hello.
    pub(super) fn arrived(&mut self, software: &str) {
        self.arrivals = self.arrivals.saturating_add(1);
        self.software = Some(software.to_owned());
        self.awaits = true;
    }

    /// It has taken something.
    pub(super) fn acknowledged(&mut self, ack: &Ack) {
        self.problem = None;
        if !std::mem::take(&mut self.awaits) {
            return;
        }
        let (generation, applied) = (ack.generation.0, ack.applied);
        self.untold.push(if applied.kept == 0 && applied.removed == 0 {
            AgentDid::Initialized { generation, rules: applied.added }
        } else {
            AgentDid::Reconciled { generation, added: applied.added, removed: applied.removed }
        });
    }

    /// It has refused something.
    pub(super) fn refused(&mut self, now: Timestamp, generation: u64, problem: &Problem) {
        let problem = problem.what.to_string();
        let is_told =
            self.problem.as_ref().is_some_and(|(at, _)| now.duration_since(*at) < signed(TELL_EVERY));
        if is_told {
            return;
        }
        self.problem = Some((now, problem.clone()));
        self.untold.push(AgentDid::Refused { generation, problem, first: self.awaits });
    }

    /// How it stands now: what is to be written down, in order.
    pub(super) fn observed(&mut self, now: Timestamp, sight: Sight) -> Vec<AgentDid> {
        let mut did = Vec::new();
        let may_tell = self.told_at.is_none_or(|at| now.duration_since(at) >= signed(TELL_EVERY));
        if self.arrivals > 0 && may_tell {
            let times = std::mem::take(&mut self.arrivals);
            did.push(AgentDid::Connected { software: self.software.clone(), times });
            (self.told_here, self.told_at) = (true, Some(now));
        }
        if self.told_here && !sight.is_up {
            did.push(AgentDid::Disconnected);
            self.told_here = false;
        }
        did.append(&mut self.untold);
        if self.holds && !sight.has_lease {
            did.push(AgentDid::LeaseLapsed);
        }
        self.holds = sight.has_lease;
        did
    }

    /// This could not be written down.
    pub(super) fn is_untold(&mut self, did: impl IntoIterator<Item = AgentDid>) {
        self.untold.splice(0..0, did);
        self.untold.truncate(UNTOLD_MAX);
    }
}

fn signed(duration: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use control_proto::{Applied, Generation};

    use super::*;

    const UP: Sight = Sight { is_up: true, has_lease: true };
    const DOWN: Sight = Sight { is_up: false, has_lease: true };
    const LAPSED: Sight = Sight { is_up: false, has_lease: false };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn ack(added: u32, removed: u32, kept: u32) -> Ack {
        Ack { generation: Generation(3), applied: Applied { added, removed, kept, ..Applied::default() } }
    }

    fn connected(times: u32) -> AgentDid {
        AgentDid::Connected { software: Some("sluice 1".to_owned()), times }
    }

    #[test]
    fn an_agent_comes_gets_its_rules_goes_and_its_lease_ends() {
        let mut presence = Presence::default();
        presence.arrived("sluice 1");
        presence.acknowledged(&ack(2, 0, 0));
        let initialized = AgentDid::Initialized { generation: 3, rules: 2 };
        assert_eq!(presence.observed(at(0), UP), [connected(1), initialized]);
        presence.acknowledged(&ack(1, 0, 2));
        assert_eq!(presence.observed(at(1), UP), [], "what changes later is in the events of what changed");
        assert_eq!(presence.observed(at(2), DOWN), [AgentDid::Disconnected]);
        assert_eq!(presence.observed(at(16), LAPSED), [AgentDid::LeaseLapsed]);
        assert_eq!(presence.observed(at(17), LAPSED), []);
        presence.arrived("sluice 1");
        presence.acknowledged(&ack(1, 1, 1));
        let reconciled = AgentDid::Reconciled { generation: 3, added: 1, removed: 1 };
        assert_eq!(presence.observed(at(20), UP), [connected(1), reconciled]);
    }

    #[test]
    fn one_that_comes_and_goes_all_the_time_is_counted() {
        let mut presence = Presence::default();
        let mut events = 0;
        for second in 0..100 {
            presence.arrived("sluice 1");
            events += presence.observed(at(second), UP).len();
            events += presence.observed(at(second), DOWN).len();
        }
        assert_eq!(events, 20, "each comes and goes once in ten seconds");
        assert_eq!(presence.observed(at(101), UP), [connected(9)]);
    }

    #[test]
    fn a_refusal_is_told_once_until_something_is_taken_or_a_while_has_passed() {
        let mut presence = Presence::default();
        let problem = Problem::new("no room");
        presence.arrived("sluice 1");
        presence.refused(at(0), 7, &problem);
        presence.refused(at(1), 7, &problem);
        let refused = AgentDid::Refused { generation: 7, problem: problem.what.to_string(), first: true };
        assert_eq!(presence.observed(at(1), UP), [connected(1), refused]);
        presence.acknowledged(&ack(1, 0, 0));
        presence.refused(at(2), 8, &problem);
        let later = presence.observed(at(2), UP);
        assert!(matches!(&later[1], AgentDid::Refused { generation: 8, first: false, .. }), "{later:?}");
    }
}
