//! The API as clients see it: real engine, real store, requests through the whole router.

mod connections;
mod console;
mod objects;
mod permissions;
mod requests;
mod secrets;
mod sessions;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use router_core::access::RouterId;
use serde_json::{Value, json};
use sluice_api::{DeviceSpec, Problem, RoleSpec, RouterSpec, TargetSpec, TenantSpec, UserSpec};
use tempfile::TempDir;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::guard::Source;
use super::{App, Hosts};
use crate::auth::Auth;
use crate::auth::secret::Secret;
use crate::engine::{Actor, Engine, Managed, Policy};
use crate::store::secrets::{SecretKind, SecretRecord};
use crate::store::tests::sqlite_store;

/// An installation with two tenants and a user of each right.
struct World {
    files: TempDir,
    engine: Engine,
    app: App,
    router: Router,
    seconds: Arc<AtomicI64>,
}

/// A request that is being put together.
struct Call {
    request: http::request::Builder,
    body: Body,
    source: IpAddr,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

fn call(method: &str, path: &str) -> Call {
    let request = Request::builder().method(method).uri(path).header(HOST, "sluice.example");
    Call { request, body: Body::empty(), source: [192, 0, 2, 1].into() }
}

fn key(byte: u8) -> String {
    wg_proto::PublicKey::from_bytes([byte; 32]).to_string()
}

impl Call {
    fn header(self, name: &str, value: &str) -> Call {
        Call { request: self.request.header(name, value), ..self }
    }

    fn token(self, token: &str) -> Call {
        self.header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    fn cookie(self, token: &str) -> Call {
        self.header("cookie", &format!("__Host-sluice={token}"))
    }

    fn from(self, source: IpAddr) -> Call {
        Call { source, ..self }
    }

    fn json(self, document: &Value) -> Call {
        Call { body: document.to_string().into(), ..self.header(CONTENT_TYPE.as_str(), "application/json") }
    }

    fn bytes(self, bytes: Vec<u8>) -> Call {
        Call { body: bytes.into(), ..self }
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    /// The problem document that it is.
    fn problem(&self) -> Problem {
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json", "{self:?}");
        let problem: Problem = serde_json::from_str(&self.text).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        assert!(problem.kind == format!("urn:sluice:problem:{}", problem.code), "{problem:?}");
        problem
    }

    fn code(&self) -> String {
        self.problem().code
    }

    fn names(&self) -> Vec<String> {
        let items = self.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl World {
    async fn new() -> World {
        let (files, store) = sqlite_store().await;
        let seconds = Arc::new(AtomicI64::new(1_800_000_000));
        let clock = {
            let seconds = Arc::clone(&seconds);
            move || Timestamp::from_second(seconds.load(Ordering::Relaxed)).unwrap()
        };
        let engine = Engine::new(clock(), store.clone(), Policy::default());
        let auth = Auth::new(store).unwrap();
        let hosts = Hosts::new(["sluice.example".to_owned(), "localhost".to_owned()]);
        let app = App::new(engine.clone(), auth, hosts, clock, |_| None);
        let world = World { files, engine, router: app.router(), app, seconds };
        world.fill().await;
        world
    }

    async fn fill(&self) {
        for tenant in ["t1", "t2"] {
            self.make::<TenantSpec>(json!({ "name": tenant })).await;
        }
        self.make::<RoleSpec>(json!({ "name": "dba" })).await;
        for (name, tenant, right) in [
            ("root", None, "admin"),
            ("audrey", None, "auditor"),
            ("alice", None, "user"),
            ("bob", None, "user"),
            ("t1-admin", Some("t1"), "tenant-admin"),
            ("t1-audrey", Some("t1"), "auditor"),
            ("t1-user", Some("t1"), "user"),
            ("t2-admin", Some("t2"), "tenant-admin"),
        ] {
            let mut user = json!({ "name": name, "right": right });
            if let Some(tenant) = tenant {
                user["tenant"] = json!(tenant);
            } else {
                user["roles"] = json!(["dba"]);
            }
            self.make::<UserSpec>(user).await;
        }
        let router = json!({
            "name": "r1", "kind": "embedded", "client_ip_pool": ["10.77.0.0/24"], "public_key": key(9),
            "endpoint": "gw.example:51820",
        });
        let router = self.make::<RouterSpec>(router).await;
        self.engine.set_ready(vec![RouterId(router.as_u128())]);
        for (name, number) in [("alice", 2), ("bob", 3)] {
            let ip = format!("10.77.0.{number}");
            let device = json!({ "name": "laptop", "user": name, "router": "r1", "public_key": key(number), "client_ip": ip });
            self.make::<DeviceSpec>(device).await;
        }
        let dst = json!([{ "selector": { "ip": "10.20.0.5", "proto": "tcp", "port": 22 } }]);
        self.make::<TargetSpec>(json!({ "name": "db", "roles": ["dba"], "dst": dst })).await;
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds.load(Ordering::Relaxed)).unwrap()
    }

    fn wait(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn make<D: Managed + std::fmt::Debug>(&self, document: Value) -> Uuid {
        let spec = serde_json::from_value(document).unwrap();
        self.engine.create::<D>(self.now(), &Actor::system(), spec).await.unwrap().id
    }

    async fn id<D: Managed + std::fmt::Debug>(&self, name: &str) -> Uuid {
        self.engine.get::<D>(&Actor::system(), name).await.unwrap().id
    }

    /// A token of a user, good for these scopes, none for all.
    async fn token(&self, user: &str, scopes: &[&str]) -> String {
        self.credential(SecretKind::Api, user, scopes).await
    }

    async fn browser(&self, user: &str) -> String {
        self.credential(SecretKind::Browser, user, &[]).await
    }

    async fn credential(&self, kind: SecretKind, user: &str, scopes: &[&str]) -> String {
        let secret = Secret::random().unwrap();
        let record = SecretRecord {
            hash: secret.hash(),
            id: Uuid::now_v7(),
            kind,
            owner: self.id::<UserSpec>(user).await,
            name: "test".to_owned(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            created: self.now(),
            expires: self.now().checked_add(SignedDuration::from_hours(12)).unwrap(),
            seen: None,
            used: None,
            body: "{}".to_owned(),
        };
        let mut tx = self.engine.store().write().await.unwrap();
        tx.insert_secret(&record).await.unwrap();
        tx.commit().await.unwrap();
        secret.text()
    }

    /// Sends a request; does not wait for its body.
    async fn begin(&self, call: Call) -> Response {
        let mut request = call.request.body(call.body).unwrap();
        request.extensions_mut().insert(Source(call.source));
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn send(&self, call: Call) -> Answer {
        let (parts, body) = self.begin(call).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }
}

/// What a method needs so that it can be understood.
fn with_body(call: Call, method: &Method, document: &Value) -> Call {
    match *method {
        Method::POST | Method::PUT => call.json(document),
        _ => call,
    }
}
