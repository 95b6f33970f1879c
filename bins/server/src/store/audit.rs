//! The audit chain: each event carries the hash of the one before, so an edit or a gap shows. Read first: the audit part
//! of SECURITY.md.
//!
//! An event is written in the transaction of what it tells about: there is no grant without its event, and no event
//! without its grant (P24). Cutting off the newest events leaves a chain that verifies: compare its head with what was
//! sent to syslog.

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use router_core::access::AuditKind;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use super::StoreError;
use super::query::{Query, tenant_text};
use super::sql::{Row, Tx, values};

/// What stands in the first event as the hash of the one before.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Events read at a time when the chain is verified.
const PAGE: u32 = 1000;

/// Something that happened, as whoever did it tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// PrivX's number, or one of ours.
    pub(crate) number: u16,
    /// Its name, `session-opened`.
    pub(crate) action: String,
    /// Who did it: a user's name, `system`, or `nobody` who could show who they are.
    pub(crate) actor: String,
    /// Whose it is; `None`: the installation's.
    pub(crate) tenant: Option<Uuid>,
    /// What it happened to.
    pub(crate) object: Option<ObjectRef>,
    /// Where the request came from.
    pub(crate) source: Option<IpAddr>,
    /// Whether it was done.
    pub(crate) outcome: Outcome,
    /// Why: what the user gave, or why it was refused.
    pub(crate) reason: Option<String>,
    /// The rest. Never a secret.
    pub(crate) details: Json,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectRef {
    pub(crate) kind: String,
    pub(crate) id: Uuid,
    pub(crate) name: String,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Done.
    Success,
    /// Not allowed.
    Refused,
    /// Tried, and failed.
    Failure,
}

/// An event in its place in the chain. The JSON of this, fields in this order, is what is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) id: Uuid,
    pub(crate) time: Timestamp,
    pub(crate) number: u16,
    pub(crate) action: String,
    pub(crate) actor: String,
    pub(crate) tenant: Option<Uuid>,
    pub(crate) object: Option<ObjectRef>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<String>,
    pub(crate) details: Json,
    /// The hash of the event before.
    pub(crate) previous: String,
}

/// An event as it is stored: what it says, and the hash of that text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) link: Link,
    pub(crate) hash: String,
}

/// Which events to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFilter {
    /// Only those of these tenants.
    pub(crate) tenants: Option<Vec<Option<Uuid>>>,
    /// Only those by this actor.
    pub(crate) actor: Option<String>,
    /// Only those of this action.
    pub(crate) action: Option<String>,
    /// Only those about this object.
    pub(crate) object: Option<Uuid>,
    /// Only those that ended so.
    pub(crate) outcome: Option<Outcome>,
    /// Only those at this moment or later.
    pub(crate) since: Option<Timestamp>,
    /// Only those before.
    pub(crate) until: Option<Timestamp>,
}

/// What verifying the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verified {
    /// Each event is as it was written, none is missing up to the newest.
    Whole {
        /// How many.
        events: u64,
        /// The hash of the newest.
        head: String,
    },
    /// The first place where it is not.
    Broken {
        /// The event there, or that should be there.
        seq: u64,
        /// What is wrong.
        why: String,
    },
}

const COLUMNS: &str = "seq, at, number, action, actor, tenant, object, outcome, body, hash";

impl Tx {
    /// Adds an event to the chain. Durable with the transaction.
    pub(crate) async fn record(&mut self, event: Event, now: Timestamp) -> Result<Entry, StoreError> {
        let newest = self.row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", Vec::new()).await?;
        let (seq, previous) = match newest {
            Some(row) => (row.int(0)?.unsigned_abs() + 1, row.text(1)?),
            None => (1, BEGINNING.to_owned()),
        };
        let link = link(event, seq, previous, now);
        let body =
            serde_json::to_string(&link).map_err(|why| StoreError::unreadable("an audit event", why))?;
        let hash = hash_of(&body);
        let columns = Columns::of(&link);
        self.execute(
            "INSERT INTO audit (seq, at, number, action, actor, tenant, object, outcome, body, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            values![
                columns.seq,
                columns.at,
                columns.number,
                columns.action,
                columns.actor,
                columns.tenant,
                columns.object,
                columns.outcome,
                body,
                hash.as_str()
            ],
        )
        .await?;
        self.note_recorded(&link.action, decision(&link));
        Ok(Entry { link, hash })
    }

    /// At most `limit` events, newest first, before the event `before`.
    pub(crate) async fn audit(
        &mut self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let micros = |moment: Option<Timestamp>| moment.map(Timestamp::as_microsecond);
        let query = Query::new(format!("SELECT {COLUMNS} FROM audit"))
            .and_tenants(filter.tenants.as_deref())
            .and_if("actor = ?", filter.actor.as_deref())
            .and_if("action = ?", filter.action.as_deref())
            .and_if("object = ?", filter.object.map(|object| object.to_string()))
            .and_if("outcome = ?", filter.outcome.map(Outcome::name))
            .and_if("at >= ?", micros(filter.since))
            .and_if("at < ?", micros(filter.until))
            .and_if("seq < ?", before.map(|before| i64::try_from(before).unwrap_or(i64::MAX)));
        query.rows(self, "seq DESC", limit).await?.iter().map(entry).collect()
    }

    /// At most `limit` events behind the event `after`, oldest first: for those who follow the chain.
    pub(crate) async fn audit_after(&mut self, after: u64, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2");
        self.rows_of(sql, values![after, i64::from(limit)]).await?.iter().map(entry).collect()
    }

    /// Looks at every event: is it as it was written, does it follow the one before?
    pub(crate) async fn verify_audit(&mut self) -> Result<Verified, StoreError> {
        let (mut seq, mut head) = (0, BEGINNING.to_owned());
        loop {
            let sql = format!("SELECT {COLUMNS} FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2");
            let after = i64::try_from(seq).unwrap_or(i64::MAX);
            let page = self.rows_of(sql, values![after, i64::from(PAGE)]).await?;
            if page.is_empty() {
                return Ok(Verified::Whole { events: seq, head });
            }
            for row in &page {
                match check(row, seq + 1, &head)? {
                    Ok(hash) => (seq, head) = (seq + 1, hash),
                    Err(why) => return Ok(Verified::Broken { seq: seq + 1, why }),
                }
            }
        }
    }
}

/// What became of a request for access, if that is what an event tells.
fn decision(link: &Link) -> Option<&str> {
    if link.number == AuditKind::SessionOpened.number() {
        return Some("granted");
    }
    if link.number == AuditKind::RequestRefused.number() {
        return link.details.get("code").and_then(Json::as_str);
    }
    None
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Refused => "refused",
            Outcome::Failure => "failure",
        }
    }
}

/// What stands beside the text, for searching.
#[derive(PartialEq, Eq)]
struct Columns {
    seq: i64,
    at: i64,
    number: i64,
    action: String,
    actor: String,
    tenant: String,
    object: String,
    outcome: String,
}

impl Columns {
    fn of(link: &Link) -> Columns {
        Columns {
            seq: i64::try_from(link.seq).unwrap_or(i64::MAX),
            at: link.time.as_microsecond(),
            number: i64::from(link.number),
            action: link.action.clone(),
            actor: link.actor.clone(),
            tenant: tenant_text(link.tenant),
            object: link.object.as_ref().map_or(String::new(), |object| object.id.to_string()),
            outcome: link.outcome.name().to_owned(),
        }
    }

    fn stored(row: &Row) -> Result<Columns, StoreError> {
        Ok(Columns {
            seq: row.int(0)?,
            at: row.int(1)?,
            number: row.int(2)?,
            action: row.text(3)?,
            actor: row.text(4)?,
            tenant: row.text(5)?,
            object: row.text(6)?,
            outcome: row.text(7)?,
        })
    }
}

fn link(event: Event, seq: u64, previous: String, now: Timestamp) -> Link {
    // To the microsecond, as the column beside it.
    let time = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
    Link {
        seq,
        id: Uuid::now_v7(),
        time,
        number: event.number,
        action: event.action,
        actor: event.actor,
        tenant: event.tenant,
        object: event.object,
        source: event.source,
        outcome: event.outcome,
        reason: event.reason,
        details: event.details,
        previous,
    }
}

fn entry(row: &Row) -> Result<Entry, StoreError> {
    let link = serde_json::from_str(&row.text(8)?);
    let link = link.map_err(|why| StoreError::unreadable("an audit event", why))?;
    Ok(Entry { link, hash: row.text(9)? })
}

/// The hash of an event that is whole and follows `head`, else what is wrong with it.
fn check(row: &Row, seq: u64, head: &str) -> Result<Result<String, String>, StoreError> {
    let (body, hash) = (row.text(8)?, row.text(9)?);
    let found = row.int(0)?;
    if i64::try_from(seq) != Ok(found) {
        return Ok(Err(format!("it is missing: {found} comes next")));
    }
    if hash_of(&body) != hash {
        return Ok(Err("its text was changed: the hash beside it is of another".to_owned()));
    }
    let link: Link = match serde_json::from_str(&body) {
        Ok(link) => link,
        Err(why) => return Ok(Err(format!("its text is no event: {why}"))),
    };
    if link.previous != head {
        return Ok(Err("it does not follow the event before".to_owned()));
    }
    if Columns::of(&link) != Columns::stored(row)? {
        return Ok(Err("a column beside its text says something else".to_owned()));
    }
    Ok(Ok(hash))
}

fn hash_of(body: &str) -> String {
    hex(digest(&SHA256, body.as_bytes()).as_ref())
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
