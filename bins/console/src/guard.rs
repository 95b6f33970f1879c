//! What protects pages in a browser: they may load and ask for what is ours and nothing else, nobody may frame them, and
//! only they themselves change something.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_SECURITY_POLICY, LOCATION, ORIGIN};
use http::{HeaderName, HeaderValue, StatusCode};
use sluice_api::Problem;

use crate::trouble::Trouble;

/// What htmx sends along, and by what it goes elsewhere.
const SCRIPT: HeaderName = HeaderName::from_static("hx-request");
pub(crate) const WINDOW: HeaderName = HeaderName::from_static("hx-redirect");
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 3] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// The server has seen that no other site sent the request, as far as headers say. A form is sent by a browser, and every
/// browser says where its page is from: what says nothing is none of ours.
pub(crate) async fn protect(request: Request, next: Next) -> Response {
    let is_script = request.headers().contains_key(SCRIPT);
    let says = request.headers().contains_key(SITE) || request.headers().contains_key(ORIGIN);
    let mut response = if request.method().is_safe() || says {
        next.run(request).await
    } else {
        Trouble::Problem(Box::new(Problem {
            kind: "about:blank".to_owned(),
            status: 403,
            code: "cross-site".to_owned(),
            title: "The request came from elsewhere".to_owned(),
            detail: "Only pages of this console change something here.".to_owned(),
            remedy: Some("Programs use the API, with a token.".to_owned()),
            check: None,
            errors: Vec::new(),
        }))
        .into_response()
    };
    // A script follows a redirect without seeing it; the header beside it takes the whole window there.
    if is_script && response.headers().contains_key(&WINDOW) {
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().remove(LOCATION);
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
