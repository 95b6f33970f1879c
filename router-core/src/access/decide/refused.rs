//! Why a request is refused: which check, which object as far as the user may know, and what to do.

use core::net::IpAddr;

use wg_proto::UnixTime;

use super::expiry::Expiry;
use crate::access::name::Name;
use crate::access::utc::Utc;
use crate::rules::SessionId;

/// Why a request is refused. The text is for the user; the fields are for the audit, which learns more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Check 1.
    #[error("your account is disabled: ask an administrator")]
    UserDisabled,
    /// Check 1.
    #[error("you are not logged in: log in again")]
    NotAuthenticated,
    /// Check 2: it lies in no router's pool.
    #[error("no router serves {client_ip}: use the address that your device was given")]
    ClientIpNotServed {
        /// The address.
        client_ip: IpAddr,
    },
    /// Check 2: it lies in two pools that are not equal, which must not be.
    #[error(
        "the routers disagree about {client_ip}: ask an administrator to make their pools equal or disjoint"
    )]
    RoutersDisagree {
        /// The address.
        client_ip: IpAddr,
    },
    /// Check 2: it is a device's of somebody else, or nobody's.
    #[error("{client_ip} is no device of yours: use one of yours, or add this one")]
    ClientIpNotYours {
        /// The address.
        client_ip: IpAddr,
    },
    /// Check 2: it is an address behind another VPN gateway, and the router does not serve those.
    #[error("the router of {client_ip} serves only devices that are registered: add this one")]
    ExternalClientsNotServed {
        /// The address.
        client_ip: IpAddr,
    },
    /// Check 3: there is none of this name, or it is another tenant's.
    #[error("there is no target \"{target}\" for you: check its name, or ask for a role that has it")]
    TargetUnknown {
        /// The name asked for.
        target: Name,
    },
    /// Check 3.
    #[error("target \"{target}\" is disabled: ask whoever is responsible for it")]
    TargetDisabled {
        /// Its name.
        target: Name,
        /// Whether the user has a role that grants it, so may know.
        has_role: bool,
    },
    /// Check 3: no destination is of the client IP's version.
    #[error(
        "target \"{target}\" has no destination that {client_ip} can send to: use an address of the other IP version"
    )]
    TargetOfOtherVersion {
        /// Its name.
        target: Name,
        /// The address.
        client_ip: IpAddr,
        /// Whether the user has a role that grants it, so may know.
        has_role: bool,
    },
    /// Check 4.
    #[error("you have no role that grants target \"{target}\": ask for one")]
    RoleMissing {
        /// Its name.
        target: Name,
    },
    /// Check 4: a role would grant it at another time.
    #[error("your role for target \"{target}\" {}", WhenValid(*.from))]
    RoleNotValid {
        /// Its name.
        target: Name,
        /// When it starts; `None`: it has ended.
        from: Option<UnixTime>,
    },
    /// Check 5.
    #[error("target \"{target}\" is not open at this time: try again at {}", Utc(*.opens))]
    OutsideSchedule {
        /// Its name.
        target: Name,
        /// When it opens next.
        opens: UnixTime,
    },
    /// Check 5.
    #[error("target \"{target}\" needs a reason: say why you need it")]
    ReasonRequired {
        /// Its name.
        target: Name,
    },
    /// Check 5. The request may wait until somebody else approves it.
    #[error("target \"{target}\" needs an approval by somebody else: ask for it, then try again")]
    ApprovalNeeded {
        /// Its name.
        target: Name,
    },
    /// Check 5, of an extension.
    #[error("the session is over: open it again")]
    SessionOver {
        /// Which.
        session: SessionId,
    },
    /// Check 5, of an extension: the session lasts as long already, or as long as it may.
    #[error("the session {}", Lasts(*.expires))]
    NothingToExtend {
        /// How long it lasts; `None`: without end.
        expires: Option<Expiry>,
    },
    /// Check 6: another user has a session on this client IP.
    #[error("{client_ip} is in use by somebody else: use another address, or wait until it is free")]
    ClientIpInUse {
        /// The address.
        client_ip: IpAddr,
        /// The other user's session.
        by: SessionId,
    },
    /// Check 6: a session of the user's on this client IP leads there.
    #[error("your session for target \"{other}\" overlaps \"{target}\": close that one first")]
    Overlaps {
        /// The name asked for.
        target: Name,
        /// The session that is in the way.
        session: SessionId,
        /// What it is for.
        other: Name,
    },
    /// Check 7: the target is exclusive, and somebody is there.
    #[error("target \"{target}\" is used by one at a time, and now somebody is there: try again later")]
    OthersPresent {
        /// Its name.
        target: Name,
        /// A session that leads there.
        session: SessionId,
    },
    /// Check 7: an exclusive session of another user leads there.
    #[error("somebody has target \"{target}\", or a part of it, for themselves alone: try again later")]
    TargetInExclusiveUse {
        /// Its name.
        target: Name,
        /// The other user's session.
        by: SessionId,
    },
    /// Check 8.
    #[error("no router of {client_ip} is ready: try again in a moment")]
    NoRouterReady {
        /// The address.
        client_ip: IpAddr,
    },
    /// Check 8.
    #[error("you have {max} sessions, as many as you may: close one first")]
    UserQuota {
        /// How many a user may have.
        max: u32,
    },
    /// Check 8.
    #[error("the router has {max} sessions, as many as it may: try again later")]
    RouterQuota {
        /// How many a router may have.
        max: u32,
    },
    /// Check 8.
    #[error("there are {max} sessions, as many as there may be: try again later")]
    Quota {
        /// How many there may be.
        max: u32,
    },
}

impl Refused {
    /// The number of the check that refused, 1 to 8. Spec: access, "Opening a session".
    pub fn check(&self) -> u8 {
        match self {
            Refused::UserDisabled | Refused::NotAuthenticated => 1,
            Refused::ClientIpNotServed { .. }
            | Refused::RoutersDisagree { .. }
            | Refused::ClientIpNotYours { .. }
            | Refused::ExternalClientsNotServed { .. } => 2,
            Refused::TargetUnknown { .. }
            | Refused::TargetDisabled { .. }
            | Refused::TargetOfOtherVersion { .. } => 3,
            Refused::RoleMissing { .. } | Refused::RoleNotValid { .. } => 4,
            Refused::OutsideSchedule { .. }
            | Refused::ReasonRequired { .. }
            | Refused::ApprovalNeeded { .. }
            | Refused::SessionOver { .. }
            | Refused::NothingToExtend { .. } => 5,
            Refused::ClientIpInUse { .. } | Refused::Overlaps { .. } => 6,
            Refused::OthersPresent { .. } | Refused::TargetInExclusiveUse { .. } => 7,
            Refused::NoRouterReady { .. }
            | Refused::UserQuota { .. }
            | Refused::RouterQuota { .. }
            | Refused::Quota { .. } => 8,
        }
    }

    /// What programs know it by. Never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Refused::UserDisabled => "user-disabled",
            Refused::NotAuthenticated => "not-authenticated",
            Refused::ClientIpNotServed { .. } => "client-ip-not-served",
            Refused::RoutersDisagree { .. } => "routers-disagree",
            Refused::ClientIpNotYours { .. } => "client-ip-not-yours",
            Refused::ExternalClientsNotServed { .. } => "external-clients-not-served",
            Refused::TargetUnknown { .. } => "target-unknown",
            Refused::TargetDisabled { .. } => "target-disabled",
            Refused::TargetOfOtherVersion { .. } => "target-of-other-version",
            Refused::RoleMissing { .. } => "role-missing",
            Refused::RoleNotValid { .. } => "role-not-valid",
            Refused::OutsideSchedule { .. } => "outside-schedule",
            Refused::ReasonRequired { .. } => "reason-required",
            Refused::ApprovalNeeded { .. } => "approval-needed",
            Refused::SessionOver { .. } => "session-over",
            Refused::NothingToExtend { .. } => "nothing-to-extend",
            Refused::ClientIpInUse { .. } => "client-ip-in-use",
            Refused::Overlaps { .. } => "overlaps",
            Refused::OthersPresent { .. } => "others-present",
            Refused::TargetInExclusiveUse { .. } => "target-in-exclusive-use",
            Refused::NoRouterReady { .. } => "no-router-ready",
            Refused::UserQuota { .. } => "user-quota",
            Refused::RouterQuota { .. } => "router-quota",
            Refused::Quota { .. } => "quota",
        }
    }

    /// The session in the way, for the audit: it may be another user's.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Refused::ClientIpInUse { by: session, .. }
            | Refused::TargetInExclusiveUse { by: session, .. }
            | Refused::Overlaps { session, .. }
            | Refused::OthersPresent { session, .. }
            | Refused::SessionOver { session } => Some(*session),
            Refused::UserDisabled
            | Refused::NotAuthenticated
            | Refused::ClientIpNotServed { .. }
            | Refused::RoutersDisagree { .. }
            | Refused::ClientIpNotYours { .. }
            | Refused::ExternalClientsNotServed { .. }
            | Refused::TargetUnknown { .. }
            | Refused::TargetDisabled { .. }
            | Refused::TargetOfOtherVersion { .. }
            | Refused::RoleMissing { .. }
            | Refused::RoleNotValid { .. }
            | Refused::OutsideSchedule { .. }
            | Refused::ReasonRequired { .. }
            | Refused::ApprovalNeeded { .. }
            | Refused::NothingToExtend { .. }
            | Refused::NoRouterReady { .. }
            | Refused::UserQuota { .. }
            | Refused::RouterQuota { .. }
            | Refused::Quota { .. } => None,
        }
    }

    /// What the user is told. A target that no role of theirs grants does not exist for them: whether there is one, and in
    /// which state, is nothing they can find out by asking.
    #[must_use]
    pub fn disclosed(self) -> Refused {
        match self {
            Refused::TargetDisabled { target, has_role: false }
            | Refused::TargetOfOtherVersion { target, has_role: false, .. }
            | Refused::RoleMissing { target } => Refused::TargetUnknown { target },
            Refused::UserDisabled
            | Refused::NotAuthenticated
            | Refused::ClientIpNotServed { .. }
            | Refused::RoutersDisagree { .. }
            | Refused::ClientIpNotYours { .. }
            | Refused::ExternalClientsNotServed { .. }
            | Refused::TargetUnknown { .. }
            | Refused::TargetDisabled { .. }
            | Refused::TargetOfOtherVersion { .. }
            | Refused::RoleNotValid { .. }
            | Refused::OutsideSchedule { .. }
            | Refused::ReasonRequired { .. }
            | Refused::ApprovalNeeded { .. }
            | Refused::SessionOver { .. }
            | Refused::NothingToExtend { .. }
            | Refused::ClientIpInUse { .. }
            | Refused::Overlaps { .. }
            | Refused::OthersPresent { .. }
            | Refused::TargetInExclusiveUse { .. }
            | Refused::NoRouterReady { .. }
            | Refused::UserQuota { .. }
            | Refused::RouterQuota { .. }
            | Refused::Quota { .. } => self,
        }
    }
}

struct WhenValid(Option<UnixTime>);

impl core::fmt::Display for WhenValid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(from) => write!(f, "starts at {}: try again then", Utc(from)),
            None => f.write_str("has ended: ask for it again"),
        }
    }
}

struct Lasts(Option<Expiry>);

impl core::fmt::Display for Lasts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(expiry) => write!(f, "lasts until {expiry} and no longer: open it again when it is over"),
            None => f.write_str("lasts without end and needs no extension"),
        }
    }
}
