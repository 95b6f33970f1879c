//! Logging in and out, passwords, tokens; and whether the server is well.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use sluice_api::{
    FieldProblem, FirstAdmin, LogIn, LoggedIn, NewToken, Page, SetPassword, TokenSpec, UserSpec, WhoAmI,
};

use super::App;
use super::body::{Json, SecretJson, answer};
use super::guard::{Source, cookie_of};
use super::objects::{Which, actor};
use super::problem::{ApiError, ProblemKind};
use crate::auth::Given;
use crate::auth::cookie;
use crate::auth::permission::Permit;
use crate::auth::principal::{Credential, Principal};

pub(super) async fn alive() -> Result<Response, ApiError> {
    answer(StatusCode::OK, &json!({ "status": "alive" }))
}

pub(super) async fn ready(State(app): State<App>) -> Result<Response, ApiError> {
    app.engine().store().read().await?;
    // Whoever asks from outside learns that something is wrong, its operator what: from metrics' own /readyz, and the log.
    app.ready().map_err(|_| ApiError::new(ProblemKind::Unavailable, "the server cannot do its work now"))?;
    answer(StatusCode::OK, &json!({ "status": "ready" }))
}

pub(super) async fn first_admin(
    State(app): State<App>,
    Source(source): Source,
    SecretJson(request): SecretJson<FirstAdmin>,
) -> Result<StatusCode, ApiError> {
    app.auth().redeem_admin(&request, source, app.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn log_in(
    State(app): State<App>,
    Source(source): Source,
    headers: HeaderMap,
    SecretJson(login): SecretJson<LogIn>,
) -> Result<Response, ApiError> {
    let before = cookie_of(&headers);
    let Given { principal, secret } = app.auth().log_in(&login, before.as_ref(), source, app.now()).await?;
    let who = who(&principal);
    match principal.credential {
        Credential::Token(_) => answer(StatusCode::OK, &LoggedIn { who, token: Some(secret.text()) }),
        Credential::Cookie(_) => {
            let seconds = principal.expires.duration_since(principal.since).as_secs();
            let mut response = answer(StatusCode::OK, &LoggedIn { who, token: None })?;
            response.headers_mut().insert(SET_COOKIE, header(&cookie::set(&secret, seconds))?);
            Ok(response)
        }
    }
}

pub(super) async fn log_out(State(app): State<App>, permit: Permit) -> Result<Response, ApiError> {
    app.auth().log_out(&permit, app.now()).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, header(&cookie::clear())?)]).into_response())
}

pub(super) async fn who_am_i(permit: Permit) -> Result<Response, ApiError> {
    answer(StatusCode::OK, &who(&permit))
}

pub(super) async fn change_password(
    State(app): State<App>,
    permit: Permit,
    SecretJson(change): SecretJson<SetPassword>,
) -> Result<StatusCode, ApiError> {
    app.auth().change_password(&permit, &change, app.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn set_password(
    State(app): State<App>,
    permit: Permit,
    Which(which): Which,
    SecretJson(change): SecretJson<SetPassword>,
) -> Result<StatusCode, ApiError> {
    if change.old.is_some() {
        let detail = "the password so far is needed for one's own only".to_owned();
        return Err(ApiError::invalid(vec![FieldProblem { pointer: "/old".to_owned(), detail }]));
    }
    let user = app.engine().get::<UserSpec>(&actor(&permit), &which).await?;
    app.auth().set_password_of(&permit, user.id, &change.new, app.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn tokens(State(app): State<App>, permit: Permit) -> Result<Response, ApiError> {
    let items = app.auth().tokens(&permit, app.now()).await?;
    answer(StatusCode::OK, &Page { items, next: None })
}

pub(super) async fn make_token(
    State(app): State<App>,
    permit: Permit,
    Json(spec): Json<TokenSpec>,
) -> Result<Response, ApiError> {
    let (view, secret) = app.auth().make_token(&permit, &spec, app.now()).await?;
    answer(StatusCode::CREATED, &NewToken { view, token: secret.text() })
}

pub(super) async fn revoke_token(
    State(app): State<App>,
    permit: Permit,
    Which(which): Which,
) -> Result<StatusCode, ApiError> {
    let unknown = |_| ApiError::new(ProblemKind::Unknown, "you have no such token");
    app.auth().revoke_token(&permit, which.parse().map_err(unknown)?, app.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn who(principal: &Principal) -> WhoAmI {
    WhoAmI {
        user: principal.name.clone(),
        tenant: principal.tenant_name.clone(),
        right: principal.right,
        scopes: principal.scopes.names(),
        expires: principal.expires,
    }
}

/// A header that must not show up in logs.
fn header(text: &str) -> Result<HeaderValue, ApiError> {
    let value = HeaderValue::from_str(text);
    let mut value =
        value.map_err(|_| ApiError::new(ProblemKind::Internal, "the cookie could not be written"))?;
    value.set_sensitive(true);
    Ok(value)
}
