//! What every request passes before anything is done for it, in this order: its host, whether another site sent it, how
//! much its source asks for, how much is worked on; then, by route: who is asking, how much they ask for, whether their
//! browser was made to ask, whether they may.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::time::timeout;

use super::App;
use super::limits::subscriber;
use super::problem::{ApiError, Fatal, ProblemKind};
use crate::auth::permission::{Action, Permit, permit};
use crate::auth::principal::{Credential, Principal};
use crate::auth::secret::Secret;
use crate::auth::{AuthFault, Shown, cookie};

/// Requests of browsers that change something carry this header, whatever its value: pages of other sites cannot send
/// it without asking us first, and we never say yes.
pub(crate) const CSRF_HEADER: HeaderName = HeaderName::from_static("x-sluice-csrf");
/// How long a request is worked on. Logging in may wait for its turn; everything else takes milliseconds.
const WORK_TIME: Duration = Duration::from_secs(30);

/// For every answer. Programs read the API, so it is allowed nothing in a browser; pages say for themselves what they need.
const HEADERS: [(HeaderName, &str); 6] = [
    (STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (CACHE_CONTROL, "no-store"),
];

/// Where a request came from; the connection says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source(pub(crate) IpAddr);

/// A request's route, and what it does.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) app: App,
    pub(super) action: Action,
}

/// Whatever happens inside, there is an answer with all headers.
pub(super) async fn always_answer(State(app): State<App>, request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|_| {
        // What the panic said may be about a secret; the panic hook has written where it was.
        tracing::error!("a request made the server panic");
        ApiError::new(ProblemKind::Internal, "the server failed; its log says more").into_response()
    });
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if response.extensions().get::<Fatal>().is_some() {
        app.must_end();
    }
    response
}

/// For one of our hosts, and from a source that does not ask for too much.
pub(super) async fn check_source(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    app.hosts().check(request.uri(), request.headers())?;
    let Source(source) = source_of(request.extensions());
    app.sources().take(subscriber(source), Instant::now()).map_err(too_many)?;
    Ok(next.run(request).await)
}

/// Bounds how many requests are worked on, and for how long.
pub(super) async fn bound_work(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Ok(_turn) = Arc::clone(app.turns()).try_acquire_owned() else {
        let said = "as many requests are being worked on as can be";
        return Err(ApiError::new(ProblemKind::Unavailable, said).after(Duration::from_secs(1)));
    };
    let late = |_| ApiError::new(ProblemKind::Unavailable, "the work was not done in time");
    timeout(WORK_TIME, next.run(request)).await.map_err(late)
}

/// Who is asking, and whether they may. What follows finds a [`Permit`].
pub(super) async fn authorise(
    State(Route { app, action }): State<Route>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let now = app.now();
    let Source(source) = source_of(request.extensions());
    let shown = shown(request.headers())?;
    let principal = app.auth().authenticate(&shown, source, now).await?;
    app.principals().take(principal.user, Instant::now()).map_err(too_many)?;
    check_intent(&principal, request.method(), request.headers())?;
    let permit = match permit(principal.clone(), action) {
        Ok(permit) => permit,
        Err(denied) => {
            app.auth().denied(&principal, action, denied, now).await?;
            return Err(denied.into());
        }
    };
    request.extensions_mut().insert(permit);
    Ok(next.run(request).await)
}

impl<S: Sync> FromRequestParts<S> for Permit {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let missing = || ApiError::new(ProblemKind::Internal, "this path was not given a permission");
        parts.extensions.get::<Permit>().cloned().ok_or_else(missing)
    }
}

impl<S: Sync> FromRequestParts<S> for Source {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(source_of(&parts.extensions))
    }
}

/// What a request shows. A token wins over a cookie: it was sent on purpose.
fn shown(headers: &HeaderMap) -> Result<Shown, ApiError> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let text = value.to_str().ok();
        let secret = text.and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| Secret::parse(token.trim())).flatten()
        });
        return secret.map(Shown::Token).ok_or_else(|| AuthFault::NotAuthenticated.into());
    }
    cookie_of(headers).map(Shown::Cookie).ok_or_else(|| AuthFault::NotAuthenticated.into())
}

/// The secret in the cookie, if there is one. HTTP/2 may send cookies in several headers.
pub(super) fn cookie_of(headers: &HeaderMap) -> Option<Secret> {
    let all: Vec<_> = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
    cookie::read(&all.join("; "))
}

/// Browsers send cookies whoever made them ask. That it was a page of ours shows in a header that no other can send.
fn check_intent(principal: &Principal, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let by_itself = match principal.credential {
        Credential::Cookie(_) => true,
        Credential::Token(_) => false,
    };
    if !by_itself || method.is_safe() || headers.contains_key(CSRF_HEADER) {
        return Ok(());
    }
    let said = format!("a browser that changes something sends {CSRF_HEADER}");
    Err(ApiError::new(ProblemKind::CrossSite, said))
}

/// What the API must know of a browser whose page asks it.
pub(super) fn carry_source(from: &http::Extensions, to: &mut http::Extensions) {
    to.insert(source_of(from));
}

fn source_of(extensions: &http::Extensions) -> Source {
    extensions.get::<Source>().copied().unwrap_or(Source(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)))
}

fn too_many(wait: Duration) -> ApiError {
    ApiError::new(ProblemKind::TooMany, "you ask for more than one may").after(wait)
}
