//! Whether a session is opened. Read first: spec access, "Opening a session", whose numbers the checks have.

mod checks;
mod expiry;
mod extend;
mod facts;
mod refused;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::net::IpAddr;

use wg_proto::UnixTime;

pub(super) use checks::{place, roles, terms};
pub use expiry::{Expiry, Limit};
pub use extend::{Extension, extend};
pub use facts::{Client, ClientDevice, ClientOwner, Facts, Quotas, Request, Usage};
pub use refused::Refused;

use super::approval::Approval;
use super::id::{ApprovalId, RoleId, RouterId, UserId};
use super::length::SessionLength;
use super::name::Reason;
use super::target::Target;
use checks::{Roles, Terms};

/// A request that has passed all checks. Only [`decide`] makes one, and [`Session::open`](super::Session::open) makes a session of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub(super) at: UnixTime,
    pub(super) user: UserId,
    pub(super) client_ip: IpAddr,
    pub(super) client: Client,
    pub(super) target: Target,
    pub(super) roles: Vec<RoleId>,
    pub(super) reason: Option<Reason>,
    pub(super) approval: Option<ApprovalId>,
    pub(super) expires: Option<Expiry>,
    pub(super) routers: Vec<RouterId>,
    pub(super) ready: Vec<RouterId>,
}

impl Granted {
    /// When the session will end by itself; `None`: never.
    pub fn expires(&self) -> Option<Expiry> {
        self.expires
    }

    /// The roles that grant it.
    pub fn roles(&self) -> &[RoleId] {
        &self.roles
    }
}

/// Whether the request is granted at this moment. What refuses is the first check that fails.
pub fn decide(facts: &Facts<'_>, request: &Request, at: UnixTime) -> Result<Granted, Refused> {
    let user = facts.user.id;
    let ongoing = facts.ongoing.iter().filter(|session| session.is_ongoing());
    checks::user(facts)?;
    let place = checks::place(facts, user, request.client_ip)?;
    let target = checks::target(facts, &request.target, request.client_ip)?;
    let roles = checks::roles(facts.user, target, at)?;
    let terms = checks::terms(target, request.reason.as_ref(), approval(facts, target, at), at)?;
    checks::overlap(ongoing.clone(), user, request.client_ip, target)?;
    checks::exclusive(ongoing, user, target)?;
    let ready = checks::capacity(facts, request.client_ip, &place.routers)?;
    Ok(Granted {
        at,
        user,
        client_ip: request.client_ip,
        client: place.client,
        expires: expiry(target, at, at, request.duration, &roles, &terms),
        target: target.clone(),
        roles: roles.used,
        reason: request.reason.clone(),
        approval: terms.approval.map(|(id, _)| id),
        routers: place.routers,
        ready,
    })
}

/// All checks that fail, in their order: for explanations. Empty exactly if [`decide`] grants.
///
/// Without a target nothing can be said about roles, conditions and other sessions, so those checks are left out then.
pub fn failures(facts: &Facts<'_>, request: &Request, at: UnixTime) -> Vec<Refused> {
    let user = facts.user.id;
    let ongoing = facts.ongoing.iter().filter(|session| session.is_ongoing());
    let place = checks::place(facts, user, request.client_ip);
    let known = checks::target(facts, &request.target, request.client_ip);
    let about_target = facts.target.filter(|_| !matches!(known, Err(Refused::TargetUnknown { .. })));
    let about_target = about_target.into_iter().flat_map(|target| {
        [
            checks::roles(facts.user, target, at).err(),
            checks::terms(target, request.reason.as_ref(), approval(facts, target, at), at).err(),
            checks::overlap(ongoing.clone(), user, request.client_ip, target).err(),
            checks::exclusive(ongoing.clone(), user, target).err(),
        ]
    });
    let routers = place.as_ref().map_or(&[][..], |place| &place.routers);
    let capacity = place.is_ok().then(|| checks::capacity(facts, request.client_ip, routers).err());
    let first = [checks::user(facts).err(), place.as_ref().err().cloned(), known.err()];
    first.into_iter().chain(about_target).chain(capacity).flatten().collect()
}

/// The approval, if it lets the user open this target as it is.
fn approval<'a>(facts: &Facts<'a>, target: &Target, at: UnixTime) -> Option<&'a Approval> {
    facts.approval.filter(|approval| approval.covers(facts.user.id, target, at))
}

/// When a session that is given `wanted` at this moment ends.
fn expiry(
    target: &Target,
    opened: UnixTime,
    at: UnixTime,
    wanted: Option<SessionLength>,
    roles: &Roles,
    terms: &Terms,
) -> Option<Expiry> {
    let after = |start: UnixTime, length: SessionLength| start.saturating_add(length.duration());
    Expiry::earliest([
        (Limit::Requested, wanted.map(|length| after(at, length))),
        (Limit::MaxDuration, target.conditions.max_duration.map(|length| after(opened, length))),
        (Limit::Schedule, terms.closes),
        (Limit::Role, roles.until),
        (Limit::Approval, terms.approval.map(|(_, until)| until)),
    ])
}
