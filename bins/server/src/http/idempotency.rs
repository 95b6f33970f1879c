//! Requests that are sent again because their answer was lost: with the same key they are done once.
//!
//! The key is taken before the work begins, and carries the answer afterwards. If the server dies in between, the key is
//! free again after a while; what was opened is then found by the check that refuses a second session to the same place.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::SignedDuration;
use serde::Serialize;

use super::App;
use super::problem::{ApiError, ProblemKind};
use crate::auth::permission::Permit;
use crate::store::audit::hex;
use crate::store::idempotency::Answer;

const HEADER: &str = "idempotency-key";
const KEY_MAX: usize = 64;
/// After so long without an answer there will be none: a request is worked on for half a minute at most.
const ABANDONED: SignedDuration = SignedDuration::from_mins(1);
/// How long answers are kept.
pub(super) const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// How a request begins.
pub(super) enum Begun {
    /// It was done before, with this answer.
    Answered(Box<Response>),
    /// It is to be done. `None`: it carries no key.
    New(Option<Key>),
}

/// A key that is taken.
pub(super) struct Key {
    actor: String,
    key: String,
}

/// Takes the key of a request, if it carries one.
pub(super) async fn begin(
    app: &App,
    permit: &Permit,
    headers: &HeaderMap,
    document: &impl Serialize,
) -> Result<Begun, ApiError> {
    let Some(key) = headers.get(HEADER) else { return Ok(Begun::New(None)) };
    let text = key.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > KEY_MAX {
        let said = format!("Idempotency-Key: a key has 1 to {KEY_MAX} visible characters");
        return Err(ApiError::new(ProblemKind::MalformedRequest, said));
    }
    let key = Key { actor: permit.user.to_string(), key: text.to_owned() };
    let document = serde_json::to_vec(document).unwrap_or_default();
    let request = hex(digest(&SHA256, &document).as_ref());
    let now = app.now();
    let mut tx = app.engine().store().write().await?;
    let found = tx.answer(&key.actor, &key.key).await?;
    let found = match found {
        Some(Answer { status: None, created, .. }) if now.duration_since(created).abs() > ABANDONED => None,
        found => found,
    };
    match found {
        None => {
            tx.take_key(&key.actor, &key.key, &request, now).await?;
            tx.commit().await?;
            Ok(Begun::New(Some(key)))
        }
        Some(answer) if answer.request != request => {
            Err(ApiError::new(ProblemKind::KeyReused, "another request was sent with this Idempotency-Key"))
        }
        Some(Answer { status: None, .. }) => {
            Err(ApiError::new(ProblemKind::InProgress, "its answer is not there yet")
                .after(Duration::from_secs(1)))
        }
        Some(Answer { status: Some(status), text, .. }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            Ok(Begun::Answered(Box::new((status, kind, text).into_response())))
        }
    }
}

/// Keeps the answer for whoever asks again.
pub(super) async fn remember(
    app: &App,
    key: Option<Key>,
    status: StatusCode,
    document: &impl Serialize,
) -> Result<(), ApiError> {
    let Some(Key { actor, key }) = key else { return Ok(()) };
    let text = serde_json::to_string(document).unwrap_or_default();
    let mut tx = app.engine().store().write().await?;
    tx.set_answer(&actor, &key, status.as_u16(), &text).await?;
    tx.commit().await?;
    Ok(())
}

/// Nothing was done: the same key may try again.
pub(super) async fn forget(app: &App, key: Option<Key>) -> Result<(), ApiError> {
    let Some(Key { actor, key }) = key else { return Ok(()) };
    let mut tx = app.engine().store().write().await?;
    tx.free_key(&actor, &key).await?;
    tx.commit().await?;
    Ok(())
}
