//! Users and the roles they have, each for a time.

use alloc::vec::Vec;

use wg_proto::UnixTime;

use super::id::{RoleId, TenantId, UserId};
use super::name::Name;

/// Somebody who asks for access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// The tenant whose targets they may use; `None`: any.
    pub tenant: Option<TenantId>,
    /// What they are called.
    pub name: Name,
    /// The roles they have.
    pub roles: Vec<RoleGrant>,
    /// Nothing is granted to them any more.
    pub disabled: bool,
}

/// A role that a user has, for a time. A user may have one role several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleGrant {
    /// Which.
    pub role: RoleId,
    /// When.
    pub valid: Validity,
}

/// A span of time, its start included and its end not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    from: Option<UnixTime>,
    until: Option<UnixTime>,
}

/// A span that ends before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("valid at no time: it ends before it starts")]
pub struct NeverValid;

impl Validity {
    /// At any time.
    pub const ALWAYS: Validity = Validity { from: None, until: None };

    /// From one moment, if there is one, to just before another, if there is one.
    pub fn new(from: Option<UnixTime>, until: Option<UnixTime>) -> Result<Validity, NeverValid> {
        match (from, until) {
            (Some(from), Some(until)) if until <= from => Err(NeverValid),
            (Some(_) | None, Some(_) | None) => Ok(Validity { from, until }),
        }
    }

    /// When it starts; `None`: it always was.
    pub fn from(&self) -> Option<UnixTime> {
        self.from
    }

    /// When it ends; `None`: never.
    pub fn until(&self) -> Option<UnixTime> {
        self.until
    }

    /// Whether this moment is part of it.
    pub fn contains(&self, at: UnixTime) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }
}

impl User {
    /// Whether a target of this tenant exists for them. Users without a tenant work for all of them.
    pub fn may_know(&self, tenant: Option<TenantId>) -> bool {
        self.tenant.is_none() || self.tenant == tenant
    }

    /// When the roles that they have will be others, by time alone.
    pub fn next_change(&self, at: UnixTime) -> Option<UnixTime> {
        let bounds = self.roles.iter().flat_map(|grant| [grant.valid.from, grant.valid.until]);
        bounds.flatten().filter(|bound| *bound > at).min()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const fn t(secs: u64) -> UnixTime {
        UnixTime::new(secs, 0)
    }

    #[test]
    fn a_validity_has_its_start_and_not_its_end() {
        let valid = Validity::new(Some(t(5)), Some(t(9))).unwrap();
        for (at, expected) in [(4, false), (5, true), (8, true), (9, false)] {
            assert_eq!(valid.contains(t(at)), expected, "{at}");
        }
        assert!(Validity::ALWAYS.contains(t(0)));
        assert_eq!((valid.from(), valid.until()), (Some(t(5)), Some(t(9))));
    }

    #[test]
    fn a_validity_that_ends_before_it_starts_is_refused() {
        for until in [4, 5] {
            assert_eq!(Validity::new(Some(t(5)), Some(t(until))), Err(NeverValid));
        }
        assert!(Validity::new(None, Some(t(0))).is_ok());
    }

    #[test]
    fn roles_change_at_the_next_bound_of_any_of_them() {
        let grant = |from, until| RoleGrant { role: RoleId(1), valid: Validity::new(from, until).unwrap() };
        let user = User {
            id: UserId(1),
            tenant: None,
            name: Name::new("alice").unwrap(),
            roles: vec![grant(Some(t(5)), Some(t(20))), grant(Some(t(9)), None)],
            disabled: false,
        };
        for (at, next) in [(0, Some(5)), (5, Some(9)), (9, Some(20)), (20, None)] {
            assert_eq!(user.next_change(t(at)), next.map(t), "{at}");
        }
    }

    #[test]
    fn users_of_a_tenant_know_its_targets_only() {
        let mut user = User {
            id: UserId(1),
            tenant: None,
            name: Name::new("a").unwrap(),
            roles: vec![],
            disabled: false,
        };
        let tenants = [None, Some(TenantId(1)), Some(TenantId(2))];
        assert_eq!(tenants.map(|tenant| user.may_know(tenant)), [true; 3]);
        user.tenant = Some(TenantId(1));
        assert_eq!(tenants.map(|tenant| user.may_know(tenant)), [false, true, false]);
    }
}
