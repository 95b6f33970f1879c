//! Sessions and approvals over HTTP.

use http::StatusCode;
use serde_json::{Value, json};
use sluice_api::TargetSpec;

use super::{World, call};

#[tokio::test]
async fn a_user_opens_sees_and_ends_their_session_and_nobody_elses() {
    let world = World::new().await;
    let (alice, bob, root) =
        (world.token("alice", &[]).await, world.token("bob", &[]).await, world.token("root", &[]).await);
    let open = |token: &str| {
        call("POST", "/api/v1/sessions").token(token).json(&json!({ "target": "db", "reason": "INC-1" }))
    };
    let opened = world.send(open(&alice)).await;
    assert_eq!(opened.status, StatusCode::CREATED, "{opened:?}");
    let id = opened.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/sessions/{id}");
    assert_eq!(world.send(call("GET", &path).token(&alice)).await.status, StatusCode::OK);
    assert_eq!(world.send(call("GET", &path).token(&root)).await.status, StatusCode::OK);
    for request in [
        call("GET", &path).token(&bob),
        call("POST", &format!("{path}/end")).token(&bob).json(&json!({})),
        call("POST", &format!("{path}/extend")).token(&bob).json(&json!({ "duration": "1h" })),
    ] {
        assert_eq!(world.send(request).await.code(), "unknown");
    }
    let others = call("POST", "/api/v1/sessions/end").token(&bob).json(&json!({ "user": "alice" }));
    assert_eq!(world.send(others).await.code(), "denied");
    for (token, query, count) in [
        (&alice, "", 1),
        (&bob, "", 0),
        (&bob, "?user=alice", 0),
        (&root, "?user=alice&ongoing=true", 1),
        (&root, "?user=nobody", 0),
        (&root, "?target=db&client_ip=10.77.0.2", 1),
        (&root, "?ongoing=false", 0),
    ] {
        let listed = world.send(call("GET", &format!("/api/v1/sessions{query}")).token(token)).await.json();
        assert_eq!(listed["items"].as_array().unwrap().len(), count, "{query}");
    }
    // A second one to the same place is refused, by which check and with a stable code.
    let refused = world.send(open(&alice)).await;
    let problem = refused.problem();
    assert_eq!(
        (refused.status, problem.check, problem.code.as_str()),
        (StatusCode::CONFLICT, Some(6), "overlaps")
    );
    let ended = world.send(call("POST", &format!("{path}/end")).token(&alice).json(&json!({}))).await;
    assert_eq!(ended.json()["state"], "closing", "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_with_the_same_key_opens_one_session() {
    let world = World::new().await;
    let alice = world.token("alice", &[]).await;
    let open = |key: &str, reason: &str| {
        let asked = json!({ "target": "db", "reason": reason });
        call("POST", "/api/v1/sessions").token(&alice).header("idempotency-key", key).json(&asked)
    };
    let answers = futures_util::future::join_all((0..8).map(|_| world.send(open("k1", "a")))).await;
    let created = answers.iter().filter(|answer| answer.status == StatusCode::CREATED);
    let ids: std::collections::BTreeSet<_> = created.map(|answer| answer.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{answers:?}");
    let waiting = answers.iter().filter(|answer| answer.status != StatusCode::CREATED);
    assert!(waiting.into_iter().all(|answer| answer.code() == "in-progress"));
    let again = world.send(open("k1", "a")).await;
    assert!(again.status == StatusCode::CREATED && ids.contains(&again.json()["id"].to_string()));
    assert_eq!(world.send(open("k1", "b")).await.code(), "key-reused");
    assert_eq!(world.send(open("", "a")).await.code(), "malformed-request");
    // What came to nothing may be tried again with the same key.
    for _ in 0..2 {
        assert_eq!(world.send(open("k2", "a")).await.code(), "overlaps");
    }
}

#[tokio::test]
async fn what_one_may_open_and_why_not_is_shown_before_one_asks() {
    let world = World::new().await;
    let dst = json!([{ "selector": { "ip": "10.30.0.1" } }]);
    let target = json!({ "name": "vault", "roles": ["dba"], "require_approval": true, "dst": dst });
    world.make::<TargetSpec>(target).await;
    let (alice, bob, root) =
        (world.token("alice", &[]).await, world.token("bob", &[]).await, world.token("root", &[]).await);
    let access = world.send(call("GET", "/api/v1/access").token(&alice)).await;
    assert_eq!(access.names(), ["db", "vault"]);
    assert_eq!(access.json()["items"][1]["blocked"]["code"], "approval-needed");
    let explain = |token: &str, user: Option<&str>, target: &str| {
        let mut asked = json!({ "request": { "target": target, "client_ip": "10.77.0.2" } });
        if let Some(user) = user {
            asked["user"] = json!(user);
        }
        call("POST", "/api/v1/explain").token(token).json(&asked)
    };
    assert_eq!(world.send(explain(&alice, None, "db")).await.json()["granted"], true);
    let refused = world.send(explain(&root, Some("alice"), "vault")).await.json();
    assert_eq!(
        (&refused["failed"][0]["code"], &refused["failed"][0]["check"]),
        (&json!("approval-needed"), &json!(5))
    );
    assert_eq!(world.send(explain(&bob, Some("alice"), "db")).await.code(), "denied");

    let asked = call("POST", "/api/v1/approvals")
        .token(&alice)
        .json(&json!({ "target": "vault", "reason": "INC-2" }));
    let asked = world.send(asked).await;
    assert_eq!(asked.status, StatusCode::CREATED, "{asked:?}");
    let path = format!("/api/v1/approvals/{}", asked.json()["id"].as_str().unwrap());
    let yes = json!({ "granted": true });
    assert_eq!(world.send(call("POST", &path).token(&alice).json(&yes)).await.code(), "denied");
    let waiting = |token: &str| call("GET", "/api/v1/approvals?waiting=true").token(token);
    assert_eq!(world.send(waiting(&bob)).await.json()["items"], json!([]));
    assert_eq!(world.send(waiting(&root)).await.json()["items"][0]["user"], "alice");
    assert_eq!(world.send(call("POST", &path).token(&root).json(&yes)).await.status, StatusCode::OK);
    assert_eq!(world.send(explain(&alice, None, "vault")).await.json()["granted"], true);
}

#[tokio::test]
async fn what_becomes_of_a_packet_is_told_with_the_rule_and_of_others_only_to_those_who_see_them() {
    let world = World::new().await;
    let dst = json!([
        { "selector": { "ip": "10.30.0.0/28", "proto": "tcp", "port": "8000-8009" },
          "nat": { "addr": "10.40.0.0/28", "port": 443 } },
    ]);
    let target = json!({ "name": "web", "roles": ["dba"], "src_nat": true, "dst": dst });
    world.make::<TargetSpec>(target.clone()).await;
    // Leads there too, but nobody has a role for it.
    let hidden = json!({ "name": "hidden", "dst": [{ "selector": { "ip": "10.30.0.5" } }] });
    world.make::<TargetSpec>(hidden).await;
    let (alice, bob, root) =
        (world.token("alice", &[]).await, world.token("bob", &[]).await, world.token("root", &[]).await);
    let explain = |token: &str, more: Value| {
        let mut asked = json!({ "destination": "10.30.0.5", "proto": "tcp", "port": 8004 });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call("POST", "/api/v1/explain/packet").token(token).json(&asked)
    };

    let before = world.send(explain(&alice, json!({}))).await.json();
    assert_eq!((&before["verdict"], &before["client_ip"]), (&json!("not-allowed"), &json!("10.77.0.2")));
    assert_eq!(before["targets"].as_array().unwrap().len(), 1, "{before}");
    assert_eq!(
        (&before["targets"][0]["target"], &before["targets"][0]["failed"]),
        (&json!("web"), &json!([]))
    );

    let open = call("POST", "/api/v1/sessions").token(&alice).json(&json!({ "target": "web" }));
    assert_eq!(world.send(open).await.status, StatusCode::CREATED);
    let after = world.send(explain(&alice, json!({}))).await.json();
    let rule = json!({
        "destination": 0, "selector": "10.30.0.0/28 tcp 8000-8009", "becomes": "10.40.0.5:443", "src_nat": true,
        "routers": ["r1"],
    });
    assert_eq!(
        (&after["verdict"], &after["target"], &after["rule"]),
        (&json!("pending"), &json!("web"), &rule)
    );

    // Bob comes from alice's address: her session is none of his business, and root sees both her session and what lacks.
    let bobs = world.send(explain(&bob, json!({ "client_ip": "10.77.0.2" }))).await.json();
    assert_eq!((&bobs["verdict"], &bobs["session"]), (&json!("not-allowed"), &Value::Null));
    assert_eq!(world.send(explain(&bob, json!({ "user": "alice" }))).await.code(), "denied");
    let roots = world.send(explain(&root, json!({ "user": "alice" }))).await.json();
    assert_eq!(roots["verdict"], "pending");
    let hidden = roots["targets"].as_array().unwrap().iter().find(|told| told["target"] == "hidden");
    assert_eq!(hidden.unwrap()["failed"][0]["check"], 4, "{roots}");

    for (wrong, place) in [
        (json!({ "proto": "tpc" }), "/proto"),
        (json!({ "port": null }), "/port"),
        (json!({ "proto": "icmp" }), "/port"),
    ] {
        let problem = world.send(explain(&alice, wrong)).await.problem();
        assert_eq!(problem.errors[0].pointer, place);
    }
}

#[tokio::test]
async fn how_agents_are_is_shown_to_those_who_look_after_them() {
    let world = World::new().await;
    let audrey = world.token("audrey", &["read"]).await;
    let routers = world.send(call("GET", "/api/v1/state/routers").token(&audrey)).await.json();
    assert_eq!(
        (&routers["items"][0]["name"], &routers["items"][0]["connected"]),
        (&json!("r1"), &json!(false))
    );
    for path in ["/api/v1/state/connectors", "/api/v1/state/mappings"] {
        assert_eq!(world.send(call("GET", path).token(&audrey)).await.json()["items"], json!([]));
    }
}
