//! What sessions have carried since the agent was started, whichever rules they had meanwhile, and what of it the server has been
//! told. Totals, not differences: told twice they do no harm.

use std::collections::{BTreeSet, HashMap};

use control_proto::{CounterReport, SessionCounters};
use router_core::rules::{SessionId, SessionView};
use wg_proto::Instant;

// Our own choices.
/// Sessions of one report.
const SESSIONS_PER_REPORT: usize = 2000;
/// Sessions that have ended and whose last counters nobody has taken yet; of more, some are forgotten.
const ENDED_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    session_of: HashMap<SessionId, SessionId>,
    /// As it was before the last whole state: flows of rules that are gone are told of a moment later.
    session_before: HashMap<SessionId, SessionId>,
    /// What rules have carried that are closed.
    past: HashMap<SessionId, Totals>,
    ended: BTreeSet<SessionId>,
    told: HashMap<SessionId, Totals>,
    outstanding: Option<CounterReport>,
    reports: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    packets: [u64; 2],
    bytes: [u64; 2],
    flows: u32,
    last_packet: Option<Instant>,
}

impl Ledger {
    /// The session that a rule is or was of, if that was not long ago.
    pub(super) fn session_of(&self, rule: SessionId) -> Option<SessionId> {
        self.session_of.get(&rule).or_else(|| self.session_before.get(&rule)).copied()
    }

    /// A session has a rule.
    pub(super) fn opened(&mut self, session: SessionId, rule: SessionId) {
        self.session_of.insert(rule, session);
        self.ended.remove(&session);
    }

    /// A rule is closed, or has begun to count anew; this is what it had carried.
    pub(super) fn closed(&mut self, view: &SessionView) {
        if let Some(session) = self.session_of.get(&view.id) {
            let past = self.past.entry(*session).or_default();
            // Its flows are over.
            *past = Totals { flows: 0, ..past.and(view) };
        }
    }

    /// A session has ended.
    pub(super) fn ended(&mut self, session: SessionId) {
        self.ended.insert(session);
        if self.ended.len() > ENDED_MAX
            && let Some(forgotten) = self.ended.pop_first()
        {
            self.forget(forgotten);
        }
    }

    /// Which rules there are now, and whose they are.
    pub(super) fn replace(&mut self, rules: impl Iterator<Item = (SessionId, SessionId)>) {
        let now = rules.inspect(|(_, session)| _ = self.ended.remove(session)).collect();
        self.session_before = std::mem::replace(&mut self.session_of, now);
    }

    /// What has changed since the last report that was taken; `None` if nothing has, or that one is not taken yet.
    pub(super) fn report(&mut self, now: Instant, views: &[SessionView]) -> Option<CounterReport> {
        if self.outstanding.is_some() {
            return None;
        }
        let mut live: HashMap<SessionId, Totals> = HashMap::new();
        for view in views {
            if let Some(session) = self.session_of.get(&view.id) {
                let begin = || self.past.get(session).copied().unwrap_or_default();
                let totals = live.entry(*session).or_insert_with(begin);
                *totals = totals.and(view);
            }
        }
        let changed = live.iter().filter(|(session, totals)| {
            let is_as_told = |told: &Totals| (told.packets, told.flows) == (totals.packets, totals.flows);
            !self.told.get(*session).is_some_and(is_as_told)
        });
        let ended = self
            .ended
            .iter()
            .map(|session| (session, self.past.get(session).copied().unwrap_or_default(), true));
        let entries = ended.chain(changed.map(|(session, totals)| (session, *totals, false)));
        let entry =
            |(session, totals, closed): (&SessionId, Totals, bool)| totals.entry(now, *session, closed);
        let sessions: Vec<_> = entries.take(SESSIONS_PER_REPORT).map(entry).collect();
        if sessions.is_empty() {
            return None;
        }
        self.reports += 1;
        let report = CounterReport { report: self.reports, sessions };
        self.outstanding = Some(report.clone());
        Some(report)
    }

    /// The server has taken a report.
    pub(super) fn taken(&mut self, report: u64) {
        let Some(taken) = self.outstanding.take_if(|outstanding| outstanding.report == report) else {
            return;
        };
        for counters in taken.sessions {
            if counters.closed {
                self.ended.remove(&counters.session);
                self.forget(counters.session);
            } else {
                let SessionCounters { session, packets, bytes, flows, idle_ms: _, closed: _ } = counters;
                self.told.insert(session, Totals { packets, bytes, flows, last_packet: None });
            }
        }
    }

    /// Nobody knows whether the report that is under way arrives.
    pub(super) fn disconnected(&mut self) {
        self.outstanding = None;
    }

    fn forget(&mut self, session: SessionId) {
        self.past.remove(&session);
        self.told.remove(&session);
    }
}

impl Totals {
    fn and(self, view: &SessionView) -> Totals {
        let sum = |a: [u64; 2], b: [u64; 2]| [a[0] + b[0], a[1] + b[1]];
        Totals {
            packets: sum(self.packets, view.packets),
            bytes: sum(self.bytes, view.bytes),
            flows: self.flows.saturating_add(view.flows),
            last_packet: self.last_packet.max(view.last_packet),
        }
    }

    fn entry(self, now: Instant, session: SessionId, closed: bool) -> SessionCounters {
        let idle = self.last_packet.map(|last| now.saturating_duration_since(last));
        let idle_ms = idle.map(|idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
        let Totals { packets, bytes, flows, .. } = self;
        SessionCounters { session, packets, bytes, flows, idle_ms, closed }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use router_core::rules::{IngressMatch, Subject};

    use super::*;

    const NOW: Instant = Instant::from_nanos(9_000_000_000);
    const SESSION: SessionId = SessionId(1);

    fn view(rule: u128, packets: u64) -> SessionView {
        SessionView {
            id: SessionId(rule),
            subject: Subject { ingress: IngressMatch::Tun, source: IpAddr::from([10, 0, 0, 1]).into() },
            lease: None,
            flows: 0,
            ports: 0,
            packets: [packets, 0],
            bytes: [packets * 100, 0],
            last_packet: Some(Instant::from_nanos(8_000_000_000)),
        }
    }

    fn packets(report: Option<CounterReport>) -> Vec<(u64, bool)> {
        let sessions = report.map(|report| report.sessions).unwrap_or_default();
        sessions.iter().map(|counters| (counters.packets[0], counters.closed)).collect()
    }

    #[test]
    fn the_rules_of_a_session_are_summed_and_those_that_closed_count_on() {
        let mut ledger = Ledger::default();
        (10..13).for_each(|rule| ledger.opened(SESSION, SessionId(rule)));
        ledger.closed(&view(10, 5));
        let views = [view(11, 1), view(12, 2), view(99, 50)];
        let report = ledger.report(NOW, &views).unwrap();
        assert_eq!((report.report, report.sessions[0].idle_ms), (1, Some(1000)));
        assert_eq!(packets(Some(report)), [(8, false)]);
    }

    #[test]
    fn flows_that_go_are_told_although_nothing_passes_and_a_rule_is_known_for_a_while_after_it_is_gone() {
        let mut ledger = Ledger::default();
        ledger.opened(SESSION, SessionId(10));
        let with = |flows| SessionView { flows, ..view(10, 1) };
        let told = |report: Option<CounterReport>| report.map(|report| report.sessions[0].flows);
        assert_eq!(told(ledger.report(NOW, &[with(2)])), Some(2));
        ledger.taken(1);
        assert_eq!(told(ledger.report(NOW, &[with(0)])), Some(0));
        ledger.taken(2);
        assert_eq!(told(ledger.report(NOW, &[with(0)])), None);
        ledger.replace(std::iter::empty());
        assert_eq!(ledger.session_of(SessionId(10)), Some(SESSION));
        ledger.replace(std::iter::empty());
        assert_eq!(ledger.session_of(SessionId(10)), None);
    }

    #[test]
    fn what_was_taken_is_not_told_again_and_what_may_be_lost_is() {
        let mut ledger = Ledger::default();
        ledger.opened(SESSION, SessionId(10));
        assert_eq!(packets(ledger.report(NOW, &[view(10, 1)])), [(1, false)]);
        assert_eq!(ledger.report(NOW, &[view(10, 2)]), None, "one report at a time");
        ledger.disconnected();
        assert_eq!(packets(ledger.report(NOW, &[view(10, 2)])), [(2, false)]);
        ledger.taken(1);
        assert_eq!(ledger.report(NOW, &[view(10, 3)]), None, "that was the report before");
        ledger.taken(2);
        assert_eq!(ledger.report(NOW, &[view(10, 2)]), None);
        assert_eq!(packets(ledger.report(NOW, &[view(10, 4)])), [(4, false)]);
    }

    #[test]
    fn the_last_counters_of_a_session_are_told_until_they_are_taken() {
        let mut ledger = Ledger::default();
        ledger.opened(SESSION, SessionId(10));
        ledger.closed(&view(10, 7));
        ledger.replace(std::iter::empty());
        ledger.ended(SESSION);
        for report in 1..3 {
            assert_eq!(packets(ledger.report(NOW, &[])), [(7, true)]);
            ledger.disconnected();
            ledger.taken(report);
        }
        assert_eq!(packets(ledger.report(NOW, &[])), [(7, true)]);
        ledger.taken(3);
        assert_eq!(ledger.report(NOW, &[]), None);
    }
}
