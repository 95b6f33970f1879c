//! Why sessions end. Spec: access, "Keeping and ending it".

use core::fmt;

use super::audit::AuditKind;
use super::id::UserId;

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// Its user closed it.
    UserClosed,
    /// An admin ended it, alone or with others.
    AdminTerminated {
        /// Who.
        by: UserId,
        /// With which others.
        scope: Scope,
    },
    /// Its time is over.
    Expired,
    /// Its user was disabled.
    UserDisabled,
    /// No role of the user's grants the target any more.
    RoleLost,
    /// The target's schedule was changed, and it is not open now.
    ScheduleClosed,
    /// The target needs a reason now, and none was given.
    ReasonRequired,
    /// The target needs an approval, and there is none any more.
    ApprovalLost,
    /// The device was removed, or given another key or address.
    DeviceRemoved,
    /// No router serves the client IP any more, or others do.
    RoutersChanged,
    /// The target was removed, or moved out of the user's tenant.
    TargetRemoved,
    /// The target was disabled.
    TargetDisabled,
    /// The target was edited: it is not what the session was opened for any more.
    TargetEdited,
    /// The client sent nothing authentic for too long.
    ConnectivityLost,
    /// No router got its lease renewed: they forward nothing.
    LeaseLapsed,
    /// A router did not take the session's rules.
    RouterRefused,
    /// The server stops.
    ServerStopped,
}

/// Which sessions an admin ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// This one.
    Session,
    /// All of the user.
    User,
    /// All of the target.
    Target,
    /// All at a router.
    Router,
    /// All through a connector.
    Connector,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Scope; 5] = [Scope::Session, Scope::User, Scope::Target, Scope::Router, Scope::Connector];
}

impl EndReason {
    /// All reasons that need nothing else to be said.
    const PLAIN: [EndReason; 16] = [
        EndReason::UserClosed,
        EndReason::Expired,
        EndReason::UserDisabled,
        EndReason::RoleLost,
        EndReason::ScheduleClosed,
        EndReason::ReasonRequired,
        EndReason::ApprovalLost,
        EndReason::DeviceRemoved,
        EndReason::RoutersChanged,
        EndReason::TargetRemoved,
        EndReason::TargetDisabled,
        EndReason::TargetEdited,
        EndReason::ConnectivityLost,
        EndReason::LeaseLapsed,
        EndReason::RouterRefused,
        EndReason::ServerStopped,
    ];

    /// What programs and stores know it by. Never changes.
    pub const fn code(self) -> &'static str {
        match self {
            EndReason::UserClosed => "user-closed",
            EndReason::AdminTerminated { scope, .. } => match scope {
                Scope::Session => "admin-terminated",
                Scope::User => "admin-terminated-user",
                Scope::Target => "admin-terminated-target",
                Scope::Router => "admin-terminated-router",
                Scope::Connector => "admin-terminated-connector",
            },
            EndReason::Expired => "expired",
            EndReason::UserDisabled => "user-disabled",
            EndReason::RoleLost => "role-lost",
            EndReason::ScheduleClosed => "schedule-closed",
            EndReason::ReasonRequired => "reason-required",
            EndReason::ApprovalLost => "approval-lost",
            EndReason::DeviceRemoved => "device-removed",
            EndReason::RoutersChanged => "routers-changed",
            EndReason::TargetRemoved => "target-removed",
            EndReason::TargetDisabled => "target-disabled",
            EndReason::TargetEdited => "target-edited",
            EndReason::ConnectivityLost => "connectivity-lost",
            EndReason::LeaseLapsed => "lease-lapsed",
            EndReason::RouterRefused => "router-refused",
            EndReason::ServerStopped => "server-stopped",
        }
    }

    /// The reason of this code; `by` is the admin, if it was one.
    pub fn from_code(code: &str, by: Option<UserId>) -> Option<EndReason> {
        let scopes =
            by.into_iter().flat_map(|by| Scope::ALL.map(|scope| EndReason::AdminTerminated { by, scope }));
        EndReason::PLAIN.into_iter().chain(scopes).find(|reason| reason.code() == code)
    }

    /// What is written down when a session begins to end for this reason.
    pub const fn audit_kind(self) -> AuditKind {
        match self {
            EndReason::AdminTerminated { scope, .. } => match scope {
                Scope::Session => AuditKind::SessionTerminatedByAdmin,
                Scope::User => AuditKind::UserSessionsTerminatedByAdmin,
                Scope::Target | Scope::Router | Scope::Connector => {
                    AuditKind::TargetSessionsTerminatedByAdmin
                }
            },
            EndReason::RouterRefused => AuditKind::SessionFailed,
            EndReason::UserClosed
            | EndReason::Expired
            | EndReason::UserDisabled
            | EndReason::RoleLost
            | EndReason::ScheduleClosed
            | EndReason::ReasonRequired
            | EndReason::ApprovalLost
            | EndReason::DeviceRemoved
            | EndReason::RoutersChanged
            | EndReason::TargetRemoved
            | EndReason::TargetDisabled
            | EndReason::TargetEdited
            | EndReason::ConnectivityLost
            | EndReason::LeaseLapsed
            | EndReason::ServerStopped => AuditKind::SessionEnding,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndReason::UserClosed => "closed by its user",
            EndReason::AdminTerminated { .. } => "ended by an administrator",
            EndReason::Expired => "its time is over",
            EndReason::UserDisabled => "the account was disabled",
            EndReason::RoleLost => "no role grants the target any more",
            EndReason::ScheduleClosed => "the target is not open any more at this time",
            EndReason::ReasonRequired => "the target needs a reason now",
            EndReason::ApprovalLost => "the approval is gone",
            EndReason::DeviceRemoved => "the device was removed",
            EndReason::RoutersChanged => "other routers serve the client's address now",
            EndReason::TargetRemoved => "the target was removed",
            EndReason::TargetDisabled => "the target was disabled",
            EndReason::TargetEdited => "the target was edited",
            EndReason::ConnectivityLost => "the client is gone",
            EndReason::LeaseLapsed => "the server lost the routers",
            EndReason::RouterRefused => "a router refused it",
            EndReason::ServerStopped => "the server stopped",
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    use super::*;

    const ADMIN: UserId = UserId(9);

    #[test]
    fn every_reason_has_a_code_of_its_own_by_which_it_is_found_again() {
        let by_admin = Scope::ALL.map(|scope| EndReason::AdminTerminated { by: ADMIN, scope });
        let all: alloc::vec::Vec<_> = EndReason::PLAIN.into_iter().chain(by_admin).collect();
        let codes: BTreeSet<&str> = all.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), all.len());
        for reason in all {
            assert_eq!(EndReason::from_code(reason.code(), Some(ADMIN)), Some(reason));
            assert!(!reason.to_string().is_empty());
        }
        assert_eq!(EndReason::from_code("admin-terminated", None), None);
        assert_eq!(EndReason::from_code("", Some(ADMIN)), None);
    }

    #[test]
    fn every_reason_is_documented() {
        let page = include_str!("../../../docs/access.md");
        let by_admin = Scope::ALL.map(|scope| EndReason::AdminTerminated { by: ADMIN, scope });
        for reason in EndReason::PLAIN.into_iter().chain(by_admin) {
            assert!(page.contains(&["`", reason.code(), "`"].concat()), "{}", reason.code());
        }
    }

    #[test]
    fn what_an_admin_does_has_numbers_of_its_own() {
        let number = |scope| EndReason::AdminTerminated { by: ADMIN, scope }.audit_kind().number();
        assert_eq!(Scope::ALL.map(number), [900, 902, 901, 901, 901]);
        assert_eq!(EndReason::RouterRefused.audit_kind(), AuditKind::SessionFailed);
        assert_eq!(EndReason::Expired.audit_kind(), AuditKind::SessionEnding);
    }
}
