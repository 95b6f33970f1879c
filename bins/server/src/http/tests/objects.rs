//! Objects: versions, pages, changes as they happen.

use futures_util::StreamExt as _;
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{World, call};

#[tokio::test]
async fn an_object_is_changed_only_as_the_version_that_was_read() {
    let world = World::new().await;
    let root = world.token("root", &[]).await;
    let made = world.send(call("POST", "/api/v1/roles").token(&root).json(&json!({ "name": "ops" }))).await;
    assert_eq!((made.status, made.headers["etag"].to_str().unwrap()), (StatusCode::CREATED, "\"1\""));
    let put = |tag: Option<&str>, comment: &str| {
        let request =
            call("PUT", "/api/v1/roles/ops").token(&root).json(&json!({ "name": "ops", "comment": comment }));
        match tag {
            Some(tag) => request.header("if-match", tag),
            None => request,
        }
    };
    for (tag, status, etag) in [
        (None, 428, None),
        (Some("\"2\""), 412, None),
        (Some("W/\"1\""), 400, None),
        (Some("\"1\""), 200, Some("\"2\"")),
        (Some("\"1\""), 412, None),
        (Some("*"), 200, Some("\"3\"")),
    ] {
        let answer = world.send(put(tag, "as it is now")).await;
        assert_eq!(answer.status.as_u16(), status, "{tag:?} {answer:?}");
        assert_eq!(answer.headers.get("etag").map(|value| value.to_str().unwrap()), etag);
    }
    let known = call("GET", "/api/v1/roles/ops").token(&root).header("if-none-match", "\"3\"");
    let known = world.send(known).await;
    assert_eq!((known.status, known.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    let delete = |tag: &str| call("DELETE", "/api/v1/roles/ops").token(&root).header("if-match", tag);
    assert_eq!(world.send(delete("\"2\"")).await.code(), "stale-version");
    assert_eq!(world.send(delete("\"3\"")).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_change_the_same_version_one_does() {
    let world = World::new().await;
    let root = world.token("root", &[]).await;
    let changes = (0..16).map(|number| {
        let document = json!({ "name": "dba", "comment": number.to_string() });
        world.send(call("PUT", "/api/v1/roles/dba").token(&root).header("if-match", "\"1\"").json(&document))
    });
    let answers = futures_util::future::join_all(changes).await;
    let done = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    assert_eq!(done, 1);
    assert!(
        answers
            .iter()
            .filter(|answer| answer.status != StatusCode::OK)
            .all(|answer| answer.code() == "stale-version")
    );
}

#[tokio::test]
async fn lists_come_in_pages_and_can_be_narrowed() {
    let world = World::new().await;
    let root = world.token("root", &[]).await;
    for name in ["ops", "dev", "Web"] {
        world.send(call("POST", "/api/v1/roles").token(&root).json(&json!({ "name": name }))).await;
    }
    let mut path = "/api/v1/roles?limit=3".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = world.send(call("GET", &path).token(&root)).await;
        seen.extend(page.names());
        let page = page.json();
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/roles?limit=3&cursor={next}");
    }
    assert_eq!(seen, ["Web", "dba", "dev", "ops"]);
    for (query, names) in [("text=WE", vec!["Web"]), ("tenant=t1", vec![]), ("text=%25", vec![])] {
        assert_eq!(
            world.send(call("GET", &format!("/api/v1/roles?{query}")).token(&root)).await.names(),
            names
        );
    }
}

/// The data of the next event of this kind.
async fn next_event(stream: &mut axum::body::BodyDataStream, kind: &str) -> String {
    let deadline = std::time::Duration::from_secs(20);
    tokio::time::timeout(deadline, async {
        loop {
            let piece = stream.next().await.expect("the stream goes on").unwrap();
            let text = String::from_utf8(piece.to_vec()).unwrap();
            if text.contains(&format!("event: {kind}\n")) {
                return text;
            }
        }
    })
    .await
    .expect("an event in time")
}

fn data(event: &str) -> Value {
    let line = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    serde_json::from_str(line).unwrap()
}

#[tokio::test]
async fn who_follows_is_told_of_what_changes_and_of_nothing_that_is_not_theirs() {
    let world = World::new().await;
    let (root, t1, bob) =
        (world.token("root", &[]).await, world.token("t1-admin", &[]).await, world.token("bob", &[]).await);
    let mut streams = Vec::new();
    for token in [&root, &t1, &bob] {
        let mut stream =
            world.begin(call("GET", "/api/v1/events").token(token)).await.into_body().into_data_stream();
        next_event(&mut stream, "ready").await;
        streams.push(stream);
    }
    let [of_root, of_t1, of_bob] = &mut streams[..] else { panic!() };
    world.send(call("POST", "/api/v1/roles").token(&root).json(&json!({ "name": "of-all" }))).await;
    let mine =
        world.send(call("POST", "/api/v1/roles").token(&t1).json(&json!({ "name": "of-t1" }))).await.json();
    assert_eq!(data(&next_event(of_root, "change").await)["what"], "created");
    let told = data(&next_event(of_t1, "change").await);
    assert_eq!(
        (&told["id"], &told["kind"]),
        (&mine["id"], &json!("role")),
        "the first that they are told is their own"
    );
    // Bob hears of his session, and not of the roles that were made before.
    let opened =
        world.send(call("POST", "/api/v1/sessions").token(&bob).json(&json!({ "target": "db" }))).await;
    assert_eq!(opened.status, StatusCode::CREATED, "{opened:?}");
    let told = data(&next_event(of_bob, "change").await);
    assert_eq!((&told["id"], &told["what"]), (&opened.json()["id"], &json!("pending")));
}

#[tokio::test]
async fn the_audit_is_followed_from_where_one_was_and_verifies() {
    let world = World::new().await;
    let root = world.token("root", &[]).await;
    let after = call("GET", "/api/v1/audit/follow?after=0").token(&root);
    let mut stream = world.begin(after).await.into_body().into_data_stream();
    let first = next_event(&mut stream, "audit").await;
    assert!(first.contains("id: 1\n"), "{first}");
    let again = call("GET", "/api/v1/audit/follow").token(&root).header("last-event-id", "4");
    let mut stream = world.begin(again).await.into_body().into_data_stream();
    let fifth = next_event(&mut stream, "audit").await;
    assert_eq!(data(&fifth)["seq"], 5);
    let verified = world.send(call("POST", "/api/v1/audit/verify").token(&root)).await.json();
    assert_eq!(verified["state"], "whole");
    let newest = world.send(call("GET", "/api/v1/audit?limit=1").token(&root)).await.json();
    assert_eq!(newest["items"][0]["action"], "audit-verified");
    assert_eq!(newest["items"][0]["previous"], verified["head"]);
    let older = format!("/api/v1/audit?limit=1&cursor={}", newest["next"].as_str().unwrap());
    let older = world.send(call("GET", &older).token(&root)).await.json();
    assert_eq!(older["items"][0]["hash"], verified["head"]);
}

#[tokio::test]
async fn lists_that_are_followed_end_when_the_server_stops() {
    let world = World::new().await;
    let root = world.token("root", &[]).await;
    for path in ["/api/v1/events", "/api/v1/audit/follow"] {
        let answer = world.begin(call("GET", path).token(&root)).await;
        world.app.stop_followers();
        let ended =
            tokio::time::timeout(std::time::Duration::from_secs(20), answer.into_body().collect()).await;
        assert!(ended.is_ok(), "{path}");
    }
}
