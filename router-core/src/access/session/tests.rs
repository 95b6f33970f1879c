use alloc::vec;
use core::time::Duration;

use super::*;
use crate::access::audit::AuditKind;
use crate::access::tests::{FIRST, SECOND, World, at, length};

fn kind(event: Option<SessionEvent>) -> Option<AuditKind> {
    event.map(|event| event.kind())
}

#[test]
fn a_session_is_active_when_all_routers_have_acknowledged_and_closed_when_all_have_removed_it() {
    let mut session = World::new().session(1);
    assert_eq!(kind(session.acknowledged(FIRST, at(1))), None);
    assert_eq!(kind(session.acknowledged(FIRST, at(1))), None);
    assert_eq!(kind(session.acknowledged(SECOND, at(2))), Some(AuditKind::SessionActivated));
    assert_eq!(session.state, SessionState::Active { since: at(2) });
    assert_eq!(kind(session.acknowledged(SECOND, at(3))), None);
    assert_eq!(kind(session.end(EndReason::UserClosed, at(4))), Some(AuditKind::SessionEnding));
    assert!(session.is_ongoing() && !session.is_open());
    assert_eq!(kind(session.removed(SECOND, at(5))), None);
    assert_eq!(kind(session.removed(FIRST, at(6))), Some(AuditKind::SessionClosed));
    assert_eq!(session.state, SessionState::Closed { why: EndReason::UserClosed, at: at(6) });
    assert!(!session.is_ongoing());
}

#[test]
fn opening_is_an_event() {
    let world = World::new();
    let granted = world.decide(at(5)).unwrap();
    assert_eq!((granted.expires(), granted.roles()), (None, &[crate::access::tests::OPERATOR][..]));
    let (session, event) = Session::open(SessionId(1), granted);
    assert_eq!((event.kind(), event.session, event.at), (AuditKind::SessionOpened, session.id, at(5)));
}

#[test]
fn a_session_does_not_wait_for_a_router_that_is_not_there() {
    let mut world = World::new();
    world.ready = vec![SECOND];
    let mut session = world.session(1);
    assert_eq!(kind(session.acknowledged(SECOND, at(1))), Some(AuditKind::SessionActivated));
    let mut session = World::new().session(2);
    assert_eq!(kind(session.acknowledged(SECOND, at(1))), None);
    assert_eq!(kind(session.absent(FIRST, at(2))), Some(AuditKind::SessionActivated));
}

#[test]
fn a_session_that_no_router_has_is_not_active() {
    let mut session = World::new().session(1);
    assert_eq!(kind(session.absent(FIRST, at(1))), None);
    assert_eq!(kind(session.absent(SECOND, at(1))), None);
    assert_eq!(kind(session.acknowledged(RouterId(77), at(1))), None);
    assert!(matches!(session.state, SessionState::Pending { .. }));
    assert_eq!(kind(session.acknowledged(FIRST, at(2))), Some(AuditKind::SessionActivated));
}

#[test]
fn a_closing_session_waits_also_for_routers_that_never_acknowledged_it() {
    let mut world = World::new();
    world.ready = vec![SECOND];
    let mut session = world.session(1);
    assert!(session.end(EndReason::RoleLost, at(1)).is_some());
    assert_eq!(kind(session.removed(SECOND, at(2))), None);
    assert_eq!(kind(session.acknowledged(FIRST, at(2))), None);
    assert_eq!(kind(session.removed(FIRST, at(3))), Some(AuditKind::SessionClosed));
}

#[test]
fn the_first_reason_stays() {
    let mut session = World::new().session(1);
    assert!(session.end(EndReason::UserClosed, at(1)).is_some());
    assert_eq!(session.end(EndReason::Expired, at(2)), None);
    assert!(matches!(session.state, SessionState::Closing { why: EndReason::UserClosed, .. }));
}

#[test]
fn a_router_that_joins_gets_open_sessions_only_and_is_waited_for_when_they_close() {
    let mut session = World::new().session(1);
    assert!(!session.joined(FIRST) && session.joined(RouterId(0)));
    assert_eq!(session.routers, [RouterId(0), FIRST, SECOND]);
    assert!(session.end(EndReason::UserClosed, at(1)).is_some());
    assert!(!session.joined(RouterId(9)));
    assert!(session.removed(FIRST, at(1)).is_none() && session.removed(SECOND, at(1)).is_none());
    assert!(session.removed(RouterId(0), at(1)).is_some());
}

#[test]
fn users_are_warned_ten_minutes_and_one_minute_before_the_end() {
    let mut world = World::new();
    world.request.duration = Some(length(3600));
    let mut session = world.session(1);
    assert_eq!(session.next_notice(at(0)), Some((at(3000), Notice::TenMinutes)));
    assert_eq!(session.next_notice(at(3000)), Some((at(3540), Notice::OneMinute)));
    assert_eq!(session.next_notice(at(3540)), None);
    assert!(session.end(EndReason::UserClosed, at(1)).is_some());
    assert_eq!(session.next_notice(at(1)), None);
    world.request.duration = Some(length(600));
    assert_eq!(world.session(2).next_notice(at(0)), Some((at(540), Notice::OneMinute)));
    assert_eq!(World::new().session(3).next_notice(at(0)), None);
    assert_eq!(Notice::OneMinute.ahead(), Duration::from_secs(60));
}
