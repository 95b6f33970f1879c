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

mod recheck {
    use super::*;
    use crate::access::schedule::{Schedule, Weekdays, Window};
    use crate::access::tests::{ALICE, BOB, OPERATOR, device, plain, pool, router};
    use crate::access::{
        Approval, ApprovalId, ClientOwner, Destinations, NeverValid, RoleGrant, TargetId, TenantId, UserId,
        Validity,
    };

    const SILENCE_MAX: Duration = Duration::from_secs(180);
    const HOUR: u64 = 3600;

    fn heard(secs: u64) -> ClientSeen {
        ClientSeen { at: Some(at(secs)), silence_max: SILENCE_MAX }
    }

    fn checked(world: &World, session: &Session, secs: u64) -> Option<EndReason> {
        session.recheck(&world.facts(), heard(secs), at(secs))
    }

    fn until(secs: u64) -> Result<RoleGrant, NeverValid> {
        Ok(RoleGrant { role: OPERATOR, valid: Validity::new(None, Some(at(secs)))? })
    }

    #[test]
    fn as_long_as_nothing_changes_it_stays() {
        let world = World::new();
        assert_eq!(checked(&world, &world.session(1), 1000), None);
    }

    /// What is lost, and how.
    #[test]
    fn what_is_lost_ends_it_by_name() {
        type Change = fn(&mut World);
        let changes: [(EndReason, Change); 21] = [
            (EndReason::UserDisabled, |world| world.user.disabled = true),
            (EndReason::UserDisabled, |world| world.user.id = BOB),
            (EndReason::RoleLost, |world| world.user.roles.clear()),
            (EndReason::RoleLost, |world| world.user.roles = vec![until(HOUR).unwrap()]),
            (EndReason::RoleLost, |world| world.target.roles.clear()),
            (EndReason::DeviceRemoved, |world| world.client = ClientOwner::Nobody),
            (EndReason::DeviceRemoved, |world| world.client = ClientOwner::Device(BOB, device(1))),
            (EndReason::DeviceRemoved, |world| world.client = ClientOwner::Device(ALICE, device(9))),
            (EndReason::RoutersChanged, |world| world.routers.clear()),
            (EndReason::RoutersChanged, |world| world.routers = vec![router(RouterId(9))]),
            (EndReason::RoutersChanged, |world| world.routers[0].client_ip_pool = pool(&["10.77.0.0/16"])),
            (EndReason::TargetRemoved, |world| world.has_target = false),
            (EndReason::TargetRemoved, |world| world.target.id = TargetId(9)),
            (EndReason::TargetRemoved, |world| world.user.tenant = Some(TenantId(1))),
            (EndReason::TargetDisabled, |world| world.target.disabled = true),
            (EndReason::TargetEdited, |world| {
                world.target.destinations = Destinations::new(vec![plain("10.20.0.5", 23)]).unwrap();
            }),
            (EndReason::TargetEdited, |world| world.target.src_nat = true),
            (EndReason::TargetEdited, |world| world.target.exclusive_access = true),
            (EndReason::ScheduleClosed, |world| {
                let night = Window::new(Weekdays::ALL, 0, 60).unwrap();
                world.target.conditions.schedule = Schedule::new(0, vec![night]).unwrap();
            }),
            (EndReason::ReasonRequired, |world| world.target.conditions.require_reason = true),
            (EndReason::ApprovalLost, |world| world.target.conditions.require_approval = true),
        ];
        let session = World::new().session(1);
        for (number, (why, change)) in changes.into_iter().enumerate() {
            let mut world = World::new();
            change(&mut world);
            assert_eq!(checked(&world, &session, HOUR), Some(why), "change {number}");
        }
    }

    #[test]
    fn what_does_not_concern_it_leaves_it_alone() {
        let session = World::new().session(1);
        let mut world = World::new();
        world.authenticated = false;
        world.target.name = crate::access::tests::name("renamed");
        world.target.version = 2;
        world.ready.clear();
        world.routers.remove(0);
        world.routers.push(router(RouterId(9)));
        world.quotas.sessions_max = 0;
        world.target.roles.push(crate::access::RoleId(5));
        let reversed: Vec<_> = world.target.destinations.as_slice().iter().rev().copied().collect();
        world.target.destinations = Destinations::new(reversed).unwrap();
        assert_eq!(checked(&world, &session, HOUR), None);
    }

    #[test]
    fn it_ends_at_its_end_and_earlier_if_the_target_allows_less_now() {
        let mut world = World::new();
        world.request.duration = Some(length(100));
        let session = world.session(1);
        assert_eq!(checked(&world, &session, 99), None);
        assert_eq!(checked(&world, &session, 100), Some(EndReason::Expired));
        world.target.conditions.max_duration = Some(length(50));
        assert_eq!(checked(&world, &session, 49), None);
        assert_eq!(checked(&world, &session, 50), Some(EndReason::Expired));
    }

    #[test]
    fn a_client_may_be_silent_for_so_long_and_one_behind_another_gateway_for_ever() {
        let world = World::new();
        let mut session = world.session(1);
        let lost = |session: &Session, seen: Option<u64>, now: u64| {
            session.recheck(
                &world.facts(),
                ClientSeen { at: seen.map(at), silence_max: SILENCE_MAX },
                at(now),
            )
        };
        for (seen, now, expected) in [
            (None, 179, None),
            (None, 180, Some(EndReason::ConnectivityLost)),
            (Some(100), 279, None),
            (Some(100), 280, Some(EndReason::ConnectivityLost)),
        ] {
            assert_eq!(lost(&session, seen, now), expected, "{seen:?} {now}");
        }
        let mut world = World::new();
        world.client = ClientOwner::External;
        world.routers.iter_mut().for_each(|router| router.external_clients = true);
        session.client = Client::External;
        let never = ClientSeen { at: None, silence_max: SILENCE_MAX };
        assert_eq!(session.recheck(&world.facts(), never, at(100_000)), None);
    }

    #[test]
    fn an_approval_stays_with_the_version_that_was_opened_or_the_present_one() {
        let mut world = World::new();
        world.target.conditions.require_approval = true;
        let approval = |version, until| {
            Approval::new(ApprovalId(1), UserId(3), ALICE, (TargetId(1), version), at(until)).unwrap()
        };
        world.approval = Some(approval(1, HOUR));
        let session = world.session(1);
        world.target.version = 2;
        assert_eq!(checked(&world, &session, 10), None);
        world.approval = Some(approval(2, HOUR));
        assert_eq!(checked(&world, &session, 10), None);
        world.approval = Some(approval(3, HOUR));
        assert_eq!(checked(&world, &session, 10), Some(EndReason::ApprovalLost));
        world.approval = None;
        assert_eq!(checked(&world, &session, 10), Some(EndReason::ApprovalLost));
    }

    #[test]
    fn it_is_checked_again_when_it_ends_or_roles_change_by_time() {
        let mut world = World::new();
        world.request.duration = Some(length(100));
        let mut session = world.session(1);
        assert_eq!(session.next_recheck(&world.facts(), at(0)), Some(at(100)));
        world.user.roles.push(until(50).unwrap());
        assert_eq!(session.next_recheck(&world.facts(), at(0)), Some(at(50)));
        assert_eq!(session.next_recheck(&world.facts(), at(50)), Some(at(100)));
        assert_eq!(session.next_recheck(&world.facts(), at(100)), None);
        assert!(session.end(EndReason::UserClosed, at(1)).is_some());
        world.user.disabled = true;
        assert_eq!(checked(&world, &session, 10), None, "what is ending needs no other reason");
    }
}
