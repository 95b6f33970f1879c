//! Asking the API, in-process: the same router that answers programs, with what the browser showed.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use http::header::{CONTENT_TYPE, COOKIE, HOST, IF_MATCH};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_api::{Page, Problem};
use tower::ServiceExt as _;

use crate::trouble::Trouble;

/// What the API asks of browsers that change something. The console's own guard has seen that a page of ours asks.
const INTENT: HeaderName = HeaderName::from_static("x-sluice-csrf");
/// The largest answer: a page of a thousand targets.
const ANSWER_MAX: usize = 32 * 1024 * 1024;

/// The API, asked for one browser.
#[derive(Clone)]
pub(crate) struct Caller {
    api: Router,
    headers: HeaderMap,
    extensions: Extensions,
    /// The path that the browser asked for, to come back to after a login.
    here: String,
}

/// What the API answered.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

impl Caller {
    /// With a browser's cookies and host, and what `extensions` say of where it is.
    pub(crate) fn new(api: Router, request: &http::request::Parts, extensions: Extensions) -> Caller {
        let mut headers = HeaderMap::new();
        for cookie in request.headers.get_all(COOKIE) {
            headers.append(COOKIE, cookie.clone());
        }
        let authority = request.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        if let Some(host) = authority.or_else(|| request.headers.get(HOST).cloned()) {
            headers.insert(HOST, host);
        }
        headers.insert(INTENT, HeaderValue::from_static("console"));
        let here = match request.method {
            Method::GET => request.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            _ => "/".to_owned(),
        };
        Caller { api, headers, extensions, here }
    }

    /// The path and query that the browser asked for; of what is no page to come back to, the start.
    pub(crate) fn here(&self) -> &str {
        &self.here
    }

    /// Reads a document.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        self.ask(Method::GET, path, None::<&()>, None).await?.read()
    }

    /// Reads a document that may not be there, or not for this browser.
    pub(crate) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Trouble> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(Trouble::Problem(problem)) if matches!(problem.status, 403 | 404) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Reads a list that may not be for this browser: then it is empty.
    pub(crate) async fn items<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Trouble> {
        Ok(self.find::<Page<T>>(path).await?.map(|page| page.items).unwrap_or_default())
    }

    /// Sends a document and reads another.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        document: &impl Serialize,
    ) -> Result<T, Trouble> {
        self.ask(Method::POST, path, Some(document), None).await?.read()
    }

    /// Asks for anything.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        document: Option<&impl Serialize>,
        version: Option<u64>,
    ) -> Result<Answer, Trouble> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
            if document.is_some() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            if let Some(tag) =
                version.and_then(|version| HeaderValue::from_str(&format!("\"{version}\"")).ok())
            {
                headers.insert(IF_MATCH, tag);
            }
        }
        let body = document
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|_| Trouble::Failed("a document has no text"))?;
        let mut request = request
            .body(body.map_or_else(Body::empty, Body::from))
            .map_err(|_| Trouble::Failed("the API has no such path"))?;
        *request.extensions_mut() = self.extensions.clone();
        let Ok(response) = self.api.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body =
            to_bytes(body, ANSWER_MAX).await.map_err(|_| Trouble::Failed("the API's answer is too large"))?;
        if parts.status.is_success() {
            return Ok(Answer { headers: parts.headers, body });
        }
        // Which request it was for does not matter: whoever is not logged in is asked to.
        if parts.status == StatusCode::UNAUTHORIZED
            && path != "/api/v1/login"
            && path != "/api/v1/first-admin"
        {
            return Err(Trouble::LogIn { next: self.here.clone() });
        }
        let problem = serde_json::from_slice::<Problem>(&body);
        Err(problem.map_or(Trouble::Failed("the API answered with no document"), |problem| {
            Trouble::Problem(Box::new(problem))
        }))
    }
}

impl Answer {
    /// The document in it.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        let body: &[u8] = if self.body.is_empty() { b"null" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| {
            tracing::error!(%error, "the console does not understand the API");
            Trouble::Failed("the API answered with another document than it says")
        })
    }
}

/// A path with a query of these parameters; those without a value are left out.
pub(crate) fn with_query<'a>(path: &str, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if !value.is_empty() {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_stays_one_parameter() {
        let path = with_query("/api/v1/targets", [("text", "a&b=c #/?é"), ("tenant", "")]);
        assert_eq!(path, "/api/v1/targets?text=a%26b%3Dc+%23%2F%3F%C3%A9");
        assert_eq!(with_query("/x", [("a", "")]), "/x");
    }
}
