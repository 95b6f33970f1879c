//! The eight checks, in their order. Each says what it has found out, or why it refuses. Spec: access, "Opening a session".

use alloc::vec::Vec;
use core::net::IpAddr;

use wg_proto::UnixTime;

use super::facts::{Client, ClientOwner, Facts};
use super::refused::Refused;
use crate::access::approval::Approval;
use crate::access::id::{ApprovalId, RoleId, RouterId, UserId};
use crate::access::name::{Name, Reason};
use crate::access::router::Router;
use crate::access::session::Session;
use crate::access::target::Target;
use crate::access::user::User;

/// What check 2 finds: where the packets will come from, and which routers will see them.
pub(in crate::access) struct Place {
    pub(in crate::access) client: Client,
    pub(in crate::access) routers: Vec<RouterId>,
}

/// What check 4 finds: the roles that grant the target now.
pub(in crate::access) struct Roles {
    pub(in crate::access) used: Vec<RoleId>,
    /// When the last of them ends.
    pub(in crate::access) until: Option<UnixTime>,
}

/// What check 5 finds: until when the target is open and approved.
pub(in crate::access) struct Terms {
    pub(in crate::access) closes: Option<UnixTime>,
    pub(in crate::access) approval: Option<(ApprovalId, UnixTime)>,
}

/// Check 1: the user is active and authenticated.
pub(super) fn user(facts: &Facts<'_>) -> Result<(), Refused> {
    match (facts.user.disabled, facts.authenticated) {
        (true, _) => Err(Refused::UserDisabled),
        (false, false) => Err(Refused::NotAuthenticated),
        (false, true) => Ok(()),
    }
}

/// Check 2: the client IP lies in the pool of a group of routers, and is this user's.
pub(in crate::access) fn place(facts: &Facts<'_>, user: UserId, client_ip: IpAddr) -> Result<Place, Refused> {
    let serves = |router: &&Router| router.client_ip_pool.contains(client_ip);
    let group: Vec<&Router> = facts.routers.iter().filter(serves).collect();
    let first = group.first().ok_or(Refused::ClientIpNotServed { client_ip })?;
    if group.iter().any(|router| router.client_ip_pool != first.client_ip_pool) {
        return Err(Refused::RoutersDisagree { client_ip });
    }
    let client = match facts.client {
        ClientOwner::Device(owner, device) if owner == user => Client::Device(device),
        ClientOwner::Device(..) | ClientOwner::Nobody => return Err(Refused::ClientIpNotYours { client_ip }),
        ClientOwner::External if group.iter().all(|router| router.external_clients) => Client::External,
        ClientOwner::External => return Err(Refused::ExternalClientsNotServed { client_ip }),
    };
    let mut routers: Vec<RouterId> = group.iter().map(|router| router.id).collect();
    routers.sort_unstable();
    routers.dedup();
    Ok(Place { client, routers })
}

/// Check 3: there is a target of this name for this user, it is not disabled, and the client can send to it.
pub(super) fn target<'a>(facts: &Facts<'a>, name: &Name, client_ip: IpAddr) -> Result<&'a Target, Refused> {
    let known = facts.target.filter(|target| target.name == *name && facts.user.may_know(target.tenant));
    let target = known.ok_or_else(|| Refused::TargetUnknown { target: name.clone() })?;
    let has_role = facts.user.roles.iter().any(|grant| target.roles.contains(&grant.role));
    if target.disabled {
        return Err(Refused::TargetDisabled { target: name.clone(), has_role });
    }
    if !target.destinations.has_version_of(client_ip) {
        return Err(Refused::TargetOfOtherVersion { target: name.clone(), client_ip, has_role });
    }
    Ok(target)
}

/// Check 4: a role of the user's grants the target now.
pub(in crate::access) fn roles(user: &User, target: &Target, at: UnixTime) -> Result<Roles, Refused> {
    let granting = || user.roles.iter().filter(|grant| target.roles.contains(&grant.role));
    let mut used: Vec<RoleId> =
        granting().filter(|grant| grant.valid.contains(at)).map(|grant| grant.role).collect();
    used.sort_unstable();
    used.dedup();
    if used.is_empty() {
        let target = target.name.clone();
        let next = granting().filter_map(|grant| grant.valid.from()).filter(|from| *from > at).min();
        return Err(match granting().next() {
            Some(_) => Refused::RoleNotValid { target, from: next },
            None => Refused::RoleMissing { target },
        });
    }
    let ends = granting().filter(|grant| grant.valid.contains(at)).map(|grant| grant.valid.until());
    let until = ends.reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other))).flatten();
    Ok(Roles { used, until })
}

/// Check 5: the target is open, a reason is given, somebody has approved. The approval given here is one that covers it.
pub(in crate::access) fn terms(
    target: &Target,
    reason: Option<&Reason>,
    approval: Option<&Approval>,
    at: UnixTime,
) -> Result<Terms, Refused> {
    let (conditions, name) = (&target.conditions, || target.name.clone());
    if !conditions.schedule.allows(at) {
        return Err(Refused::OutsideSchedule { target: name(), opens: conditions.schedule.opens_at(at) });
    }
    if conditions.require_reason && reason.is_none() {
        return Err(Refused::ReasonRequired { target: name() });
    }
    let approval = approval.filter(|_| conditions.require_approval);
    if conditions.require_approval && approval.is_none() {
        return Err(Refused::ApprovalNeeded { target: name() });
    }
    let approval = approval.map(|approval| (approval.id(), approval.until()));
    Ok(Terms { closes: conditions.schedule.closes_at(at), approval })
}

/// Check 6: nobody else has a session on this client IP, and no session there means the same packets.
pub(super) fn overlap<'a>(
    ongoing: impl Iterator<Item = &'a Session> + Clone,
    user: UserId,
    client_ip: IpAddr,
    target: &Target,
) -> Result<(), Refused> {
    let here = ongoing.filter(|session| session.client_ip == client_ip);
    if let Some(other) = here.clone().find(|session| session.user != user) {
        return Err(Refused::ClientIpInUse { client_ip, by: other.id });
    }
    let mut own = here.filter(|session| session.target.destinations.overlap(&target.destinations));
    match own.next() {
        Some(session) => Err(Refused::Overlaps {
            target: target.name.clone(),
            session: session.id,
            other: session.target.name.clone(),
        }),
        None => Ok(()),
    }
}

/// Check 7: an exclusive target is opened only where nobody is, and nothing where another user is alone. DESIGN decision 3.
pub(super) fn exclusive<'a>(
    ongoing: impl Iterator<Item = &'a Session> + Clone,
    user: UserId,
    target: &Target,
) -> Result<(), Refused> {
    let mut there = ongoing.filter(|session| session.target.meets(target));
    if target.exclusive_access
        && let Some(session) = there.clone().next()
    {
        return Err(Refused::OthersPresent { target: target.name.clone(), session: session.id });
    }
    match there.find(|session| session.user != user && session.target.exclusive_access) {
        Some(other) => Err(Refused::TargetInExclusiveUse { target: target.name.clone(), by: other.id }),
        None => Ok(()),
    }
}

/// Check 8: a router is ready for it, and there are not too many. Says which routers are ready.
pub(super) fn capacity(
    facts: &Facts<'_>,
    client_ip: IpAddr,
    routers: &[RouterId],
) -> Result<Vec<RouterId>, Refused> {
    let (quotas, usage) = (facts.quotas, facts.usage);
    let ready: Vec<RouterId> =
        routers.iter().copied().filter(|router| facts.ready.contains(router)).collect();
    if ready.is_empty() {
        Err(Refused::NoRouterReady { client_ip })
    } else if usage.sessions_of_user >= quotas.sessions_per_user_max {
        Err(Refused::UserQuota { max: quotas.sessions_per_user_max })
    } else if usage.sessions_of_router >= quotas.sessions_per_router_max {
        Err(Refused::RouterQuota { max: quotas.sessions_per_router_max })
    } else if usage.sessions >= quotas.sessions_max {
        Err(Refused::Quota { max: quotas.sessions_max })
    } else {
        Ok(ready)
    }
}
