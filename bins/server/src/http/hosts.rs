//! As what hosts this server is addressed. A request for another host comes from a page that had its name point here
//! (DNS rebinding), and gets nothing (P21).

use std::net::{IpAddr, SocketAddr};

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

use super::problem::{ApiError, ProblemKind};

/// Names and addresses of this server.
#[derive(Debug, Clone)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// These. Case and a trailing dot make no difference.
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Hosts {
        Hosts(names.into_iter().map(|name| canonical(&name)).collect())
    }

    /// Whether a request is for one of them: by the authority of its target (HTTP/2), else by its one `Host`.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let malformed = |why| ApiError::new(ProblemKind::MalformedRequest, why);
        let mut given = headers.get_all(HOST).iter();
        let header = given.next();
        if given.next().is_some() {
            return Err(malformed("there is more than one Host header"));
        }
        let header = header.map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()));
        let authority = match (uri.authority(), header) {
            (_, Some(None)) => return Err(malformed("the Host header is no host")),
            (Some(target), Some(Some(header))) if *target != header => {
                return Err(malformed("the Host header and the request's target name two hosts"));
            }
            (Some(target), _) => target.clone(),
            (None, Some(Some(header))) => header,
            (None, None) => return Err(malformed("there is no Host header")),
        };
        if self.0.iter().any(|known| *known == canonical(authority.host())) {
            return Ok(());
        }
        Err(ApiError::new(
            ProblemKind::WrongHost,
            "this server does not answer for the host that was asked for",
        )
        .remedy("use one of its own names, or have its operator add this one"))
    }
}

/// The names that a server has if its operator gives none: where it listens, or how it is reached from its own machine.
pub(crate) fn default_names(listen: SocketAddr) -> Vec<String> {
    let local = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let own = (!listen.ip().is_unspecified()).then(|| listen.ip().to_string());
    local.into_iter().chain(own).collect()
}

fn canonical(host: &str) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    bare.parse::<IpAddr>().map_or_else(|_| bare.to_ascii_lowercase(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_names_one_of_our_hosts_and_no_other() {
        let hosts =
            Hosts::new(["Sluice.Example".to_owned(), "192.0.2.1".to_owned(), "2001:db8:0::1".to_owned()]);
        for (target, header, good) in [
            ("/", Some("sluice.example"), true),
            ("/", Some("SLUICE.example.:8443"), true),
            ("/", Some("192.0.2.1:443"), true),
            ("/", Some("[2001:db8::1]:443"), true),
            ("/", Some("evil.example"), false),
            ("/", Some("sluice.example.evil.example"), false),
            ("/", Some("sluice.example@evil.example"), false),
            ("/", Some(""), false),
            ("/", None, false),
            ("https://sluice.example/", None, true),
            ("https://evil.example/", None, false),
            ("https://evil.example/", Some("sluice.example"), false),
        ] {
            let headers = header.map(|host| (HOST, HeaderValue::from_static(host))).into_iter();
            let checked = hosts.check(&target.parse().unwrap(), &headers.collect());
            assert_eq!(checked.is_ok(), good, "{target} {header:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(HOST, HeaderValue::from_static("sluice.example"));
        twice.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(hosts.check(&Uri::from_static("/"), &twice).is_err());
    }
}
