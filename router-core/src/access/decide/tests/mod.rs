mod extensions;
mod order;
mod refusals;

use alloc::vec;

use super::*;
use crate::access::schedule::{Schedule, Weekdays, Window};
use crate::access::tests::{ALICE, BOB, FIRST, OPERATOR, SECOND, World, at, length, name};
use crate::access::{Approval, Reason, RoleGrant, RoleId, TargetId, UserId, Validity};

const HOUR: u64 = 3600;

/// Somebody who approves, and nothing else.
const CAROL: UserId = UserId(3);

fn approval(until: u64) -> Approval {
    Approval::new(ApprovalId(7), CAROL, ALICE, (TargetId(1), 1), at(until)).unwrap()
}

/// Open from 00:00 to 02:00 on every day.
fn first_two_hours() -> Schedule {
    Schedule::new(0, vec![Window::new(Weekdays::ALL, 0, 120).unwrap()]).unwrap()
}

fn role(role: RoleId, from: Option<u64>, until: Option<u64>) -> RoleGrant {
    RoleGrant { role, valid: Validity::new(from.map(at), until.map(at)).unwrap() }
}

#[test]
fn what_is_granted_is_what_was_asked_for_by_whom_and_why() {
    let mut world = World::new();
    world.request.reason = Some(Reason::new("ticket 4711").unwrap());
    let granted = world.decide(at(0)).unwrap();
    assert_eq!((granted.user, granted.client_ip, granted.at), (ALICE, world.request.client_ip, at(0)));
    assert_eq!((&granted.target, &granted.reason), (&world.target, &world.request.reason));
    assert_eq!((granted.roles(), granted.expires(), granted.approval), (&[OPERATOR][..], None, None));
    assert_eq!(granted.client, Client::Device(crate::access::tests::device(1)));
}

#[test]
fn a_session_is_at_all_routers_of_the_group_and_waits_for_those_that_are_ready() {
    let mut world = World::new();
    world.ready = vec![SECOND];
    let mut stranger = crate::access::tests::router(crate::access::RouterId(9));
    stranger.client_ip_pool = crate::access::tests::pool(&["10.78.0.0/24"]);
    world.routers.insert(0, stranger);
    let granted = world.decide(at(0)).unwrap();
    assert_eq!((&*granted.routers, &*granted.ready), (&[FIRST, SECOND][..], &[SECOND][..]));
}

#[test]
fn the_earliest_limit_sets_the_end() {
    let mut world = World::new();
    let end = |world: &World| world.decide(at(0)).unwrap().expires();
    assert_eq!(end(&world), None);
    world.user.roles = vec![role(OPERATOR, None, Some(9 * HOUR))];
    assert_eq!(end(&world), Some(Expiry { at: at(9 * HOUR), limit: Limit::Role }));
    world.target.conditions.require_approval = true;
    world.approval = Some(approval(8 * HOUR));
    assert_eq!(end(&world), Some(Expiry { at: at(8 * HOUR), limit: Limit::Approval }));
    world.target.conditions.schedule = first_two_hours();
    assert_eq!(end(&world), Some(Expiry { at: at(2 * HOUR), limit: Limit::Schedule }));
    world.target.conditions.max_duration = Some(length(3600));
    assert_eq!(end(&world), Some(Expiry { at: at(HOUR), limit: Limit::MaxDuration }));
    world.request.duration = Some(length(3600));
    assert_eq!(end(&world), Some(Expiry { at: at(HOUR), limit: Limit::Requested }));
    world.request.duration = Some(length(3601));
    assert_eq!(end(&world), Some(Expiry { at: at(HOUR), limit: Limit::MaxDuration }));
}

#[test]
fn of_several_roles_the_last_to_end_counts_and_those_not_valid_now_do_not() {
    let mut world = World::new();
    let second = RoleId(2);
    world.target.roles.push(second);
    for (roles, used, until) in [
        (
            vec![role(OPERATOR, None, Some(10)), role(second, None, Some(20))],
            vec![OPERATOR, second],
            Some(20),
        ),
        (vec![role(OPERATOR, None, Some(10)), role(second, None, None)], vec![OPERATOR, second], None),
        (vec![role(OPERATOR, None, Some(10)), role(second, Some(5), None)], vec![OPERATOR], Some(10)),
        (vec![role(OPERATOR, None, Some(10)), role(OPERATOR, None, Some(20))], vec![OPERATOR], Some(20)),
        (vec![role(OPERATOR, None, Some(10)), role(RoleId(3), None, None)], vec![OPERATOR], Some(10)),
    ] {
        world.user.roles = roles;
        let granted = world.decide(at(0)).unwrap();
        assert_eq!((granted.roles.clone(), granted.expires().map(|end| end.at)), (used, until.map(at)));
    }
}

#[test]
fn an_approval_is_asked_for_only_where_it_is_needed() {
    let mut world = World::new();
    world.approval = Some(approval(HOUR));
    assert_eq!(world.decide(at(0)).unwrap().approval, None);
    world.target.conditions.require_approval = true;
    assert_eq!(world.decide(at(0)).unwrap().approval, Some(ApprovalId(7)));
}

#[test]
fn nobody_approves_a_request_of_their_own() {
    let own = Approval::new(ApprovalId(7), ALICE, ALICE, (TargetId(1), 1), at(HOUR));
    assert_eq!(own, Err(crate::access::SelfApproval));
    let approval = approval(HOUR);
    assert_eq!((approval.id(), approval.approver(), approval.user()), (ApprovalId(7), CAROL, ALICE));
    assert_eq!((approval.target(), approval.until()), ((TargetId(1), 1), at(HOUR)));
}

#[test]
fn a_closed_session_is_in_nobodys_way() {
    let mut world = World::new();
    let mut session = world.session(1);
    assert!(session.end(crate::access::EndReason::UserClosed, at(0)).is_some());
    world.ongoing = vec![session];
    assert_eq!(world.decide(at(0)).unwrap_err().code(), "overlaps");
    for router in [FIRST, SECOND] {
        let _ = world.ongoing[0].removed(router, at(1));
    }
    assert!(world.decide(at(1)).is_ok());
}

#[test]
fn one_user_may_reach_one_device_from_two_of_their_addresses() {
    let mut world = World::new();
    world.ongoing = vec![world.session_from(1, "10.77.0.9")];
    assert!(world.decide(at(0)).is_ok());
}

#[test]
fn exclusive_access_keeps_other_users_out_but_not_its_own_user() {
    let mut world = World::new();
    world.target.exclusive_access = true;
    let (own, bobs) = (world.session_from(1, "10.77.0.9"), world.session_of_bob(2));
    world.target.exclusive_access = false;
    world.ongoing = vec![own];
    assert!(world.decide(at(0)).is_ok());
    world.ongoing = vec![bobs];
    assert_eq!(world.decide(at(0)).unwrap_err().code(), "target-in-exclusive-use");
}

#[test]
fn an_exclusive_target_is_not_opened_beside_a_session_of_the_same_user() {
    let mut world = World::new();
    world.ongoing = vec![world.session_from(1, "10.77.0.9")];
    world.target.exclusive_access = true;
    assert_eq!(world.decide(at(0)).unwrap_err().code(), "others-present");
}

#[test]
fn two_tenants_may_use_one_address_for_two_devices() {
    let tenant = |number| Some(crate::access::TenantId(number));
    for (mine, theirs, code) in [
        (tenant(1), tenant(1), Some("others-present")),
        (tenant(1), tenant(2), None),
        (tenant(1), None, Some("others-present")),
        (None, tenant(1), Some("others-present")),
    ] {
        let mut world = World::new();
        world.target.tenant = theirs;
        world.ongoing = vec![world.session_of_bob(1)];
        world.target.tenant = mine;
        world.target.exclusive_access = true;
        assert_eq!(world.decide(at(0)).err().map(|refused| refused.code()), code, "{mine:?} {theirs:?}");
    }
}

#[test]
fn external_clients_are_served_where_all_routers_of_the_group_do() {
    let mut world = World::new();
    world.client = ClientOwner::External;
    world.routers[0].external_clients = true;
    assert_eq!(world.decide(at(0)).unwrap_err().code(), "external-clients-not-served");
    world.routers[1].external_clients = true;
    assert_eq!(world.decide(at(0)).unwrap().client, Client::External);
    world.client = ClientOwner::Device(BOB, crate::access::tests::device(2));
    assert_eq!(world.decide(at(0)).unwrap_err().code(), "client-ip-not-yours");
}

#[test]
fn limits_are_found_by_their_codes() {
    for limit in [Limit::Requested, Limit::MaxDuration, Limit::Schedule, Limit::Role, Limit::Approval] {
        assert_eq!(Limit::from_code(limit.code()), Some(limit));
    }
    assert_eq!(Limit::from_code("whim"), None);
}

#[test]
fn a_name_that_only_looks_like_the_targets_is_another_one() {
    let mut world = World::new();
    world.request.target = name("DB");
    assert_eq!(world.decide(at(0)).unwrap_err().code(), "target-unknown");
}
