//! What went wrong, as RFC 9457 has it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A problem document, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`, or where this kind is described.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable, for programs: `overlap`, `stale-version`.
    pub code: String,
    /// What is wrong, in a few words; the same for each of its kind.
    pub title: String,
    /// What is wrong this time.
    pub detail: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Which of the checks of opening a session failed, 1 to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<u8>,
    /// Where in the document that was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// Which, as a JSON pointer (RFC 6901): `/dst/1/selector/port`.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}
