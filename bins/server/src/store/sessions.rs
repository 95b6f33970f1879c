//! Sessions, ongoing and past, and where the ongoing ones reach.

use std::net::IpAddr;

use jiff::Timestamp;
use uuid::Uuid;

use super::query::{AT_ONCE, Query, tenant_text};
use super::session_body::SessionBody;
use super::sql::{Row, Tx, Value, values};
use super::{StoreError, moment_of, uuid_of};

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRecord {
    pub(crate) id: Uuid,
    /// `pending`, `active`, `closing` or `closed`.
    pub(crate) state: String,
    pub(crate) tenant: Option<Uuid>,
    pub(crate) user: Uuid,
    pub(crate) client_ip: IpAddr,
    pub(crate) target: Uuid,
    pub(crate) target_name: String,
    pub(crate) exclusive: bool,
    /// The first of its routers: stands for the group.
    pub(crate) router: Uuid,
    pub(crate) opened: Timestamp,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) closed: Option<Timestamp>,
    /// Why it ended, or is ending.
    pub(crate) ending: Option<String>,
    /// Bytes from the client, and to it.
    pub(crate) bytes: [u64; 2],
    /// The rest: target as it was, roles used, reason, routers.
    pub(crate) body: SessionBody,
}

/// Addresses from the first to the last, as clients send to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: IpAddr,
    pub(crate) last: IpAddr,
}

/// Which of the ongoing sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ongoing {
    /// Each of them.
    All,
    /// Those of this user.
    OfUser(Uuid),
    /// Those to this target.
    ToTarget(Uuid),
    /// Those from this address.
    From(IpAddr),
}

/// Which sessions to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionFilter {
    /// Only those of these tenants.
    pub(crate) tenants: Option<Vec<Option<Uuid>>>,
    /// Only those of this user.
    pub(crate) user: Option<Uuid>,
    /// Only those to this target.
    pub(crate) target: Option<Uuid>,
    /// Only those from this client IP.
    pub(crate) client_ip: Option<IpAddr>,
    /// Only ongoing (`true`) or past ones.
    pub(crate) ongoing: Option<bool>,
    /// Only those opened at this moment or later.
    pub(crate) since: Option<Timestamp>,
    /// Only those opened before.
    pub(crate) until: Option<Timestamp>,
}

const COLUMNS: &str = "id, state, tenant, user_id, client_ip, target_id, target_name, exclusive, opened_at, \
                       expires_at, closed_at, ending, bytes_out, bytes_in, body, router";

impl Tx {
    /// Stores a new session and where it reaches.
    pub(crate) async fn insert_session(
        &mut self,
        session: &SessionRecord,
        ranges: &[Range],
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO session (id, state, tenant, user_id, client_ip, target_id, target_name, exclusive, \
             opened_at, expires_at, closed_at, ending, bytes_out, bytes_in, body, router) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            values![
                session.id.to_string(),
                session.state.as_str(),
                tenant_text(session.tenant),
                session.user.to_string(),
                session.client_ip.to_string(),
                session.target.to_string(),
                session.target_name.as_str(),
                i64::from(session.exclusive),
                session.opened.as_microsecond(),
                session.expires.map(Timestamp::as_microsecond),
                session.closed.map(Timestamp::as_microsecond),
                session.ending.clone(),
                stored_count(session.bytes[0]),
                stored_count(session.bytes[1]),
                body_text(session)?,
                session.router.to_string(),
            ],
        )
        .await?;
        for (number, range) in ranges.iter().enumerate() {
            self.execute(
                "INSERT INTO session_range (session, number, first, last) VALUES ($1, $2, $3, $4)",
                values![session.id.to_string(), number as i64, sortable(range.first), sortable(range.last)],
            )
            .await?;
        }
        Ok(())
    }

    /// Writes what changes in a session's life. One that is closed reaches nowhere.
    pub(crate) async fn update_session(&mut self, session: &SessionRecord) -> Result<(), StoreError> {
        self.execute(
            "UPDATE session SET state = $2, expires_at = $3, closed_at = $4, ending = $5, bytes_out = $6, \
             bytes_in = $7, body = $8 WHERE id = $1",
            values![
                session.id.to_string(),
                session.state.as_str(),
                session.expires.map(Timestamp::as_microsecond),
                session.closed.map(Timestamp::as_microsecond),
                session.ending.clone(),
                stored_count(session.bytes[0]),
                stored_count(session.bytes[1]),
                body_text(session)?,
            ],
        )
        .await?;
        if session.closed.is_some() {
            self.execute("DELETE FROM session_range WHERE session = $1", values![session.id.to_string()])
                .await?;
        }
        Ok(())
    }

    /// The session of this identity.
    pub(crate) async fn session(&mut self, id: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM session WHERE id = $1");
        self.rows_of(sql, values![id.to_string()]).await?.first().map(record).transpose()
    }

    /// All that matters to a decision about this client IP and these destinations: ongoing sessions from the address, and
    /// those that reach some of the same addresses. May hold a few that do not matter; lacks none that does.
    pub(crate) async fn sessions_in_the_way(
        &mut self,
        client_ip: IpAddr,
        ranges: &[Range],
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let mut places: Vec<Value> = values![client_ip.to_string()];
        let mut reaches = String::new();
        for range in ranges {
            places.push(sortable(range.first).into());
            places.push(sortable(range.last).into());
            let (first, last) = (places.len() - 1, places.len());
            reaches += &format!(
                " UNION SELECT session FROM session_range WHERE last >= ${first} AND first <= ${last}"
            );
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM session WHERE closed_at IS NULL AND id IN \
             (SELECT id FROM session WHERE client_ip = $1 AND closed_at IS NULL{reaches}) ORDER BY opened_at, id"
        );
        self.rows_of(sql, places).await?.iter().map(record).collect()
    }

    /// How many sessions are ongoing: in all, of this user, at this router's group.
    pub(crate) async fn ongoing_counts(&mut self, user: Uuid, router: Uuid) -> Result<[u32; 3], StoreError> {
        let row = self
            .row(
                "SELECT (SELECT COUNT(*) FROM session WHERE closed_at IS NULL), \
                 (SELECT COUNT(*) FROM session WHERE closed_at IS NULL AND user_id = $1), \
                 (SELECT COUNT(*) FROM session WHERE closed_at IS NULL AND router = $2)",
                values![user.to_string(), router.to_string()],
            )
            .await?;
        let row = row.ok_or_else(|| StoreError::unreadable("the count of sessions", "no row"))?;
        let count = |column| Ok::<_, StoreError>(u32::try_from(row.int(column)?).unwrap_or(u32::MAX));
        Ok([count(0)?, count(1)?, count(2)?])
    }

    /// All ongoing sessions that are so, oldest first.
    pub(crate) async fn ongoing(&mut self, which: Ongoing) -> Result<Vec<SessionRecord>, StoreError> {
        let query = ongoing();
        let query = match which {
            Ongoing::All => query,
            Ongoing::OfUser(user) => query.and("user_id = ?", [user.to_string().into()]),
            Ongoing::ToTarget(target) => query.and("target_id = ?", [target.to_string().into()]),
            Ongoing::From(client_ip) => query.and("client_ip = ?", [client_ip.to_string().into()]),
        };
        query.rows(self, "opened_at, id", u32::MAX).await?.iter().map(record).collect()
    }

    /// The addresses that ongoing sessions come from.
    pub(crate) async fn ongoing_clients(&mut self) -> Result<Vec<IpAddr>, StoreError> {
        let rows =
            self.rows("SELECT DISTINCT client_ip FROM session WHERE closed_at IS NULL", Vec::new()).await?;
        let address = |row: &Row| {
            let parsed = row.text(0)?.parse::<IpAddr>();
            parsed.map_err(|why| StoreError::unreadable("the client IP of a session", why))
        };
        rows.iter().map(address).collect()
    }

    /// Ongoing sessions that expire after the one moment, up to the other; oldest expiry first.
    pub(crate) async fn expiring(
        &mut self,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let moments = [after, until].map(|moment| moment.as_microsecond().into());
        let query = ongoing().and("expires_at > ? AND expires_at <= ?", moments);
        query.rows(self, "expires_at", u32::MAX).await?.iter().map(record).collect()
    }

    /// At most `limit` ongoing sessions, oldest first, behind this one.
    pub(crate) async fn ongoing_behind(
        &mut self,
        last: Option<(Timestamp, Uuid)>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let mut query = ongoing();
        if let Some((opened, id)) = last {
            let at: Value = opened.as_microsecond().into();
            query = query.and("opened_at >= ?", [at.clone()]);
            query = query.and(
                "(opened_at > ? OR (opened_at = ? AND id > ?))",
                [at.clone(), at, id.to_string().into()],
            );
        }
        query.rows(self, "opened_at, id", limit).await?.iter().map(record).collect()
    }

    /// Sessions by their identities; those that are none are left out.
    pub(crate) async fn sessions_of(&mut self, ids: &[Uuid]) -> Result<Vec<SessionRecord>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            let query = Query::new(format!("SELECT {COLUMNS} FROM session"))
                .and_among("id", ids.iter().map(Uuid::to_string));
            for row in query.rows(self, "id", u32::MAX).await? {
                found.push(record(&row)?);
            }
        }
        Ok(found)
    }

    /// At most `limit` sessions, newest first, older than `before`.
    pub(crate) async fn sessions(
        &mut self,
        filter: &SessionFilter,
        before: Option<(Timestamp, Uuid)>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let micros = |moment: Option<Timestamp>| moment.map(Timestamp::as_microsecond);
        let mut query = Query::new(format!("SELECT {COLUMNS} FROM session"))
            .and_tenants(filter.tenants.as_deref())
            .and_if("user_id = ?", filter.user.map(|user| user.to_string()))
            .and_if("target_id = ?", filter.target.map(|target| target.to_string()))
            .and_if("client_ip = ?", filter.client_ip.map(|client_ip| client_ip.to_string()))
            .and_if("opened_at >= ?", micros(filter.since))
            .and_if("opened_at < ?", micros(filter.until));
        query = match filter.ongoing {
            Some(true) => query.and("closed_at IS NULL", []),
            Some(false) => query.and("closed_at IS NOT NULL", []),
            None => query,
        };
        if let Some((opened, id)) = before {
            let at: Value = opened.as_microsecond().into();
            query = query.and("opened_at <= ?", [at.clone()]);
            query = query.and(
                "(opened_at < ? OR (opened_at = ? AND id < ?))",
                [at.clone(), at, id.to_string().into()],
            );
        }
        query.rows(self, "opened_at DESC, id DESC", limit).await?.iter().map(record).collect()
    }
}

fn ongoing() -> Query {
    Query::new(format!("SELECT {COLUMNS} FROM session")).and("closed_at IS NULL", [])
}

fn body_text(session: &SessionRecord) -> Result<String, StoreError> {
    serde_json::to_string(&session.body)
        .map_err(|why| StoreError::unreadable(format!("session {}", session.id), why))
}

/// A count fits: 2^63 bytes are never carried.
fn stored_count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// An address as a text that sorts as addresses do, those of IPv4 before those of IPv6.
fn sortable(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("4{:08x}", address.to_bits()),
        IpAddr::V6(address) => format!("6{:032x}", address.to_bits()),
    }
}

fn record(row: &Row) -> Result<SessionRecord, StoreError> {
    let id = uuid_of(row, 0)?;
    let moment = |column| row.int_or_null(column)?.map(moment_of).transpose();
    let client_ip = row.text(4)?.parse();
    Ok(SessionRecord {
        id,
        state: row.text(1)?,
        tenant: (!row.text(2)?.is_empty()).then(|| uuid_of(row, 2)).transpose()?,
        user: uuid_of(row, 3)?,
        client_ip: client_ip
            .map_err(|why| StoreError::unreadable(format!("client_ip of session {id}"), why))?,
        target: uuid_of(row, 5)?,
        target_name: row.text(6)?,
        exclusive: row.int(7)? != 0,
        opened: moment_of(row.int(8)?)?,
        expires: moment(9)?,
        closed: moment(10)?,
        ending: row.text_or_null(11)?,
        bytes: [row.int(12)?.unsigned_abs(), row.int(13)?.unsigned_abs()],
        body: serde_json::from_str(&row.text(14)?)
            .map_err(|why| StoreError::unreadable(format!("session {id}"), why))?,
        router: uuid_of(row, 15)?,
    })
}
