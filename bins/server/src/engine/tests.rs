//! Access from end to end, but for packets: documents in, decisions, audit and desired state out.

use std::net::SocketAddr;

use router_core::access::{Refused, Via};
use serde_json::{Value, json};
use sluice_api::{
    ConnectorSpec, DeviceSpec, EndSessions, MappingSpec, OpenSession, Right, RoleSpec, RouterSpec, Seconds,
    SessionState, SessionView, TargetSpec, TenantSpec, UserSpec,
};
use tempfile::TempDir;

use super::complete::Managed;
use super::*;
use crate::store::StoreError;
use crate::store::audit::{AuditFilter, Verified};
use crate::store::sessions::SessionFilter;
use crate::store::tests::{postgres_store, sqlite_store};

mod failing;

/// An installation: a router, two users with a device each, a connector with a device, a few targets.
struct World {
    engine: Engine,
    root: Actor,
    alice: Actor,
    bob: Actor,
    _files: Option<TempDir>,
}

fn now() -> Timestamp {
    later(0)
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn key(byte: u8) -> String {
    wg_proto::PublicKey::from_bytes([byte; 32]).to_string()
}

fn spec<D: serde::de::DeserializeOwned>(document: Value) -> D {
    serde_json::from_value(document).unwrap()
}

impl World {
    async fn sqlite() -> World {
        let (files, store) = sqlite_store().await;
        World { _files: Some(files), ..World::over(store).await }
    }

    async fn over(store: Store) -> World {
        let engine = Engine::new(now(), store, Policy::default());
        let root = Actor { name: "root".to_owned(), ..Actor::system() };
        let mut world = World { engine, alice: root.clone(), bob: root.clone(), root, _files: None };
        world.fill().await;
        world
    }

    async fn fill(&mut self) {
        self.make::<RoleSpec>(json!({ "name": "dba" })).await;
        self.make::<RoleSpec>(json!({ "name": "dev" })).await;
        let router = json!({ "name": "r1", "kind": "embedded", "client_ip_pool": ["10.77.0.0/24"], "public_key": key(9) });
        let router = self.make::<RouterSpec>(router).await;
        self.engine.set_ready(vec![RouterId(router.as_u128())]);
        for (name, number) in [("alice", 2), ("bob", 3)] {
            let user = self.make::<UserSpec>(json!({ "name": name, "roles": ["dba"] })).await;
            let ip = format!("10.77.0.{number}");
            let device = json!({ "name": "laptop", "user": name, "router": "r1", "public_key": key(number), "client_ip": ip });
            self.make::<DeviceSpec>(device).await;
            let actor =
                Actor { user: Some(user), name: name.to_owned(), right: Right::User, ..self.root.clone() };
            *(if name == "alice" { &mut self.alice } else { &mut self.bob }) = actor;
        }
        self.make::<ConnectorSpec>(json!({ "name": "site-a", "site": "a", "public_key": key(20) })).await;
        let mapping = json!({ "name": "db", "connector": "site-a", "device": "192.168.7.10", "port": 22, "proto": "tcp" });
        self.make::<MappingSpec>(mapping).await;
        let nat = json!({ "addr": "site-a/192.168.7.10" });
        let selector = json!({ "ip": "10.20.0.5", "proto": "tcp", "port": 22 });
        self.target("db", json!({ "dst": [{ "selector": selector, "nat": nat }] })).await;
        self.target("lan", json!({ "dst": [{ "selector": { "ip": "10.30.0.0/24" } }] })).await;
        self.target(
            "alone",
            json!({ "dst": [{ "selector": { "ip": "10.40.0.1" } }], "exclusive_access": true }),
        )
        .await;
    }

    async fn target(&self, name: &str, mut document: Value) -> Uuid {
        document["name"] = json!(name);
        if document.get("roles").is_none() {
            document["roles"] = json!(["dba"]);
        }
        self.make::<TargetSpec>(document).await
    }

    async fn make<D: Managed + std::fmt::Debug>(&self, document: Value) -> Uuid {
        self.engine.create::<D>(now(), &self.root, spec(document)).await.unwrap().id
    }

    async fn edit<D: Managed + std::fmt::Debug>(&self, at: Timestamp, name: &str, edit: impl FnOnce(&mut D)) {
        let mut object = self.engine.get::<D>(&self.root, name).await.unwrap();
        edit(&mut object.spec);
        self.engine.replace(at, &self.root, name, object.version, object.spec).await.unwrap();
    }

    async fn open(&self, who: &Actor, target: &str) -> Result<SessionView, Fault> {
        self.engine.open_session(now(), who, &asking(target)).await
    }

    async fn state(&self, view: &SessionView) -> (SessionState, Option<String>) {
        let view = self.engine.session(&self.root, view.id).await.unwrap();
        (view.state, view.ending)
    }

    /// What the router is to enforce now.
    async fn granted(&self) -> Vec<Uuid> {
        let router = self.engine.live().ready[0];
        let desired = self.desired(Uuid::from_u128(router.0)).await;
        desired.grants.iter().map(|named| Uuid::from_u128(named.grant.session.0)).collect()
    }

    /// What an agent is to have.
    async fn desired(&self, agent: Uuid) -> Desired {
        let plan = self.engine.plan().await.unwrap();
        plan.agents.into_iter().find(|(identity, _)| identity.id == agent).unwrap().1
    }

    async fn confirm(&self, view: &SessionView, in_force: bool) {
        let router = self.engine.live().ready[0];
        self.engine.confirm(now(), router, &[(view.id, in_force)]).await.unwrap();
    }

    async fn actions(&self) -> Vec<String> {
        let mut tx = self.engine.store().read().await.unwrap();
        assert!(matches!(tx.verify_audit().await.unwrap(), Verified::Whole { .. }));
        let entries = tx.audit(&AuditFilter::default(), None, 1000).await.unwrap();
        entries.into_iter().rev().map(|entry| entry.link.action).collect()
    }
}

fn asking(target: &str) -> OpenSession {
    spec(json!({ "target": target }))
}

fn code(refused: Result<SessionView, Fault>) -> &'static str {
    match refused {
        Err(Fault::Refused(refused)) => refused.code(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_is_opened_pushed_confirmed_closed_and_gone_each_step_in_the_audit() {
    let world = World::sqlite().await;
    let session = world.open(&world.alice, "db").await.unwrap();
    assert_eq!((session.state, session.roles.as_slice()), (SessionState::Pending, &["dba".to_owned()][..]));
    assert_eq!(world.granted().await, [session.id]);
    world.confirm(&session, true).await;
    assert_eq!(world.state(&session).await.0, SessionState::Active);
    let ended = world.engine.end_session(later(60), &world.alice, session.id, None).await.unwrap();
    assert_eq!((ended.state, ended.ending.as_deref()), (SessionState::Closing, Some("user-closed")));
    assert!(world.granted().await.is_empty());
    world.confirm(&session, false).await;
    assert_eq!(world.state(&session).await.0, SessionState::Closed);
    let actions = world.actions().await;
    let of_session = &actions[actions.len() - 4..];
    assert_eq!(of_session, ["session-opened", "session-activated", "session-ending", "session-closed"]);
}

#[tokio::test]
async fn a_grant_says_key_address_mapping_and_connector() {
    let world = World::sqlite().await;
    world.open(&world.alice, "db").await.unwrap();
    let router = Uuid::from_u128(world.engine.live().ready[0].0);
    let desired = world.desired(router).await;
    let [named] = desired.grants.as_slice() else { panic!("{desired:?}") };
    assert_eq!((named.user.as_str(), named.target.as_str()), ("alice", "db"));
    let grant = &named.grant;
    assert_eq!(grant.source.to_string(), "10.77.0.2");
    let destination = grant.destinations[0];
    let connector = world.engine.get::<ConnectorSpec>(&world.root, "site-a").await.unwrap();
    assert_eq!(destination.via, Via::Connector(router_core::access::ConnectorId(connector.id.as_u128())));
    let dnat = destination.dnat.unwrap();
    assert_eq!(dnat.addr.start(), connector.spec.addresses[0]);
    assert_eq!(dnat.ports.unwrap().start(), 40000);
    assert_eq!(desired.peers.len(), 3, "two devices and a connector");
    let desired = world.desired(connector.id).await;
    assert_eq!(desired.mappings[0].device, SocketAddr::from(([192, 168, 7, 10], 22)));
    assert_eq!((desired.mappings.len(), desired.peers.len()), (1, 1));
}

#[tokio::test]
async fn every_refusal_is_told_to_the_user_and_written_down() {
    let world = World::sqlite().await;
    let refused = |request: Value| {
        let (engine, alice) = (&world.engine, &world.alice);
        async move { code(engine.open_session(now(), alice, &spec(request)).await) }
    };
    world.target("off", json!({ "dst": [{ "selector": { "ip": "10.50.0.1" } }], "disabled": true })).await;
    world.target("devs", json!({ "dst": [{ "selector": { "ip": "10.51.0.1" } }], "roles": ["dev"] })).await;
    world
        .target("why", json!({ "dst": [{ "selector": { "ip": "10.52.0.1" } }], "require_reason": true }))
        .await;
    world.target("v6", json!({ "dst": [{ "selector": { "ip": "fd00::1" } }] })).await;
    for (request, code) in [
        (json!({ "target": "db", "client_ip": "10.99.9.9" }), "client-ip-not-served"),
        (json!({ "target": "db", "client_ip": "10.77.0.3" }), "client-ip-not-yours"),
        (json!({ "target": "db", "client_ip": "10.77.0.99" }), "client-ip-not-yours"),
        (json!({ "target": "nothing" }), "target-unknown"),
        (json!({ "target": "off" }), "target-disabled"),
        // It exists, but not for her.
        (json!({ "target": "devs" }), "target-unknown"),
        (json!({ "target": "why" }), "reason-required"),
        (json!({ "target": "v6" }), "target-of-other-version"),
    ] {
        assert_eq!(refused(request.clone()).await, code, "{request}");
    }
    assert_eq!(world.actions().await.iter().filter(|action| *action == "request-refused").count(), 8);
    let why = json!({ "target": "why", "reason": "INC-42", "device": "laptop", "duration": "1h" });
    let session = world.engine.open_session(now(), &world.alice, &spec(why)).await.unwrap();
    assert_eq!((session.reason.as_deref(), session.expires), (Some("INC-42"), Some(later(3600))));
    for (request, pointer) in [
        (json!({ "target": "a/b" }), "/target"),
        (json!({ "target": "db", "device": "phone" }), "/device"),
        (json!({ "target": "db", "duration": 0 }), "/duration"),
        (json!({ "target": "db", "reason": "\u{7}" }), "/reason"),
    ] {
        let fault = world.engine.open_session(now(), &world.alice, &spec(request)).await.unwrap_err();
        let Fault::Invalid(problems) = fault else { panic!("{fault:?}") };
        assert_eq!(problems[0].pointer, pointer);
    }
    world.engine.set_ready(Vec::new());
    assert_eq!(refused(json!({ "target": "lan" })).await, "no-router-ready");
}

#[tokio::test]
async fn overlap_and_exclusivity_look_at_the_sessions_of_others() {
    let world = World::sqlite().await;
    let first = world.open(&world.alice, "alone").await.unwrap();
    assert_eq!(code(world.open(&world.bob, "alone").await), "others-present");
    world.target("wide", json!({ "dst": [{ "selector": { "ip": "10.40.0.0/16" } }] })).await;
    assert_eq!(code(world.open(&world.bob, "wide").await), "target-in-exclusive-use");
    assert_eq!(code(world.open(&world.alice, "wide").await), "overlaps");
    // Closing is not closed: packets of it may still pass.
    world.engine.end_session(now(), &world.alice, first.id, None).await.unwrap();
    assert_eq!(code(world.open(&world.bob, "alone").await), "others-present");
    world.confirm(&first, false).await;
    world.open(&world.bob, "alone").await.unwrap();
}

async fn of_64_who_ask_for_an_exclusive_target_one_gets_it(store: Store) {
    let world = World::over(store).await;
    let mut asking_at_once = Vec::new();
    for number in 0..64_u8 {
        let name = format!("user{number}");
        let user = world.make::<UserSpec>(json!({ "name": name, "roles": ["dba"] })).await;
        let device = json!({ "name": "x", "user": name, "router": "r1", "public_key": key(100 + number), "client_ip": format!("10.77.0.{}", 100 + number) });
        world.make::<DeviceSpec>(device).await;
        let (engine, actor) = (world.engine.clone(), Actor { user: Some(user), name, ..world.alice.clone() });
        asking_at_once
            .push(tokio::spawn(async move { engine.open_session(now(), &actor, &asking("alone")).await }));
    }
    let (mut got, mut refused) = (0, 0);
    for one in asking_at_once {
        match one.await.unwrap() {
            Ok(_) => got += 1,
            Err(Fault::Refused(Refused::OthersPresent { .. })) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((got, refused), (1, 63));
    let actions = world.actions().await;
    let count = |what: &str| actions.iter().filter(|action| *action == what).count();
    assert_eq!((count("session-opened"), count("request-refused")), (1, 63));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_who_ask_at_once_one_gets_it_on_sqlite() {
    let (_files, store) = sqlite_store().await;
    of_64_who_ask_for_an_exclusive_target_one_gets_it(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_who_ask_at_once_one_gets_it_on_postgres() {
    if let Some(store) = postgres_store().await {
        of_64_who_ask_for_an_exclusive_target_one_gets_it(store).await;
    }
}

#[tokio::test]
async fn what_takes_a_right_ends_the_sessions_that_had_it_at_once() {
    type Edit = fn(&World) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;
    let cases: [(Edit, &str); 6] = [
        (|w| Box::pin(w.edit::<UserSpec>(now(), "alice", |user| user.roles.clear())), "role-lost"),
        (|w| Box::pin(w.edit::<UserSpec>(now(), "alice", |user| user.disabled = true)), "user-disabled"),
        (|w| Box::pin(w.edit::<TargetSpec>(now(), "db", |target| target.disabled = true)), "target-disabled"),
        (|w| Box::pin(w.edit::<TargetSpec>(now(), "db", |target| target.src_nat = true)), "target-edited"),
        (
            |w| Box::pin(w.edit::<DeviceSpec>(now(), "alice/laptop", |device| device.public_key = key(77))),
            "device-removed",
        ),
        (
            |w| {
                Box::pin(async {
                    drop(w.engine.delete::<DeviceSpec>(now(), &w.root, "alice/laptop", None).await.unwrap())
                })
            },
            "device-removed",
        ),
    ];
    for (edit, ending) in cases {
        let world = World::sqlite().await;
        let session = world.open(&world.alice, "db").await.unwrap();
        let other = world.open(&world.bob, "lan").await.unwrap();
        world.confirm(&session, true).await;
        edit(&world).await;
        assert_eq!(world.state(&session).await, (SessionState::Closing, Some(ending.to_owned())));
        assert_eq!(world.granted().await, [other.id], "{ending}");
    }
}

#[tokio::test]
async fn a_session_ends_when_the_mapping_it_leads_through_is_removed() {
    let world = World::sqlite().await;
    let session = world.open(&world.alice, "db").await.unwrap();
    let other = world.open(&world.bob, "lan").await.unwrap();
    world.engine.delete::<MappingSpec>(now(), &world.root, "db", None).await.unwrap();
    assert_eq!(world.state(&session).await, (SessionState::Closing, Some("target-edited".to_owned())));
    assert_eq!(world.granted().await, [other.id]);
}

#[tokio::test]
async fn a_router_that_has_a_session_while_it_is_being_ended_is_still_waited_for() {
    let world = World::sqlite().await;
    let session = world.open(&world.alice, "db").await.unwrap();
    let router = world.engine.live().ready[0];
    world.engine.end_session(now(), &world.alice, session.id, None).await.unwrap();
    // Said before it heard of the end.
    let settled = world.engine.confirm(now(), router, &[(session.id, true)]).await.unwrap();
    assert_eq!((settled, world.state(&session).await.0), (vec![], SessionState::Closing));
    let settled = world.engine.confirm(now(), router, &[(session.id, false)]).await.unwrap();
    assert_eq!((settled, world.state(&session).await.0), (vec![session.id], SessionState::Closed));
}

#[tokio::test]
async fn embedded_routers_are_made_by_servers_alone() {
    let world = World::sqlite().await;
    let admin = Actor { user: Some(Uuid::from_u128(1)), ..world.root.clone() };
    let router = json!({ "name": "r2", "kind": "embedded", "client_ip_pool": ["10.78.0.0/24"] });
    let refused = world.engine.create::<RouterSpec>(now(), &admin, spec(router.clone())).await;
    let Err(Fault::Invalid(problems)) = refused else { panic!("{refused:?}") };
    assert_eq!(problems[0].pointer, "/kind");
    world.make::<RouterSpec>(router).await;
    // Its other fields are anybody's who may change routers.
    let mut found = world.engine.get::<RouterSpec>(&admin, "r2").await.unwrap();
    found.spec.comment = "upstairs".to_owned();
    let changed = world.engine.replace(now(), &admin, "r2", found.version, found.spec.clone()).await.unwrap();
    found.spec.kind = sluice_api::RouterKind::Sluice;
    let refused = world.engine.replace(now(), &admin, "r2", changed.version, found.spec).await;
    assert!(matches!(refused, Err(Fault::Invalid(_))), "{refused:?}");
}

#[tokio::test]
async fn what_a_router_counted_is_added_once_whoever_hears_it_again() {
    let world = World::sqlite().await;
    let session = world.open(&world.alice, "db").await.unwrap();
    let router = world.engine.live().ready[0];
    let carried = |bytes: u64| Carried {
        flows: 0,
        session: session.id,
        packets: [1, 1],
        bytes: [bytes, bytes],
        idle: Some(Duration::ZERO),
    };
    // The second engine is the server after a restart, or another one.
    let other = Engine::new(now(), world.engine.store().clone(), Policy::default());
    for (engine, bytes, sum) in [
        (&world.engine, 100, 100),
        (&world.engine, 100, 100),
        (&other, 100, 100),
        (&other, 150, 150),
        // The router has begun anew.
        (&world.engine, 20, 170),
    ] {
        engine.count(now(), router, &[carried(bytes)]).await.unwrap();
        let view = world.engine.session(&world.root, session.id).await.unwrap();
        assert_eq!(view.traffic.bytes_in, sum);
    }
}

#[tokio::test]
async fn every_session_is_looked_at_within_a_round_although_nothing_has_changed() {
    let world = World::sqlite().await;
    let first = world.open(&world.alice, "db").await.unwrap();
    let second = world.open(&world.bob, "lan").await.unwrap();
    // Changed behind the engine's back.
    let mut tx = world.engine.store().write().await.unwrap();
    let sql = "UPDATE object SET body = REPLACE(body, '\"disabled\":false', '\"disabled\":true') WHERE kind = 'user'";
    let changed = tx.execute(sql, crate::store::sql::values![]).await.unwrap();
    assert!(changed >= 2);
    tx.commit().await.unwrap();
    for second in 0..12 {
        world.engine.tick(later(second)).await.unwrap();
    }
    for session in [first, second] {
        assert_eq!(world.state(&session).await.1.as_deref(), Some("user-disabled"));
    }
}

#[tokio::test]
async fn an_edit_that_changes_only_words_ends_nothing() {
    let world = World::sqlite().await;
    let session = world.open(&world.alice, "db").await.unwrap();
    world.edit::<TargetSpec>(now(), "db", |target| target.comment = "the big one".to_owned()).await;
    assert_eq!(world.state(&session).await.0, SessionState::Pending);
}

#[tokio::test]
async fn time_ends_sessions_and_so_does_silence() {
    let world = World::sqlite().await;
    let hour = json!({ "target": "lan", "duration": "1h" });
    let session = world.engine.open_session(now(), &world.alice, &spec(hour)).await.unwrap();
    let silent = world.open(&world.bob, "db").await.unwrap();
    world.engine.heard("10.77.0.2".parse().unwrap(), later(3500));
    world.engine.heard("10.77.0.3".parse().unwrap(), later(100));
    world.engine.tick(later(279)).await.unwrap();
    assert_eq!(world.state(&silent).await.0, SessionState::Pending);
    world.engine.tick(later(280)).await.unwrap();
    assert_eq!(world.state(&silent).await.1.as_deref(), Some("connectivity-lost"));
    world.engine.tick(later(3599)).await.unwrap();
    assert_eq!(world.state(&session).await.0, SessionState::Pending);
    world.engine.tick(later(3600)).await.unwrap();
    assert_eq!(world.state(&session).await.1.as_deref(), Some("expired"));
}

#[tokio::test]
async fn a_session_gets_more_time_within_what_the_target_allows() {
    let world = World::sqlite().await;
    world
        .target("two", json!({ "dst": [{ "selector": { "ip": "10.60.0.1" } }], "max_duration": "2h" }))
        .await;
    let hour = json!({ "target": "two", "duration": "1h" });
    let session = world.engine.open_session(now(), &world.alice, &spec(hour)).await.unwrap();
    let longer =
        world.engine.extend_session(later(1800), &world.alice, session.id, Seconds(9 * 3600)).await.unwrap();
    assert_eq!(longer.expires, Some(later(7200)));
    let again = world.engine.extend_session(later(1801), &world.alice, session.id, Seconds(3600)).await;
    assert_eq!(code(again), "nothing-to-extend");
    let others = world.engine.extend_session(later(1801), &world.bob, session.id, Seconds(60)).await;
    assert!(matches!(others, Err(Fault::UnknownSession(_))), "{others:?}");
}

#[tokio::test]
async fn an_administrator_ends_one_or_all_and_a_user_only_their_own() {
    let world = World::sqlite().await;
    let admin = Actor { user: Some(Uuid::from_u128(7)), name: "root".to_owned(), ..world.root.clone() };
    let first = world.open(&world.alice, "db").await.unwrap();
    let second = world.open(&world.bob, "lan").await.unwrap();
    let others = world.engine.end_session(now(), &world.bob, first.id, None).await;
    assert!(matches!(others, Err(Fault::UnknownSession(_))), "{others:?}");
    let all = world.engine.end_sessions(now(), &world.bob, &spec(json!({ "user": "alice" }))).await.unwrap();
    assert!(all.is_empty());
    let nobody = world.engine.end_sessions(now(), &admin, &EndSessions::default()).await;
    assert!(matches!(nobody, Err(Fault::Invalid(_))), "{nobody:?}");
    let through = spec(json!({ "connector": "site-a", "reason": "maintenance" }));
    let ended = world.engine.end_sessions(now(), &admin, &through).await.unwrap();
    assert_eq!(ended.iter().map(|view| view.id).collect::<Vec<_>>(), [first.id]);
    assert_eq!(ended[0].ending.as_deref(), Some("admin-terminated-connector"));
    let ended = world.engine.end_session(now(), &admin, second.id, Some("out of hours")).await.unwrap();
    assert_eq!(ended.ending.as_deref(), Some("admin-terminated"));
    assert!(world.granted().await.is_empty());
    let mut tx = world.engine.store().read().await.unwrap();
    let newest = tx.audit(&AuditFilter::default(), None, 1).await.unwrap().remove(0);
    assert_eq!((newest.link.number, newest.link.reason.as_deref()), (900, Some("out of hours")));
}

#[tokio::test]
async fn virtual_ports_start_at_40000_and_rest_after_use() {
    let world = World::sqlite().await;
    let mapping = |name: &str, port: u16| json!({ "name": name, "connector": "site-a", "device": "192.168.7.11", "port": port, "proto": "tcp" });
    let port = |object: &sluice_api::Object<MappingSpec>| object.spec.virtual_port;
    let web = world.engine.create::<MappingSpec>(now(), &world.root, spec(mapping("web", 80))).await.unwrap();
    assert_eq!(port(&web), Some(40001));
    world.engine.delete::<MappingSpec>(now(), &world.root, "web", None).await.unwrap();
    let next =
        world.engine.create::<MappingSpec>(later(1), &world.root, spec(mapping("b", 81))).await.unwrap();
    assert_eq!(port(&next), Some(40002));
    let rested = later(24 * 3600);
    let again =
        world.engine.create::<MappingSpec>(rested, &world.root, spec(mapping("c", 82))).await.unwrap();
    assert_eq!(port(&again), Some(40001));
    let mut taken = mapping("d", 83);
    taken["virtual_port"] = json!(40000);
    let taken = world.engine.create::<MappingSpec>(now(), &world.root, spec(taken)).await.unwrap_err();
    assert!(
        matches!(&taken, Fault::Invalid(problems) if problems[0].pointer == "/virtual_port"),
        "{taken:?}"
    );
}

#[tokio::test]
async fn documents_are_checked_against_what_else_there_is() {
    let world = World::sqlite().await;
    async fn faults<D: Managed + std::fmt::Debug>(world: &World, document: Value) -> String {
        let refused = world.engine.create::<D>(now(), &world.root, spec(document)).await;
        match refused.expect_err("it is wrong") {
            Fault::Invalid(problems) => {
                let told = problems.iter().map(|problem| format!("{}: {}", problem.pointer, problem.detail));
                told.collect::<Vec<_>>().join("; ")
            }
            other @ (Fault::Object(_) | Fault::Forbidden(_)) => other.to_string(),
            other @ (Fault::Unknown { .. }
            | Fault::UnknownSession(_)
            | Fault::UnknownApproval(_)
            | Fault::Refused(_)
            | Fault::Conflict(_)
            | Fault::Store(_)
            | Fault::Unstored { .. }) => panic!("{other:?}"),
        }
    }
    let device = |ip: &str| json!({ "name": "pad", "user": "alice", "router": "r1", "public_key": key(50), "client_ip": ip });
    for (found, expected) in [
        (
            faults::<DeviceSpec>(&world, device("10.78.0.1")).await,
            "/client_ip: 10.78.0.1 is not in the client IP pool",
        ),
        (
            faults::<DeviceSpec>(&world, device("10.77.0.3")).await,
            "the address 10.77.0.3 belongs to device \"bob/laptop\"",
        ),
        (
            faults::<RouterSpec>(
                &world,
                json!({ "name": "r2", "kind": "sluice", "client_ip_pool": ["10.77.0.0/25"] }),
            )
            .await,
            "/client_ip_pool: router \"r1\"",
        ),
        (
            faults::<TargetSpec>(
                &world,
                json!({ "name": "x", "roles": ["nobody"], "dst": [{ "selector": { "ip": "10.0.0.1" } }] }),
            )
            .await,
            "/roles/0: there is no role \"nobody\"",
        ),
        (
            faults::<TargetSpec>(
                &world,
                json!({ "name": "x", "dst": [{ "selector": { "ip": "169.254.169.254" } }] }),
            )
            .await,
            "/dst/0/selector/ip: ",
        ),
        (
            faults::<TargetSpec>(
                &world,
                json!({ "name": "db", "dst": [{ "selector": { "ip": "10.0.0.1" } }] }),
            )
            .await,
            "there is a target named \"db\" already",
        ),
        (
            faults::<UserSpec>(&world, json!({ "name": "alice" })).await,
            "there is a user named \"alice\" already",
        ),
    ] {
        assert!(found.contains(expected), "{found}\n  lacks {expected}");
    }
    let used = world.engine.delete::<RoleSpec>(now(), &world.root, "dba", None).await.unwrap_err();
    assert!(used.to_string().contains("in use by"), "{used}");
}

#[tokio::test]
async fn tenants_see_and_change_only_what_is_theirs() {
    let world = World::sqlite().await;
    let acme = world.make::<TenantSpec>(json!({ "name": "acme" })).await;
    world.make::<TenantSpec>(json!({ "name": "other" })).await;
    let admin = Actor {
        user: Some(Uuid::from_u128(8)),
        name: "tina".to_owned(),
        tenant: Some(acme),
        right: Right::TenantAdmin,
        source: None,
    };
    let engine = &world.engine;
    // One of the same name as the installation's: it is another.
    let target = json!({ "name": "db", "dst": [{ "selector": { "ip": "10.20.0.5" } }] });
    let made = engine.create::<TargetSpec>(now(), &admin, spec(target)).await.unwrap();
    assert_eq!(made.spec.tenant.as_deref(), Some("acme"));
    assert_eq!(engine.get::<TargetSpec>(&admin, "db").await.unwrap().id, made.id);
    let seen = engine.list::<TargetSpec>(&admin, Default::default(), None, 10).await.unwrap();
    assert_eq!(seen.items.len(), 1);
    assert!(matches!(engine.get::<TargetSpec>(&admin, "lan").await, Err(Fault::Unknown { .. })));
    let foreign = json!({ "name": "x", "tenant": "other", "dst": [{ "selector": { "ip": "10.0.0.1" } }] });
    assert!(matches!(
        engine.create::<TargetSpec>(now(), &admin, spec(foreign)).await,
        Err(Fault::Invalid(_))
    ));
    let above = json!({ "name": "eve", "right": "admin" });
    assert!(matches!(engine.create::<UserSpec>(now(), &admin, spec(above)).await, Err(Fault::Forbidden(_))));
    let router = json!({ "name": "r9", "kind": "sluice", "client_ip_pool": ["10.79.0.0/24"] });
    assert!(matches!(
        engine.create::<RouterSpec>(now(), &admin, spec(router)).await,
        Err(Fault::Forbidden(_))
    ));
    let theirs = engine.delete::<TargetSpec>(now(), &admin, "lan", None).await;
    assert!(matches!(theirs, Err(Fault::Unknown { .. })), "{theirs:?}");
    world.open(&world.alice, "lan").await.unwrap();
    assert!(engine.sessions(&admin, SessionFilter::default(), None, 10).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn lists_go_on_where_the_page_before_ended() {
    let world = World::sqlite().await;
    let mut names = Vec::new();
    let mut cursor = None;
    loop {
        let page = world
            .engine
            .list::<TargetSpec>(&world.root, Default::default(), cursor.as_deref(), 2)
            .await
            .unwrap();
        names.extend(page.items.into_iter().map(|object| object.spec.name));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(names, ["alone", "db", "lan"]);
    world.open(&world.alice, "lan").await.unwrap();
    world.open(&world.bob, "lan").await.unwrap();
    let page = world.engine.sessions(&world.root, SessionFilter::default(), None, 1).await.unwrap();
    let rest =
        world.engine.sessions(&world.root, SessionFilter::default(), page.next.as_deref(), 1).await.unwrap();
    assert!(rest.next.is_none() && rest.items[0].id != page.items[0].id);
    let own = world.engine.sessions(&world.alice, SessionFilter::default(), None, 9).await.unwrap();
    assert_eq!(own.items.len(), 1);
    let bad = world.engine.sessions(&world.root, SessionFilter::default(), Some("x"), 1).await;
    assert!(matches!(bad, Err(Fault::Invalid(_))));
}

#[tokio::test]
async fn a_connector_of_the_same_site_stands_in_for_one_that_is_not_healthy() {
    let world = World::sqlite().await;
    world.make::<ConnectorSpec>(json!({ "name": "site-a2", "site": "a", "public_key": key(21) })).await;
    let mapping = json!({ "name": "db2", "connector": "site-a2", "device": "192.168.7.10", "port": 22, "proto": "tcp" });
    world.make::<MappingSpec>(mapping).await;
    let session = world.open(&world.alice, "db").await.unwrap();
    let via = async |world: &World| {
        let planned = world.engine.plan_sessions(&[session.id]).await.unwrap().remove(0);
        planned.grant.unwrap().1.grant.destinations[0].via
    };
    let id = async |name: &str| world.engine.get::<ConnectorSpec>(&world.root, name).await.unwrap().id;
    let (first, second) = (id("site-a").await, id("site-a2").await);
    let through = |id: Uuid| Via::Connector(router_core::access::ConnectorId(id.as_u128()));
    assert_eq!(via(&world).await, through(first));
    world.engine.live().unhealthy.push(first);
    assert_eq!(via(&world).await, through(second));
    world.engine.live().unhealthy.push(second);
    assert_eq!(via(&world).await, through(first));
}

#[tokio::test]
async fn users_are_warned_ten_minutes_and_one_minute_before_the_end() {
    let world = World::sqlite().await;
    let hour = json!({ "target": "lan", "duration": "1h" });
    let session = world.engine.open_session(now(), &world.alice, &spec(hour)).await.unwrap();
    world.engine.heard("10.77.0.2".parse().unwrap(), later(3590));
    let mut changes = world.engine.changes();
    for second in [0, 2999, 3000, 3001, 3539, 3541, 3550] {
        world.engine.tick(later(second)).await.unwrap();
    }
    let mut warned = Vec::new();
    while let Ok(change) = changes.try_recv() {
        warned.push(change);
    }
    assert_eq!(warned, [Change::Expiring(session.id, 600), Change::Expiring(session.id, 60)]);
}

#[tokio::test]
async fn a_target_that_needs_approval_opens_when_somebody_else_has_agreed() {
    let world = World::sqlite().await;
    world
        .target("vault", json!({ "dst": [{ "selector": { "ip": "10.61.0.1" } }], "require_approval": true }))
        .await;
    assert_eq!(code(world.open(&world.alice, "vault").await), "approval-needed");
    let unknown = world.engine.ask_approval(now(), &world.alice, "nothing", "INC-1").await;
    assert!(matches!(unknown, Err(Fault::Unknown { .. })), "{unknown:?}");
    let asked = world.engine.ask_approval(now(), &world.alice, "vault", "INC-1").await.unwrap();
    let own = world.engine.decide_approval(now(), &world.alice, asked.id, true, None).await;
    assert!(matches!(own, Err(Fault::Forbidden(_))), "{own:?}");
    assert_eq!(world.engine.approvals(&world.alice, true, 10).await.unwrap(), std::slice::from_ref(&asked));
    assert!(world.engine.approvals(&world.bob, true, 10).await.unwrap().is_empty());
    let admin =
        Actor { user: world.bob.user, name: "bob".to_owned(), right: Right::Admin, ..world.root.clone() };
    let given =
        world.engine.decide_approval(now(), &admin, asked.id, true, Some(Seconds(3600))).await.unwrap();
    assert_eq!((given.approver.as_deref(), given.valid_until), (Some("bob"), Some(later(3600))));
    let again = world.engine.decide_approval(now(), &admin, asked.id, false, None).await;
    assert!(matches!(again, Err(Fault::Conflict(_))), "{again:?}");
    let session = world.open(&world.alice, "vault").await.unwrap();
    assert_eq!(session.expires, Some(later(3600)));
}

#[tokio::test]
async fn a_user_sees_what_they_may_open_and_what_is_in_the_way() {
    let world = World::sqlite().await;
    world.target("devs", json!({ "dst": [{ "selector": { "ip": "10.51.0.1" } }], "roles": ["dev"] })).await;
    world.open(&world.bob, "alone").await.unwrap();
    let open = world.open(&world.alice, "db").await.unwrap();
    let seen = world.engine.access(now(), &world.alice).await.unwrap();
    let seen: Vec<_> = seen
        .iter()
        .map(|target| {
            (
                target.name.as_str(),
                target.blocked.as_ref().map(|blocked| blocked.code.as_str()),
                target.session.as_ref().map(|session| session.id),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [("alone", Some("others-present"), None), ("db", None, Some(open.id)), ("lan", None, None)]
    );
    let outlook = world.engine.outlook(now(), &world.root, Some("alice"), &asking("alone")).await.unwrap();
    let Outlook::Refused(refused) = outlook else { panic!("{outlook:?}") };
    assert_eq!(refused[0].code(), "others-present");
    let outlook = world.engine.outlook(now(), &world.alice, None, &asking("devs")).await.unwrap();
    assert!(
        matches!(&outlook, Outlook::Refused(refused) if refused[0].code() == "target-unknown"),
        "{outlook:?}"
    );
    let outlook = world.engine.outlook(now(), &world.alice, None, &asking("lan")).await.unwrap();
    assert_eq!(outlook, Outlook::Granted(None));
}

fn passed(session: &SessionView, port: u16, idle_secs: u64) -> Passed {
    Passed {
        session: session.id,
        protocol: 6,
        client: SocketAddr::new(session.client_ip, port),
        destination: "10.20.0.5:22".parse().unwrap(),
        reached: "10.99.0.1:40000".parse().unwrap(),
        bytes: [100, 2000],
        idle: Duration::from_secs(idle_secs),
    }
}

#[tokio::test]
async fn flows_are_kept_a_while_and_shown_to_those_who_see_their_sessions() {
    let world = World::sqlite().await;
    let (router, other) = (world.engine.live().ready[0], RouterId(7));
    let session = world.open(&world.alice, "db").await.unwrap();
    let told = [passed(&session, 5000, 60), passed(&session, 5001, 1)];
    world.engine.passed(now(), router, &told).await.unwrap();
    // Of a session that is not known, and by a router that has nothing to do with it: let be.
    let unknown = Passed { session: Uuid::nil(), ..told[0] };
    world.engine.passed(now(), router, &[unknown]).await.unwrap();
    world.engine.passed(now(), other, &told).await.unwrap();

    let list = async |actor: &Actor, query: FlowQuery, cursor: Option<&str>, limit| {
        world.engine.flows(actor, query, cursor, limit).await.unwrap()
    };
    let first = list(&world.alice, FlowQuery::default(), None, 1).await;
    assert_eq!((first.items[0].client.port(), first.items[0].bytes_in), (5001, 2000));
    assert_eq!(
        (&*first.items[0].user, &*first.items[0].target, &*first.items[0].router),
        ("alice", "db", "r1")
    );
    let second = list(&world.alice, FlowQuery::default(), first.next.as_deref(), 10).await;
    assert_eq!((second.items.len(), second.items[0].client.port(), second.next), (1, 5000, None));
    assert_eq!(list(&world.bob, FlowQuery::default(), None, 10).await.items, []);
    let count = async |query| list(&world.root, query, None, 10).await.items.len();
    assert_eq!(count(FlowQuery { session: Some(session.id), ..FlowQuery::default() }).await, 2);
    assert_eq!(count(FlowQuery { user: world.bob.user, ..FlowQuery::default() }).await, 0);
    assert_eq!(count(FlowQuery { since: Some(later(-30)), ..FlowQuery::default() }).await, 1);
    assert_eq!(count(FlowQuery { until: Some(later(-30)), ..FlowQuery::default() }).await, 1);
    let used = world.engine.last_used(&["10.99.0.1".parse().unwrap()], 40000).await.unwrap();
    assert_eq!(used, Some(later(-1)));
    assert_eq!(world.engine.last_used(&["10.99.0.1".parse().unwrap()], 40001).await.unwrap(), None);

    let month = 31 * 86_400;
    world.engine.passed(later(month), router, &[passed(&session, 5002, 0)]).await.unwrap();
    assert_eq!(count(FlowQuery::default()).await, 1, "older ones are forgotten");
}

#[tokio::test]
async fn of_flows_only_so_many_are_kept() {
    let (_files, store) = sqlite_store().await;
    let policy = Policy { flows_max: 3, ..Policy::default() };
    let engine = Engine::new(now(), store, policy);
    let root = Actor { name: "root".to_owned(), ..Actor::system() };
    let mut world = World { engine, alice: root.clone(), bob: root.clone(), root, _files: None };
    world.fill().await;
    let session = world.open(&world.alice, "lan").await.unwrap();
    let told: Vec<_> = (5000..5010).map(|port| passed(&session, port, 0)).collect();
    let router = world.engine.live().ready[0];
    world.engine.passed(now(), router, &told).await.unwrap();
    let kept = world.engine.flows(&world.root, FlowQuery::default(), None, 100).await.unwrap();
    let ports: Vec<_> = kept.items.iter().map(|flow| flow.client.port()).collect();
    assert_eq!(ports, [5009, 5008, 5007]);
}

#[tokio::test]
async fn p26_what_is_refused_is_counted_to_the_packet_and_written_down_once_a_minute() {
    let world = World::sqlite().await;
    let router = world.engine.live().ready[0];
    let refused = |client: Option<&str>, packets| RefusedPackets {
        client: client.map(|client| client.parse().unwrap()),
        packets,
        reason: "not_allowed".to_owned(),
        protocol: 6,
        source: "10.77.0.2:5000".parse().unwrap(),
        destination: "10.66.0.1:22".parse().unwrap(),
    };
    let events = async || {
        let mut tx = world.engine.store().read().await.unwrap();
        let entries = tx.audit(&AuditFilter::default(), None, 1000).await.unwrap();
        let of_it = entries.into_iter().rev().filter(|entry| entry.link.action == "packets-refused");
        let told = of_it.map(|entry| (entry.link.actor, entry.link.details["packets"].as_u64().unwrap()));
        told.collect::<Vec<_>>()
    };
    world.engine.refused(router, vec![refused(Some("10.77.0.2"), 5), refused(Some("10.77.0.3"), 1)]);
    world.engine.write_refusals(now()).await.unwrap();
    let mut first = events().await;
    first.sort();
    assert_eq!(first, [("alice".to_owned(), 5), ("bob".to_owned(), 1)]);
    for second in [1, 30, 59] {
        world.engine.refused(router, vec![refused(Some("10.77.0.2"), 7)]);
        world.engine.write_refusals(later(second)).await.unwrap();
    }
    assert_eq!(events().await.len(), 2, "not yet");
    world.engine.write_refusals(later(60)).await.unwrap();
    assert_eq!(events().await[2], ("alice".to_owned(), 21));
    world.engine.write_refusals(later(200)).await.unwrap();
    assert_eq!(events().await.len(), 3);
    assert!(world.engine.live().refused.is_empty(), "sides that are silent are forgotten");
}
