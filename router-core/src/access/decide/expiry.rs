//! When a session ends by itself, and what limits it.

use core::fmt;

use wg_proto::UnixTime;

use crate::access::utc::Utc;

/// When a session ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// From this moment on nothing passes.
    pub at: UnixTime,
    /// What sets it.
    pub limit: Limit,
}

/// What limits a session's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// The user asked for no more.
    Requested,
    /// The target's longest duration.
    MaxDuration,
    /// The target's schedule closes.
    Schedule,
    /// The last role that grants the target ends.
    Role,
    /// The approval ends.
    Approval,
}

impl Expiry {
    /// The earliest of some moments; of equal ones the first.
    pub(super) fn earliest(limits: impl IntoIterator<Item = (Limit, Option<UnixTime>)>) -> Option<Expiry> {
        let limits = limits.into_iter().filter_map(|(limit, at)| at.map(|at| Expiry { at, limit }));
        limits.min_by_key(|expiry| expiry.at)
    }
}

impl Limit {
    /// What programs know it by. Never changes.
    pub const fn code(self) -> &'static str {
        match self {
            Limit::Requested => "requested",
            Limit::MaxDuration => "max-duration",
            Limit::Schedule => "schedule",
            Limit::Role => "role",
            Limit::Approval => "approval",
        }
    }

    /// The limit of this code.
    pub fn from_code(code: &str) -> Option<Limit> {
        let all = [Limit::Requested, Limit::MaxDuration, Limit::Schedule, Limit::Role, Limit::Approval];
        all.into_iter().find(|limit| limit.code() == code)
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.limit {
            Limit::Requested => "as you asked",
            Limit::MaxDuration => "as long as the target allows",
            Limit::Schedule => "when the target closes",
            Limit::Role => "when your role ends",
            Limit::Approval => "when the approval ends",
        };
        write!(f, "{} ({why})", Utc(self.at))
    }
}
