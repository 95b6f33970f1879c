//! Audit events: listed, followed, verified.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use router_core::access::AuditKind;
use serde::Deserialize;
use serde_json::json;
use sluice_api::{AuditEvent, AuditObject, ChainState, Page};
use tokio::time::sleep;
use uuid::Uuid;

use super::App;
use super::body::{Params, answer};
use super::events::Follower;
use super::objects::{cursor_in, cursor_out, page_size};
use super::openapi::Param;
use super::problem::{ApiError, ProblemKind};
use crate::auth::permission::Permit;
use crate::store::StoreError;
use crate::store::audit::{self, AuditFilter, Entry, Outcome, Verified};

/// How often the store is asked for what is new.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// Events read at a time for those who follow.
const FOLLOW_PAGE: u32 = 200;

pub(super) const PARAMS: &[Param] = &[
    Param::query("limit", "integer", "Entries of a page, at most 1000"),
    Param::query("cursor", "string", "What the page before gave as `next`"),
    Param::query("actor", "string", "Only those by this actor"),
    Param::query("action", "string", "Only those of this action"),
    Param::query("object", "string", "Only those about the object of this identity"),
    Param::query("outcome", "string", "Only those that ended so: `success`, `refused` or `failure`"),
    Param::query("since", "string", "Only those at this moment or later"),
    Param::query("until", "string", "Only those before"),
];
pub(super) const FOLLOW_PARAMS: &[Param] = &[
    Param::query("after", "integer", "Begin behind this event; absent: with what happens from now on"),
    Param::header("Last-Event-ID", false, "The last event that was received: goes on behind it"),
];

/// Which events to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
    actor: Option<String>,
    action: Option<String>,
    object: Option<Uuid>,
    outcome: Option<Outcome>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// From where to follow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FollowQuery {
    after: Option<u64>,
}

pub(super) async fn list(
    State(app): State<App>,
    permit: Permit,
    Params(query): Params<ListQuery>,
) -> Result<Response, ApiError> {
    let limit = page_size(query.limit)?;
    let before = cursor_in(query.cursor.as_deref())?.map(|seq| seq.parse::<u64>()).transpose();
    let before = before.map_err(|_| {
        ApiError::new(ProblemKind::MalformedRequest, "cursor: it is none that this server gave")
    })?;
    let filter = AuditFilter {
        tenants: tenants(&permit),
        actor: query.actor,
        action: query.action,
        object: query.object,
        outcome: query.outcome,
        since: query.since,
        until: query.until,
    };
    let mut entries = app.engine().store().read().await?.audit(&filter, before, limit + 1).await?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next = entries.last().filter(|_| more).map(|last| cursor_out(&last.link.seq.to_string()));
    answer(StatusCode::OK, &Page { items: entries.into_iter().map(view).collect(), next })
}

/// Each event with its place in the chain as its id, so that who was cut off goes on where they were.
pub(super) async fn follow(
    State(app): State<App>,
    permit: Permit,
    Params(query): Params<FollowQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let after = match last.or(query.after) {
        Some(after) => after,
        None => newest(&app).await?,
    };
    let follower = Follower::new(&app, permit)?;
    let events = events(follower, after).take_until(Box::pin(app.stopped()));
    let events = Sse::new(events).keep_alive(KeepAlive::default());
    Ok(events.into_response())
}

pub(super) async fn verify(State(app): State<App>, permit: Permit) -> Result<Response, ApiError> {
    let found = app.engine().store().read().await?.verify_audit().await?;
    let (outcome, details) = match &found {
        Verified::Whole { events, head } => (Outcome::Success, json!({ "events": events, "head": head })),
        Verified::Broken { seq, why } => (Outcome::Failure, json!({ "seq": seq, "why": why })),
    };
    let event = audit::Event {
        number: AuditKind::AuditVerified.number(),
        action: AuditKind::AuditVerified.name().to_owned(),
        actor: permit.name.clone(),
        tenant: permit.tenant,
        object: None,
        source: Some(permit.source),
        outcome,
        reason: None,
        details,
    };
    let mut tx = app.engine().store().write().await?;
    tx.record(event, app.now()).await?;
    tx.commit().await?;
    let state = match found {
        Verified::Whole { events, head } => ChainState::Whole { events, head },
        Verified::Broken { seq, why } => ChainState::Broken { seq, why },
    };
    answer(StatusCode::OK, &state)
}

async fn newest(app: &App) -> Result<u64, ApiError> {
    let newest = app.engine().store().read().await?.audit(&AuditFilter::default(), None, 1).await?;
    Ok(newest.first().map_or(0, |entry| entry.link.seq))
}

fn events(follower: Follower, after: u64) -> impl Stream<Item = Result<Event, Infallible>> {
    let state = (follower, after, Vec::new().into_iter());
    stream::unfold(state, |(mut follower, mut after, mut waiting)| async move {
        loop {
            if let Some(entry) = waiting.next() {
                let event = sse(entry);
                return Some((Ok(event), (follower, after, waiting)));
            }
            if !follower.may_go_on().await {
                return None;
            }
            let entries = match newer(&follower, after).await {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::warn!(%error, "an audit list that is followed ends");
                    return None;
                }
            };
            match entries.last() {
                None => sleep(FOLLOW_EVERY).await,
                Some(last) => {
                    after = last.link.seq;
                    let tenants = tenants(follower.permit());
                    let seen =
                        |entry: &Entry| tenants.as_ref().is_none_or(|seen| seen.contains(&entry.link.tenant));
                    waiting = entries.into_iter().filter(seen).collect::<Vec<_>>().into_iter();
                }
            }
        }
    })
}

async fn newer(follower: &Follower, after: u64) -> Result<Vec<Entry>, StoreError> {
    follower.app().engine().store().read().await?.audit_after(after, FOLLOW_PAGE).await
}

fn sse(entry: Entry) -> Event {
    let id = entry.link.seq.to_string();
    let event = Event::default().id(id).event("audit");
    // A structure of texts and numbers always has a JSON text.
    event.json_data(view(entry)).unwrap_or_default()
}

/// Those whose events this principal sees; `None`: everybody's.
fn tenants(permit: &Permit) -> Option<Vec<Option<Uuid>>> {
    permit.tenant.map(|tenant| vec![Some(tenant)])
}

fn view(Entry { link, hash }: Entry) -> AuditEvent {
    AuditEvent {
        seq: link.seq,
        id: link.id,
        time: link.time,
        number: link.number,
        action: link.action,
        actor: link.actor,
        tenant: link.tenant,
        object: link.object.map(|object| AuditObject { kind: object.kind, id: object.id, name: object.name }),
        source: link.source,
        outcome: match link.outcome {
            Outcome::Success => "success",
            Outcome::Refused => "refused",
            Outcome::Failure => "failure",
        }
        .to_owned(),
        reason: link.reason,
        details: link.details,
        previous: link.previous,
        hash,
    }
}
