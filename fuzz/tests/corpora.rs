//! Replays the committed inputs, and keeps targets, binaries and corpora in step.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sluice_fuzz::TARGETS;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Names in a directory, without extension.
fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(here(directory)).unwrap();
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn p03_every_committed_input_keeps_the_promises() {
    for (name, target) in TARGETS {
        let inputs: Vec<PathBuf> =
            fs::read_dir(here("corpus").join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!inputs.is_empty(), "{name} has no inputs");
        for input in inputs {
            println!("{}", input.display());
            target(&fs::read(&input).unwrap());
        }
    }
}

#[test]
fn the_empty_input_is_fine_everywhere() {
    for (_, target) in TARGETS {
        target(&[]);
    }
}

#[test]
fn every_target_has_a_binary_and_a_corpus() {
    let expected: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), expected);
    assert_eq!(names("corpus"), expected);
    let manifest = fs::read_to_string(here("Cargo.toml")).unwrap();
    for name in expected {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} has no [[bin]]");
    }
}

/// A little fuzzing without a fuzzer: inputs made from the committed ones by a fixed sequence of changes.
#[test]
fn p03_changed_inputs_keep_the_promises() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for (name, target) in TARGETS {
        for entry in fs::read_dir(here("corpus").join(name)).unwrap() {
            let original = fs::read(entry.unwrap().path()).unwrap();
            for _ in 0..50 {
                let mut changed = original.clone();
                for _ in 0..1 + next() % 4 {
                    let at = next() % changed.len();
                    changed[at] = next() as u8;
                }
                changed.truncate(changed.len() - next() % 2 * (next() % changed.len()));
                target(&changed);
            }
        }
    }
}
