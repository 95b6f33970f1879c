//! Every refusal, by name, with what the user reads.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;
use crate::access::tests::{device, ip, plain, pool, router};
use crate::access::{RouterId, TenantId};
use crate::rules::SessionId;

/// A way to spoil a request that would be granted.
pub(super) struct Spoiler {
    pub(super) check: u8,
    pub(super) code: &'static str,
    text: &'static str,
    pub(super) spoil: fn(&mut World),
}

const fn spoiler(check: u8, code: &'static str, text: &'static str, spoil: fn(&mut World)) -> Spoiler {
    Spoiler { check, code, text, spoil }
}

/// At this moment all requests of these tests are made.
pub(super) const NOW: u64 = 3 * HOUR;

pub(super) fn all() -> Vec<Spoiler> {
    let mut all = Vec::new();
    all.extend(about_user_and_place());
    all.extend(about_target());
    all.extend(about_others());
    all
}

fn about_user_and_place() -> [Spoiler; 8] {
    [
        spoiler(1, "user-disabled", "your account is disabled: ask an administrator", |world| {
            world.user.disabled = true;
        }),
        spoiler(1, "not-authenticated", "you are not logged in: log in again", |world| {
            world.authenticated = false;
        }),
        spoiler(
            2,
            "client-ip-not-served",
            "no router serves 10.77.0.2: use the address that your device was given",
            |world| {
                world.routers.iter_mut().for_each(|router| router.client_ip_pool = pool(&["10.78.0.0/24"]));
            },
        ),
        spoiler(
            2,
            "client-ip-not-served",
            "no router serves 10.77.0.2: use the address that your device was given",
            |world| world.routers.clear(),
        ),
        spoiler(
            2,
            "routers-disagree",
            "the routers disagree about 10.77.0.2: ask an administrator to make their pools equal or disjoint",
            |world| {
                let mut third = router(RouterId(3));
                third.client_ip_pool = pool(&["10.77.0.0/25"]);
                world.routers.push(third);
            },
        ),
        spoiler(
            2,
            "client-ip-not-yours",
            "10.77.0.2 is no device of yours: use one of yours, or add this one",
            |world| world.client = ClientOwner::Device(BOB, device(2)),
        ),
        spoiler(
            2,
            "client-ip-not-yours",
            "10.77.0.2 is no device of yours: use one of yours, or add this one",
            |world| world.client = ClientOwner::Nobody,
        ),
        spoiler(
            2,
            "external-clients-not-served",
            "the router of 10.77.0.2 serves only devices that are registered: add this one",
            |world| world.client = ClientOwner::External,
        ),
    ]
}

fn about_target() -> [Spoiler; 14] {
    let unknown = "there is no target \"db\" for you: check its name, or ask for a role that has it";
    let approval_text = "target \"db\" needs an approval by somebody else: ask for it, then try again";
    let needs_approval = |text, spoil| spoiler(5, "approval-needed", text, spoil);
    [
        spoiler(3, "target-unknown", unknown, |world| world.has_target = false),
        spoiler(3, "target-unknown", unknown, |world| world.target.name = name("another")),
        spoiler(3, "target-unknown", unknown, |world| {
            world.user.tenant = Some(TenantId(1));
            world.target.tenant = Some(TenantId(2));
        }),
        spoiler(
            3,
            "target-disabled",
            "target \"db\" is disabled: ask whoever is responsible for it",
            |world| {
                world.target.disabled = true;
            },
        ),
        spoiler(
            3,
            "target-of-other-version",
            "target \"db\" has no destination that 10.77.0.2 can send to: use an address of the other IP version",
            |world| world.target = crate::access::tests::target(1, "db", vec![plain("fd20::5", 22)]),
        ),
        spoiler(4, "role-missing", "you have no role that grants target \"db\": ask for one", |world| {
            world.user.roles = vec![role(RoleId(99), None, None)];
        }),
        spoiler(
            4,
            "role-not-valid",
            "your role for target \"db\" starts at 2026-11-30T04:00:00Z: try again then",
            |world| {
                let (later, now) = (Some(5 * HOUR), Some(4 * HOUR));
                world.user.roles = vec![role(OPERATOR, later, None), role(OPERATOR, now, None)];
            },
        ),
        spoiler(4, "role-not-valid", "your role for target \"db\" has ended: ask for it again", |world| {
            world.user.roles = vec![role(OPERATOR, None, Some(NOW))];
        }),
        spoiler(
            5,
            "outside-schedule",
            "target \"db\" is not open at this time: try again at 2026-12-01T00:00:00Z",
            |world| world.target.conditions.schedule = first_two_hours(),
        ),
        spoiler(5, "reason-required", "target \"db\" needs a reason: say why you need it", |world| {
            world.target.conditions.require_reason = true;
        }),
        needs_approval(approval_text, |world| world.target.conditions.require_approval = true),
        needs_approval(approval_text, |world| {
            world.target.conditions.require_approval = true;
            world.approval = Some(super::approval(NOW));
        }),
        needs_approval(approval_text, |world| {
            world.target.conditions.require_approval = true;
            let to_bob = Approval::new(ApprovalId(7), CAROL, BOB, (TargetId(1), 1), at(9 * HOUR));
            world.approval = Some(to_bob.unwrap());
        }),
        needs_approval(approval_text, |world| {
            world.target.conditions.require_approval = true;
            world.approval = Some(super::approval(9 * HOUR));
            world.target.version = 2;
        }),
    ]
}

fn about_others() -> [Spoiler; 8] {
    [
        spoiler(
            6,
            "client-ip-in-use",
            "10.77.0.2 is in use by somebody else: use another address, or wait until it is free",
            |world| {
                let mut bobs = World::new().session_of_bob(50);
                bobs.client_ip = ip("10.77.0.2");
                bobs.target = crate::access::tests::target(9, "elsewhere", vec![plain("10.66.0.1", 1)]);
                world.ongoing.push(bobs);
            },
        ),
        spoiler(
            6,
            "overlaps",
            "your session for target \"db\" overlaps \"db\": close that one first",
            |world| {
                world.ongoing.push(World::new().session(51));
            },
        ),
        spoiler(
            7,
            "others-present",
            "target \"db\" is used by one at a time, and now somebody is there: try again later",
            |world| {
                world.target.exclusive_access = true;
                world.ongoing.push(World::new().session_of_bob(52));
            },
        ),
        spoiler(
            7,
            "target-in-exclusive-use",
            "somebody has target \"db\", or a part of it, for themselves alone: try again later",
            |world| {
                let mut bobs = World::new();
                bobs.target.exclusive_access = true;
                world.ongoing.push(bobs.session_of_bob(53));
            },
        ),
        spoiler(8, "no-router-ready", "no router of 10.77.0.2 is ready: try again in a moment", |world| {
            world.ready = vec![RouterId(77)];
        }),
        spoiler(8, "user-quota", "you have 2 sessions, as many as you may: close one first", |world| {
            world.quotas.sessions_per_user_max = 2;
            world.usage.sessions_of_user = 2;
        }),
        spoiler(
            8,
            "router-quota",
            "the router has 3 sessions, as many as it may: try again later",
            |world| {
                world.quotas.sessions_per_router_max = 3;
                world.usage.sessions_of_router = 3;
            },
        ),
        spoiler(8, "quota", "there are 4 sessions, as many as there may be: try again later", |world| {
            world.quotas.sessions_max = 4;
            world.usage.sessions = 4;
        }),
    ]
}

#[test]
fn every_check_refuses_by_name_and_says_what_to_do() {
    assert!(World::new().decide(at(NOW)).is_ok());
    for spoiler in all() {
        let mut world = World::new();
        (spoiler.spoil)(&mut world);
        let refused = world.decide(at(NOW)).unwrap_err();
        assert_eq!((refused.check(), refused.code()), (spoiler.check, spoiler.code));
        assert_eq!(refused.to_string(), spoiler.text);
    }
}

#[test]
fn one_below_its_quota_a_request_is_granted() {
    let mut world = World::new();
    world.quotas = Quotas { sessions_max: 5, sessions_per_user_max: 4, sessions_per_router_max: 3 };
    world.usage = Usage { sessions: 4, sessions_of_user: 3, sessions_of_router: 2 };
    assert!(world.decide(at(0)).is_ok());
}

#[test]
fn the_audit_learns_which_session_is_in_the_way_and_the_user_does_not() {
    for spoiler in all() {
        let mut world = World::new();
        (spoiler.spoil)(&mut world);
        let refused = world.decide(at(NOW)).unwrap_err();
        let session = world.ongoing.first().map(|session| session.id);
        assert_eq!(refused.session(), session, "{}", spoiler.code);
        assert!(!refused.to_string().contains("bob"), "{}", spoiler.code);
    }
}

#[test]
fn a_target_without_a_role_for_it_does_not_exist() {
    let unknown = Refused::TargetUnknown { target: name("db") };
    for spoiler in all().into_iter().filter(|spoiler| (3..=4).contains(&spoiler.check)) {
        let mut world = World::new();
        (spoiler.spoil)(&mut world);
        let refused = world.decide(at(NOW)).unwrap_err();
        let is_hidden = spoiler.code == "role-missing";
        let told = if is_hidden { unknown.clone() } else { refused.clone() };
        assert_eq!(refused.disclosed(), told, "with a role: {}", spoiler.code);
        world.user.roles.clear();
        assert_eq!(world.decide(at(NOW)).unwrap_err().disclosed(), unknown, "without: {}", spoiler.code);
    }
}

#[test]
fn what_an_extension_is_refused_for_has_names_too() {
    let over = Refused::SessionOver { session: SessionId(1) };
    assert_eq!((over.check(), over.code(), over.session()), (5, "session-over", Some(SessionId(1))));
    assert_eq!(over.clone().disclosed(), over);
    assert_eq!(over.to_string(), "the session is over: open it again");
    let endless = Refused::NothingToExtend { expires: None };
    assert_eq!((endless.check(), endless.code(), endless.session()), (5, "nothing-to-extend", None));
    assert_eq!(endless.to_string(), "the session lasts without end and needs no extension");
    for (limit, why) in [
        (Limit::Requested, "as you asked"),
        (Limit::MaxDuration, "as long as the target allows"),
        (Limit::Schedule, "when the target closes"),
        (Limit::Role, "when your role ends"),
        (Limit::Approval, "when the approval ends"),
    ] {
        let expires = Some(Expiry { at: at(60), limit });
        let text = Refused::NothingToExtend { expires }.to_string();
        let expected = "the session lasts until 2026-11-30T00:01:00Z (";
        assert_eq!(text, [expected, why, ") and no longer: open it again when it is over"].concat());
    }
}

#[test]
fn every_refusal_and_every_limit_is_documented() {
    let page = include_str!("../../../../../docs/access.md");
    let extensions = ["session-over", "nothing-to-extend"];
    let limits = ["requested", "max-duration", "schedule", "role", "approval"];
    for code in all().iter().map(|spoiler| spoiler.code).chain(extensions).chain(limits) {
        assert!(page.contains(&["`", code, "`"].concat()), "{code}");
    }
}
