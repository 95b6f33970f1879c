//! Which version of an object is meant (RFC 9110 §13): its ETag is its version in quotes.

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::{ApiError, ProblemKind};

/// Which version a change is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    /// This one.
    Version(u64),
    /// Whichever is there.
    Any,
}

/// What `If-Match` says; `None`: nothing.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<Meant>, ApiError> {
    let Some(text) = text(headers, IF_MATCH)? else { return Ok(None) };
    let meant = if text == "*" { Some(Meant::Any) } else { version_of(text).map(Meant::Version) };
    let wrong = || {
        let said = "If-Match: send one ETag as it was given, or *";
        ApiError::new(ProblemKind::MalformedRequest, said)
    };
    meant.map(Some).ok_or_else(wrong)
}

/// A change without saying of which version could undo what somebody else just did.
pub(super) fn needed(meant: Option<Meant>) -> Result<Meant, ApiError> {
    let wanting = || {
        ApiError::new(ProblemKind::VersionNeeded, "there is no If-Match header")
            .remedy("send If-Match with the ETag of what you have read, or * for whatever is there")
    };
    meant.ok_or_else(wanting)
}

/// Whether the client has this version already.
pub(super) fn is_known(headers: &HeaderMap, version: u64) -> bool {
    let known = text(headers, IF_NONE_MATCH).ok().flatten();
    known.is_some_and(|known| {
        known.split(',').any(|tag| version_of(tag.trim().trim_start_matches("W/")) == Some(version))
    })
}

/// The header that says a version.
pub(super) fn etag(version: u64) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::from_str(&format!("\"{version}\""));
    (ETAG, value.unwrap_or_else(|_| HeaderValue::from_static("\"0\"")))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, ApiError> {
    let value = headers.get(&name).map(|value| value.to_str()).transpose();
    value.map_err(|_| ApiError::new(ProblemKind::MalformedRequest, format!("{name} is no text")))
}

fn version_of(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit());
    canonical.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_meant_exactly_or_not_at_all() {
        for (text, meant) in [
            ("\"7\"", Some(Some(Meant::Version(7)))),
            ("*", Some(Some(Meant::Any))),
            ("7", None),
            ("W/\"7\"", None),
            ("\"7\", \"8\"", None),
            ("\"+7\"", None),
            ("\"x\"", None),
        ] {
            let headers = HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static(text))]);
            assert_eq!(if_match(&headers).ok(), meant, "{text}");
        }
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("\"6\", W/\"7\""))]);
        assert!(is_known(&headers, 7) && is_known(&headers, 6) && !is_known(&headers, 8));
    }
}
