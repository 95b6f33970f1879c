//! More time for a session: the same checks as for opening it, the session itself left aside.

use wg_proto::UnixTime;

use super::facts::Facts;
use super::refused::Refused;
use super::{Expiry, checks, expiry};
use crate::access::id::ApprovalId;
use crate::access::length::SessionLength;
use crate::access::session::Session;
use crate::rules::SessionId;

/// An extension that has passed all checks. Only [`extend`] makes one, and [`Session::prolong`] applies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    pub(in crate::access) session: SessionId,
    pub(in crate::access) expires: Option<Expiry>,
    pub(in crate::access) approval: Option<ApprovalId>,
}

impl Extension {
    /// When the session will end by itself; `None`: never.
    pub fn expires(&self) -> Option<Expiry> {
        self.expires
    }
}

/// Whether a session may last `wanted` from this moment on. It is cut to what target, role, schedule and approval allow, the
/// target's longest duration being counted from when the session was opened; if nothing is won, it is refused.
pub fn extend(
    facts: &Facts<'_>,
    session: &Session,
    wanted: SessionLength,
    at: UnixTime,
) -> Result<Extension, Refused> {
    let user = facts.user.id;
    checks::user(facts)?;
    if session.user != user {
        return Err(Refused::SessionOver { session: session.id });
    }
    let place = checks::place(facts, user, session.client_ip)?;
    let name = facts.target.filter(|target| target.id == session.target.id).map(|target| &target.name);
    let target = checks::target(facts, name.unwrap_or(&session.target.name), session.client_ip)?;
    let roles = checks::roles(facts.user, target, at)?;
    let terms =
        checks::terms(target, session.reason.as_ref(), session.approval_among(facts, target, at), at)?;
    let is_over = session.expires.is_some_and(|expiry| expiry.at <= at);
    if is_over || !session.is_open() || !target.is_enforced_like(&session.target) {
        return Err(Refused::SessionOver { session: session.id });
    }
    let others = facts.ongoing.iter().filter(|other| other.is_ongoing() && other.id != session.id);
    checks::overlap(others.clone(), user, session.client_ip, target)?;
    checks::exclusive(others, user, target)?;
    if !place.routers.iter().any(|router| facts.ready.contains(router)) {
        return Err(Refused::NoRouterReady { client_ip: session.client_ip });
    }
    let expires = expiry(target, session.opened, at, Some(wanted), &roles, &terms);
    let is_longer = match (session.expires, expires) {
        (Some(now), Some(then)) => then.at > now.at,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if !is_longer {
        return Err(Refused::NothingToExtend { expires: session.expires });
    }
    Ok(Extension { session: session.id, expires, approval: terms.approval.map(|(id, _)| id) })
}
