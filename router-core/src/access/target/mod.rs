//! Network targets: what a session lets a user reach, and under which conditions. Read first: spec access, "Objects and
//! fields". What only people read (comments, instructions, tags) belongs to whoever stores targets.

mod destination;
mod destinations;
mod forbidden;

use alloc::vec::Vec;

pub use destination::{Destination, DestinationError, Nat, NatAddr};
pub use destinations::{DESTINATIONS_MAX, Destinations, DestinationsError};
pub use forbidden::{Forbidden, ForbiddenAddresses, ForbiddenKind, ForbiddenPart};

use super::id::{RoleId, TargetId, TenantId};
use super::length::SessionLength;
use super::name::Name;
use super::schedule::Schedule;
use crate::Refusal;

/// A network target. Each field is legal in itself, and no two contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub id: TargetId,
    /// Whose; `None`: the operator's own.
    pub tenant: Option<TenantId>,
    /// What users ask for.
    pub name: Name,
    /// Any of these roles grants it. None of them: nobody may use it.
    pub roles: Vec<RoleId>,
    /// Where its sessions lead.
    pub destinations: Destinations,
    /// Whether devices see an address of the router's instead of the client's.
    pub src_nat: bool,
    /// Whether it is opened only when nobody else uses what it leads to, and then keeps others out. DESIGN decision 3.
    pub exclusive_access: bool,
    /// Nothing is granted any more.
    pub disabled: bool,
    /// Under which conditions it is granted.
    pub conditions: Conditions,
    /// How routers refuse what the client sends elsewhere; `None`: as the router is configured.
    pub deny_signal: Option<Refusal>,
    /// Counts its edits.
    pub version: u64,
}

/// Under which conditions a target is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The longest that a session lasts, extensions included; `None`: without end.
    pub max_duration: Option<SessionLength>,
    /// Whoever asks says why.
    pub require_reason: bool,
    /// Somebody else approves it first.
    pub require_approval: bool,
    /// When it may be used at all.
    pub schedule: Schedule,
}

impl Target {
    /// Whether a session opened for this target would be the same with `other`: what routers enforce, and whom it keeps out.
    ///
    /// Names, roles and conditions may differ: those are checked again and again while a session lasts.
    pub fn is_enforced_like(&self, other: &Target) -> bool {
        self.id == other.id
            && self.tenant == other.tenant
            && self.destinations.are_same(&other.destinations)
            && (self.src_nat, self.exclusive_access) == (other.src_nat, other.exclusive_access)
            && self.deny_signal == other.deny_signal
    }

    /// Whether sessions of the two, on different client IPs, can reach one device.
    ///
    /// Two tenants may use one address for two devices, so what is alike between them does not meet. The operator's own
    /// targets meet those of anybody.
    pub fn meets(&self, other: &Target) -> bool {
        let is_one_network = match (self.tenant, other.tenant) {
            (Some(one), Some(other)) => one == other,
            (None, Some(_) | None) | (Some(_), None) => true,
        };
        is_one_network && self.destinations.overlap(&other.destinations)
    }
}
