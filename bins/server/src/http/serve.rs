//! Connections: accepted, encrypted, served, ended. Every phase has a deadline and every number a bound (P27, P28).

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use super::guard::Source;
use super::limits::subscriber;
use super::{App, Tls};
use crate::meter::Meter;

// Our own choices.
/// Connections at a time. More are closed as they come.
const CONNECTIONS_MAX: usize = 2048;
/// Of one source.
const PER_SOURCE_MAX: usize = 128;
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// From the handshake to the first request.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(15);
/// For the head of a request, and between requests of HTTP/1.1.
const HEAD_TIME: Duration = Duration::from_secs(15);
const HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 32 * 1024;
const H2_STREAMS_MAX: u32 = 64;
const H2_PING_EVERY: Duration = Duration::from_secs(20);
/// How long requests that are being worked on have when the server stops. The whole stop has 5 s.
const STOP_TIME: Duration = Duration::from_secs(3);
/// After accepting failed (no descriptors left, mostly): whoever is connected may go meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often what was counted is written and what is over forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// Why the API is served no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The store may not be what was written to it.
    #[error("the store may not be what was written to it")]
    Store,
}

/// Serves the API until `stop` resolves, then lets what was begun come to its end.
pub(crate) async fn serve(
    app: App,
    listener: TcpListener,
    tls: Tls,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let server = Server {
        tls,
        router: app.router(),
        meter: app.engine().store().meter().clone(),
        builder: builder(),
        connected: Arc::default(),
    };
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut tidying = tokio::time::interval(TIDY_EVERY);
    tokio::pin!(stop);
    let outcome = loop {
        tokio::select! {
            () = &mut stop => break Ok(()),
            () = app.ended() => break Err(ServeError::Store),
            _ = tidying.tick() => tidy(&app, false).await,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    if let Some(place) = Place::take(&server.connected, from.ip()) {
                        connections.spawn(server.clone().connection(stream, place, graceful.watcher()));
                    }
                }
                Err(error) => pause(&error).await,
            },
        }
    };
    drop(listener);
    app.stop_followers();
    let ended = timeout(STOP_TIME, graceful.shutdown()).await;
    if ended.is_err() {
        tracing::warn!("requests were cut off: they took too long for a server that stops");
    }
    connections.abort_all();
    tidy(&app, true).await;
    outcome
}

#[derive(Clone)]
struct Server {
    tls: Tls,
    router: Router,
    meter: Meter,
    builder: Builder<TokioExecutor>,
    connected: Connected,
}

impl Server {
    async fn connection(self, stream: TcpStream, place: Place, watcher: Watcher) {
        // Answers are small and waited for.
        let _ = stream.set_nodelay(true);
        let stream = match timeout(HANDSHAKE_TIME, self.tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, source = %place.source, "no TLS"),
            Err(_) => return tracing::debug!(source = %place.source, "a handshake took too long"),
        };
        // The handshake says which it is: nothing needs to be guessed from what comes first.
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let builder = if is_h2 { self.builder.http2_only() } else { self.builder.http1_only() };
        let has_asked = Arc::new(AtomicBool::new(false));
        let (router, meter) = (self.router, self.meter);
        let (asked, source) = (Arc::clone(&has_asked), Source(place.address));
        let service = service_fn(move |mut request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(source);
            serve_one(router.clone(), meter.clone(), request)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let served = watcher.watch(connection);
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(error, source = %place.source, "a connection broke");
            },
            () = without_request(&has_asked) => {
                tracing::debug!(source = %place.source, "a connection without a request");
            }
        }
    }
}

async fn serve_one(router: Router, meter: Meter, request: Request<Incoming>) -> Result<Response, Infallible> {
    let response = router.oneshot(request).await?;
    meter.answered(response.status().as_u16());
    Ok(response)
}

/// Resolves if no request came in time.
async fn without_request(has_asked: &AtomicBool) {
    sleep(FIRST_REQUEST_TIME).await;
    if has_asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING_EVERY)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    builder
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    sleep(ACCEPT_PAUSE).await;
}

async fn tidy(app: &App, last: bool) {
    if let Err(error) = app.tidy(last).await {
        tracing::warn!(%error, "the store could not be tidied");
    }
}

/// Connections of each source.
type Connected = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// One connection's place among them all; free again when dropped.
struct Place {
    connected: Connected,
    source: IpAddr,
    address: IpAddr,
}

impl Place {
    fn take(connected: &Connected, address: IpAddr) -> Option<Place> {
        let source = subscriber(address);
        let mut counts = connected.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let of_source = counts.entry(source).or_default();
        if all >= CONNECTIONS_MAX || *of_source >= PER_SOURCE_MAX {
            if *of_source == 0 {
                counts.remove(&source);
            }
            return None;
        }
        *of_source += 1;
        drop(counts);
        Some(Place { connected: Arc::clone(connected), source, address: address.to_canonical() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gets_its_share_of_connections_and_leaves_the_rest_to_others() {
        let connected = Connected::default();
        let held: Vec<_> = (0..1000).filter_map(|_| Place::take(&connected, [192, 0, 2, 1].into())).collect();
        assert_eq!(held.len(), PER_SOURCE_MAX);
        let others: Vec<_> = (0..200_u8)
            .flat_map(|n| (0..20).map(move |_| [198, 51, 100, n]))
            .filter_map(|address| Place::take(&connected, address.into()))
            .collect();
        assert_eq!(held.len() + others.len(), CONNECTIONS_MAX);
        drop((held, others));
        assert!(connected.lock().unwrap().is_empty());
        assert!(Place::take(&connected, [192, 0, 2, 1].into()).is_some());
    }
}
