//! Approvals: somebody else has said yes. Spec: access, check 5.

use wg_proto::UnixTime;

use super::id::{ApprovalId, TargetId, UserId};
use super::target::Target;

/// One user's word that another may use a target, until a moment.
///
/// It is about the target as it was: if the target is edited, what was approved is no longer what would be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approval {
    id: ApprovalId,
    approver: UserId,
    user: UserId,
    target: TargetId,
    target_version: u64,
    until: UnixTime,
}

/// Somebody approves what they ask for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody approves a request of their own")]
pub struct SelfApproval;

impl Approval {
    /// `approver` lets `user` use the target, in this version, until just before `until`.
    pub fn new(
        id: ApprovalId,
        approver: UserId,
        user: UserId,
        (target, target_version): (TargetId, u64),
        until: UnixTime,
    ) -> Result<Approval, SelfApproval> {
        if approver == user {
            return Err(SelfApproval);
        }
        Ok(Approval { id, approver, user, target, target_version, until })
    }

    /// Which.
    pub fn id(&self) -> ApprovalId {
        self.id
    }

    /// Who has said yes.
    pub fn approver(&self) -> UserId {
        self.approver
    }

    /// To whose request.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// For which target, in which version.
    pub fn target(&self) -> (TargetId, u64) {
        (self.target, self.target_version)
    }

    /// From when on it says nothing any more.
    pub fn until(&self) -> UnixTime {
        self.until
    }

    /// Whether it lets this user use this target as it is now.
    pub fn covers(&self, user: UserId, target: &Target, at: UnixTime) -> bool {
        self.user == user && self.target() == (target.id, target.version) && at < self.until
    }
}
