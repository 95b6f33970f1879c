//! Ten thousand users, a hundred thousand targets, ten thousand open sessions, a hundred routers: what the API takes, how many
//! sessions open and close in a second, what is sent to routers, how long it takes until they have everything again.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use control_proto::Terms;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use sluice_api::{OpenSession, SessionState};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::agents::SimulatedRouter;
use super::plant::{Plant, Size, target_name};
use super::{Spread, figure, in_full, resident_mib, unconfirmed, until};
use crate::auth::Auth;
use crate::auth::secret::Secret;
use crate::control::Control;
use crate::engine::{Engine, Policy};
use crate::http::{App, Hosts, Source};
use crate::store::Store;
use crate::store::audit::Verified;
use crate::store::secrets::{SecretKind, SecretRecord};
use crate::store::sessions::Ongoing;
use crate::store::tests::{postgres_store, sqlite_store};

/// Requests that are under way at once.
const AT_ONCE: usize = 16;
const LIMIT: Duration = Duration::from_secs(600);

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Load {
    size: Size,
    sessions: usize,
    closed: usize,
    /// Of each kind.
    requests: usize,
}

impl Load {
    fn of_this_run() -> Load {
        if in_full() {
            let size = Size { users: 10_000, targets: 100_000, routers: 100, roles: 1000 };
            Load { size, sessions: 10_000, closed: 2000, requests: 500 }
        } else {
            let size = Size { users: 60, targets: 400, routers: 3, roles: 20 };
            Load { size, sessions: 60, closed: 20, requests: 10 }
        }
    }
}

/// A control plane with routers that follow it.
struct Installation {
    engine: Engine,
    control: Control,
    plant: Arc<Plant>,
    api: Router,
    routers: HashMap<Uuid, SimulatedRouter>,
}

impl Installation {
    async fn new(store: Store, load: Load) -> Installation {
        let began = Instant::now();
        let plant = Arc::new(Plant::build(&store, load.size).await);
        figure("filling the store", format!("{:.1} s", began.elapsed().as_secs_f64()));
        let engine = Engine::new(Timestamp::now(), store.clone(), Policy::default());
        let began = Instant::now();
        let control = Control::start(engine.clone(), Terms::default(), Uuid::now_v7()).await.unwrap();
        figure(
            "planning for all routers, no sessions",
            format!("{:.0} ms", began.elapsed().as_secs_f64() * 1e3),
        );
        let auth = Auth::new(store).unwrap();
        let hosts = Hosts::new(["sluice.example".to_owned()]);
        let api = App::new(engine.clone(), auth, hosts, Timestamp::now, |_| None).router();
        let mut installation = Installation { engine, control, plant, api, routers: HashMap::new() };
        installation.connect().await;
        installation
    }

    /// All routers come; returns how long it takes until each has all it is to have.
    async fn connect(&mut self) -> Duration {
        self.routers.clear();
        let began = Instant::now();
        for id in &self.plant.routers {
            let leadership = self.control.leadership(*id).unwrap();
            self.routers.insert(*id, SimulatedRouter::follow(&leadership));
        }
        until("all routers have everything", LIMIT, async || self.are_synced()).await;
        let took = began.elapsed();
        until("all routers are ready", LIMIT, async || self.engine.ready().len() == self.plant.routers.len())
            .await;
        took
    }

    fn are_synced(&self) -> bool {
        let synced = |id: &Uuid| self.control.leadership(*id).unwrap().with(|leader, _| leader.is_synced());
        self.plant.routers.iter().all(synced)
    }

    fn bytes_heard(&self) -> u64 {
        self.routers.values().map(SimulatedRouter::bytes_heard).sum()
    }

    /// So many sessions are opened, some at a time, each user's in turn, `first` of them having been before; returns how long each
    /// took, and all together.
    async fn open(&self, first: usize, sessions: usize) -> (Vec<Duration>, Duration) {
        let began = Instant::now();
        let turns = self.in_turns(sessions, move |engine, plant, number| async move {
            let number = first + number;
            let user = number % plant.size.users;
            let target = plant.target_of(user, number / plant.size.users);
            let asked: OpenSession = serde_json::from_value(serde_json::json!({ "target": target })).unwrap();
            engine.open_session(Timestamp::now(), &plant.user(user), &asked).await.unwrap();
        });
        (turns.await, began.elapsed())
    }

    async fn close(&self, sessions: &[Uuid]) -> (Vec<Duration>, Duration) {
        let began = Instant::now();
        let ids: Arc<[Uuid]> = sessions.into();
        let turns = self.in_turns(sessions.len(), move |engine, plant, number| {
            let ids = Arc::clone(&ids);
            async move {
                engine.end_session(Timestamp::now(), &plant.root(), ids[number], None).await.unwrap();
            }
        });
        (turns.await, began.elapsed())
    }

    async fn in_turns<F: Future<Output = ()> + Send + 'static>(
        &self,
        times: usize,
        work: impl Fn(Engine, Arc<Plant>, usize) -> F + Clone + Send + 'static,
    ) -> Vec<Duration> {
        let next = Arc::new(AtomicUsize::new(0));
        let plant = Arc::clone(&self.plant);
        let workers = (0..AT_ONCE).map(|_| {
            let (next, work) = (Arc::clone(&next), work.clone());
            let (engine, plant) = (self.engine.clone(), Arc::clone(&plant));
            tokio::spawn(async move {
                let mut took = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= times {
                        return took;
                    }
                    let began = Instant::now();
                    work(engine.clone(), Arc::clone(&plant), number).await;
                    took.push(began.elapsed());
                }
            })
        });
        let mut took = Vec::new();
        for worker in workers.collect::<Vec<_>>() {
            took.extend(worker.await.unwrap());
        }
        took
    }

    async fn ongoing(&self) -> Vec<crate::store::sessions::SessionRecord> {
        self.engine.store().read().await.unwrap().ongoing(Ongoing::All).await.unwrap()
    }

    async fn unconfirmed(&self) -> i64 {
        unconfirmed(self.engine.store()).await
    }

    /// A token of a user's.
    async fn token(&self, owner: Uuid) -> String {
        let secret = Secret::random().unwrap();
        let now = Timestamp::now();
        let record = SecretRecord {
            hash: secret.hash(),
            id: Uuid::now_v7(),
            kind: SecretKind::Api,
            owner,
            name: "load".to_owned(),
            scopes: Vec::new(),
            created: now,
            expires: now.checked_add(SignedDuration::from_hours(1)).unwrap(),
            seen: Some(now),
            used: None,
            body: "{}".to_owned(),
        };
        let mut tx = self.engine.store().write().await.unwrap();
        tx.insert_secret(&record).await.unwrap();
        tx.commit().await.unwrap();
        secret.text()
    }

    /// How long it takes until a request is answered, body and all.
    async fn ask(
        &self,
        (method, path): (Method, &str),
        token: &str,
        from: IpAddr,
        body: &str,
    ) -> (Duration, String) {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "sluice.example");
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(Source(from));
        let began = Instant::now();
        let answer = self.api.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let took = began.elapsed();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(status.is_success() || status == StatusCode::CREATED, "{path}: {status} {text}");
        (took, text)
    }

    /// The API's answers, one kind of request after the other.
    async fn time_the_api(&self, load: Load) {
        let root = self.token(self.plant.root().user.unwrap()).await;
        let sessions: Vec<_> = self.ongoing().await.iter().map(|session| session.id).collect();
        let some = |number: usize| sessions[number * 7919 % sessions.len()];
        type Path<'a> = Box<dyn Fn(usize) -> String + 'a>;
        let kinds: [(&str, Path<'_>); 9] = [
            (
                "a page of ongoing sessions",
                Box::new(|_| "/api/v1/sessions?ongoing=true&limit=100".to_owned()),
            ),
            ("one session", Box::new(|number| format!("/api/v1/sessions/{}", some(number)))),
            ("a page of targets", Box::new(|_| "/api/v1/targets?limit=100".to_owned())),
            (
                "a target by name",
                Box::new(|number| {
                    format!("/api/v1/targets/{}", target_name(number * 7919 % load.size.targets))
                }),
            ),
            (
                "targets whose name contains a text",
                Box::new(|number| format!("/api/v1/targets?text={:04}", number % 100)),
            ),
            ("a page of users", Box::new(|_| "/api/v1/users?limit=100".to_owned())),
            ("a page of the audit", Box::new(|_| "/api/v1/audit?limit=100".to_owned())),
            ("how routers are", Box::new(|_| "/api/v1/state/routers?limit=100".to_owned())),
            ("who I am", Box::new(|_| "/api/v1/whoami".to_owned())),
        ];
        for (number, (kind, path)) in kinds.iter().enumerate() {
            let mut took = Vec::new();
            for request in 0..load.requests {
                // A principal may ask a hundred times a second.
                tokio::time::sleep(Duration::from_millis(if in_full() { 11 } else { 0 })).await;
                let from = Ipv4Addr::new(198, 51, 100, number as u8).into();
                took.push(self.ask((Method::GET, &path(request)), &root, from, "").await.0);
            }
            figure(&format!("API, {kind}"), Spread::of(took));
        }
        let mut took = Vec::new();
        for user in (0..load.size.users).step_by((load.size.users / load.requests.min(100)).max(1)) {
            let token = self.token(self.plant.users[user]).await;
            let from = Ipv4Addr::new(198, 51, 101, (user % 250) as u8).into();
            took.push(self.ask((Method::GET, "/api/v1/access"), &token, from, "").await.0);
        }
        let each = load.size.targets / load.size.roles;
        figure(&format!("API, what a user may open ({each} targets)"), Spread::of(took));
    }
}

async fn under_load(store: Store, name: &str) {
    let load = Load::of_this_run();
    println!("{name}: {load:?}");
    let mut all = Installation::new(store, load).await;
    figure("memory before any session", format!("{:.0} MiB", resident_mib()));

    let (took, together) = all.open(0, load.sessions).await;
    figure("opening a session, decision to commit", Spread::of(took));
    figure("sessions opened per second", format!("{:.0}", load.sessions as f64 / together.as_secs_f64()));
    let confirmed = until("all sessions are active", LIMIT, async || all.unconfirmed().await == 0).await;
    figure("the last of them active", format!("{:.2} s after the last commit", confirmed.as_secs_f64()));
    figure("memory with all sessions open", format!("{:.0} MiB", resident_mib()));

    let before = all.bytes_heard();
    let one = all.open(load.sessions, 1).await.0[0];
    until("it is active", LIMIT, async || all.unconfirmed().await == 0).await;
    figure("one more session", format!("{:.1} ms", one.as_secs_f64() * 1e3));
    figure("its delta, with the answers around it", format!("{} bytes", all.bytes_heard() - before));

    let mut ticks = Vec::new();
    for _ in 0..12 {
        let began = Instant::now();
        all.engine.tick(Timestamp::now()).await.unwrap();
        ticks.push(began.elapsed());
    }
    figure("looking what time does, each second", Spread::of(ticks));

    all.time_the_api(load).await;

    let healed = all.connect().await;
    let bytes = all.bytes_heard();
    figure(
        "all routers come back: until each has its snapshot",
        format!("{:.0} ms", healed.as_secs_f64() * 1e3),
    );
    figure(
        "all snapshots together",
        format!("{:.1} MiB, {} bytes a session", bytes as f64 / 1048576.0, bytes / load.sessions as u64),
    );
    for id in &all.plant.routers {
        assert!(all.control.leadership(*id).unwrap().with(|leader, _| leader.is_synced()));
    }

    let ongoing = all.ongoing().await;
    assert_eq!(ongoing.len(), load.sessions + 1);
    let closed: Vec<_> = ongoing.iter().take(load.closed).map(|session| session.id).collect();
    let (took, together) = all.close(&closed).await;
    figure("ending a session, request to commit", Spread::of(took));
    figure("sessions ended per second", format!("{:.0}", load.closed as f64 / together.as_secs_f64()));
    let confirmed = until("they are closed", LIMIT, async || all.unconfirmed().await == 0).await;
    figure("the last of them closed", format!("{:.2} s after the last commit", confirmed.as_secs_f64()));
    for id in closed.iter().take(10) {
        let view = all.engine.session(&all.plant.root(), *id).await.unwrap();
        assert_eq!(view.state, SessionState::Closed);
    }

    let began = Instant::now();
    let verified = all.engine.store().read().await.unwrap().verify_audit().await.unwrap();
    let Verified::Whole { events, .. } = verified else { panic!("{verified:?}") };
    figure("verifying the audit", format!("{events} events in {:.2} s", began.elapsed().as_secs_f64()));
    assert!(events >= (2 * load.sessions + 2 * load.closed) as u64, "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_served_and_every_router_gets_what_it_is_to_have_on_sqlite() {
    let (_files, store) = sqlite_store().await;
    under_load(store, "SQLite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_served_and_every_router_gets_what_it_is_to_have_on_postgres() {
    if let Some(store) = postgres_store().await {
        under_load(store, "PostgreSQL").await;
    }
}
