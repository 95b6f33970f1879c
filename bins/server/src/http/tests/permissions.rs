//! Who may do what (P18): each route tried by each right, in and out of tenants, with each scope.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;

use http::StatusCode;
use serde_json::json;
use uuid::Uuid;

use super::{World, call, with_body};
use crate::http::routes;

const WHO: [&str; 6] = ["alice", "t1-user", "audrey", "t1-audrey", "t1-admin", "root"];
/// For everything; then each scope alone.
const SCOPES: [(&str, &[&str]); 5] =
    [("*", &[]), ("r", &["read"]), ("s", &["sessions"]), ("o", &["objects"]), ("a", &["audit"])];

/// The kept file is the expectation, one line for each route, and what is not in it is denied. A change shows in review;
/// `SLUICE_BLESS=1` writes the new one.
#[tokio::test]
async fn p18_each_right_tenant_and_scope_gets_what_is_written_down_and_no_more() {
    let world = World::new().await;
    let mut table = String::new();
    writeln!(
        table,
        "# *: any credential of theirs; r, s, o, a: a token for read, sessions, objects, audit alone."
    )
    .unwrap();
    writeln!(table, "{:<45}{}", "#", WHO.map(|who| format!("{who:<11}")).concat().trim_end()).unwrap();
    for route in routes::all() {
        let name = format!("{:<7}{}", route.method.as_str(), route.path);
        if route.action.is_none() {
            writeln!(table, "{name:<45}everybody").unwrap();
            continue;
        }
        let mut line = format!("{name:<45}");
        for (index, who) in WHO.iter().enumerate() {
            let mut allowed = String::new();
            for (letter, scopes) in SCOPES {
                let token = world.token(who, scopes).await;
                let path = route.path.replace("{id}", &Uuid::nil().to_string());
                // One source each, or the limit of requests would answer.
                let source = Ipv4Addr::new(198, 51, 100, index as u8);
                let request = call(route.method.as_str(), &path).token(&token).from(source.into());
                let answer = world.begin(with_body(request, &route.method, &json!({}))).await;
                match answer.status() {
                    StatusCode::FORBIDDEN => {}
                    StatusCode::UNAUTHORIZED
                    | StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::INTERNAL_SERVER_ERROR => {
                        panic!("{name} {who}: {}", answer.status())
                    }
                    _ => allowed += letter,
                }
            }
            let allowed = if allowed.is_empty() { "-".to_owned() } else { allowed };
            write!(line, "{allowed:<11}").unwrap();
        }
        writeln!(table, "{}", line.trim_end()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("permissions.txt");
    if std::env::var_os("SLUICE_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == table, "permissions changed: look at them, and keep them with SLUICE_BLESS=1\n{table}");
}

#[tokio::test]
async fn p18_without_a_credential_or_with_a_wrong_one_nothing_is_done() {
    let world = World::new().await;
    for route in routes::all().into_iter().filter(|route| route.action.is_some()) {
        let path = route.path.replace("{id}", &Uuid::nil().to_string());
        let made_up = format!("slu_{}", "A".repeat(43));
        for request in [
            call(route.method.as_str(), &path),
            call(route.method.as_str(), &path).token(&made_up),
            call(route.method.as_str(), &path).token("root"),
            call(route.method.as_str(), &path).cookie(&made_up),
            call(route.method.as_str(), &path).header("authorization", "Basic cm9vdDpyb290"),
        ] {
            let answer = world.send(with_body(request, &route.method, &json!({}))).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (StatusCode::UNAUTHORIZED, "not-authenticated"),
                "{path}"
            );
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
}

/// Each kind of object × whose it is × who asks.
#[tokio::test]
async fn p18_whoever_may_read_a_kind_of_object_reads_those_of_their_tenant_and_of_no_other() {
    let world = World::new().await;
    let root = world.token("root", &[]).await;
    for tenant in ["t1", "t2"] {
        let dst = json!([{ "selector": { "ip": "10.20.0.5" } }]);
        for (kind, document) in [
            ("roles", json!({ "name": "r", "tenant": tenant })),
            ("connectors", json!({ "name": "c", "tenant": tenant, "site": "s", "dial": "connector" })),
            ("targets", json!({ "name": "t", "tenant": tenant, "roles": ["r"], "dst": dst })),
        ] {
            let made = call("POST", &format!("/api/v1/{kind}")).token(&root).json(&document);
            let made = world.send(made).await;
            assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        }
    }
    let mut asked = 0;
    for kind in ["roles", "users", "connectors", "targets"] {
        let all = world.send(call("GET", &format!("/api/v1/{kind}?limit=100")).token(&root)).await.json();
        for object in all["items"].as_array().unwrap() {
            let path = format!("/api/v1/{kind}/{}", object["id"].as_str().unwrap());
            for (who, tenant) in [
                ("alice", None),
                ("t1-user", Some("t1")),
                ("audrey", None),
                ("t1-audrey", Some("t1")),
                ("t1-admin", Some("t1")),
                ("root", None),
            ] {
                let token = world.token(who, &[]).await;
                let answer = world.send(call("GET", &path).token(&token)).await;
                let is_theirs = tenant.is_none() || object["tenant"].as_str() == tenant;
                let expected = match (who, is_theirs) {
                    ("alice" | "t1-user", _) => StatusCode::FORBIDDEN,
                    (_, true) => StatusCode::OK,
                    (_, false) => StatusCode::NOT_FOUND,
                };
                assert_eq!(answer.status, expected, "{who} {path} {object}");
                asked += 1;
            }
        }
    }
    assert!(asked > 80, "{asked}");
}

/// What the table does not list is denied, whoever asks.
#[tokio::test]
async fn p18_a_route_that_is_not_listed_does_nothing() {
    let world = World::new().await;
    let root = world.token("root", &[]).await;
    let routes = routes::all();
    let mut paths: Vec<_> = routes.iter().map(|route| route.path).collect();
    paths.sort_unstable();
    paths.dedup();
    for (number, path) in paths.iter().enumerate() {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LINK"] {
            if routes.iter().any(|route| route.path == *path && route.method.as_str() == method) {
                continue;
            }
            let source = Ipv4Addr::new(198, 51, 101, (number % 250) as u8);
            let asked = path.replace("{id}", &Uuid::nil().to_string());
            let answer = world.send(call(method, &asked).token(&root).from(source.into())).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (StatusCode::METHOD_NOT_ALLOWED, "wrong-method"),
                "{method} {path}"
            );
        }
        // What is one thing more or less than a route is none.
        for asked in [format!("{path}/"), format!("{path}/x/y"), format!("/x{path}"), path.to_uppercase()] {
            let asked = asked.replace("{id}", "x").replace("{ID}", "x");
            let source = Ipv4Addr::new(198, 51, 102, (number % 250) as u8);
            let answer = world.send(call("GET", &asked).token(&root).from(source.into())).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (StatusCode::NOT_FOUND, "unknown-route"),
                "{asked}"
            );
        }
    }
}

/// HEAD is answered where GET is, to the same people.
#[tokio::test]
async fn p18_asking_for_the_head_alone_needs_the_same_right() {
    let world = World::new().await;
    let alice = world.token("alice", &[]).await;
    for route in routes::all().into_iter().filter(|route| route.method == http::Method::GET) {
        let path = route.path.replace("{id}", &Uuid::nil().to_string());
        let get = world.begin(call("GET", &path).token(&alice)).await.status();
        assert_eq!(world.begin(call("HEAD", &path).token(&alice)).await.status(), get, "{path}");
        let expected = if route.action.is_some() { StatusCode::UNAUTHORIZED } else { get };
        assert_eq!(world.begin(call("HEAD", &path)).await.status(), expected, "{path}");
    }
}

#[tokio::test]
async fn p18_a_tenants_administrator_sees_and_changes_only_what_is_their_tenants() {
    let world = World::new().await;
    let (t1, t2) = (world.token("t1-admin", &[]).await, world.token("t2-admin", &[]).await);
    let role = json!({ "name": "ops" });
    let mine = world.send(call("POST", "/api/v1/roles").token(&t1).json(&role)).await;
    assert_eq!(mine.status, StatusCode::CREATED, "{mine:?}");
    assert_eq!(mine.json()["tenant"], "t1", "what they make is their tenant's");
    // Names are the tenant's own.
    assert_eq!(
        world.send(call("POST", "/api/v1/roles").token(&t2).json(&role)).await.status,
        StatusCode::CREATED
    );
    let item = format!("/api/v1/roles/{}", mine.json()["id"].as_str().unwrap());
    assert_eq!(world.send(call("GET", &item).token(&t1)).await.status, StatusCode::OK);
    for request in [
        call("GET", &item).token(&t2),
        call("DELETE", &item).token(&t2),
        call("PUT", &item).token(&t2).header("if-match", "*").json(&role),
        call("GET", "/api/v1/roles/dba").token(&t2),
        call("GET", "/api/v1/users/root").token(&t2),
        call("PUT", "/api/v1/users/root/password")
            .token(&t2)
            .json(&json!({ "new": "long enough for anybody" })),
    ] {
        let answer = world.send(request).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "unknown"), "{answer:?}");
    }
    assert_eq!(world.send(call("GET", "/api/v1/roles").token(&t2)).await.names(), ["ops"]);
    assert_eq!(world.send(call("GET", "/api/v1/users").token(&t2)).await.names(), ["t2-admin"]);
    let foreign = json!({ "name": "x", "tenant": "t1" });
    let answer = world.send(call("POST", "/api/v1/roles").token(&t2).json(&foreign)).await;
    assert_eq!(answer.problem().errors[0].pointer, "/tenant", "{answer:?}");
}

#[tokio::test]
async fn a_right_means_what_it_says_or_is_refused() {
    let world = World::new().await;
    let root = world.token("root", &[]).await;
    for (right, tenant, place) in [
        ("admin", None, None),
        ("admin", Some("t1"), Some("/right")),
        ("tenant-admin", Some("t1"), None),
        ("tenant-admin", None, Some("/right")),
        ("auditor", Some("t1"), None),
        ("user", None, None),
    ] {
        let user = json!({ "name": format!("{right}-of-{tenant:?}"), "tenant": tenant, "right": right });
        let answer = world.send(call("POST", "/api/v1/users").token(&root).json(&user)).await;
        let refused =
            (answer.status != StatusCode::CREATED).then(|| answer.problem().errors.remove(0).pointer);
        assert_eq!(refused.as_deref(), place, "{user}");
    }
}

#[tokio::test]
async fn a_device_that_needs_an_endpoint_is_not_added_before_there_is_one() {
    let world = World::new().await;
    let router = json!({ "name": "r2", "kind": "sluice", "client_ip_pool": ["10.78.0.0/24"] });
    world.make::<sluice_api::RouterSpec>(router).await;
    let alice = world.token("alice", &[]).await;
    let add = |router: &str, needs: bool| {
        let key = wg_proto::PublicKey::from_bytes([if needs { 51 } else { 52 }; 32]).to_string();
        let device = json!({ "name": router, "router": router, "public_key": key, "needs_endpoint": needs });
        call("POST", "/api/v1/devices").token(&alice).json(&device)
    };
    let problem = world.send(add("r2", true)).await.problem();
    assert_eq!(problem.errors[0].pointer, "/router");
    assert!(problem.errors[0].detail.contains("has not enrolled"), "{problem:?}");
    assert_eq!(world.send(add("r2", false)).await.status, StatusCode::CREATED);
    assert_eq!(world.send(add("r1", true)).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn p18_nobody_gives_more_right_than_they_have() {
    let world = World::new().await;
    let admin = world.token("t1-admin", &[]).await;
    for (right, status) in [
        ("admin", StatusCode::FORBIDDEN),
        ("tenant-admin", StatusCode::CREATED),
        ("user", StatusCode::CREATED),
    ] {
        let user = json!({ "name": format!("new-{right}"), "right": right });
        let answer = world.send(call("POST", "/api/v1/users").token(&admin).json(&user)).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let raised = json!({ "name": "t1-user", "tenant": "t1", "right": "admin" });
    let request = call("PUT", "/api/v1/users/t1-user").token(&admin).header("if-match", "*").json(&raised);
    assert_eq!(world.send(request).await.code(), "denied");
}

#[tokio::test]
async fn p18_a_user_sees_and_changes_only_their_own_devices() {
    let world = World::new().await;
    let (alice, root) = (world.token("alice", &[]).await, world.token("root", &[]).await);
    let listed = world.send(call("GET", "/api/v1/devices").token(&alice)).await.json();
    let users: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["user"].clone()).collect();
    assert_eq!(users, ["alice"]);
    let all = world.send(call("GET", "/api/v1/devices").token(&root)).await.json();
    let bobs = all["items"].as_array().unwrap().iter().find(|item| item["user"] == "bob").unwrap().clone();
    let path = format!("/api/v1/devices/{}", bobs["id"].as_str().unwrap());
    let mut stolen = bobs.clone();
    for field in ["id", "version", "created", "author", "updated", "updated_by"] {
        stolen.as_object_mut().unwrap().remove(field);
    }
    stolen["user"] = json!("alice");
    for (request, code) in [
        (call("GET", &path).token(&alice), "unknown"),
        (call("DELETE", &path).token(&alice), "unknown"),
        (call("PUT", &path).token(&alice).header("if-match", "*").json(&stolen), "unknown"),
        (
            call("POST", "/api/v1/devices")
                .token(&alice)
                .json(&json!({ "name": "x", "user": "bob", "public_key": key_of(7) })),
            "denied",
        ),
    ] {
        assert_eq!(world.send(request).await.code(), code);
    }
    let added = call("POST", "/api/v1/devices")
        .token(&alice)
        .json(&json!({ "name": "phone", "public_key": key_of(7) }));
    let added = world.send(added).await;
    assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
    let added = added.json();
    assert_eq!((added["user"].as_str(), added["client_ip"].as_str()), (Some("alice"), Some("10.77.0.1")));
    assert_eq!(
        (&added["endpoint"], &added["router_public_key"]),
        (&json!("gw.example:51820"), &json!(key_of(9)))
    );
    let path = format!("/api/v1/devices/{}", added["id"].as_str().unwrap());
    assert_eq!(world.send(call("DELETE", &path).token(&alice)).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn p26_what_was_denied_is_in_the_audit() {
    let world = World::new().await;
    let (alice, auditor) = (world.token("alice", &[]).await, world.token("audrey", &["audit"]).await);
    let role = json!({ "name": "x" });
    assert_eq!(world.send(call("POST", "/api/v1/roles").token(&alice).json(&role)).await.code(), "denied");
    let listed = call("GET", "/api/v1/audit?action=permission-denied&outcome=refused").token(&auditor);
    let event = world.send(listed).await.json()["items"][0].clone();
    assert_eq!((event["actor"].as_str(), event["source"].as_str()), (Some("alice"), Some("192.0.2.1")));
    assert!(event["reason"].as_str().unwrap().starts_with("WriteObjects"), "{event}");
}

fn key_of(byte: u8) -> String {
    super::key(byte)
}
