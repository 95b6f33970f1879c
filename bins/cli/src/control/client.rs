//! Requests to the server, one connection each. Everything has a deadline and a bound.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_api::{Page, Problem};
use sluice_runtime::host::failure::{Exit, Failure};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use super::trust::{Fingerprint, Trust};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Passwords are hashed slowly, and routers are waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const BODY_BYTES_MAX: usize = 16 << 20;
/// Of a list, at 1000 entries each.
const PAGES_MAX: usize = 1000;

/// Where the server is: `https://HOST[:PORT]`.
#[derive(Clone, Debug)]
pub(super) struct Place {
    host: String,
    port: u16,
}

impl Place {
    /// Reads it.
    pub(super) fn parse(url: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::new(Exit::Configuration, format!("{url:?} is no server"))
                .remedy("Write https://HOST:PORT.")
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https") && matches!(uri.path(), "" | "/"));
        let host = host.ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(443) })
    }

    fn authority(&self) -> String {
        match self.host.parse() {
            Ok(IpAddr::V6(v6)) => format!("[{v6}]:{}", self.port),
            Ok(IpAddr::V4(_)) | Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Asks the server as one user. No `Debug`: it has the token.
pub(super) struct Client {
    place: Place,
    trust: Arc<Trust>,
    token: Option<Zeroizing<String>>,
}

/// A request.
#[derive(Debug, Default)]
pub(super) struct Ask {
    method: Method,
    path: String,
    body: Option<Value>,
    version: Option<u64>,
}

impl Ask {
    /// Reads.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Sends without a body.
    pub(super) fn post(path: impl Into<String>) -> Self {
        Self { method: Method::POST, ..Self::get(path) }
    }

    /// Replaces.
    pub(super) fn put(path: impl Into<String>) -> Self {
        Self { method: Method::PUT, ..Self::get(path) }
    }

    /// Removes.
    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    /// With a document.
    pub(super) fn with(self, body: &impl Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_value(body)
            .map_err(|error| Failure::new(Exit::Failed, "a document cannot be written").because(&error))?;
        Ok(Self { body: Some(body), ..self })
    }

    /// Only if this is still its version.
    pub(super) fn of_version(self, version: u64) -> Self {
        Self { version: Some(version), ..self }
    }
}

/// What came back that was no success.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server said no.
    Problem(Box<Problem>),
    /// There was no answer that makes sense.
    Failure(Failure),
}

impl Trouble {
    /// Whether what was asked for is not there.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.code == "unknown")
    }

    /// Whether one may not ask that.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == 403)
    }

    /// Of a document that stands at `place` of a file.
    pub(super) fn at(self, place: &str) -> Failure {
        match self {
            Self::Problem(problem) => told(&problem, Some(place)),
            Self::Failure(failure) => failure,
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Problem(problem) => told(&problem, None),
            Trouble::Failure(failure) => failure,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What, where, what to do.
fn told(problem: &Problem, place: Option<&str>) -> Failure {
    let exit = match problem.status {
        401 => Exit::NotLoggedIn,
        403 => Exit::Refused,
        409 if problem.check.is_some() => Exit::Refused,
        409 | 412 | 422 => Exit::Configuration,
        _ => Exit::Failed,
    };
    let what = match place {
        Some(place) => format!("{place}: {}", problem.title),
        None => problem.title.clone(),
    };
    let mut failure = Failure::new(exit, what);
    let fields: Vec<_> =
        problem.errors.iter().map(|error| format!("{}: {}", field(&error.pointer), error.detail)).collect();
    let why = if fields.is_empty() { problem.detail.clone() } else { fields.join("\n       ") };
    if !why.is_empty() {
        failure = failure.because_text(why);
    }
    match (&problem.remedy, exit) {
        (Some(remedy), _) => failure.remedy(remedy.clone()),
        (None, Exit::NotLoggedIn) => failure.remedy("sluice login URL"),
        (None, _) => failure,
    }
}

/// `/dst/1/selector/port` as `dst[1].selector.port`.
fn field(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.parse::<usize>().is_ok() {
            path.push_str(&format!("[{part}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&part);
        }
    }
    if path.is_empty() { "the document".to_owned() } else { path }
}

/// A name or value inside a path or query.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl Client {
    /// A client that asks the server at this place.
    pub(super) fn new(place: Place, pinned: Option<Fingerprint>, token: Option<Zeroizing<String>>) -> Self {
        Self { place, trust: Trust::new(pinned), token }
    }

    /// The certificate of the last connection.
    pub(super) fn seen(&self) -> Option<Fingerprint> {
        self.trust.seen()
    }

    /// Asks for a document.
    pub(super) async fn ask<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, Trouble> {
        let body = self.tell(ask).await?;
        serde_json::from_slice(&body).map_err(|error| {
            Failure::new(Exit::Failed, "the server's answer is not understood")
                .because(&error)
                .remedy("Are both of the same version?")
                .into()
        })
    }

    /// All entries of a list; `query` begins with `?` or is empty.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &str,
        max: usize,
    ) -> Result<Vec<T>, Trouble> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let mark = if query.is_empty() { '?' } else { '&' };
            let next = if cursor.is_empty() { cursor } else { format!("&cursor={}", quoted(&cursor)) };
            let limit = (max - items.len()).min(1000);
            let page: Page<T> = self.ask(Ask::get(format!("{path}{query}{mark}limit={limit}{next}"))).await?;
            items.extend(page.items);
            match page.next {
                Some(next) if items.len() < max => cursor = next,
                Some(_) | None => break,
            }
        }
        Ok(items)
    }

    /// Asks, and gives the body of a success.
    pub(super) async fn tell(&self, ask: Ask) -> Result<Bytes, Trouble> {
        let stream = timeout(CONNECT_LIMIT, self.connect()).await.map_err(|_| {
            self.unreachable().because_text(format!("no answer within {} s", CONNECT_LIMIT.as_secs()))
        })??;
        let (status, body) = timeout(ANSWER_LIMIT, self.exchange(stream, ask)).await.map_err(|_| {
            self.unreachable().because_text(format!("no answer within {} s", ANSWER_LIMIT.as_secs()))
        })??;
        if status.is_success() {
            return Ok(body);
        }
        let problem: Result<Problem, _> = serde_json::from_slice(&body);
        Err(problem.map_or_else(
            |_| Failure::new(Exit::Failed, format!("the server answers {status}")).into(),
            |problem| Trouble::Problem(Box::new(problem)),
        ))
    }

    fn unreachable(&self) -> Failure {
        Failure::new(Exit::Unreachable, format!("cannot reach the server at {}", self.place.authority()))
    }

    /// Looks whether the server is there and trusted.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let connected = timeout(CONNECT_LIMIT, self.connect()).await;
        connected.unwrap_or_else(|_| Err(self.unreachable().because_text("it does not answer"))).map(drop)
    }

    async fn connect(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
        let config = self.trust.config();
        let config =
            config.map_err(|error| Failure::new(Exit::Failed, "cannot set up TLS").because(&error))?;
        let name = ServerName::try_from(self.place.host.clone());
        let name = name.map_err(|error| self.unreachable().because(&error))?;
        let tcp = TcpStream::connect((self.place.host.as_str(), self.place.port)).await;
        let tcp = tcp.map_err(|error| self.unreachable().because(&error))?;
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        tls.map_err(|error| {
            let failure = self.unreachable().because(&error);
            match self.seen() {
                Some(seen) => failure.remedy(format!(
                    "Its certificate has the fingerprint {seen}.\n       If that is what sluice-server printed: sluice login --fingerprint."
                )),
                None => failure,
            }
        })
    }

    async fn exchange(
        &self,
        stream: tokio_rustls::client::TlsStream<TcpStream>,
        ask: Ask,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let broken = |error: &(dyn std::error::Error + 'static)| self.unreachable().because(error);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let driver = tokio::spawn(connection);
        let request = self.request(ask).map_err(|error| broken(&error))?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        driver.abort();
        let body = body.map_err(|error| self.unreachable().because_text(error.to_string()))?;
        Ok((status, body.to_bytes()))
    }

    fn request(&self, ask: Ask) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(ask.path)
            .header(HOST, self.place.authority())
            .header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", **token))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(version) = ask.version {
            request = request.header(IF_MATCH, format!("\"{version}\""));
        }
        match ask.body {
            Some(body) => request
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(body.to_string()))),
            None => request.body(Full::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

    use super::*;

    #[test]
    fn a_server_is_an_https_url_without_a_path() {
        for (url, authority) in [
            ("https://203.0.113.1:8443", Some("203.0.113.1:8443")),
            ("https://[2001:db8::1]:8443/", Some("[2001:db8::1]:8443")),
            ("https://access.example.net", Some("access.example.net:443")),
            ("http://access.example.net", None),
            ("access.example.net", None),
            ("https://access.example.net/x", None),
        ] {
            let place = Place::parse(url).ok().map(|place| place.authority());
            assert_eq!(place.as_deref(), authority, "{url}");
        }
    }

    #[test]
    fn a_pointer_is_shown_as_a_field_and_names_are_quoted_in_paths() {
        assert_eq!(field("/dst/1/selector/port"), "dst[1].selector.port");
        assert_eq!(field(""), "the document");
        assert_eq!(quoted("a b/ü"), "a%20b%2F%C3%BC");
    }

    #[test]
    fn a_problem_tells_where_and_ends_with_its_code() {
        for (status, check, exit) in [
            (401, None, Exit::NotLoggedIn),
            (403, Some(3), Exit::Refused),
            (409, Some(7), Exit::Refused),
            (409, None, Exit::Configuration),
            (422, None, Exit::Configuration),
            (500, None, Exit::Failed),
        ] {
            let problem = serde_json::from_value(serde_json::json!({
                "type": "about:blank", "status": status, "code": "x", "title": "It is wrong", "detail": "so",
                "check": check, "errors": [{ "pointer": "/dst/0/nat", "detail": "too small" }],
            }));
            let failure = Trouble::Problem(Box::new(problem.unwrap())).at("lab.toml: target[0]");
            assert_eq!(failure.exit(), exit, "{status}");
            assert!(
                failure
                    .to_string()
                    .starts_with("error: lab.toml: target[0]: It is wrong\n  why: dst[0].nat: too small")
            );
        }
    }

    #[tokio::test]
    async fn a_server_is_asked_if_its_certificate_is_the_pinned_one_and_no_other() {
        let (place, fingerprint) = serve("200 OK", "{\"items\":[1,2]}").await;
        let client = Client::new(place.clone(), Some(fingerprint), None);
        assert_eq!(client.list::<u8>("/x", "", 10).await.ok(), Some(vec![1, 2]));

        for other in [Some("00".repeat(32).parse().unwrap()), None] {
            let client = Client::new(place.clone(), other, None);
            let failure = client.probe().await.unwrap_err();
            assert_eq!(failure.exit(), Exit::Unreachable);
            assert!(failure.to_string().contains(&fingerprint.to_string()), "{failure}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_no_document_is_told_with_its_status() {
        for (status, body, expected) in [
            ("502 Bad Gateway", "<html>", "the server answers 502 Bad Gateway"),
            ("200 OK", "<html>", "the server's answer is not understood"),
        ] {
            let (place, fingerprint) = serve(status, body).await;
            let client = Client::new(place, Some(fingerprint), None);
            let failure = Failure::from(client.ask::<Value>(Ask::get("/x")).await.unwrap_err());
            assert!(failure.to_string().contains(expected), "{failure}");
        }
    }

    /// Answers every connection so, and ends with the test.
    async fn serve(status: &'static str, body: &'static str) -> (Place, Fingerprint) {
        let made = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let fingerprint = Fingerprint::of(&certificate);
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                // Who does not trust us goes away, which is what some ask for.
                let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
                let mut request = [0; 4096];
                if tls.read(&mut request).await.is_ok() {
                    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
                    let _ = tls.write_all([&head, body].concat().as_bytes()).await;
                    let _ = tls.shutdown().await;
                }
            }
        });
        (place, fingerprint)
    }
}
