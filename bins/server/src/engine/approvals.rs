//! Approvals: a user asks, somebody else agrees or does not. Spec of access, check 5.

use jiff::Timestamp;
use router_core::access::{Approval, ApprovalId, AuditKind, Reason, TargetId, UserId};
use serde_json::json;
use sluice_api::{ApprovalView, Seconds};
use uuid::Uuid;

use super::sessions::invalid;
use super::{Actor, Engine, Fault, events};
use crate::store::audit::{Event, ObjectRef, Outcome};
use crate::store::objects::Kind;
use crate::store::sql::{Row, Value, values};
use crate::store::{StoreError, Tx, moment_of, timestamp, unix_time, uuid_of};

/// How long an approval may be used, if whoever gives it says nothing.
const VALID: Seconds = Seconds(24 * 3600);
/// At most so long.
const VALID_MAX: Seconds = Seconds(90 * 24 * 3600);
/// Requests of one user that wait at a time.
const WAITING_MAX: i64 = 32;

const COLUMNS: &str = "approval.id, approval.user_id, approval.target_id, approval.target_version, approval.reason, \
                       approval.asked_at, approval.approver, approval.granted, approval.valid_until, approval.tenant";

/// A request as it is stored.
struct Asked {
    id: Uuid,
    user: Uuid,
    target: Uuid,
    target_version: u64,
    reason: String,
    asked: Timestamp,
    approver: Option<Uuid>,
    granted: Option<bool>,
    valid_until: Option<Timestamp>,
    tenant: Option<Uuid>,
}

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
        let waiting = "SELECT COUNT(*) FROM approval WHERE user_id = $1 AND granted IS NULL";
        let row = tx.row(waiting, values![user.to_string()]).await?;
        if row.map_or(Ok(0), |row| row.int(0))? >= WAITING_MAX {
            return Err(Fault::Conflict(format!("{WAITING_MAX} requests of yours wait already")));
        }
        let id = Uuid::now_v7();
        let version = i64::try_from(meant.record.version).unwrap_or(i64::MAX);
        tx.execute(
            "INSERT INTO approval (id, tenant, user_id, target_id, target_version, reason, asked_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            values![
                id.to_string(),
                meant.record.tenant.map_or(String::new(), |tenant| tenant.to_string()),
                user.to_string(),
                meant.record.id.to_string(),
                version,
                reason.as_str(),
                now.as_microsecond()
            ],
        )
        .await?;
        let event = about(AuditKind::ApprovalRequested, actor, id, &meant.record.name, meant.record.tenant);
        tx.record(Event { reason: Some(reason.as_str().to_owned()), ..event }, now).await?;
        let asked = tx.asked(id).await?.ok_or_else(|| unknown_request(id))?;
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
        let asked = tx.asked(id).await?.filter(|asked| actor.sees(asked.tenant));
        let asked = asked.ok_or_else(|| unknown_request(id))?;
        if asked.granted.is_some() {
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
        tx.execute(
            "UPDATE approval SET approver = $2, decided_at = $3, granted = $4, valid_until = $5 WHERE id = $1",
            values![
                id.to_string(),
                approver.to_string(),
                now.as_microsecond(),
                i64::from(granted),
                timestamp(until).as_microsecond()
            ],
        )
        .await?;
        let asked = tx.asked(id).await?.ok_or_else(|| unknown_request(id))?;
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
        let mut sql = format!("SELECT {COLUMNS} FROM approval WHERE 1 = 1");
        let mut given: Vec<Value> = Vec::new();
        if only_waiting {
            sql += " AND granted IS NULL";
        }
        if !actor.sees_others() {
            given.push(actor.user.map_or(String::new(), |user| user.to_string()).into());
            sql += &format!(" AND user_id = ${}", given.len());
        } else if let Some(tenant) = actor.tenant {
            given.push(tenant.to_string().into());
            sql += &format!(" AND tenant = ${}", given.len());
        }
        given.push(i64::from(limit).into());
        sql += &format!(" ORDER BY asked_at DESC, id DESC LIMIT ${}", given.len());
        let mut views = Vec::new();
        for row in tx.rows_of(sql, given).await? {
            let asked = asked_of(&row)?;
            views.push(tx.approval_view(&asked).await?);
        }
        Ok(views)
    }
}

impl Tx {
    async fn asked(&mut self, id: Uuid) -> Result<Option<Asked>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM approval WHERE id = $1");
        self.rows_of(sql, values![id.to_string()]).await?.first().map(asked_of).transpose()
    }

    async fn approval_view(&mut self, asked: &Asked) -> Result<ApprovalView, StoreError> {
        let approver = match asked.approver {
            Some(approver) => Some(self.name_or_id(Kind::User, approver).await?),
            None => None,
        };
        Ok(ApprovalView {
            id: asked.id,
            user: self.name_or_id(Kind::User, asked.user).await?,
            target: self.name_or_id(Kind::Target, asked.target).await?,
            reason: asked.reason.clone(),
            asked: asked.asked,
            approver,
            granted: asked.granted,
            valid_until: asked.valid_until.filter(|_| asked.granted == Some(true)),
        })
    }

    /// The name of an object; what it was called by, if it is gone.
    async fn name_or_id(&mut self, kind: Kind, id: Uuid) -> Result<String, StoreError> {
        Ok(self.object(kind, id).await?.map_or_else(|| id.to_string(), |record| record.name))
    }
}

fn asked_of(row: &Row) -> Result<Asked, StoreError> {
    let optional = |column| -> Result<Option<Uuid>, StoreError> {
        row.text_or_null(column)?.map(|_| uuid_of(row, column)).transpose()
    };
    Ok(Asked {
        id: uuid_of(row, 0)?,
        user: uuid_of(row, 1)?,
        target: uuid_of(row, 2)?,
        target_version: row.int(3)?.unsigned_abs(),
        reason: row.text(4)?,
        asked: moment_of(row.int(5)?)?,
        approver: optional(6)?,
        granted: row.int_or_null(7)?.map(|granted| granted != 0),
        valid_until: row.int_or_null(8)?.map(moment_of).transpose()?,
        tenant: (!row.text(9)?.is_empty()).then(|| uuid_of(row, 9)).transpose()?,
    })
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
