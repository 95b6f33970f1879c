//! What went wrong, as clients are told (RFC 9457). One table says the status and the words of each kind; codes are for
//! programs and never change.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use router_core::access::Refused;
use sluice_api::{FieldProblem, Problem};

use crate::auth::AuthFault;
use crate::auth::permission::Denied;
use crate::engine::Fault;
use crate::store::StoreError;
use crate::store::objects::ObjectFault;

/// Defines kinds once: a variant each, its status, code and title.
macro_rules! kinds {
    ($($variant:ident = $status:ident $code:literal $title:literal,)+) => {
        /// What kind of thing went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum ProblemKind {
            $($variant,)+
        }

        impl ProblemKind {
            /// All of them.
            #[cfg(test)]
            const ALL: &[ProblemKind] = &[$(ProblemKind::$variant,)+];

            /// Its line of the table.
            pub(crate) fn line(self) -> (StatusCode, &'static str, &'static str) {
                match self {
                    $(ProblemKind::$variant => (StatusCode::$status, $code, $title),)+
                }
            }
        }
    };
}

#[rustfmt::skip]
kinds! {
    MalformedRequest = BAD_REQUEST "malformed-request" "The request is malformed",
    MalformedJson = BAD_REQUEST "malformed-json" "The body is not JSON",
    NotAuthenticated = UNAUTHORIZED "not-authenticated" "You are not logged in",
    WrongCredentials = UNAUTHORIZED "wrong-credentials" "That does not show who you are",
    Denied = FORBIDDEN "denied" "You may not do this",
    CrossSite = FORBIDDEN "cross-site" "The request came from another site",
    Refused = FORBIDDEN "refused" "Access is refused",
    UnknownRoute = NOT_FOUND "unknown-route" "There is nothing at this path",
    Unknown = NOT_FOUND "unknown" "There is no such thing",
    WrongMethod = METHOD_NOT_ALLOWED "wrong-method" "This path does not take this method",
    Slow = REQUEST_TIMEOUT "slow-request" "The request took too long to arrive",
    InTheWay = CONFLICT "in-the-way" "Access is refused while another session is in the way",
    Conflict = CONFLICT "conflict" "This contradicts what is there",
    NameTaken = CONFLICT "name-taken" "The name is taken",
    Taken = CONFLICT "taken" "What only one may have is taken",
    InUse = CONFLICT "in-use" "Others use it",
    InProgress = CONFLICT "in-progress" "The same request is being worked on",
    Stale = PRECONDITION_FAILED "stale-version" "It was changed meanwhile",
    TooLarge = PAYLOAD_TOO_LARGE "too-large" "The body is too large",
    WrongMediaType = UNSUPPORTED_MEDIA_TYPE "wrong-media-type" "The body must be JSON",
    WrongHost = MISDIRECTED_REQUEST "wrong-host" "This server is not that host",
    Invalid = UNPROCESSABLE_ENTITY "invalid-document" "The document is not valid",
    KeyReused = UNPROCESSABLE_ENTITY "key-reused" "The idempotency key belongs to another request",
    VersionNeeded = PRECONDITION_REQUIRED "version-needed" "Say which version you mean to change",
    TooMany = TOO_MANY_REQUESTS "too-many-requests" "Too many requests",
    Internal = INTERNAL_SERVER_ERROR "internal" "The server failed",
    Unavailable = SERVICE_UNAVAILABLE "unavailable" "Not now",
}

/// An answer that says what went wrong.
#[derive(Debug)]
pub(crate) struct ApiError {
    kind: ProblemKind,
    /// In place of the kind's own.
    code: Option<&'static str>,
    detail: String,
    remedy: Option<String>,
    check: Option<u8>,
    errors: Vec<FieldProblem>,
    retry_after: Option<Duration>,
    fatal: bool,
}

/// Marks a response after which the server must end: what was written may not be what is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fatal;

impl ApiError {
    /// What went wrong this time.
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> ApiError {
        ApiError {
            kind,
            code: None,
            detail: detail.into(),
            remedy: None,
            check: None,
            errors: Vec::new(),
            retry_after: None,
            fatal: false,
        }
    }

    /// With what to do.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> ApiError {
        ApiError { remedy: Some(remedy.into()), ..self }
    }

    /// With when to try again.
    pub(crate) fn after(self, wait: Duration) -> ApiError {
        ApiError { retry_after: Some(wait), ..self }
    }

    /// Fields of the document are wrong.
    pub(crate) fn invalid(errors: Vec<FieldProblem>) -> ApiError {
        let places: Vec<_> = errors.iter().map(said).collect();
        ApiError { errors, ..ApiError::new(ProblemKind::Invalid, places.join("; ")) }
    }

    /// One field of it is.
    pub(crate) fn field(pointer: impl Into<String>, detail: impl Into<String>) -> ApiError {
        ApiError::invalid(vec![FieldProblem { pointer: pointer.into(), detail: detail.into() }])
    }

    /// What kind of thing went wrong.
    pub(crate) fn kind(&self) -> ProblemKind {
        self.kind
    }

    fn document(self) -> (StatusCode, Problem) {
        let (status, code, title) = self.kind.line();
        let code = self.code.unwrap_or(code);
        let problem = Problem {
            kind: format!("urn:sluice:problem:{code}"),
            status: status.as_u16(),
            code: code.to_owned(),
            title: title.to_owned(),
            detail: self.detail,
            remedy: self.remedy,
            check: self.check,
            errors: self.errors,
        };
        (status, problem)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (retry_after, fatal) = (self.retry_after, self.fatal);
        let (status, problem) = self.document();
        // A structure of texts and numbers always has a JSON text.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if fatal {
            response.extensions_mut().insert(Fatal);
        }
        response
    }
}

impl From<StoreError> for ApiError {
    /// What the store says goes into the log, not to the client: it may name files and hosts.
    fn from(error: StoreError) -> Self {
        let wait = Duration::from_secs(1);
        match error {
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "the store does not answer");
                ApiError::new(ProblemKind::Unavailable, "the store does not answer now").after(wait)
            }
            StoreError::Full(_) => {
                tracing::error!(%error, "the store is full");
                ApiError::new(ProblemKind::Unavailable, "the store is full").after(wait)
            }
            StoreError::Io(_) => {
                tracing::error!(%error, "the store may not be what was written: the server ends");
                ApiError { fatal: true, ..ApiError::new(ProblemKind::Unavailable, "the store failed") }
            }
            StoreError::Taken(_)
            | StoreError::Unreadable { .. }
            | StoreError::Migration(_)
            | StoreError::Other(_) => {
                tracing::error!(%error, "the store failed");
                ApiError::new(ProblemKind::Internal, "the server failed; its log says more")
            }
        }
    }
}

impl From<ObjectFault> for ApiError {
    fn from(fault: ObjectFault) -> Self {
        let kind = match &fault {
            ObjectFault::NameTaken { .. } => ProblemKind::NameTaken,
            ObjectFault::ClaimTaken { .. } => ProblemKind::Taken,
            ObjectFault::Stale { .. } => ProblemKind::Stale,
            ObjectFault::Gone { .. } => ProblemKind::Unknown,
            ObjectFault::InUse { .. } => ProblemKind::InUse,
            ObjectFault::Store(_) => ProblemKind::Internal,
        };
        match fault {
            ObjectFault::Store(error) => error.into(),
            ObjectFault::Stale { .. } => {
                ApiError::new(kind, fault.to_string()).remedy("read it again, and change what is there now")
            }
            ObjectFault::NameTaken { .. }
            | ObjectFault::ClaimTaken { .. }
            | ObjectFault::Gone { .. }
            | ObjectFault::InUse { .. } => ApiError::new(kind, fault.to_string()),
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let kind = match refused.check() {
            6..=8 => ProblemKind::InTheWay,
            _ => ProblemKind::Refused,
        };
        ApiError {
            code: Some(refused.code()),
            check: Some(refused.check()),
            ..ApiError::new(kind, refused.to_string())
        }
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Invalid(errors) => ApiError::invalid(errors),
            Fault::Unknown { .. } | Fault::UnknownSession(_) | Fault::UnknownApproval(_) => {
                ApiError::new(ProblemKind::Unknown, fault.to_string())
            }
            Fault::Refused(refused) => refused.into(),
            Fault::Forbidden(why) => ApiError::new(ProblemKind::Denied, why),
            Fault::Conflict(why) => ApiError::new(ProblemKind::Conflict, why),
            Fault::Object(fault) => fault.into(),
            Fault::Store(error) => error.into(),
            Fault::Unstored { sessions, why } => {
                let said =
                    format!("{sessions} sessions were ended, which is not stored yet; it is tried again");
                ApiError { detail: said, ..why.into() }
            }
        }
    }
}

impl From<AuthFault> for ApiError {
    fn from(fault: AuthFault) -> Self {
        let said = fault.to_string();
        match fault {
            AuthFault::NotAuthenticated => ApiError::new(ProblemKind::NotAuthenticated, said)
                .remedy("log in, or show a token that is good"),
            AuthFault::WrongCredentials | AuthFault::NoSuchSecret => {
                ApiError::new(ProblemKind::WrongCredentials, said)
            }
            AuthFault::Limited { retry_after } => {
                ApiError::new(ProblemKind::TooMany, said).after(retry_after)
            }
            AuthFault::Invalid(errors) => ApiError::invalid(errors),
            AuthFault::UnknownToken | AuthFault::UnknownUser => ApiError::new(ProblemKind::Unknown, said),
            AuthFault::TooManyTokens(_) => ApiError::new(ProblemKind::Conflict, said),
            AuthFault::Busy => ApiError::new(ProblemKind::Unavailable, said).after(Duration::from_secs(1)),
            AuthFault::Failed(why) => {
                tracing::error!(why, "authentication failed");
                ApiError::new(ProblemKind::Internal, why)
            }
            AuthFault::Store(error) => error.into(),
        }
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        ApiError::new(ProblemKind::Denied, denied.to_string())
    }
}

fn said(problem: &FieldProblem) -> String {
    if problem.pointer.is_empty() {
        return problem.detail.clone();
    }
    format!("{}: {}", problem.pointer, problem.detail)
}

/// Rounded up: whoever comes then is not too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_has_a_code_of_its_own_and_says_that_something_went_wrong() {
        let codes: BTreeSet<_> = ProblemKind::ALL.iter().map(|kind| kind.line().1).collect();
        assert_eq!(codes.len(), ProblemKind::ALL.len());
        assert!(
            ProblemKind::ALL
                .iter()
                .all(|kind| kind.line().0.is_client_error() || kind.line().0.is_server_error())
        );
    }

    #[test]
    fn what_the_store_says_is_not_told_to_clients() {
        let error = StoreError::unreadable("user \"alice\"", "/var/lib/secret");
        let (status, problem) = ApiError::from(error).document();
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!format!("{problem:?}").contains("/var/lib"), "{problem:?}");
    }
}
