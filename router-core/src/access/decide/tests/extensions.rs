//! More time: the same checks, and the limits that the session has anyway.

use alloc::vec::Vec;

use super::refusals::{NOW, all};
use super::*;
use crate::access::{EndReason, Session};

/// A world with a session of two hours, opened at its beginning.
fn running() -> (World, Session) {
    let mut world = World::new();
    world.request.duration = Some(length(4 * 3600));
    let session = world.session(1);
    world.ongoing = vec![session.clone()];
    (world, session)
}

fn extend(world: &World, session: &Session, secs: u32, moment: u64) -> Result<Option<Expiry>, Refused> {
    let extension = super::super::extend(&world.facts(), session, length(secs), at(moment))?;
    assert_eq!(extension.session, session.id);
    Ok(extension.expires())
}

#[test]
fn time_asked_for_counts_from_now() {
    let (world, session) = running();
    let expected = Expiry { at: at(NOW + 2 * HOUR), limit: Limit::Requested };
    assert_eq!(extend(&world, &session, 2 * 3600, NOW), Ok(Some(expected)));
}

#[test]
fn the_longest_duration_counts_from_when_it_was_opened() {
    let (mut world, session) = running();
    world.target.conditions.max_duration = Some(length(5 * 3600));
    let expected = Expiry { at: at(5 * HOUR), limit: Limit::MaxDuration };
    assert_eq!(extend(&world, &session, 9 * 3600, NOW), Ok(Some(expected)));
    world.target.conditions.max_duration = Some(length(4 * 3600));
    let nothing = Refused::NothingToExtend { expires: session.expires };
    assert_eq!(extend(&world, &session, 9 * 3600, NOW), Err(nothing));
}

#[test]
fn schedule_role_and_approval_limit_it() {
    let (mut world, session) = running();
    world.target.conditions.schedule =
        Schedule::new(0, vec![Window::new(Weekdays::ALL, 0, 8 * 60).unwrap()]).unwrap();
    let until = |hour, limit| Ok(Some(Expiry { at: at(hour * HOUR), limit }));
    assert_eq!(extend(&world, &session, 9 * 3600, NOW), until(8, Limit::Schedule));
    world.user.roles = vec![role(OPERATOR, None, Some(7 * HOUR))];
    assert_eq!(extend(&world, &session, 9 * 3600, NOW), until(7, Limit::Role));
    world.target.conditions.require_approval = true;
    world.approval = Some(approval(6 * HOUR));
    assert_eq!(extend(&world, &session, 9 * 3600, NOW), until(6, Limit::Approval));
}

#[test]
fn what_is_no_longer_than_before_is_no_extension() {
    let (mut world, session) = running();
    let nothing = Refused::NothingToExtend { expires: session.expires };
    assert_eq!(extend(&world, &session, 3600, NOW), Err(nothing));
    world.request.duration = None;
    world.ongoing.clear();
    let endless = world.session(2);
    assert_eq!(extend(&world, &endless, 3600, NOW), Err(Refused::NothingToExtend { expires: None }));
}

#[test]
fn each_check_is_made_again_and_the_session_is_not_in_its_own_way() {
    for spoiler in all() {
        let (mut world, session) = running();
        (spoiler.spoil)(&mut world);
        let extended = extend(&world, &session, 9 * 3600, NOW);
        // A session that is open already does not count against quotas, keeps its target when that is renamed, and what was
        // approved as long as it leads to the same; a target that became exclusive is another one.
        let expected = match spoiler.code {
            "user-quota" | "router-quota" | "quota" => None,
            code => Some(code),
        };
        let is_harmless = world.target.name != session.target.name || world.target.version != 1;
        let expected = match expected {
            Some("others-present") => Some("session-over"),
            other => other.filter(|_| !is_harmless),
        };
        assert_eq!(extended.err().map(|refused| refused.code()), expected, "{}", spoiler.code);
    }
}

#[test]
fn a_session_that_is_over_or_somebody_elses_is_not_extended() {
    let (mut world, session) = running();
    let over = Err(Refused::SessionOver { session: session.id });
    assert_eq!(extend(&world, &session, 9 * 3600, 4 * HOUR), over, "it has expired");
    let mut ending = session.clone();
    assert!(ending.end(EndReason::UserClosed, at(1)).is_some());
    assert_eq!(extend(&world, &ending, 9 * 3600, NOW), over);
    let bobs = Session { user: BOB, ..session.clone() };
    assert_eq!(extend(&world, &bobs, 9 * 3600, NOW), over);
    world.target.src_nat = true;
    assert_eq!(extend(&world, &session, 9 * 3600, NOW), over, "its target was edited");
}

#[test]
fn an_extension_is_applied_to_its_own_session_while_that_is_open() {
    let (world, mut session) = running();
    let extension = super::super::extend(&world.facts(), &session, length(9 * 3600), at(NOW)).unwrap();
    let mut other = Session { id: crate::rules::SessionId(2), ..session.clone() };
    assert_eq!(other.prolong(&extension, at(NOW)), None);
    let before = session.expires;
    let event = session.prolong(&extension, at(NOW)).unwrap();
    let happened = crate::access::Happened::Extended { from: before, to: extension.expires() };
    assert_eq!((event.happened, session.expires), (happened, extension.expires()));
    assert_eq!(event.kind(), crate::access::AuditKind::SessionExtended);
    assert!(session.end(EndReason::UserClosed, at(NOW)).is_some());
    assert_eq!(session.prolong(&extension, at(NOW)), None);
}

#[test]
fn without_other_limits_an_extension_is_as_long_as_asked_however_often() {
    let (world, mut session) = running();
    let ends: Vec<u64> = (1..4)
        .map(|round| {
            let moment = at(round * 3 * HOUR);
            let extension = super::super::extend(&world.facts(), &session, length(4 * 3600), moment).unwrap();
            assert!(session.prolong(&extension, moment).is_some());
            session.expires.unwrap().at.secs - at(0).secs
        })
        .collect();
    assert_eq!(ends, [7 * HOUR, 10 * HOUR, 13 * HOUR]);
}
