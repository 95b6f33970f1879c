//! What happens to a session, for the audit.

use wg_proto::UnixTime;

use crate::access::audit::AuditKind;
use crate::access::decide::Expiry;
use crate::access::end::EndReason;
use crate::rules::SessionId;

/// One change of one session. To be written down with the change, or the change undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "no change without its event"]
pub struct SessionEvent {
    /// Whose.
    pub session: SessionId,
    /// When.
    pub at: UnixTime,
    /// What.
    pub happened: Happened,
}

/// How a session has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// It was opened.
    Opened,
    /// Packets pass.
    Activated,
    /// It was given more time.
    Extended {
        /// When it would have ended.
        from: Option<Expiry>,
        /// When it will end.
        to: Option<Expiry>,
    },
    /// It begins to end.
    Ending {
        /// Why.
        why: EndReason,
    },
    /// It is over.
    Closed {
        /// Why.
        why: EndReason,
    },
}

impl SessionEvent {
    /// Its kind in the audit.
    pub fn kind(&self) -> AuditKind {
        match self.happened {
            Happened::Opened => AuditKind::SessionOpened,
            Happened::Activated => AuditKind::SessionActivated,
            Happened::Extended { .. } => AuditKind::SessionExtended,
            Happened::Ending { why } => why.audit_kind(),
            Happened::Closed { .. } => AuditKind::SessionClosed,
        }
    }
}
