//! Audit events.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEvent {
    /// Its place in the chain.
    pub seq: u64,
    /// Its identity.
    pub id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// PrivX's number, or one of ours.
    pub number: u16,
    /// What, `session-opened`.
    pub action: String,
    /// Who.
    pub actor: String,
    /// In which tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Uuid>,
    /// To what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<AuditObject>,
    /// From where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source: Option<IpAddr>,
    /// `success`, `refused` or `failure`.
    pub outcome: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rest.
    #[schema(value_type = Object)]
    pub details: serde_json::Value,
    /// The hash of the event before.
    pub previous: String,
    /// Its own.
    pub hash: String,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditObject {
    /// `target`, `session`, …
    pub kind: String,
    /// Its identity.
    pub id: Uuid,
    /// Its name at that time.
    pub name: String,
}

/// Whether the chain is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum ChainState {
    /// Each event is as it was written, none is missing.
    Whole {
        /// How many.
        events: u64,
        /// The hash of the newest.
        head: String,
    },
    /// It is not.
    Broken {
        /// The first place.
        seq: u64,
        /// What is wrong there.
        why: String,
    },
}
