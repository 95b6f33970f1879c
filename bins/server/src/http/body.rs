//! Documents that come in: bounded in size and depth, with the place of what is wrong in them (P23).

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};
use tokio::time::timeout;

use super::problem::{ApiError, ProblemKind};

// Our own choices.
/// The largest document, a target with 256 destinations, has some 60 KiB.
pub(crate) const BODY_MAX: usize = 256 * 1024;
/// Documents are six deep.
const DEPTH_MAX: usize = 32;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// A document that was sent.
pub(crate) struct Json<T>(pub(crate) T);

/// A document that was sent and has a secret in it: what is wrong is told without repeating anything of it.
pub(crate) struct SecretJson<T>(pub(crate) T);

/// The query of a request.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, ApiError> {
        let bytes = read(request).await?;
        parse(&bytes, |error| error.to_string()).map(Json)
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for SecretJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, ApiError> {
        let bytes = read(request).await?;
        parse(&bytes, |_| "this is not what belongs here".to_owned()).map(SecretJson)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Params(query)).map_err(|why| {
            ApiError::new(ProblemKind::MalformedRequest, format!("the query: {}", why.body_text()))
        })
    }
}

/// An answer: a document, as JSON.
pub(crate) fn answer(status: StatusCode, document: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(document).map_err(|error| {
        tracing::error!(%error, "an answer has no JSON text");
        ApiError::new(ProblemKind::Internal, "the answer could not be written")
    })?;
    Ok((status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

async fn read(request: Request<Body>) -> Result<Bytes, ApiError> {
    check_media_type(request.headers())?;
    let body = Limited::new(request.into_body(), BODY_MAX).collect();
    match timeout(BODY_TIME, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(why)) if why.is::<LengthLimitError>() => {
            Err(ApiError::new(ProblemKind::TooLarge, format!("a document has at most {BODY_MAX} bytes")))
        }
        Ok(Err(_)) => {
            Err(ApiError::new(ProblemKind::MalformedRequest, "the body ended before it was complete"))
        }
        Err(_) => {
            Err(ApiError::new(ProblemKind::Slow, format!("a body has {} s to arrive", BODY_TIME.as_secs())))
        }
    }
}

/// Anything else could be sent by a form of another site without the browser asking us first.
fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let essence =
        given.and_then(|given| given.split(';').next()).map(|essence| essence.trim().to_ascii_lowercase());
    match essence.as_deref() {
        Some("application/json") => Ok(()),
        Some(_) | None => {
            Err(ApiError::new(ProblemKind::WrongMediaType, "send it with Content-Type: application/json"))
        }
    }
}

fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    said: impl Fn(&serde_json::Error) -> String,
) -> Result<T, ApiError> {
    check_depth(bytes)?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let document = serde_path_to_error::deserialize(&mut reader);
    let (pointer, error) = match document {
        Ok(document) => match reader.end() {
            Ok(()) => return Ok(document),
            Err(error) => (String::new(), error),
        },
        Err(error) => (pointer(error.path()), error.into_inner()),
    };
    match error.classify() {
        Category::Data => Err(ApiError::field(pointer, without_place(&said(&error)))),
        Category::Io | Category::Syntax | Category::Eof => {
            let at =
                format!("at line {}, column {}: it is not JSON from there on", error.line(), error.column());
            Err(ApiError::new(ProblemKind::MalformedJson, at))
        }
    }
}

/// How deep it is, without recursion and before anything is built of it.
fn check_depth(bytes: &[u8]) -> Result<(), ApiError> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_text = false,
            (true, _) => {}
            (false, b'"') => in_text = true,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            (false, _) => {}
        }
        if depth > DEPTH_MAX {
            let said = format!("a document is at most {DEPTH_MAX} deep");
            return Err(ApiError::new(ProblemKind::MalformedJson, said));
        }
    }
    Ok(())
}

/// As a JSON pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// A pointer says more than line and column, which serde_json appends.
fn without_place(text: &str) -> String {
    text.rsplit_once(" at line ").map_or(text, |(text, _)| text).to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[allow(dead_code, reason = "only whether it can be read is looked at")]
        list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[allow(dead_code, reason = "only whether it can be read is looked at")]
        port: u16,
    }

    fn problem(body: &str) -> String {
        format!("{:?}", parse::<Outer>(body.as_bytes(), |error| error.to_string()).unwrap_err())
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (body, said) in [
            ("{\n \"list\": [}", "line 2, column 11"),
            ("{\"list\": []} x", "column 14"),
            ("{\"list\": [", "MalformedJson"),
            ("{\"list\": [{\"port\": 1}, {\"port\": 70000}]}", "\"/list/1/port\""),
            ("{\"list\": [{\"porte\": 1}]}", "\"/list/0/porte\""),
            ("{}", "missing field `list`"),
        ] {
            let problem = problem(body);
            assert!(problem.contains(said), "{body}: {problem}");
        }
        assert!(parse::<Outer>(b"{\"list\": [{\"port\": 1}]}", |error| error.to_string()).is_ok());
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_texts_are_none() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check_depth(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(check_depth(nested(DEPTH_MAX + 1).as_bytes()).is_err());
        let text = format!("\"{}\\\"{}\"", "[".repeat(100), "{".repeat(100));
        assert!(check_depth(text.as_bytes()).is_ok());
    }

    #[test]
    fn a_document_with_a_secret_is_not_repeated_in_what_is_said_about_it() {
        let body = b"{\"list\": [{\"port\": \"hunter2\"}]}";
        let error = parse::<Outer>(body, |_| "this is not what belongs here".to_owned()).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
