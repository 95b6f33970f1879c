//! What a session's record keeps beside its columns, as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_api::TargetSpec;
use uuid::Uuid;

/// Beside the columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionBody {
    /// Of the user, when it was opened.
    pub(crate) user_name: String,
    /// The target, when it was opened.
    pub(crate) target: TargetSpec,
    pub(crate) target_version: u64,
    pub(crate) target_tenant: Option<Uuid>,
    /// Whom the target's document named, by field.
    pub(crate) references: Vec<(String, Uuid)>,
    pub(crate) client: ClientBody,
    /// The names of the roles that granted it.
    pub(crate) roles: Vec<String>,
    pub(crate) role_ids: Vec<Uuid>,
    pub(crate) reason: Option<String>,
    pub(crate) approval: Option<Uuid>,
    pub(crate) limit: Option<String>,
    pub(crate) routers: Vec<Uuid>,
    /// Pending or closing: who has not confirmed.
    pub(crate) waiting: Vec<Uuid>,
    /// Pending: whether somebody has.
    pub(crate) acknowledged: bool,
    /// Active or closing: since when, in microseconds.
    pub(crate) since: Option<i64>,
    /// Who ended it, if an administrator did.
    pub(crate) ended_by: Option<Uuid>,
    /// What was said when it was ended.
    #[serde(default)]
    pub(crate) said: Option<String>,
    /// Packets from the client, and to it.
    #[serde(default)]
    pub(crate) packets: [u64; 2],
    /// When the last of them passed.
    #[serde(default)]
    pub(crate) last_packet: Option<Timestamp>,
    /// What each router has told that it carried there, since that was started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) told: BTreeMap<Uuid, Told>,
}

/// What a router has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) packets: [u64; 2],
    pub(crate) bytes: [u64; 2],
}

/// Where a session's packets come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub(crate) enum ClientBody {
    Device { id: Uuid, public_key: String },
    External,
}
