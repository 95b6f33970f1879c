//! Sessions: listed, opened, given more time, ended.

use std::net::IpAddr;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use sluice_api::{
    EndSession, EndSessions, ExtendSession, OpenSession, Page, SessionView, TargetSpec, UserSpec,
};
use uuid::Uuid;

use super::App;
use super::body::{Json, Params, answer};
use super::idempotency::{self, Begun};
use super::objects::{Which, actor, cursor_in, cursor_out, page_size};
use super::openapi::Param;
use super::problem::{ApiError, ProblemKind};
use crate::auth::permission::{Permit, Reach};
use crate::engine::{Fault, Managed};
use crate::store::sessions::SessionFilter;

pub(super) const PARAMS: &[Param] = &[
    Param::query("limit", "integer", "Entries of a page, at most 1000"),
    Param::query("cursor", "string", "What the page before gave as `next`"),
    Param::query("user", "string", "Only those of this user"),
    Param::query("target", "string", "Only those to this target"),
    Param::query("client_ip", "string", "Only those from this address"),
    Param::query("ongoing", "boolean", "Only those that are ongoing, or are not"),
    Param::query("since", "string", "Only those opened at this moment or later"),
    Param::query("until", "string", "Only those opened before"),
];
pub(super) const OPEN_PARAMS: &[Param] = &[Param::header(
    "Idempotency-Key",
    false,
    "Up to 64 characters of your choice: the same request with the same key opens one session",
)];

/// Which sessions to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
    user: Option<String>,
    target: Option<String>,
    client_ip: Option<IpAddr>,
    ongoing: Option<bool>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

pub(super) async fn list(
    State(app): State<App>,
    permit: Permit,
    Params(query): Params<ListQuery>,
) -> Result<Response, ApiError> {
    let limit = page_size(query.limit)?;
    let cursor = cursor_in(query.cursor.as_deref())?;
    let user = identity::<UserSpec>(&app, &permit, query.user.as_deref()).await?;
    let target = identity::<TargetSpec>(&app, &permit, query.target.as_deref()).await?;
    // Whoever is not known has no sessions.
    let (Some(user), Some(target)) = (user, target) else {
        return answer(StatusCode::OK, &Page::<SessionView> { items: Vec::new(), next: None });
    };
    let filter = SessionFilter {
        tenants: None,
        user: if permit.reach() == Reach::Own { Some(permit.user) } else { user },
        target,
        client_ip: query.client_ip,
        ongoing: query.ongoing,
        since: query.since,
        until: query.until,
    };
    let page = app.engine().sessions(&actor(&permit), filter, cursor.as_deref(), limit).await?;
    let items: Vec<_> = page.items.into_iter().filter(|view| permit.reaches(&view.user)).collect();
    answer(StatusCode::OK, &Page { items, next: page.next.map(|next| cursor_out(&next)) })
}

pub(super) async fn show(
    State(app): State<App>,
    permit: Permit,
    Which(which): Which,
) -> Result<Response, ApiError> {
    answer(StatusCode::OK, &seen(&app, &permit, &which).await?)
}

pub(super) async fn open(
    State(app): State<App>,
    permit: Permit,
    headers: HeaderMap,
    Json(asked): Json<OpenSession>,
) -> Result<Response, ApiError> {
    let key = match idempotency::begin(&app, &permit, &headers, &asked).await? {
        Begun::Answered(response) => return Ok(*response),
        Begun::New(key) => key,
    };
    let opened = app.engine().open_session(app.now(), &actor(&permit), &asked).await;
    match opened {
        Ok(view) => {
            idempotency::remember(&app, key, StatusCode::CREATED, &view).await?;
            answer(StatusCode::CREATED, &view)
        }
        Err(fault) => {
            idempotency::forget(&app, key).await?;
            Err(fault.into())
        }
    }
}

pub(super) async fn extend(
    State(app): State<App>,
    permit: Permit,
    Which(which): Which,
    Json(asked): Json<ExtendSession>,
) -> Result<Response, ApiError> {
    let id = seen(&app, &permit, &which).await?.id;
    let view = app.engine().extend_session(app.now(), &actor(&permit), id, asked.duration).await?;
    answer(StatusCode::OK, &view)
}

pub(super) async fn end(
    State(app): State<App>,
    permit: Permit,
    Which(which): Which,
    Json(asked): Json<EndSession>,
) -> Result<Response, ApiError> {
    let id = seen(&app, &permit, &which).await?.id;
    let view = app.engine().end_session(app.now(), &actor(&permit), id, asked.reason.as_deref()).await?;
    answer(StatusCode::OK, &view)
}

pub(super) async fn end_many(
    State(app): State<App>,
    permit: Permit,
    Json(mut which): Json<EndSessions>,
) -> Result<Response, ApiError> {
    if permit.reach() == Reach::Own {
        let user = which.user.get_or_insert_with(|| permit.name.clone());
        if *user != permit.name {
            return Err(ApiError::new(ProblemKind::Denied, "you end sessions of your own only"));
        }
    }
    let items = app.engine().end_sessions(app.now(), &actor(&permit), &which).await?;
    answer(StatusCode::OK, &Page { items, next: None })
}

/// The session, if the permit reaches to it.
async fn seen(app: &App, permit: &Permit, which: &str) -> Result<SessionView, ApiError> {
    let unknown = || ApiError::new(ProblemKind::Unknown, format!("there is no session {which:?}"));
    let id: Uuid = which.parse().map_err(|_| unknown())?;
    let view = app.engine().session(&actor(permit), id).await?;
    if permit.reaches(&view.user) { Ok(view) } else { Err(unknown()) }
}

/// Whom a filter means: `Some(None)`, anybody; `None`, nobody that this principal may know.
pub(super) async fn identity<S: Managed>(
    app: &App,
    permit: &Permit,
    name: Option<&str>,
) -> Result<Option<Option<Uuid>>, ApiError> {
    let Some(name) = name else { return Ok(Some(None)) };
    match app.engine().get::<S>(&actor(permit), name).await {
        Ok(object) => Ok(Some(Some(object.id))),
        Err(Fault::Unknown { .. }) => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}
