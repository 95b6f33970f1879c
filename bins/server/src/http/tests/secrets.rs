//! Secrets show up nowhere (P29), and cookies come as they must (P21).

use std::io::Write;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::{Answer, World, call};
use crate::auth::first_admin;

const PASSWORD: &str = "canary-password-1-of-root";
const OTHER: &str = "canary-password-2-of-root";

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

#[tokio::test]
async fn p29_no_secret_is_in_logs_answers_or_the_store() {
    let log = Log::default();
    // Of all threads: the store logs on one of its own.
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("no other test of this program logs");
    let world = World::new().await;
    let mut secrets = vec![PASSWORD.to_owned(), OTHER.to_owned()];
    let mut answers: Vec<Answer> = Vec::new();

    let one_time = first_admin::issue(world.engine.store(), world.now()).await.unwrap().text();
    let first = json!({ "token": one_time, "user": "boss", "password": PASSWORD });
    secrets.push(one_time.clone());
    let made = world.send(call("POST", "/api/v1/first-admin").json(&first)).await;
    assert_eq!(made.status, StatusCode::NO_CONTENT, "{made:?}");
    answers.push(made);
    answers.push(world.send(call("POST", "/api/v1/first-admin").json(&first)).await);
    assert_eq!(answers[1].code(), "wrong-credentials");

    // Wrong in every way that repeats what was sent. Names of fields are told back, for they are what may be misspelt.
    for login in [
        json!({ "user": PASSWORD, "password": PASSWORD }),
        json!({ "user": "boss", "password": [PASSWORD] }),
        json!({ "user": "boss", "password": OTHER }),
        json!(PASSWORD),
    ] {
        let answer = world.send(call("POST", "/api/v1/login").json(&login)).await;
        assert!(answer.status.is_client_error());
        answers.push(answer);
    }
    let broken = call("POST", "/api/v1/login").header("content-type", "application/json");
    answers.push(world.send(broken.bytes(format!("{{\"password\": \"{PASSWORD}\" x").into_bytes())).await);

    let login = json!({ "user": "boss", "password": PASSWORD, "token": "laptop" });
    let logged_in = world.send(call("POST", "/api/v1/login").json(&login)).await;
    let token = logged_in.json()["token"].as_str().unwrap().to_owned();
    let spec = json!({ "name": "ci", "scopes": ["read"] });
    let made = world.send(call("POST", "/api/v1/tokens").token(&token).json(&spec)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    secrets.extend([token.clone(), made.json()["token"].as_str().unwrap().to_owned()]);
    let change = json!({ "old": PASSWORD, "new": OTHER });
    answers.push(world.send(call("PUT", "/api/v1/password").token(&token).json(&change)).await);
    assert_eq!(answers.last().unwrap().status, StatusCode::NO_CONTENT, "{:?}", answers.last());
    let alices = call("PUT", "/api/v1/users/alice/password").token(&token).json(&json!({ "new": OTHER }));
    answers.push(world.send(alices).await);
    assert_eq!(answers.last().unwrap().status, StatusCode::NO_CONTENT, "{:?}", answers.last());
    for path in [
        "/api/v1/tokens",
        "/api/v1/whoami",
        "/api/v1/audit?limit=1000",
        "/api/v1/users",
        "/api/v1/users/boss",
    ] {
        answers.push(world.send(call("GET", path).token(&token)).await);
    }
    world.send(call("POST", "/api/v1/logout").token(&token).json(&json!({}))).await;
    answers.push(world.send(call("GET", "/api/v1/whoami").token(&token)).await);
    assert_eq!(answers.last().unwrap().code(), "not-authenticated");

    let said: String = answers.iter().map(|answer| format!("{answer:?}\n")).collect();
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("INSERT INTO secret"), "the log was looked at");
    let mut stored = Vec::new();
    for file in std::fs::read_dir(world.files.path()).unwrap() {
        stored.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let has =
        |bytes: &[u8], secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    assert!(has(&stored, "$argon2id$"), "the store was looked at");
    for secret in &secrets {
        // Of a random secret its body alone is as bad.
        let body = secret.trim_start_matches("slu_");
        assert!(!said.contains(body), "an answer shows {secret}:\n{said}");
        assert!(!logged.contains(body), "the log shows {secret}");
        assert!(!has(&stored, body), "the store has {secret}");
    }
}

#[tokio::test]
async fn p21_a_login_sets_a_cookie_that_only_this_server_gets_and_a_new_one_each_time() {
    let world = World::new().await;
    let one_time = first_admin::issue(world.engine.store(), world.now()).await.unwrap().text();
    let first = json!({ "token": one_time, "user": "boss", "password": PASSWORD });
    world.send(call("POST", "/api/v1/first-admin").json(&first)).await;
    let login = json!({ "user": "boss", "password": PASSWORD });
    let cookie_of = |answer: &Answer| {
        let set = answer.headers["set-cookie"].to_str().unwrap().to_owned();
        assert!(set.contains("; Secure; HttpOnly; SameSite=Strict;"), "{set}");
        set.split(['=', ';']).nth(1).unwrap().to_owned()
    };
    let answer = world.send(call("POST", "/api/v1/login").json(&login)).await;
    assert_eq!(answer.json().get("token"), None, "a page's scripts do not get it");
    let before = cookie_of(&answer);
    let who = |cookie: &str| call("GET", "/api/v1/whoami").cookie(cookie);
    assert_eq!(world.send(who(&before)).await.json()["user"], "boss");
    let after = cookie_of(&world.send(call("POST", "/api/v1/login").cookie(&before).json(&login)).await);
    assert_eq!(world.send(who(&before)).await.code(), "not-authenticated");
    world.wait(31 * 60);
    assert_eq!(world.send(who(&after)).await.code(), "not-authenticated", "idle for half an hour");
}
