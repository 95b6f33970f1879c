//! Real connections: TLS, both versions of HTTP, stopping.

use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::World;
use crate::http::{Certificate, Tls, serve};

/// What curl says of a path: status and version of HTTP.
async fn curl(arguments: Vec<String>) -> String {
    let run = move || {
        let output = Command::new("curl").args(["--silent", "--max-time", "20"]).args(arguments).output();
        let output = output.expect("curl runs");
        String::from_utf8(output.stdout).unwrap()
    };
    spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_and_programs_speak_to_it_over_tls_until_it_stops() {
    let world = World::new().await;
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let directory = tempfile::tempdir().unwrap();
    let certificate = Certificate::load_or_make(directory.path(), &hosts, Timestamp::now()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = Tls::new(certificate.config().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let app = world.app.clone();
    let serving = tokio::spawn(async move {
        let stopped = async move { _ = stopped.await };
        serve(app, listener, tls, stopped).await
    });

    let trust = directory.path().join("tls.pem").display().to_string();
    let get = |version: &str, path: &str| {
        let address = format!("https://localhost:{port}{path}");
        let more =
            ["--output", "/dev/null", "--write-out", "%{http_code} %{http_version}"].map(str::to_owned);
        let mut arguments = vec![version.to_owned(), "--cacert".to_owned(), trust.clone()];
        arguments.extend(more);
        arguments.push(address);
        arguments
    };
    assert_eq!(curl(get("--http2", "/healthz")).await, "200 2");
    assert_eq!(curl(get("--http1.1", "/readyz")).await, "200 1.1");
    assert_eq!(curl(get("--http2", "/api/v1/whoami")).await, "401 2");
    let by_address = get("--http2", "/healthz")
        .iter()
        .map(|argument| argument.replace("localhost", "127.0.0.1"))
        .collect();
    assert_eq!(curl(by_address).await, "421 2", "a host that the operator did not name");
    let untrusted = vec!["--head".to_owned(), format!("https://localhost:{port}/healthz")];
    assert_eq!(curl(untrusted).await, "", "whoever does not know the certificate gets nothing");
    let in_clear = vec![format!("http://localhost:{port}/healthz")];
    assert_eq!(curl(in_clear).await, "");

    // A list that is being followed does not keep it from stopping.
    let token = world.token("root", &[]).await;
    let mut follow = get("--http2", "/api/v1/events");
    follow.extend(["--header".to_owned(), format!("Authorization: Bearer {token}")]);
    let following = tokio::spawn(curl(follow));
    let connected = async {
        while world.app.followers().available_permits() == crate::http::FOLLOWERS_MAX {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), connected).await.expect("curl follows");
    stop.send(()).unwrap();
    let ended = timeout(Duration::from_secs(20), serving).await.expect("it stops").unwrap();
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(timeout(Duration::from_secs(20), following).await.unwrap().unwrap(), "200 2");
}
