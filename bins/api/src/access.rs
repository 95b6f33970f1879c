//! What a user may open, and what is in the way.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{OpenSession, Seconds, SessionView};

/// A target as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessTarget {
    /// Its name.
    pub name: String,
    /// What to do once it is open.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_instructions: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What to address, each a text such as `10.20.0.5 tcp 22`.
    pub destinations: Vec<String>,
    /// Whether a reason is asked for.
    pub require_reason: bool,
    /// Whether somebody must agree first.
    pub require_approval: bool,
    /// How long it may be open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Seconds>,
    /// What is in the way of opening it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// The user's session there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionView>,
}

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blocked {
    /// A stable word.
    pub code: String,
    /// The same in a sentence, with what to do.
    pub text: String,
}

/// Asks why access would be granted or refused, without asking for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// Whose access; absent: one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What would be asked for.
    pub request: OpenSession,
}

/// What a request would get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Whether it would be granted now.
    pub granted: bool,
    /// If so, until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Timestamp>,
    /// And what would end it then: `max-duration`, `schedule`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// If not, all checks that fail, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedCheck>,
}

/// A check that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailedCheck {
    /// Which of the eight.
    pub check: u8,
    /// A stable word.
    pub code: String,
    /// The same in a sentence, with what to do.
    pub text: String,
}

/// Asks somebody to agree to access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskApproval {
    /// To which target.
    pub target: String,
    /// Why.
    pub reason: String,
}

/// Agrees, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideApproval {
    /// Which.
    pub granted: bool,
    /// How long it may be used from now; absent: 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Seconds>,
}

/// A request that waits for somebody to agree, or that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalView {
    /// Its identity.
    pub id: Uuid,
    /// Who asks.
    pub user: String,
    /// For what.
    pub target: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub asked: Timestamp,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
    /// How.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<bool>,
    /// Until when it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_until: Option<Timestamp>,
}
