//! Which conversations sessions carried.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use sluice_api::{FlowView, Page, TargetSpec, UserSpec};
use uuid::Uuid;

use super::App;
use super::body::{Params, answer};
use super::objects::{actor, cursor_in, cursor_out, page_size};
use super::openapi::Param;
use super::problem::ApiError;
use super::sessions::identity;
use crate::auth::permission::{Permit, Reach};
use crate::engine::FlowQuery;

pub(super) const PARAMS: &[Param] = &[
    Param::query("limit", "integer", "Entries of a page, at most 1000"),
    Param::query("cursor", "string", "What the page before gave as `next`"),
    Param::query("session", "string", "Only those of the session of this identity"),
    Param::query("user", "string", "Only those of this user, by name or identity"),
    Param::query("target", "string", "Only those of sessions to this target, by name or identity"),
    Param::query("since", "string", "Only those that ended at this moment or later"),
    Param::query("until", "string", "Only those that ended before"),
];

/// Which to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
    session: Option<Uuid>,
    user: Option<String>,
    target: Option<String>,
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
    // Whoever is not known has no flows.
    let (Some(user), Some(target)) = (user, target) else {
        return answer(StatusCode::OK, &Page::<FlowView> { items: Vec::new(), next: None });
    };
    let query = FlowQuery {
        session: query.session,
        user: if permit.reach() == Reach::Own { Some(permit.user) } else { user },
        target,
        since: query.since,
        until: query.until,
    };
    let page = app.engine().flows(&actor(&permit), query, cursor.as_deref(), limit).await?;
    answer(StatusCode::OK, &Page { items: page.items, next: page.next.map(|next| cursor_out(&next)) })
}
