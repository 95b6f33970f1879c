use std::io::Read as _;
use std::net::TcpListener;

use jiff::Timestamp;
use serde_json::Value;

use super::*;
use crate::store::StoreUrl;
use crate::store::audit::{Event, Outcome};

async fn store(directory: &std::path::Path) -> Store {
    Store::open(&StoreUrl::Sqlite(directory.join("test.db"))).await.unwrap()
}

/// So many events more.
async fn record(store: &Store, count: u64) {
    let mut tx = store.write().await.unwrap();
    for _ in 0..count {
        let event = Event {
            number: 1,
            action: "session-opened".to_owned(),
            actor: "zoë \"]".to_owned(),
            tenant: None,
            object: None,
            source: None,
            outcome: Outcome::Refused,
            reason: None,
            details: Value::Null,
        };
        tx.record(event, Timestamp::UNIX_EPOCH).await.unwrap();
    }
    tx.commit().await.unwrap();
}

fn export(store: &Store, directory: &std::path::Path, output: Output, backlog_max: u64) -> Export {
    Export { position: Position::of(directory, output.name()), output, store: store.clone(), backlog_max }
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_file_gets_every_event_once_also_after_a_restart_and_when_it_is_moved_away() {
    let directory = tempfile::tempdir().unwrap();
    let (store, path) = (store(directory.path()).await, directory.path().join("audit.jsonl"));
    let begin = || export(&store, directory.path(), Output::File(EventFile::new(path.clone())), 100);
    record(&store, 3).await;
    assert_eq!(begin().step().await.unwrap(), 3);
    record(&store, 2).await;
    assert_eq!(begin().step().await.unwrap(), 2);
    let told = lines(&path);
    let numbers: Vec<_> = told.iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    // The chain can be followed in it.
    assert!(told.windows(2).all(|pair| pair[1]["previous"] == pair[0]["hash"]));

    std::fs::rename(&path, directory.path().join("audit.jsonl.1")).unwrap();
    record(&store, 1).await;
    begin().step().await.unwrap();
    assert_eq!(lines(&path).len(), 1);
}

#[tokio::test]
async fn what_an_output_missed_is_counted_to_the_event_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let (store, path) = (store(directory.path()).await, directory.path().join("audit.jsonl"));
    record(&store, 25).await;
    let output = Output::File(EventFile::new(path.clone()));
    let mut export = export(&store, directory.path(), output, 10);
    export.step().await.unwrap();
    let told = lines(&path);
    assert_eq!(
        (told[0]["left_out"]["first"].as_u64(), told[0]["left_out"]["last"].as_u64()),
        (Some(1), Some(15))
    );
    assert_eq!((told[1]["seq"].as_u64(), told.len()), (Some(16), 11));
    let site = sluice_runtime::host::metrics::Site::new(
        |registry| store.meter().register(registry),
        Box::new(|| Ok(())),
    );
    assert!(site.metrics().unwrap().contains("sluice_audit_export_lost_total{output=\"file\"} 15\n"));
}

#[tokio::test]
async fn a_receiver_that_comes_back_is_told_what_it_missed() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let syslog = Syslog::new(format!("tcp://{address}").parse().unwrap());
    let mut export = export(&store, directory.path(), Output::Syslog(Box::new(syslog)), 100);
    record(&store, 2).await;
    assert!(export.step().await.is_err(), "nobody is there");
    let listener = TcpListener::bind(address).unwrap();
    assert_eq!(export.step().await.unwrap(), 2);
    drop(export);
    let (mut stream, _) = listener.accept().unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    // Each message after its length.
    let mut rest = text.as_str();
    for seq in 1..=2 {
        let (length, after) = rest.split_once(' ').unwrap();
        let (message, after) = after.split_at(length.parse().unwrap());
        assert!(message.starts_with("<108>1 1970-01-01T00:00:00Z "), "{message}");
        assert!(
            message.contains(&format!(
                " session-opened [sluice@32473 seq=\"{seq}\" actor=\"zo? \\\"\\]\" hash=\""
            )),
            "{message}"
        );
        assert!(message.is_ascii() && message.ends_with('}'), "{message}");
        rest = after;
    }
    assert_eq!(rest, "");
}
