//! Requests for approval, and what became of them.

use jiff::Timestamp;
use uuid::Uuid;

use super::query::{Query, tenant_text};
use super::sql::{Row, Tx, values};
use super::{StoreError, moment_of, uuid_of};

/// A request as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApprovalRecord {
    pub(crate) id: Uuid,
    /// Of the target.
    pub(crate) tenant: Option<Uuid>,
    pub(crate) user: Uuid,
    pub(crate) target: Uuid,
    /// The target as it was when it was asked.
    pub(crate) target_version: u64,
    pub(crate) reason: String,
    pub(crate) asked: Timestamp,
    /// `None`: nobody has decided yet.
    pub(crate) decided: Option<Decided>,
}

/// What somebody decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) approver: Uuid,
    pub(crate) granted: bool,
    pub(crate) valid_until: Timestamp,
}

/// Which requests to list.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ApprovalFilter {
    /// Only those that nobody has decided.
    pub(crate) only_waiting: bool,
    /// Only those by this user.
    pub(crate) user: Option<Uuid>,
    /// Only those to targets of this tenant.
    pub(crate) tenant: Option<Uuid>,
}

const COLUMNS: &str =
    "id, tenant, user_id, target_id, target_version, reason, asked_at, approver, granted, valid_until";

impl Tx {
    /// Stores a new request.
    pub(crate) async fn insert_approval(&mut self, asked: &ApprovalRecord) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO approval (id, tenant, user_id, target_id, target_version, reason, asked_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            values![
                asked.id.to_string(),
                tenant_text(asked.tenant),
                asked.user.to_string(),
                asked.target.to_string(),
                i64::try_from(asked.target_version).unwrap_or(i64::MAX),
                asked.reason.as_str(),
                asked.asked.as_microsecond()
            ],
        )
        .await?;
        Ok(())
    }

    /// Stores what was decided.
    pub(crate) async fn decide_approval(
        &mut self,
        id: Uuid,
        decided: &Decided,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(
            "UPDATE approval SET approver = $2, decided_at = $3, granted = $4, valid_until = $5 WHERE id = $1",
            values![
                id.to_string(),
                decided.approver.to_string(),
                now.as_microsecond(),
                i64::from(decided.granted),
                decided.valid_until.as_microsecond()
            ],
        )
        .await?;
        Ok(())
    }

    /// The request of this identity.
    pub(crate) async fn approval(&mut self, id: Uuid) -> Result<Option<ApprovalRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM approval WHERE id = $1");
        self.rows_of(sql, values![id.to_string()]).await?.first().map(record).transpose()
    }

    /// At most `limit` requests, newest first.
    pub(crate) async fn approvals(
        &mut self,
        filter: ApprovalFilter,
        limit: u32,
    ) -> Result<Vec<ApprovalRecord>, StoreError> {
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM approval"))
            .and_if("user_id = ?", filter.user.map(|user| user.to_string()))
            .and_if("tenant = ?", filter.tenant.map(|tenant| tenant.to_string()));
        if filter.only_waiting {
            query = query.and("granted IS NULL", []);
        }
        query.rows(self, "asked_at DESC, id DESC", limit).await?.iter().map(record).collect()
    }

    /// How many requests of a user nobody has decided.
    pub(crate) async fn waiting_approvals(&mut self, user: Uuid) -> Result<i64, StoreError> {
        let sql = "SELECT COUNT(*) FROM approval WHERE user_id = $1 AND granted IS NULL";
        self.row(sql, values![user.to_string()]).await?.map_or(Ok(0), |row| row.int(0))
    }

    /// The one that was granted last, of a user's requests for a target.
    pub(crate) async fn newest_granted(
        &mut self,
        user: Uuid,
        target: Uuid,
    ) -> Result<Option<ApprovalRecord>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM approval WHERE user_id = $1 AND target_id = $2 AND granted = 1 \
             ORDER BY decided_at DESC LIMIT 1"
        );
        let rows = self.rows_of(sql, values![user.to_string(), target.to_string()]).await?;
        rows.first().map(record).transpose()
    }
}

fn record(row: &Row) -> Result<ApprovalRecord, StoreError> {
    let decided = match (row.text_or_null(7)?, row.int_or_null(8)?, row.int_or_null(9)?) {
        (Some(_), Some(granted), Some(until)) => Some(Decided {
            approver: uuid_of(row, 7)?,
            granted: granted != 0,
            valid_until: moment_of(until)?,
        }),
        _ => None,
    };
    Ok(ApprovalRecord {
        id: uuid_of(row, 0)?,
        tenant: (!row.text(1)?.is_empty()).then(|| uuid_of(row, 1)).transpose()?,
        user: uuid_of(row, 2)?,
        target: uuid_of(row, 3)?,
        target_version: row.int(4)?.unsigned_abs(),
        reason: row.text(5)?,
        asked: moment_of(row.int(6)?)?,
        decided,
    })
}
