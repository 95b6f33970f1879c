//! Golden files: each message of each version, as it stands on the wire. They never change; a new version has its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::fs;
use std::path::Path;

use control_proto::{FromAgent, FromServer, Misread, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// All messages in `golden/v1/FROM_*.json`, without the line end that editors want.
fn golden(from: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let named = files.into_iter().map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, fs::read(path).unwrap().trim_ascii_end().to_vec())
    });
    named.filter(|(name, _)| name.starts_with(from)).collect()
}

fn same_both_ways<M: DeserializeOwned + Serialize>(
    from: &str,
    word: impl Fn(&M) -> &'static str,
) -> Vec<String> {
    let mut words = Vec::new();
    for (name, bytes) in golden(from) {
        let message: M = decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let frame = encode(&message).unwrap();
        assert_eq!(String::from_utf8_lossy(&frame[4..]), String::from_utf8_lossy(&bytes), "{name}");
        words.push(word(&message).to_owned());
    }
    words.sort();
    words.dedup();
    words
}

#[test]
fn every_message_of_an_agent_is_read_and_written_as_it_stands_in_its_file() {
    let words = same_both_ways::<FromAgent>("agent-", FromAgent::word);
    assert_eq!(
        words,
        ["ack", "bye", "counters", "flows", "health", "heartbeat", "hello", "peers", "refusals", "refused"]
    );
}

#[test]
fn every_message_of_the_server_is_read_and_written_as_it_stands_in_its_file() {
    let words = same_both_ways::<FromServer>("server-", FromServer::word);
    assert_eq!(words, ["bye", "counted", "delta", "heard", "lease", "snapshot", "welcome"]);
}

fn text_of(name: &str) -> String {
    let (_, bytes) = golden(name).into_iter().find(|(file, _)| file == name).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn misread(text: &str) -> Misread {
    decode::<FromServer>(text.as_bytes()).unwrap_err()
}

#[test]
fn what_is_wrong_is_refused_whole_and_the_place_is_named() {
    let (snapshot, delta) = (text_of("server-snapshot-router"), text_of("server-delta"));
    let long = format!("\"{}\"", "x".repeat(129));
    let full = format!("[{}]", vec!["\"10.9.9.9\""; 65].join(","));
    for (text, from, to, at, problem) in [
        (
            &snapshot,
            "\"src_nat\":true",
            "\"src_nat\":true,\"extra\":1",
            "snapshot.items[3].grant.extra",
            "unknown field `extra`",
        ),
        (&snapshot, "\"src_nat\":true,", "", "snapshot.items[3].grant", "missing field `src_nat`"),
        (
            &snapshot,
            "10.20.0.5 tcp 22",
            "10.20.0.5 tcp 22-21",
            "snapshot.items[3].grant.destinations[0].selector",
            "ends before it starts",
        ),
        (
            &snapshot,
            "10.77.0.2/32",
            "10.77.0.2/24",
            "snapshot.items[1].peer.allowed_ips[0]",
            "write `10.77.0.0/24`",
        ),
        (&snapshot, "\"alice's laptop\"", &long, "snapshot.items[1].peer.name", "129 bytes"),
        (
            &snapshot,
            "[\"10.99.0.1\",\"fd99::1\"]",
            &full,
            "snapshot.items[0].identity.addresses",
            "more than 64",
        ),
        (&snapshot, "\"parts\":1", "\"parts\":-1", "snapshot.parts", "invalid value"),
        (&delta, "\"remove\"", "\"drop\"", "delta.changes[1]", "unknown variant `drop`"),
        (
            &delta,
            "{\"grant\":\"7c0a1e55-1111",
            "{\"grant\":\"7c0a1e55-111",
            "delta.changes[1].remove.grant",
            "not a UUID",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let misread = misread(&text.replace(from, to));
        assert_eq!(misread.at, at, "{misread}");
        assert!(misread.problem.contains(problem), "{misread}");
    }
}

#[test]
fn a_message_that_is_cut_off_or_followed_by_something_is_none() {
    let delta = text_of("server-delta");
    for len in 0..delta.len() {
        assert!(decode::<FromServer>(&delta.as_bytes()[..len]).is_err(), "{len}");
    }
    assert!(misread(&(delta + "{}")).problem.contains("trailing"));
}

#[test]
fn keys_that_come_twice_and_deep_nesting_are_refused() {
    assert!(
        misread(r#"{"lease":{"generation":1,"generation":2,"ttl_ms":1,"heartbeat":1}}"#)
            .problem
            .contains("duplicate")
    );
    assert!(misread(&"[".repeat(100_000)).problem.contains("line 1"));
    let nested = format!(r#"{{"delta":{}"#, "[".repeat(100_000));
    assert!(misread(&nested).problem.contains("line 1"));
}
