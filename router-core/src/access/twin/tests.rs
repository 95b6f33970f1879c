use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::actors::{Deed, deed, recipes};
use super::office::Office;

proptest! {
    /// After each deed: what is decided is what the specification says; no two users have what one must have alone, neither
    /// in the books nor at the routers; no session outlives a right of its own; each change has one event.
    #[test]
    fn whatever_anybody_does_the_specification_holds(
        recipes in recipes(), deeds in prop::collection::vec(deed(), 1..80)
    ) {
        let mut office = Office::new(recipes);
        deeds.iter().for_each(|deed| office.act(deed));
    }

    /// Liveness: when all routers are there and all that is pushed arrives, every open session is active and nothing is
    /// left closing.
    #[test]
    fn when_all_is_delivered_nothing_is_left_half_done(
        recipes in recipes(), deeds in prop::collection::vec(deed(), 1..40)
    ) {
        use crate::access::SessionState;
        let mut office = Office::new(recipes);
        deeds.iter().for_each(|deed| office.act(deed));
        for router in 0..super::office::ROUTERS {
            office.act(&Deed::Heal(router));
        }
        for entry in &office.sessions {
            let is_settled = matches!(entry.session.state, SessionState::Active { .. } | SessionState::Closed { .. });
            prop_assert!(is_settled, "{:?}", entry);
        }
    }
}

/// The model is worth what it reaches: each outcome that it can have comes about, and each reason to end.
#[test]
fn the_actors_bring_about_everything() {
    let mut runner = TestRunner::deterministic();
    let strategy = (recipes(), prop::collection::vec(deed(), 80));
    let mut reached: BTreeMap<&'static str, u32> = BTreeMap::new();
    for _ in 0..300 {
        let (recipes, deeds) = strategy.new_tree(&mut runner).unwrap().current();
        let mut office = Office::new(recipes);
        deeds.iter().for_each(|deed| office.act(deed));
        for (code, times) in office.outcomes {
            *reached.entry(code).or_default() += times;
        }
        for event in office.sessions.iter().flat_map(|entry| &entry.events) {
            let code = match event.happened {
                crate::access::Happened::Ending { why } => why.code(),
                crate::access::Happened::Opened
                | crate::access::Happened::Activated
                | crate::access::Happened::Extended { .. }
                | crate::access::Happened::Closed { .. } => event.kind().name(),
            };
            *reached.entry(code).or_default() += 1;
        }
    }
    let missing: Vec<&str> = OUTCOMES.into_iter().filter(|code| !reached.contains_key(code)).collect();
    assert_eq!(missing, [""; 0], "{reached:?}");
}

/// All but what the model leaves out: external clients, routers that disagree, routers that refuse, a full server.
const OUTCOMES: [&str; 35] = [
    "admin-terminated-user",
    "approval-lost",
    "approval-needed",
    "client-ip-in-use",
    "client-ip-not-served",
    "client-ip-not-yours",
    "connectivity-lost",
    "device-removed",
    "expired",
    "extended",
    "granted",
    "no-router-ready",
    "not-authenticated",
    "nothing-to-extend",
    "others-present",
    "outside-schedule",
    "overlaps",
    "reason-required",
    "role-lost",
    "role-missing",
    "role-not-valid",
    "router-quota",
    "schedule-closed",
    "session-activated",
    "session-closed",
    "session-extended",
    "session-opened",
    "session-over",
    "target-disabled",
    "target-edited",
    "target-in-exclusive-use",
    "target-of-other-version",
    "target-unknown",
    "user-closed",
    "user-quota",
];
