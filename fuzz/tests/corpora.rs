//! Replays the committed inputs, sees that they reach what there is to reach, and keeps targets, programs, corpora and
//! dictionaries in step.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sluice_fuzz::{TARGETS, Tally, Target};

/// Bytes of all committed inputs of one target: a checkout stays small, and a replay short.
const CORPUS_BYTES_MAX: usize = 200 << 10;
/// Changed inputs tried of each target, spread over its committed ones.
const CHANGES: usize = 500;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Names in a directory, without extension.
fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(here(directory)).unwrap();
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The committed inputs of a target, by name.
fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(here("corpus").join(target.name)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap()
}

/// Each target has tests of its own, which run side by side.
macro_rules! every_target {
    ($test:ident: $($name:ident)*) => {
        mod $test {
            $(#[test] fn $name() { super::$test(super::target(stringify!($name))); })*

            #[test]
            fn no_target_is_left_out() {
                let tested = [$(stringify!($name)),*];
                assert!(super::TARGETS.iter().map(|target| target.name).eq(tested));
            }
        }
    };
}

every_target!(p03_committed_inputs_keep_the_promises_and_reach_every_outcome:
    admin_conversation config_file control_frames fragment_sequence handshake_pair icmp_quote ip_packet nat_operations
    offload_packets router_packets stack_packets transport_operations uapi_conversation wireguard_datagram);

fn p03_committed_inputs_keep_the_promises_and_reach_every_outcome(target: &Target) {
    let (mut tally, mut bytes) = (Tally::default(), 0);
    for (path, input) in corpus(target) {
        println!("{}", path.display());
        (target.run)(&input, &mut tally);
        bytes += input.len();
    }
    println!("{} bytes", bytes);
    for (outcome, count) in tally.iter() {
        println!("{count:8} {outcome}");
    }
    assert!(bytes <= CORPUS_BYTES_MAX, "the committed inputs are {bytes} bytes");
    let reached: BTreeSet<&str> = tally.iter().map(|(outcome, _)| outcome).collect();
    let expected: BTreeSet<&str> = target.outcomes.iter().copied().collect();
    assert_eq!(expected.difference(&reached).collect::<Vec<_>>(), [&""; 0], "never reached");
    assert_eq!(reached.difference(&expected).collect::<Vec<_>>(), [&""; 0], "not among the outcomes");
}

every_target!(p03_changed_inputs_keep_the_promises:
    admin_conversation config_file control_frames fragment_sequence handshake_pair icmp_quote ip_packet nat_operations
    offload_packets router_packets stack_packets transport_operations uapi_conversation wireguard_datagram);

/// A little fuzzing without a fuzzer: inputs made from the committed ones by a fixed sequence of changes.
fn p03_changed_inputs_keep_the_promises(target: &Target) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let corpus = corpus(target);
    for (_, original) in corpus.iter().cycle().take(CHANGES).filter(|(_, original)| !original.is_empty()) {
        let mut changed = original.clone();
        for _ in 0..1 + next() % 4 {
            let at = next() % changed.len();
            changed[at] = next() as u8;
        }
        changed.truncate(changed.len() - next() % 2 * (next() % changed.len()));
        (target.run)(&changed, &mut Tally::default());
    }
}

#[test]
fn the_empty_input_is_fine_everywhere() {
    for target in TARGETS {
        (target.run)(&[], &mut Tally::default());
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let expected: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names("fuzz_targets"), expected);
    assert_eq!(names("corpus"), expected);
    assert!(names("dictionaries").is_subset(&expected));
    let manifest = fs::read_to_string(here("Cargo.toml")).unwrap();
    for name in expected {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} has no [[bin]]");
    }
}

/// A key that no fuzzer knows of is one whose faults it does not find.
#[test]
fn the_dictionary_of_configurations_has_every_key_of_the_examples() {
    let dictionary = fs::read_to_string(here("dictionaries/config_file.dict")).unwrap();
    for example in ["router.toml", "router-behind-gateway.toml", "connector.toml"] {
        let text = fs::read_to_string(here("../docs/examples").join(example)).unwrap();
        let table: toml::Table = text.parse().unwrap();
        for key in keys(&toml::Value::Table(table)) {
            assert!(
                dictionary.contains(&format!("\"{key} = \"")) || dictionary.contains(&format!("[{key}]")),
                "{key}"
            );
        }
    }
}

fn keys(value: &toml::Value) -> Vec<String> {
    match value {
        toml::Value::Table(table) => {
            table.iter().flat_map(|(key, value)| std::iter::once(key.clone()).chain(keys(value))).collect()
        }
        toml::Value::Array(values) => values.iter().flat_map(keys).collect(),
        toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => Vec::new(),
    }
}
