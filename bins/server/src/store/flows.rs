//! Conversations that are over, as routers told of them: who reached what through which session, and how much passed. They
//! decide nothing, so they are forgotten after a while.

use std::net::SocketAddr;

use jiff::Timestamp;
use uuid::Uuid;

use super::sql::{Row, Tx, Value, values};
use super::{StoreError, moment_of, uuid_of};

/// A conversation that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlowRow {
    /// Its place in the order in which they were told of; given when it is stored.
    pub(crate) seq: u64,
    /// When its last packet passed.
    pub(crate) ended: Timestamp,
    pub(crate) session: Uuid,
    pub(crate) tenant: Option<Uuid>,
    pub(crate) user: Uuid,
    pub(crate) user_name: String,
    pub(crate) target: Uuid,
    pub(crate) target_name: String,
    pub(crate) router: Uuid,
    /// By its number.
    pub(crate) protocol: u8,
    pub(crate) client: SocketAddr,
    pub(crate) destination: SocketAddr,
    /// Where that went.
    pub(crate) reached: SocketAddr,
    /// Bytes from the client, and to it.
    pub(crate) bytes: [u64; 2],
}

/// Which of them to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct FlowFilter {
    /// Only those of these tenants.
    pub(crate) tenants: Option<Vec<Option<Uuid>>>,
    /// Only those of this session.
    pub(crate) session: Option<Uuid>,
    /// Only those of this user.
    pub(crate) user: Option<Uuid>,
    /// Only those of sessions to this target.
    pub(crate) target: Option<Uuid>,
    /// Only those that ended at this moment or later.
    pub(crate) since: Option<Timestamp>,
    /// Only those that ended before.
    pub(crate) until: Option<Timestamp>,
}

const COLUMNS: &str = "seq, ended_at, session, tenant, user_id, user_name, target_id, target_name, router, protocol, \
                       client, destination, reached, bytes_out, bytes_in";

impl Tx {
    /// Stores them, behind those that are there. Their `seq` is given here.
    pub(crate) async fn insert_flows(&mut self, flows: &[FlowRow]) -> Result<(), StoreError> {
        let last = self.row("SELECT COALESCE(MAX(seq), 0) FROM flow", Vec::new()).await?;
        let mut seq = last.map_or(Ok(0), |row| row.int(0))?;
        for flow in flows {
            seq += 1;
            self.execute(
                "INSERT INTO flow (seq, ended_at, session, tenant, user_id, user_name, target_id, target_name, router, \
                 protocol, client, destination, reached, bytes_out, bytes_in) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
                values![
                    seq,
                    flow.ended.as_microsecond(),
                    flow.session.to_string(),
                    flow.tenant.map_or(String::new(), |tenant| tenant.to_string()),
                    flow.user.to_string(),
                    flow.user_name.as_str(),
                    flow.target.to_string(),
                    flow.target_name.as_str(),
                    flow.router.to_string(),
                    i64::from(flow.protocol),
                    flow.client.to_string(),
                    flow.destination.to_string(),
                    flow.reached.to_string(),
                    i64::try_from(flow.bytes[0]).unwrap_or(i64::MAX),
                    i64::try_from(flow.bytes[1]).unwrap_or(i64::MAX),
                ],
            )
            .await?;
        }
        Ok(())
    }

    /// At most `limit` of them, the newest first, told of before `before`.
    pub(crate) async fn flows(
        &mut self,
        filter: &FlowFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<FlowRow>, StoreError> {
        let mut sql = format!("SELECT {COLUMNS} FROM flow WHERE 1 = 1");
        let mut given: Vec<Value> = Vec::new();
        let mut next = |value: Value| {
            given.push(value);
            given.len()
        };
        if let Some(tenants) = &filter.tenants {
            let text = |tenant: &Option<Uuid>| tenant.map_or(String::new(), |tenant| tenant.to_string());
            let places: Vec<_> =
                tenants.iter().map(|tenant| format!("${}", next(text(tenant).into()))).collect();
            let places = if places.is_empty() { "NULL".to_owned() } else { places.join(", ") };
            sql += &format!(" AND tenant IN ({places})");
        }
        for (column, id) in
            [("session", filter.session), ("user_id", filter.user), ("target_id", filter.target)]
        {
            if let Some(id) = id {
                sql += &format!(" AND {column} = ${}", next(id.to_string().into()));
            }
        }
        if let Some(since) = filter.since {
            sql += &format!(" AND ended_at >= ${}", next(since.as_microsecond().into()));
        }
        if let Some(until) = filter.until {
            sql += &format!(" AND ended_at < ${}", next(until.as_microsecond().into()));
        }
        if let Some(before) = before {
            sql += &format!(" AND seq < ${}", next(i64::try_from(before).unwrap_or(i64::MAX).into()));
        }
        sql += &format!(" ORDER BY seq DESC LIMIT ${}", next(i64::from(limit).into()));
        self.rows_of(sql, given).await?.iter().map(flow).collect()
    }

    /// When something last went there.
    pub(crate) async fn last_flow_to(
        &mut self,
        reached: SocketAddr,
    ) -> Result<Option<Timestamp>, StoreError> {
        let row = self
            .row("SELECT MAX(ended_at) FROM flow WHERE reached = $1", values![reached.to_string()])
            .await?;
        row.and_then(|row| row.int_or_null(0).transpose()).transpose()?.map(moment_of).transpose()
    }

    /// Forgets those that ended before, and all but the newest so many. Says how many.
    pub(crate) async fn forget_flows(&mut self, before: Timestamp, max: u64) -> Result<u64, StoreError> {
        let old =
            self.execute("DELETE FROM flow WHERE ended_at < $1", values![before.as_microsecond()]).await?;
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let many = self
            .execute(
                "DELETE FROM flow WHERE seq <= (SELECT COALESCE(MAX(seq), 0) FROM flow) - $1",
                values![max],
            )
            .await?;
        Ok(old + many)
    }
}

fn flow(row: &Row) -> Result<FlowRow, StoreError> {
    let seq = row.int(0)?.unsigned_abs();
    let place = |column| -> Result<SocketAddr, StoreError> {
        row.text(column)?.parse().map_err(|why| StoreError::unreadable(format!("flow {seq}"), why))
    };
    Ok(FlowRow {
        seq,
        ended: moment_of(row.int(1)?)?,
        session: uuid_of(row, 2)?,
        tenant: (!row.text(3)?.is_empty()).then(|| uuid_of(row, 3)).transpose()?,
        user: uuid_of(row, 4)?,
        user_name: row.text(5)?,
        target: uuid_of(row, 6)?,
        target_name: row.text(7)?,
        router: uuid_of(row, 8)?,
        protocol: u8::try_from(row.int(9)?).unwrap_or(u8::MAX),
        client: place(10)?,
        destination: place(11)?,
        reached: place(12)?,
        bytes: [row.int(13)?.unsigned_abs(), row.int(14)?.unsigned_abs()],
    })
}
