//! Why something was not done, by who is to blame. What the API makes of it is the API's.

use router_core::access::Refused;
use sluice_api::FieldProblem;

use crate::store::StoreError;
use crate::store::objects::{Kind, ObjectFault};

/// Why something was not done. Unless it says otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The document is wrong: where, and what.
    #[error("the document is not valid")]
    Invalid(Vec<FieldProblem>),
    /// There is none, or none that the actor may know.
    #[error("there is no {} {name:?}", kind.name())]
    Unknown {
        /// Of which kind.
        kind: Kind,
        /// Its name or identity, as it was asked for.
        name: String,
    },
    /// There is no such session, or none that the actor may know.
    #[error("there is no session {0:?}")]
    UnknownSession(String),
    /// There is no such request for approval, or none that the actor may know.
    #[error("there is no request for approval {0:?}")]
    UnknownApproval(String),
    /// Access is not granted.
    #[error("{0}")]
    Refused(Refused),
    /// The actor may not do it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// What is asked for contradicts what is.
    #[error("{0}")]
    Conflict(String),
    /// The object was not changed.
    #[error(transparent)]
    Object(ObjectFault),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sessions have ended for their routers, but the store could not be told. The only fault after which something has changed.
    #[error("{sessions} sessions were ended, but that could not be stored yet: {why}")]
    Unstored {
        /// How many.
        sessions: usize,
        /// Why not.
        why: StoreError,
    },
}

impl From<ObjectFault> for Fault {
    fn from(fault: ObjectFault) -> Self {
        match fault {
            ObjectFault::Store(error) => Fault::Store(error),
            fault @ (ObjectFault::NameTaken { .. }
            | ObjectFault::ClaimTaken { .. }
            | ObjectFault::Stale { .. }
            | ObjectFault::Gone { .. }
            | ObjectFault::InUse { .. }) => Fault::Object(fault),
        }
    }
}
