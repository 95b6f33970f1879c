//! The console over the real API: who sees what, what protects it, that nothing of what people type becomes markup.

use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use sluice_api::{ConnectorSpec, RoleSpec, TargetSpec, TenantSpec, UserSpec};

use super::{Answer, Call, World, call};

/// Pages without an identity in their path.
const OWN_PAGES: [&str; 8] = [
    "/access",
    "/devices",
    "/devices/new",
    "/sessions",
    "/sessions?state=all",
    "/approvals",
    "/account",
    "/explain",
];
const FURTHER_PAGES: [&str; 18] = [
    "/guide",
    "/map",
    "/health",
    "/audit",
    "/targets",
    "/targets/new",
    "/connectors",
    "/connectors/new",
    "/mappings",
    "/mappings/new",
    "/routers",
    "/routers/new",
    "/users",
    "/users/new",
    "/roles",
    "/roles/new",
    "/tenants",
    "/tenants/new",
];

fn form(path: &str, pairs: &[(&str, &str)]) -> Call {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let body: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let call = call("POST", path).header("content-type", "application/x-www-form-urlencoded");
    Call { body: body.join("&").into(), ..call }
}

impl Call {
    /// As a browser sends what a page of the console asks for.
    fn of_page(self, cookie: &str) -> Call {
        self.cookie(cookie).header("sec-fetch-site", "same-origin").header("origin", "https://sluice.example")
    }
}

impl Answer {
    fn place(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{self:?}");
        self.headers[LOCATION].to_str().unwrap()
    }
}

#[tokio::test]
async fn each_right_sees_its_pages_and_strangers_are_asked_to_log_in() {
    let world = World::new().await;
    let (root, alice, audrey) =
        (world.browser("root").await, world.browser("alice").await, world.browser("audrey").await);
    for path in OWN_PAGES.into_iter().chain(FURTHER_PAGES) {
        let answer = world.send(call("GET", path).cookie(&root)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        assert!(answer.text.starts_with("<!doctype html>"), "{path}");
        let answer = world.send(call("GET", path)).await;
        assert!(answer.place().starts_with("/login?next="), "{path}");
    }
    for path in OWN_PAGES {
        let answer = world.send(call("GET", path).cookie(&alice)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        assert!(!answer.text.contains("href=\"/targets\""), "{path}: it leads where alice may not go");
    }
    for path in ["/targets", "/users", "/audit", "/tenants"] {
        assert_eq!(
            world.send(call("GET", path).cookie(&alice)).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
        assert_eq!(world.send(call("GET", path).cookie(&audrey)).await.status, StatusCode::OK, "{path}");
    }
    let answer = world.send(form("/roles/new", &[("/name", "mine")]).of_page(&audrey)).await;
    assert!(answer.text.contains("your right does not include this"), "{answer:?}");
    assert_eq!(world.send(call("GET", "/nothing")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_login_hands_out_the_cookie_and_leads_to_the_page_that_was_asked_for() {
    let world = World::new().await;
    let secret = "a long enough passphrase";
    let token = world.token("root", &[]).await;
    let id = world.id::<UserSpec>("alice").await;
    let set =
        call("PUT", &format!("/api/v1/users/{id}/password")).token(&token).json(&json!({ "new": secret }));
    assert_eq!(world.send(set).await.status, StatusCode::NO_CONTENT);
    let typed = |password| form("/login?next=%2Fdevices", &[("/user", "alice"), ("/password", password)]);
    let browser = |call: Call| call.header("sec-fetch-site", "same-origin");
    let wrong = world.send(browser(typed("something else entirely"))).await;
    assert!(wrong.text.contains("value=\"alice\"") && !wrong.text.contains("something else"), "{wrong:?}");
    assert!(!wrong.headers.contains_key(SET_COOKIE));
    let right = world.send(browser(typed(secret))).await;
    assert_eq!(right.place(), "/devices");
    let cookie = right.headers[SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
    assert_eq!(world.send(call("GET", "/devices").cookie(&cookie)).await.status, StatusCode::OK);
    assert!(world.send(form("/logout", &[]).of_page(&cookie)).await.place().starts_with("/login"));
    assert!(world.send(call("GET", "/devices").cookie(&cookie)).await.place().starts_with("/login"));
}

#[tokio::test]
async fn pages_allow_nothing_but_what_is_ours_and_are_kept_by_nobody() {
    let world = World::new().await;
    let root = world.browser("root").await;
    let page = world.send(call("GET", "/targets").cookie(&root)).await;
    let policy = page.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers[CACHE_CONTROL], "no-store");
    assert_eq!(page.headers["x-frame-options"], "DENY");
    for forbidden in [" style=", "<style", " onclick", "javascript:", "//cdn"] {
        assert!(!page.text.contains(forbidden), "{forbidden}");
    }
    let mut weight = page.text.len();
    let names = page.text.split('"').filter(|text| text.starts_with("/assets/"));
    for name in names.collect::<std::collections::BTreeSet<_>>() {
        let asset = world.send(call("GET", name)).await;
        assert_eq!(asset.headers[CACHE_CONTROL], "public, max-age=31536000, immutable", "{name}");
        let etag = asset.headers["etag"].to_str().unwrap();
        let again = world.send(call("GET", name).header("if-none-match", etag)).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        weight += asset.text.len();
    }
    assert!(weight < 150 * 1024, "{weight} bytes");
    assert_eq!(world.send(call("GET", "/assets/console.css")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn p21_forms_of_other_sites_and_of_no_site_change_nothing() {
    let world = World::new().await;
    let root = world.browser("root").await;
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(Headers, bool); 7] = [
        (&[], false),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("sec-fetch-site", "same-site")], false),
        (&[("origin", "https://evil.example")], false),
        (&[("origin", "null")], false),
        (&[("origin", "https://sluice.example")], true),
        (&[("sec-fetch-site", "same-origin"), ("origin", "null")], true),
    ];
    for (number, (headers, allowed)) in cases.into_iter().enumerate() {
        let name = format!("role-{number}");
        let sent = form("/roles/new", &[("/name", &name)]).cookie(&root);
        let sent = headers.iter().fold(sent, |sent, (name, value)| sent.header(name, value));
        let answer = world.send(sent).await;
        assert_eq!(answer.status == StatusCode::SEE_OTHER, allowed, "{headers:?}: {answer:?}");
        let made = world.send(call("GET", "/api/v1/roles?text=role-").cookie(&root)).await.names();
        assert_eq!(made.contains(&name), allowed, "{headers:?}");
    }
    let elsewhere = form("/roles/new", &[("/name", "x")]).of_page(&root).header("host", "evil.example");
    assert!(world.send(elsewhere).await.status.is_client_error());
}

#[tokio::test]
async fn nothing_that_people_type_becomes_markup() {
    let world = World::new().await;
    let payloads = [
        "<script>alert(1)<\\script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "{{ 7 * 7 }}<b>",
        "javascript:alert(1)//<svg onload=alert(1)>",
        "]]><x>&lt;script&gt;",
    ];
    for (number, payload) in payloads.iter().enumerate() {
        let name = payload.replace('/', "-");
        world.make::<TenantSpec>(json!({ "name": name, "comment": payload })).await;
        world.make::<RoleSpec>(json!({ "name": name, "comment": payload })).await;
        world
            .make::<UserSpec>(
                json!({ "name": name, "full_name": payload, "comment": payload, "roles": [name] }),
            )
            .await;
        world.make::<ConnectorSpec>(json!({ "name": name, "site": name, "comment": payload })).await;
        world
            .make::<TargetSpec>(json!({
                "name": name, "comment": payload, "user_instructions": payload, "tags": [name], "roles": ["dba"],
                "dst": [{ "selector": { "ip": format!("10.30.0.{}", number + 1), "proto": "tcp", "port": 22 } }],
            }))
            .await;
    }
    let root = world.browser("root").await;
    let mut paths: Vec<String> = OWN_PAGES.into_iter().chain(FURTHER_PAGES).map(str::to_owned).collect();
    for kind in ["targets", "connectors", "users", "roles", "tenants"] {
        let all = world.send(call("GET", &format!("/api/v1/{kind}")).cookie(&root)).await.json();
        for item in all["items"].as_array().unwrap() {
            paths.push(format!("/{kind}/{}", item["id"].as_str().unwrap()));
            paths.push(format!("/{kind}/{}/remove", item["id"].as_str().unwrap()));
        }
    }
    let encoded: String = payloads[1].bytes().map(|byte| format!("%{byte:02x}")).collect();
    for (page, name) in [
        ("access", "text"),
        ("targets", "text"),
        ("sessions", "user"),
        ("audit", "actor"),
        ("login", "next"),
        ("explain", "%2frequest%2ftarget"),
    ] {
        paths.push(format!("/{page}?{name}={encoded}"));
    }
    for path in &paths {
        let mut answer = world.send(call("GET", path).cookie(&root)).await;
        // There are more pages than anybody may ask for at once.
        for _ in 0..100 {
            if answer.status != StatusCode::TOO_MANY_REQUESTS {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer = world.send(call("GET", path).cookie(&root)).await;
        }
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        for markup in ["<script>", "<img", "<svg onload", "' onmouseover='", "}}<b>", "<x>"] {
            assert!(!answer.text.contains(markup), "{path} has {markup}");
        }
    }
}

#[tokio::test]
async fn a_form_that_is_wrong_says_where_and_keeps_what_was_typed() {
    let world = World::new().await;
    let root = world.browser("root").await;
    let typed = [
        ("/name", "two ways"),
        ("/roles", "dba"),
        ("/roles", "no-such-role"),
        ("/comment", "kept as it was"),
        ("/dst/0/selector/ip", "10.40.0.1"),
        ("/dst/0/selector/proto", "tcp"),
        ("/dst/0/selector/port", "22"),
        ("/dst/1/selector/ip", "10.40.0.300"),
        ("/dst/1/selector/proto", ""),
        ("/max_duration", "soon"),
    ];
    let answer = world.send(form("/targets/new", &typed).of_page(&root)).await;
    for kept in ["two ways", "no-such-role", "kept as it was", "10.40.0.300", "value=\"soon\""] {
        assert!(answer.text.contains(kept), "{kept}: {}", answer.text);
    }
    assert!(answer.text.contains("aria-invalid"), "{}", answer.text);
    let right: Vec<_> = typed
        .iter()
        .filter(|(_, value)| !["no-such-role", "10.40.0.300", "soon"].contains(value))
        .copied()
        .collect();
    let place = world.send(form("/targets/new", &right).of_page(&root)).await;
    let place = place.place().split('?').next().unwrap().to_owned();
    let id = place.rsplit('/').next().unwrap();
    let made = world.send(call("GET", &format!("/api/v1/targets/{id}")).cookie(&root)).await.json();
    assert_eq!(
        made["dst"],
        json!([{ "selector": { "ip": "10.40.0.1", "proto": "tcp", "port": 22 } }]),
        "{made}"
    );

    // Whoever saves what somebody else has changed meanwhile overwrites nothing.
    let mut stale = right.clone();
    stale.extend([("id", id), ("version", "7")]);
    let answer = world.send(form(&place, &stale).of_page(&root)).await;
    assert!(answer.text.contains("Somebody else has changed it"), "{}", answer.text);
}

#[tokio::test]
async fn devices_are_heard_of_by_those_whose_they_are() {
    let world = World::new().await;
    let (alice, root) = (world.browser("alice").await, world.browser("root").await);
    let own = world.send(call("GET", "/api/v1/state/devices").cookie(&alice)).await.json();
    assert_eq!(
        own["items"],
        json!([{ "name": "laptop", "user": "alice", "client_ip": "10.77.0.2" }]),
        "{own}"
    );
    let all = world.send(call("GET", "/api/v1/state/devices").cookie(&root)).await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2, "{all}");
    let page = world.send(call("GET", "/devices").cookie(&alice)).await;
    assert!(page.text.contains("10.77.0.2") && page.text.contains("not yet"), "{}", page.text);
}

#[tokio::test]
async fn access_is_opened_extended_and_closed_by_forms() {
    let world = World::new().await;
    let alice = world.browser("alice").await;
    let page = world.send(call("GET", "/access").cookie(&alice)).await;
    assert!(page.text.contains("10.20.0.5 tcp 22") && page.text.contains("Open db"), "{}", page.text);
    let opened = world
        .send(
            form("/access/open", &[("/target", "db"), ("/reason", "INC-1"), ("/duration", "3600")])
                .of_page(&alice),
        )
        .await;
    assert_eq!(opened.place(), "/access?done=opened");
    let again =
        world.send(form("/access/open", &[("/target", "db"), ("/reason", "INC-2")]).of_page(&alice)).await;
    assert!(again.text.contains("role=\"alert\""), "{}", again.text);
    let sessions = world.send(call("GET", "/api/v1/sessions").cookie(&alice)).await.json();
    let id = sessions["items"][0]["id"].as_str().unwrap().to_owned();
    let before = sessions["items"][0]["expires"].clone();
    let extend =
        form("/access/extend", &[("id", &id), ("/target", "db"), ("/duration", "14400")]).of_page(&alice);
    assert_eq!(world.send(extend).await.place(), "/access?done=extended");
    let session = world.send(call("GET", &format!("/api/v1/sessions/{id}")).cookie(&alice)).await.json();
    assert!(session["expires"].as_str() > before.as_str(), "{session}");
    let detail = world.send(call("GET", &format!("/sessions/{id}")).cookie(&alice)).await;
    assert!(
        detail.text.contains("INC-1") && detail.text.contains("10.20.0.5, TCP port 22"),
        "{}",
        detail.text
    );

    // The administrator is told what is cut, and then cuts it.
    let root = world.browser("root").await;
    let asked = world.send(call("GET", &format!("/sessions/end?id={id}")).cookie(&root)).await;
    assert!(asked.text.contains("<b>alice</b> to <b>db</b>"), "{}", asked.text);
    let end = form("/sessions/end", &[("id", &id), ("reason", "out of hours")]).of_page(&root);
    assert_eq!(world.send(end).await.place(), "/sessions?done=ended");
    let session: Value =
        world.send(call("GET", &format!("/api/v1/sessions/{id}")).cookie(&alice)).await.json();
    assert_eq!(session["ending"], "admin-terminated", "{session}");
}
