//! One thread that answers scrapes. Every connection has a deadline, and their number a bound.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::Site;

// Our own choices.
/// Connections at a time. Further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// From being accepted to the end of the answer.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
const HEAD_TIME: Duration = Duration::from_secs(5);
const HEAD_BYTES_MAX: usize = 8192;
/// A page is made of what the node's lock guards, so it is made this seldom, however often it is asked for.
const PAGE_INTERVAL: Duration = Duration::from_millis(100);
/// After accepting failed (no descriptors left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// An address that is ours, where nobody is answered yet.
#[derive(Debug)]
pub struct Bound(std::net::TcpListener);

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Bound {
    /// Takes an address.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(address: SocketAddr) -> io::Result<Bound> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Bound(listener))
    }

    /// Answers from now on, in a thread of its own.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(self, site: Arc<Site>) -> io::Result<Listening> {
        let address = self.0.local_addr()?;
        let tasks = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("metrics".into()).spawn(move || {
            tasks.block_on(async move {
                let pages = Arc::new(Pages { site, last: Mutex::default() });
                tokio::select! {
                    failed = serve(self.0, pages) => if let Err(error) = failed {
                        tracing::error!(%error, "metrics are no longer served");
                    },
                    // Whatever is sent: nothing ever is.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Listening { address, _stop: stop })
    }
}

impl Listening {
    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: std::net::TcpListener, pages: Arc<Pages>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = Arc::clone(&pages);
                tokio::spawn(async move {
                    let _place = place;
                    if timeout(CONNECTION_TIME, converse(stream, pages)).await.is_err() {
                        tracing::debug!("whoever asked for metrics took too long");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a scrape could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, pages: Arc<Pages>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = pages.answer(request.method(), request.uri().path());
        async { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a scrape broke off");
    }
}

struct Pages {
    site: Arc<Site>,
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl Pages {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET is what there is\n".into());
        }
        match path {
            "/metrics" => match self.metrics() {
                Some(page) => response(StatusCode::OK, OPEN_METRICS, page),
                None => {
                    response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "metrics cannot be written\n".into())
                }
            },
            "/healthz" => response(StatusCode::OK, TEXT, "alive\n".into()),
            "/readyz" => match self.site.ready() {
                Ok(()) => response(StatusCode::OK, TEXT, "ready\n".into()),
                Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n").into()),
            },
            _ => response(StatusCode::NOT_FOUND, TEXT, "/metrics, /healthz, /readyz\n".into()),
        }
    }

    fn metrics(&self) -> Option<Bytes> {
        // It is replaced in one move, so it is whole whoever panicked.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((made, page)) = last.as_ref()
            && now.saturating_duration_since(*made) < PAGE_INTERVAL
        {
            return Some(page.clone());
        }
        let page = Bytes::from(self.site.metrics().ok()?);
        *last = Some((now, page.clone()));
        Some(page)
    }
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let kind = axum::http::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn site(ready: Result<(), String>) -> Arc<Site> {
        Arc::new(Site::new(
            |registry| {
                let counter = prometheus_client::metrics::counter::Counter::<u64>::default();
                registry.register("things", "Things", counter);
            },
            Box::new(move || ready.clone()),
        ))
    }

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn listen(site: Arc<Site>) -> Listening {
        Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap().start(site).unwrap()
    }

    #[test]
    fn metrics_and_health_are_told_to_whoever_asks() {
        let listening = listen(site(Ok(())));
        let metrics = ask(listening.address(), "/metrics");
        assert!(
            metrics.contains("openmetrics-text") && metrics.contains("sluice_things_total 0\n# EOF\n"),
            "{metrics}"
        );
        assert!(ask(listening.address(), "/healthz").starts_with("HTTP/1.1 200"));
        assert!(ask(listening.address(), "/readyz").starts_with("HTTP/1.1 200"));
        assert!(ask(listening.address(), "/secrets").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn what_is_not_ready_says_why() {
        let listening = listen(site(Err("the lease lapsed".to_owned())));
        let answer = ask(listening.address(), "/readyz");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("the lease lapsed\n"), "{answer}");
    }

    #[test]
    fn nobody_is_answered_once_it_is_dropped() {
        let listening = listen(site(Ok(())));
        let address = listening.address();
        drop(listening);
        let limit = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < limit, "still answered");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn those_who_say_nothing_do_not_keep_others_from_being_answered() {
        let listening = listen(site(Ok(())));
        let silent: Vec<_> =
            (0..CONNECTIONS_MAX - 1).map(|_| TcpStream::connect(listening.address()).unwrap()).collect();
        assert!(ask(listening.address(), "/healthz").starts_with("HTTP/1.1 200"));
        drop(silent);
    }
}
