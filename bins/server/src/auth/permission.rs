//! Who may do what: one table. What is not in it is denied (P18).

use std::ops::Deref;

use sluice_api::Right;

use super::principal::{Principal, Scope, Scopes};

/// Something that a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Action {
    /// Ask who one is; log out.
    Account,
    /// Change one's password, make and take back one's tokens.
    Credentials,
    /// Set the password of others.
    SetPasswords,
    /// See what one may open.
    ReadAccess,
    /// Ask why something is refused.
    Explain,
    /// See sessions.
    ReadSessions,
    /// Open sessions, and give them more time.
    OpenSessions,
    /// End sessions.
    EndSessions,
    /// See requests that wait for approval.
    ReadApprovals,
    /// Ask for one.
    AskApproval,
    /// Give or refuse one.
    DecideApprovals,
    /// See devices of users.
    ReadDevices,
    /// Add, change and remove devices of users.
    WriteDevices,
    /// See the other kinds of objects.
    ReadObjects,
    /// Change those that a tenant may have.
    WriteObjects,
    /// Change those that belong to the installation alone: tenants and routers.
    WriteInstallation,
    /// Enrol connectors.
    EnrolConnectors,
    /// Enrol routers.
    EnrolRouters,
    /// See how routers, connectors and mappings are.
    ReadHealth,
    /// Be told of changes.
    ReadEvents,
    /// See audit events.
    ReadAudit,
    /// Verify the chain of audit events, which spans all tenants.
    VerifyAudit,
}

/// How far a permission reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What is the principal's own.
    Own,
    /// What is their tenant's; everything, for those in no tenant.
    Tenant,
    /// Everything; only for those in no tenant.
    Installation,
}

/// A passed check: who may do what they asked for, and how far. Only [`permit`] makes one.
#[derive(Debug, Clone)]
pub(crate) struct Permit {
    principal: Principal,
    reach: Reach,
}

/// Why something is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// The right is too small.
    #[error("your right does not include this")]
    Right,
    /// The token is for something else.
    #[error("this token is not good for this")]
    Scope,
}

/// A line of the table.
#[derive(Debug)]
struct Rule {
    action: Action,
    /// Any of these is enough; a credential for everything always is.
    scopes: &'static [Scope],
    user: Option<Reach>,
    auditor: Option<Reach>,
    tenant_admin: Option<Reach>,
    admin: Option<Reach>,
}

const NO: Option<Reach> = None;
const OWN: Option<Reach> = Some(Reach::Own);
const TENANT: Option<Reach> = Some(Reach::Tenant);
const ALL: Option<Reach> = Some(Reach::Installation);

const fn rule(
    action: Action,
    scopes: &'static [Scope],
    [user, auditor, tenant_admin, admin]: [Option<Reach>; 4],
) -> Rule {
    Rule { action, scopes, user, auditor, tenant_admin, admin }
}

use Scope::{Audit, Objects, Read, Sessions};

#[rustfmt::skip]
const TABLE: &[Rule] = &[
    //                               scopes                              user    auditor tenant  admin
    rule(Action::Account,           &[Read, Sessions, Objects, Audit], [OWN,    OWN,    OWN,    OWN]),
    rule(Action::Credentials,       &[],                               [OWN,    OWN,    OWN,    OWN]),
    rule(Action::SetPasswords,      &[],                               [NO,     NO,     TENANT, ALL]),
    rule(Action::ReadAccess,        &[Read, Sessions],                 [OWN,    OWN,    OWN,    OWN]),
    rule(Action::Explain,           &[Read, Sessions],                 [OWN,    TENANT, TENANT, ALL]),
    rule(Action::ReadSessions,      &[Read, Sessions],                 [OWN,    TENANT, TENANT, ALL]),
    rule(Action::OpenSessions,      &[Sessions],                       [OWN,    OWN,    OWN,    OWN]),
    rule(Action::EndSessions,       &[Sessions],                       [OWN,    OWN,    TENANT, ALL]),
    rule(Action::ReadApprovals,     &[Read, Sessions],                 [OWN,    TENANT, TENANT, ALL]),
    rule(Action::AskApproval,       &[Sessions],                       [OWN,    OWN,    OWN,    OWN]),
    rule(Action::DecideApprovals,   &[Sessions],                       [NO,     NO,     TENANT, ALL]),
    rule(Action::ReadDevices,       &[Read, Objects],                  [OWN,    TENANT, TENANT, ALL]),
    rule(Action::WriteDevices,      &[Objects],                        [OWN,    OWN,    TENANT, ALL]),
    rule(Action::ReadObjects,       &[Read, Objects],                  [NO,     TENANT, TENANT, ALL]),
    rule(Action::WriteObjects,      &[Objects],                        [NO,     NO,     TENANT, ALL]),
    rule(Action::WriteInstallation, &[Objects],                        [NO,     NO,     NO,     ALL]),
    rule(Action::EnrolConnectors,   &[Objects],                        [NO,     NO,     TENANT, ALL]),
    rule(Action::EnrolRouters,      &[Objects],                        [NO,     NO,     NO,     ALL]),
    rule(Action::ReadHealth,        &[Read, Objects],                  [NO,     TENANT, TENANT, ALL]),
    rule(Action::ReadEvents,        &[Read],                           [OWN,    TENANT, TENANT, ALL]),
    rule(Action::ReadAudit,         &[Audit],                          [NO,     TENANT, TENANT, ALL]),
    rule(Action::VerifyAudit,       &[Audit],                          [NO,     ALL,    NO,     ALL]),
];

/// Whether this principal may do this, and how far.
pub(crate) fn permit(principal: Principal, action: Action) -> Result<Permit, Denied> {
    let rule = TABLE.iter().find(|rule| rule.action == action).ok_or(Denied::Right)?;
    let reach = match principal.right {
        Right::User => rule.user,
        Right::Auditor => rule.auditor,
        Right::TenantAdmin => rule.tenant_admin,
        Right::Admin => rule.admin,
    };
    let reach = reach.ok_or(Denied::Right)?;
    if reach == Reach::Installation && principal.tenant.is_some() {
        return Err(Denied::Right);
    }
    match &principal.scopes {
        Scopes::All => {}
        Scopes::Only(scopes) if rule.scopes.iter().any(|scope| scopes.contains(scope)) => {}
        Scopes::Only(_) => return Err(Denied::Scope),
    }
    Ok(Permit { principal, reach })
}

impl Permit {
    /// How far it reaches.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// Whether it reaches to what this user has.
    pub(crate) fn reaches(&self, owner: &str) -> bool {
        match self.reach {
            Reach::Own => self.principal.name == owner,
            Reach::Tenant | Reach::Installation => true,
        }
    }
}

impl Deref for Permit {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.principal
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::auth::principal::Credential;

    fn principal(right: Right, tenant: Option<Uuid>, scopes: Scopes) -> Principal {
        Principal {
            user: Uuid::from_u128(1),
            name: "alice".to_owned(),
            tenant,
            tenant_name: None,
            right,
            scopes,
            credential: Credential::Token(Uuid::from_u128(2)),
            since: Timestamp::UNIX_EPOCH,
            expires: Timestamp::MAX,
            source: [192, 0, 2, 1].into(),
        }
    }

    #[test]
    fn each_action_has_one_line() {
        let actions: BTreeSet<Action> = TABLE.iter().map(|rule| rule.action).collect();
        assert_eq!(actions.len(), TABLE.len());
    }

    #[test]
    fn a_greater_right_reaches_at_least_as_far_for_all_that_changes_something() {
        let far = |reach: Option<Reach>| reach.map_or(0, |reach| reach as u8 + 1);
        for rule in TABLE.iter().filter(|rule| rule.action != Action::VerifyAudit) {
            let reaches = [rule.user, rule.auditor, rule.tenant_admin, rule.admin].map(far);
            assert!(reaches.is_sorted(), "{rule:?}");
        }
    }

    #[test]
    fn a_token_without_its_scope_is_denied_and_one_for_everything_is_not() {
        let scoped = |scope| Scopes::Only(BTreeSet::from([scope]));
        for (action, scopes, allowed) in [
            (Action::WriteObjects, Scopes::All, true),
            (Action::WriteObjects, scoped(Scope::Objects), true),
            (Action::WriteObjects, scoped(Scope::Read), false),
            (Action::Credentials, scoped(Scope::Objects), false),
            (Action::ReadAudit, scoped(Scope::Read), false),
            (Action::ReadObjects, Scopes::Only(BTreeSet::new()), false),
        ] {
            let given = permit(principal(Right::Admin, None, scopes.clone()), action);
            assert_eq!(given.err(), (!allowed).then_some(Denied::Scope), "{action:?} {scopes:?}");
        }
    }

    #[test]
    fn what_spans_tenants_is_not_for_those_in_one() {
        let tenant = Some(Uuid::from_u128(7));
        for (tenant, allowed) in [(None, true), (tenant, false)] {
            let given = permit(principal(Right::Auditor, tenant, Scopes::All), Action::VerifyAudit);
            assert_eq!(given.is_ok(), allowed, "{tenant:?}");
        }
    }
}
