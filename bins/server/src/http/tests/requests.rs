//! Requests of all sorts: whatever comes, what goes back is an answer or a problem document.

use http::StatusCode;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::{World, call};
use crate::http::body::BODY_MAX;
use crate::http::routes;

#[tokio::test]
async fn whatever_is_wrong_is_told_as_a_problem_with_its_code() {
    let world = World::new().await;
    let root = world.token("root", &[]).await;
    let roles = || call("POST", "/api/v1/roles").token(&root);
    let typed = || roles().header("content-type", "application/json; charset=utf-8");
    for (request, status, code) in [
        (call("GET", "/nothing"), 404, "unknown-route"),
        (call("GET", "/api/v1/nothing").token(&root), 404, "unknown-route"),
        (call("PATCH", "/api/v1/roles").token(&root), 405, "wrong-method"),
        (call("GET", "/api/v1/login"), 405, "wrong-method"),
        (roles(), 415, "wrong-media-type"),
        (roles().header("content-type", "text/plain").bytes(b"{}".to_vec()), 415, "wrong-media-type"),
        (typed().bytes(b"{\"name\": ".to_vec()), 400, "malformed-json"),
        (typed().bytes(b"\xff\xfe".to_vec()), 400, "malformed-json"),
        (typed().bytes("[".repeat(100_000).into_bytes()), 400, "malformed-json"),
        (typed().bytes(vec![b' '; BODY_MAX + 1]), 413, "too-large"),
        (roles().json(&json!({ "name": "x", "colour": "red" })), 422, "invalid-document"),
        (roles().json(&json!({ "name": "" })), 422, "invalid-document"),
        (roles().json(&json!({ "name": "dba" })), 409, "name-taken"),
        (call("DELETE", "/api/v1/roles/dba").token(&root), 409, "in-use"),
        (call("GET", "/api/v1/roles/none").token(&root), 404, "unknown"),
        (call("GET", "/api/v1/roles/%ff").token(&root), 400, "malformed-request"),
        (call("GET", "/api/v1/roles?limit=x").token(&root), 400, "malformed-request"),
        (call("GET", "/api/v1/roles?limit=0").token(&root), 400, "malformed-request"),
        (call("GET", "/api/v1/roles?colour=red").token(&root), 400, "malformed-request"),
        (call("GET", "/api/v1/roles?cursor=!").token(&root), 400, "malformed-request"),
        (call("GET", "/api/v1/sessions/none").token(&root), 404, "unknown"),
        (call("GET", "/api/v1/audit?since=yesterday").token(&root), 400, "malformed-request"),
    ] {
        let answer = world.send(request).await;
        let problem = answer.problem();
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{answer:?}");
        assert!(!problem.detail.is_empty() && !problem.title.is_empty());
    }
    let answer = world.send(call("PATCH", "/api/v1/roles")).await;
    assert!(answer.headers["allow"].to_str().unwrap().contains("POST"), "{answer:?}");
    let answer = world.send(roles().json(&json!({ "name": 7 }))).await;
    assert_eq!(answer.problem().errors[0].pointer, "/name");
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_browsers() {
    let world = World::new().await;
    for path in ["/healthz", "/nothing", "/api/v1/whoami", "/api/v1/openapi.json"] {
        let answer = world.send(call("GET", path)).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(answer.headers.contains_key("strict-transport-security"));
    }
}

#[tokio::test]
async fn p21_requests_for_other_hosts_get_nothing() {
    let world = World::new().await;
    for (host, status) in [("sluice.example", 200), ("localhost:8443", 200), ("evil.example", 421), ("", 400)]
    {
        let request = http::Request::builder().uri("/healthz").header("host", host);
        let request = super::Call { request, body: axum::body::Body::empty(), source: [192, 0, 2, 1].into() };
        assert_eq!(world.send(request).await.status.as_u16(), status, "{host}");
    }
}

#[tokio::test]
async fn p21_pages_of_other_sites_change_nothing() {
    let world = World::new().await;
    let browser = world.browser("root").await;
    let token = world.token("root", &[]).await;
    let ours = [("x-sluice-csrf", "1")];
    let origin = |value| [("origin", value), ("x-sluice-csrf", "1")];
    let site = |value| [("sec-fetch-site", value), ("x-sluice-csrf", "1")];
    type Headers = Vec<(&'static str, &'static str)>;
    let cases: Vec<(bool, Headers, bool)> = vec![
        // With a cookie: only with the header that no other site can send, and from no other site.
        (true, vec![], false),
        (true, ours.to_vec(), true),
        (true, origin("https://sluice.example").to_vec(), true),
        (true, origin("https://evil.example").to_vec(), false),
        (true, origin("null").to_vec(), false),
        (true, origin("https://sluice.example.evil.example").to_vec(), false),
        (true, site("same-origin").to_vec(), true),
        (true, site("none").to_vec(), true),
        (true, site("same-site").to_vec(), false),
        (true, site("cross-site").to_vec(), false),
        (true, vec![("origin", "https://sluice.example")], false),
        // Programs send a token on purpose; a page that got hold of one is another site all the same.
        (false, vec![], true),
        (false, vec![("origin", "https://evil.example")], false),
        (false, vec![("sec-fetch-site", "cross-site")], false),
    ];
    for (number, (is_browser, headers, allowed)) in cases.into_iter().enumerate() {
        let mut request = call("POST", "/api/v1/roles").json(&json!({ "name": format!("role-{number}") }));
        request = if is_browser { request.cookie(&browser) } else { request.token(&token) };
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let answer = world.send(request).await;
        if allowed {
            assert_eq!(answer.status, StatusCode::CREATED, "{is_browser} {headers:?} {answer:?}");
        } else {
            assert_eq!(answer.code(), "cross-site", "{is_browser} {headers:?}");
        }
    }
    // Reading needs neither: the browser does not show other sites what it gets.
    let read = call("GET", "/api/v1/roles").cookie(&browser).header("sec-fetch-site", "cross-site");
    assert_eq!(world.send(read).await.status, StatusCode::OK);
    // Logging in from another site would make the user work as somebody else.
    let login = json!({ "user": "mallory", "password": "x" });
    let login = call("POST", "/api/v1/login").header("origin", "https://evil.example").json(&login);
    assert_eq!(world.send(login).await.code(), "cross-site");
}

#[tokio::test]
async fn p21_getting_something_changes_nothing() {
    let world = World::new().await;
    let root = world.token("root", &[]).await;
    world.send(call("GET", "/api/v1/whoami").token(&root)).await;
    let before = world.engine.store().read().await.unwrap().audit_after(0, 1000).await.unwrap();
    for route in routes::all().into_iter().filter(|route| route.method == http::Method::GET) {
        let path = route.path.replace("{id}", &uuid::Uuid::nil().to_string());
        world.begin(call("GET", &path).token(&root)).await;
    }
    let after = world.engine.store().read().await.unwrap().audit_after(0, 1000).await.unwrap();
    assert_eq!(before, after, "no event, so nothing that was done");
}

#[tokio::test]
async fn who_asks_too_much_waits_and_others_do_not() {
    let world = World::new().await;
    let (alice, bob) = (world.token("alice", &[]).await, world.token("bob", &[]).await);
    let mut limited = None;
    for number in 0..3000_u16 {
        // From everywhere: it is the principal that is limited.
        let [high, low] = number.to_be_bytes();
        let answer =
            world.send(call("GET", "/api/v1/whoami").token(&alice).from([10, 1, high, low].into())).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("limited at last");
    assert_eq!(limited.code(), "too-many-requests");
    assert!(limited.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(world.send(call("GET", "/api/v1/whoami").token(&bob)).await.status, StatusCode::OK);
}

#[test]
fn p23_any_bytes_get_an_answer_and_never_make_the_server_fail() {
    let tasks = tokio::runtime::Runtime::new().unwrap();
    let (world, token) = tasks.block_on(async {
        let world = World::new().await;
        let token = world.token("root", &[]).await;
        (world, token)
    });
    let routes: Vec<_> =
        routes::all().into_iter().filter(|route| route.method != http::Method::GET).collect();
    let documents = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "\\{(\"(name|user|dst|roles|password|token|duration|session|client_ip|proto)\": ?(null|true|-?[0-9]{1,25}|1e400|\"[^\"]{0,20}\"|\\[\\]|\\{\\})(, )?){0,4}\\}"
            .prop_map(String::into_bytes),
        "[\\[\\]{}\":,0-9a-z\\\\ ]{0,120}".prop_map(String::into_bytes),
    ];
    let ids = prop_oneof![Just("db".to_owned()), "[a-z0-9%./-]{1,20}"];
    let case = (0..routes.len(), ids, documents, any::<u16>());
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&case, |(route, id, document, from)| {
        let route = &routes[route];
        let path = route.path.replace("{id}", &id);
        prop_assume!(path.parse::<http::Uri>().is_ok() && !path.ends_with("logout"));
        let [high, low] = from.to_be_bytes();
        let request = call(route.method.as_str(), &path)
            .token(&token)
            .header("content-type", "application/json")
            .header("if-match", "*")
            .from([10, 9, high, low].into())
            .bytes(document);
        let answer = tasks.block_on(world.send(request));
        prop_assert!(answer.status != StatusCode::INTERNAL_SERVER_ERROR, "{answer:?}");
        if answer.status.is_client_error() || answer.status.is_server_error() {
            answer.problem();
        }
        Ok(())
    });
    outcome.unwrap();
}
