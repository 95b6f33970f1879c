//! That something changed: for those who show live lists.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// An object or session has changed. Only which: what it is now is there to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// `session`, `target`, `user`, …
    pub kind: String,
    /// Its identity.
    pub id: Uuid,
    /// How far it is: a session's state; `created`, `updated` or `deleted` for objects.
    pub what: String,
}
