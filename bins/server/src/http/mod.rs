//! The HTTP API under `/api/v1`, and the console's pages over it. Read first: docs/control-plane.md; spec of P18, P21 and P23 in SECURITY.md.
//! Called by the server's `main`; calls auth and engine.
//!
//! All routes stand in one table ([`routes`]), with what each does: the router, the permissions and the OpenAPI document
//! are made of it, so none of them can know a route that another does not.

mod access;
mod account;
mod agents;
mod audit;
mod body;
mod certificate;
mod events;
mod flows;
mod guard;
mod hosts;
mod idempotency;
mod limits;
mod objects;
mod openapi;
mod problem;
mod routes;
mod serve;
mod sessions;
mod version;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use http::header::ACCEPT;
use jiff::Timestamp;
use sluice_runtime::host::metrics::Readiness;
use tokio::sync::{Notify, Semaphore, watch};
use tower_http::csrf::{CsrfLayer, ProtectionError};
use uuid::Uuid;

pub(crate) use self::certificate::{Certificate, Tls};
#[cfg(test)]
pub(crate) use self::guard::Source;
pub(crate) use self::hosts::{Hosts, default_names};
use self::limits::{Buckets, PRINCIPAL, SOURCE};
use self::problem::{ApiError, ProblemKind};
pub(crate) use self::serve::serve;
use crate::auth::Auth;
use crate::control::AgentState;
use crate::engine::Engine;
use crate::store::StoreError;

/// Requests worked on at a time; lists that follow changes do not count.
const WORK_MAX: usize = 256;
/// Lists that follow changes, at a time.
const FOLLOWERS_MAX: usize = 512;

/// What handlers share. Cloning it is cheap, and both are the same.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

struct Shared {
    engine: Engine,
    auth: Auth,
    hosts: Hosts,
    clock: Clock,
    agents: Agents,
    /// Whether the server can do its work, if anybody looks.
    ready: OnceLock<Readiness>,
    principals: Buckets<Uuid>,
    sources: Buckets<IpAddr>,
    turns: Arc<Semaphore>,
    followers: Arc<Semaphore>,
    openapi: Bytes,
    must_end: Notify,
    stopping: watch::Sender<bool>,
}

/// What an agent says of itself.
type Agents = Box<dyn Fn(Uuid) -> Option<AgentState> + Send + Sync>;
/// What time it is.
type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

impl App {
    /// Over an engine, answering for these hosts, by this clock; `agents` says how an agent is, if it is led.
    pub(crate) fn new(
        engine: Engine,
        auth: Auth,
        hosts: Hosts,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        agents: impl Fn(Uuid) -> Option<AgentState> + Send + Sync + 'static,
    ) -> App {
        App(Arc::new(Shared {
            engine,
            auth,
            hosts,
            clock: Box::new(clock),
            agents: Box::new(agents),
            ready: OnceLock::new(),
            principals: Buckets::new(PRINCIPAL, Instant::now()),
            sources: Buckets::new(SOURCE, Instant::now()),
            turns: Arc::new(Semaphore::new(WORK_MAX)),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            openapi: openapi::document(&routes::all()).into(),
            must_end: Notify::new(),
            stopping: watch::Sender::new(false),
        }))
    }

    /// From now on `/readyz` asks this as well.
    pub(crate) fn set_readiness(&self, ready: Readiness) {
        let _ = self.0.ready.set(ready);
    }

    fn ready(&self) -> Result<(), String> {
        self.0.ready.get().map_or(Ok(()), |ready| ready())
    }

    /// Everything that it answers to.
    pub(crate) fn router(&self) -> Router {
        let mut router = Router::new();
        for route in routes::all() {
            router = router.route(route.path, route.guarded(self));
        }
        let api: Router = router.method_not_allowed_fallback(wrong_method).with_state(self.clone());
        // The console asks behind what follows, so that one request of a browser is checked and counted once.
        let console = sluice_console::router(api.clone(), guard::carry_source);
        let from_elsewhere = CsrfLayer::new().with_rejection_response(|_: ProtectionError| cross_site());
        // The last layer is the first that a request meets.
        api.merge(console)
            .fallback(unknown_route)
            .layer(from_fn_with_state(self.clone(), guard::bound_work))
            .layer(from_elsewhere)
            .layer(from_fn_with_state(self.clone(), guard::check_source))
            .layer(from_fn_with_state(self.clone(), guard::always_answer))
    }

    /// Resolves when the server must end because the store may not be what was written.
    pub(crate) async fn ended(&self) {
        tokio::select! {
            () = self.0.must_end.notified() => {}
            () = self.engine().store().broken() => {}
        }
    }

    /// Writes what was counted, forgets what is over. To be called every few seconds; `last`: for the last time.
    pub(crate) async fn tidy(&self, last: bool) -> Result<(), StoreError> {
        let now = self.now();
        self.auth().tidy(last, now).await?;
        let mut tx = self.engine().store().write().await?;
        tx.forget_answers(now.checked_sub(idempotency::KEPT).unwrap_or(Timestamp::MIN)).await?;
        tx.commit().await
    }

    /// Lists that are followed end: the server stops.
    fn stop_followers(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Resolves when they must.
    fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.0.stopping.subscribe();
        async move {
            // An error means that there is no server any more.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    fn must_end(&self) {
        self.0.must_end.notify_one();
    }

    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn auth(&self) -> &Auth {
        &self.0.auth
    }

    fn hosts(&self) -> &Hosts {
        &self.0.hosts
    }

    fn principals(&self) -> &Buckets<Uuid> {
        &self.0.principals
    }

    fn sources(&self) -> &Buckets<IpAddr> {
        &self.0.sources
    }

    fn turns(&self) -> &Arc<Semaphore> {
        &self.0.turns
    }

    fn followers(&self) -> &Arc<Semaphore> {
        &self.0.followers
    }

    fn openapi(&self) -> Bytes {
        self.0.openapi.clone()
    }

    fn agent(&self, id: Uuid) -> AgentState {
        (self.0.agents)(id).unwrap_or_default()
    }

    fn now(&self) -> Timestamp {
        (self.0.clock)()
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

/// Programs are answered with a document, people with a page.
async fn unknown_route(headers: HeaderMap) -> Response {
    let accepted = headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains("text/html")) {
        return sluice_console::not_found().await;
    }
    ApiError::new(ProblemKind::UnknownRoute, "there is nothing at this path")
        .remedy("see /api/v1/openapi.json")
        .into_response()
}

async fn wrong_method() -> ApiError {
    ApiError::new(ProblemKind::WrongMethod, "the Allow header says which methods there are")
}

fn cross_site() -> Response {
    ApiError::new(ProblemKind::CrossSite, "pages of other sites may not ask for changes").into_response()
}
