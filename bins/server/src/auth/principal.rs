//! Who is asking, and by what they showed it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use sluice_api::Right;
use uuid::Uuid;

/// Who is asking. Only authentication makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The user.
    pub(crate) user: Uuid,
    /// Their name.
    pub(crate) name: String,
    /// In which tenant; `None`: in the installation.
    pub(crate) tenant: Option<Uuid>,
    /// What that is called.
    pub(crate) tenant_name: Option<String>,
    /// What they may do, having been cut to what their tenant allows.
    pub(crate) right: Right,
    /// What the credential is good for.
    pub(crate) scopes: Scopes,
    /// What they showed.
    pub(crate) credential: Credential,
    /// When that was given out: when they last proved who they are.
    pub(crate) since: Timestamp,
    /// Until when it is good.
    pub(crate) expires: Timestamp,
    /// Where the request came from.
    pub(crate) source: IpAddr,
}

/// What somebody showed: the identity of the stored secret, never the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A cookie, which browsers send by themselves: such requests must show that the page is ours.
    Cookie(Uuid),
    /// A token, which is sent on purpose.
    Token(Uuid),
}

/// What a token may be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// See everything but the audit.
    Read,
    /// See and open sessions.
    Sessions,
    /// See and change objects.
    Objects,
    /// See the audit.
    Audit,
}

/// What a credential is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scopes {
    /// Everything that its owner may.
    All,
    /// These, of that.
    Only(BTreeSet<Scope>),
}

impl Credential {
    /// Which stored secret.
    pub(crate) fn id(self) -> Uuid {
        match self {
            Credential::Cookie(id) | Credential::Token(id) => id,
        }
    }
}

impl Scope {
    /// All of them.
    pub(crate) const ALL: [Scope; 4] = [Scope::Read, Scope::Sessions, Scope::Objects, Scope::Audit];

    /// As documents spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Sessions => "sessions",
            Scope::Objects => "objects",
            Scope::Audit => "audit",
        }
    }

    /// The other way round.
    pub(crate) fn named(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

impl Scopes {
    /// As they are stored: nothing means everything. What is not known is good for nothing.
    pub(crate) fn stored(names: &[String]) -> Scopes {
        if names.is_empty() {
            return Scopes::All;
        }
        Scopes::Only(names.iter().filter_map(|name| Scope::named(name)).collect())
    }

    /// Their names; none for all.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Scopes::All => Vec::new(),
            Scopes::Only(scopes) => scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        }
    }
}

/// What a user may do, given whose they are: an administrator of the installation is in no tenant, and one of a tenant
/// is in one. A document that says otherwise gives less.
pub(crate) fn effective(right: Right, tenant: Option<Uuid>) -> Right {
    match (right, tenant) {
        (Right::Admin, Some(_)) => Right::TenantAdmin,
        (Right::TenantAdmin, None) => Right::User,
        (right @ (Right::User | Right::Auditor | Right::TenantAdmin | Right::Admin), _) => right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_that_is_not_known_is_good_for_nothing_and_not_for_all() {
        assert_eq!(Scopes::stored(&["everything".to_owned()]), Scopes::Only(BTreeSet::new()));
        assert_eq!(Scopes::stored(&[]), Scopes::All);
        let two = Scopes::stored(&["audit".to_owned(), "read".to_owned()]);
        assert_eq!(two.names(), ["read", "audit"]);
    }

    #[test]
    fn nobody_of_a_tenant_administers_the_installation() {
        let tenant = Some(Uuid::from_u128(1));
        for (right, tenant, left) in [
            (Right::Admin, None, Right::Admin),
            (Right::Admin, tenant, Right::TenantAdmin),
            (Right::TenantAdmin, tenant, Right::TenantAdmin),
            (Right::TenantAdmin, None, Right::User),
            (Right::Auditor, tenant, Right::Auditor),
            (Right::User, None, Right::User),
        ] {
            assert_eq!(effective(right, tenant), left, "{right:?} {tenant:?}");
        }
    }
}
