//! What is written down: a name and a number for each kind of event. Spec: access, "Audit events". The envelope around an
//! event, and the chain of hashes, belong to whoever stores them.

/// Defines kinds once: a variant each, its number, its name.
macro_rules! audit_kinds {
    ($($(#[$doc:meta])+ $variant:ident = $number:literal $name:literal,)+) => {
        /// What has happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum AuditKind {
            $($(#[$doc])+ $variant = $number,)+
        }

        impl AuditKind {
            /// All kinds, by number.
            pub const ALL: &[AuditKind] = &[$(AuditKind::$variant,)+];

            /// The kind as events spell it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(AuditKind::$variant => $name,)+
                }
            }
        }
    };
}

// PrivX's numbers are below 10000; from 10000 on they are our own. None is ever used for anything else again.
audit_kinds! {
    /// An admin ended one session.
    SessionTerminatedByAdmin = 900 "session-terminated-by-admin",
    /// An admin ended all sessions of a target, a router or a connector.
    TargetSessionsTerminatedByAdmin = 901 "target-sessions-terminated-by-admin",
    /// An admin ended all sessions of a user.
    UserSessionsTerminatedByAdmin = 902 "user-sessions-terminated-by-admin",
    /// A target was made.
    TargetCreated = 1600 "target-created",
    /// A target was edited.
    TargetModified = 1601 "target-modified",
    /// A target was removed.
    TargetRemoved = 1602 "target-removed",
    /// A router has got its rules.
    RouterInitialized = 1603 "router-initialized",
    /// A router did not take its rules.
    RouterInitFailed = 1604 "router-init-failed",
    /// A session was opened.
    SessionOpened = 1605 "session-opened",
    /// A session is over: no router lets anything of it pass any more.
    SessionClosed = 1606 "session-closed",
    /// A request was refused.
    RequestRefused = 1607 "request-refused",
    /// A session that was granted could not be brought about.
    SessionFailed = 1608 "session-failed",
    /// A target was disabled or enabled.
    TargetDisabledChanged = 1609 "target-disabled-changed",
    /// Somebody logged in.
    LoginSucceeded = 10_000 "login-succeeded",
    /// Somebody did not succeed in logging in.
    LoginFailed = 10_001 "login-failed",
    /// Somebody logged out.
    LoggedOut = 10_002 "logged-out",
    /// Somebody asked for what they may not do.
    PermissionDenied = 10_003 "permission-denied",
    /// A user was made.
    UserCreated = 10_100 "user-created",
    /// A user was edited.
    UserModified = 10_101 "user-modified",
    /// A user was removed.
    UserRemoved = 10_102 "user-removed",
    /// A user was disabled or enabled.
    UserDisabledChanged = 10_103 "user-disabled-changed",
    /// A user's credentials were changed.
    CredentialsChanged = 10_104 "credentials-changed",
    /// A role was made.
    RoleCreated = 10_110 "role-created",
    /// A role was edited.
    RoleModified = 10_111 "role-modified",
    /// A role was removed.
    RoleRemoved = 10_112 "role-removed",
    /// A user was given a role.
    RoleGranted = 10_113 "role-granted",
    /// A user was taken a role.
    RoleRevoked = 10_114 "role-revoked",
    /// A user's device was added.
    DeviceAdded = 10_120 "device-added",
    /// A user's device was edited.
    DeviceModified = 10_121 "device-modified",
    /// A user's device was removed.
    DeviceRemoved = 10_122 "device-removed",
    /// A tenant was made.
    TenantCreated = 10_130 "tenant-created",
    /// A tenant was edited.
    TenantModified = 10_131 "tenant-modified",
    /// A tenant was removed.
    TenantRemoved = 10_132 "tenant-removed",
    /// A router was made.
    RouterCreated = 10_200 "router-created",
    /// A router was edited.
    RouterModified = 10_201 "router-modified",
    /// A router was removed.
    RouterRemoved = 10_202 "router-removed",
    /// A router or connector has come.
    AgentConnected = 10_203 "agent-connected",
    /// A router or connector has gone.
    AgentDisconnected = 10_204 "agent-disconnected",
    /// A router or connector did not take what it was told.
    AgentRefused = 10_205 "agent-refused",
    /// A router's lease lapsed: it forwards nothing.
    LeaseLapsed = 10_206 "lease-lapsed",
    /// A router was brought back to what it should have.
    Reconciled = 10_207 "reconciled",
    /// A connector was made.
    ConnectorCreated = 10_210 "connector-created",
    /// A connector was edited.
    ConnectorModified = 10_211 "connector-modified",
    /// A connector was removed.
    ConnectorRemoved = 10_212 "connector-removed",
    /// A connector or router registered its key.
    AgentEnrolled = 10_213 "agent-enrolled",
    /// A connector became healthy or stopped being so.
    ConnectorHealthChanged = 10_214 "connector-health-changed",
    /// A device mapping was added.
    MappingAdded = 10_220 "mapping-added",
    /// A device mapping was removed.
    MappingRemoved = 10_221 "mapping-removed",
    /// A device mapping was edited.
    MappingModified = 10_222 "mapping-modified",
    /// A token was made.
    TokenCreated = 10_230 "token-created",
    /// A token was used.
    TokenRedeemed = 10_231 "token-redeemed",
    /// A token was taken back.
    TokenRevoked = 10_232 "token-revoked",
    /// A token was used that is used up, past its time, taken back or made up.
    TokenMisused = 10_233 "token-misused",
    /// A session lets packets pass at all routers that are there.
    SessionActivated = 10_300 "session-activated",
    /// A session is being ended.
    SessionEnding = 10_301 "session-ending",
    /// A session was given more time.
    SessionExtended = 10_302 "session-extended",
    /// A user was told that a session will end.
    SessionExpiryNotified = 10_303 "session-expiry-notified",
    /// A router refused packets of somebody: so many since the last such event.
    PacketsRefused = 10_304 "packets-refused",
    /// A request waits for an approval.
    ApprovalRequested = 10_310 "approval-requested",
    /// A request was approved.
    ApprovalGiven = 10_311 "approval-given",
    /// A request was turned down, or an approval taken back.
    ApprovalDenied = 10_312 "approval-denied",
    /// The server started.
    ServerStarted = 10_400 "server-started",
    /// The server stops.
    ServerStopped = 10_401 "server-stopped",
    /// The wall clock stepped.
    ClockStepped = 10_402 "clock-stepped",
    /// Events were exported.
    AuditExported = 10_403 "audit-exported",
    /// The chain of events was verified.
    AuditVerified = 10_404 "audit-verified",
    /// The configuration was changed.
    ConfigurationChanged = 10_405 "configuration-changed",
}

impl AuditKind {
    /// The number that events carry.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The kind of this number.
    pub fn from_number(number: u16) -> Option<AuditKind> {
        AuditKind::ALL.iter().copied().find(|kind| kind.number() == number)
    }
}

impl core::fmt::Display for AuditKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_is_found_by_its_number() {
        let names: BTreeSet<&str> = AuditKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), AuditKind::ALL.len());
        for kind in AuditKind::ALL {
            assert_eq!(AuditKind::from_number(kind.number()), Some(*kind));
            assert_eq!(kind.to_string(), kind.name());
        }
        assert_eq!(AuditKind::from_number(1), None);
        assert!(AuditKind::ALL.is_sorted());
    }

    #[test]
    fn kinds_that_privx_has_keep_its_numbers() {
        for (kind, number) in [
            (AuditKind::TargetCreated, 1600),
            (AuditKind::TargetModified, 1601),
            (AuditKind::TargetRemoved, 1602),
            (AuditKind::RouterInitialized, 1603),
            (AuditKind::RouterInitFailed, 1604),
            (AuditKind::SessionOpened, 1605),
            (AuditKind::SessionClosed, 1606),
            (AuditKind::RequestRefused, 1607),
            (AuditKind::SessionFailed, 1608),
            (AuditKind::TargetDisabledChanged, 1609),
        ] {
            assert_eq!(kind.number(), number);
        }
    }
}
