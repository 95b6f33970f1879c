//! What routers and connectors did, for the audit.

use jiff::Timestamp;
use router_core::access::AuditKind;
use serde_json::{Value, json};
use uuid::Uuid;

use super::events::{event, object_ref};
use super::{Actor, Engine, Fault};
use crate::store::audit::{Event, Outcome};
use crate::store::objects::Kind;

/// What a router or a connector did, or what befell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AgentDid {
    /// It has come; how often since that was last written down.
    Connected { software: Option<String>, times: u32 },
    /// It has gone.
    Disconnected,
    /// It has what it is to have, having had nothing.
    Initialized { generation: u64, rules: u32 },
    /// It has again what it is to have.
    Reconciled { generation: u64, added: u32, removed: u32 },
    /// It does not take what it is to have. `first`: it has had nothing of it since it came.
    Refused { generation: u64, problem: String, first: bool },
    /// Its lease is over: it lets nothing pass.
    LeaseLapsed,
}

impl Engine {
    /// Writes down what an agent did.
    pub(crate) async fn agent_did(
        &self,
        now: Timestamp,
        kind: Kind,
        agent: Uuid,
        did: &AgentDid,
    ) -> Result<(), Fault> {
        let mut tx = self.store().write().await?;
        // One that was removed meanwhile is of no concern any more.
        let Some(record) = tx.object(kind, agent).await? else { return Ok(()) };
        let (what, outcome, details) = line(kind, did);
        let told = Event {
            tenant: record.tenant,
            object: Some(object_ref(&record)),
            outcome,
            details,
            ..event(what, &Actor { name: record.name.clone(), ..Actor::system() })
        };
        tx.record(told, now).await?;
        Ok(tx.commit().await?)
    }
}

fn line(kind: Kind, did: &AgentDid) -> (AuditKind, Outcome, Value) {
    match did {
        AgentDid::Connected { software, times } => {
            let details = json!({ "software": software, "times": times });
            (AuditKind::AgentConnected, Outcome::Success, details)
        }
        AgentDid::Disconnected => (AuditKind::AgentDisconnected, Outcome::Success, Value::Null),
        AgentDid::Initialized { generation, rules } => {
            let what =
                if kind == Kind::Router { AuditKind::RouterInitialized } else { AuditKind::Reconciled };
            (what, Outcome::Success, json!({ "generation": generation, "rules": rules }))
        }
        AgentDid::Reconciled { generation, added, removed } => {
            let details = json!({ "generation": generation, "added": added, "removed": removed });
            (AuditKind::Reconciled, Outcome::Success, details)
        }
        AgentDid::Refused { generation, problem, first } => {
            let what = if kind == Kind::Router && *first {
                AuditKind::RouterInitFailed
            } else {
                AuditKind::AgentRefused
            };
            (what, Outcome::Failure, json!({ "generation": generation, "problem": problem }))
        }
        AgentDid::LeaseLapsed => (AuditKind::LeaseLapsed, Outcome::Failure, Value::Null),
    }
}
