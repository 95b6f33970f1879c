//! Approvals: a user asks, somebody else agrees or does not. Spec of access, check 5.

use jiff::Timestamp;
use router_core::access::{Approval, ApprovalId, AuditKind, Reason, TargetId, UserId};
use serde_json::json;
use sluice_api::{ApprovalView, Seconds};
use uuid::Uuid;

use super::sessions::invalid;
use super::{Actor, Engine, Fault, events};
use crate::store::approvals::{ApprovalFilter, ApprovalRecord, Decided};
use crate::store::audit::{Event, ObjectRef, Outcome};
use crate::store::objects::Kind;
use crate::store::{StoreError, Tx, timestamp, unix_time};

/// How long an approval may be used, if whoever gives it says nothing.
const VALID: Seconds = Seconds(24 * 3600);
/// At most so long.
const VALID_MAX: Seconds = Seconds(90 * 24 * 3600);
/// Requests of one user that wait at a time.
const WAITING_MAX: i64 = 32;

impl Engine {
    /// Asks somebody to agree. The target must be one that the user has a role for.
    pub(crate) async fn ask_approval(
        &self,
        now: Timestamp,
        actor: &Actor,
        target: &str,
        reason: &str,
    ) -> Result<ApprovalView, Fault> {
        let reason = Reason::new(reason).map_err(|why| invalid("/reason", why))?;
        let user = actor.user.ok_or(Fault::Forbidden("only users ask for approval"))?;
        let mut tx = self.store().write().await?;
        let policy = tx.policy_user(user).await?;
        let policy = policy.ok_or_else(|| Fault::Unknown { kind: Kind::User, name: actor.name.clone() })?;
        let unknown = || Fault::Unknown { kind: Kind::Target, name: target.to_owned() };
        let meant = tx.target_meant(&policy, target).await?.ok_or_else(unknown)?;
        let has_role = |role| policy.roles.iter().any(|grant| grant.role == role);
        if !meant.policy.roles.iter().copied().any(has_role) {
            return Err(unknown());
        }
        if tx.waiting_approvals(user).await? >= WAITING_MAX {
            return Err(Fault::Conflict(format!("{WAITING_MAX} requests of yours wait already")));
        }
        let asked = ApprovalRecord {
            id: Uuid::now_v7(),
            tenant: meant.record.tenant,
            user,
            target: meant.record.id,
            target_version: meant.record.version,
            reason: reason.as_str().to_owned(),
            asked: now,
            decided: None,
        };
        tx.insert_approval(&asked).await?;
        let event =
            about(AuditKind::ApprovalRequested, actor, asked.id, &meant.record.name, meant.record.tenant);
        tx.record(Event { reason: Some(reason.as_str().to_owned()), ..event }, now).await?;
        let view = tx.approval_view(&asked).await?;
        tx.commit().await?;
        Ok(view)
    }

    /// Agrees to a request, or does not. Nobody decides about their own.
    pub(crate) async fn decide_approval(
        &self,
        now: Timestamp,
        actor: &Actor,
        id: Uuid,
        granted: bool,
        duration: Option<Seconds>,
    ) -> Result<ApprovalView, Fault> {
        let approver = actor.user.ok_or(Fault::Forbidden("only users give approvals"))?;
        let duration = duration.unwrap_or(VALID);
        if duration.0 == 0 || duration > VALID_MAX {
            return Err(invalid("/duration", format!("an approval is valid for a second to {VALID_MAX}")));
        }
        let mut tx = self.store().write().await?;
        let asked = tx.approval(id).await?.filter(|asked| actor.sees(asked.tenant));
        let mut asked = asked.ok_or_else(|| unknown_request(id))?;
        if asked.decided.is_some() {
            return Err(Fault::Conflict("that was decided already".to_owned()));
        }
        let until = unix_time(now).saturating_add(std::time::Duration::from_secs(duration.0));
        let approval = Approval::new(
            ApprovalId(id.as_u128()),
            UserId(approver.as_u128()),
            UserId(asked.user.as_u128()),
            (TargetId(asked.target.as_u128()), asked.target_version),
            until,
        );
        approval.map_err(|_| Fault::Forbidden("nobody approves a request of their own"))?;
        let decided = Decided { approver, granted, valid_until: timestamp(until) };
        tx.decide_approval(id, &decided, now).await?;
        asked.decided = Some(decided);
        let view = tx.approval_view(&asked).await?;
        let kind = if granted { AuditKind::ApprovalGiven } else { AuditKind::ApprovalDenied };
        let event = about(kind, actor, id, &view.target, asked.tenant);
        let details = json!({ "user": view.user, "valid_until": view.valid_until });
        tx.record(Event { details, outcome: Outcome::Success, ..event }, now).await?;
        tx.commit().await?;
        Ok(view)
    }

    /// Requests, newest first: all that the actor may see, or only those that wait.
    pub(crate) async fn approvals(
        &self,
        actor: &Actor,
        only_waiting: bool,
        limit: u32,
    ) -> Result<Vec<ApprovalView>, Fault> {
        let mut tx = self.store().read().await?;
        let filter = match actor.sees_others() {
            true => ApprovalFilter { only_waiting, tenant: actor.tenant, user: None },
            // Whoever is no user has asked for nothing.
            false => {
                ApprovalFilter { only_waiting, tenant: None, user: Some(actor.user.unwrap_or_default()) }
            }
        };
        let mut views = Vec::new();
        for asked in tx.approvals(filter, limit).await? {
            views.push(tx.approval_view(&asked).await?);
        }
        Ok(views)
    }
}

impl Tx {
    async fn approval_view(&mut self, asked: &ApprovalRecord) -> Result<ApprovalView, StoreError> {
        let approver = match &asked.decided {
            Some(decided) => Some(self.name_or_id(Kind::User, decided.approver).await?),
            None => None,
        };
        let granted = asked.decided.as_ref().map(|decided| decided.granted);
        Ok(ApprovalView {
            id: asked.id,
            user: self.name_or_id(Kind::User, asked.user).await?,
            target: self.name_or_id(Kind::Target, asked.target).await?,
            reason: asked.reason.clone(),
            asked: asked.asked,
            approver,
            granted,
            valid_until: asked
                .decided
                .as_ref()
                .filter(|decided| decided.granted)
                .map(|decided| decided.valid_until),
        })
    }

    /// The name of an object; what it was called by, if it is gone.
    async fn name_or_id(&mut self, kind: Kind, id: Uuid) -> Result<String, StoreError> {
        Ok(self.object(kind, id).await?.map_or_else(|| id.to_string(), |record| record.name))
    }
}

fn about(kind: AuditKind, actor: &Actor, id: Uuid, target: &str, tenant: Option<Uuid>) -> Event {
    Event {
        tenant,
        object: Some(ObjectRef { kind: "approval".to_owned(), id, name: target.to_owned() }),
        ..events::event(kind, actor)
    }
}

fn unknown_request(id: Uuid) -> Fault {
    Fault::UnknownApproval(id.to_string())
}
