//! The steps that run tests.

use std::process::Command;

use anyhow::Result;
use sluice_lab::requirements;

use super::skip_or_fail;
use crate::cargo::{cargo, root, target};
use crate::run::{Log, logged};
use crate::setup;
use crate::step::Outcome;

/// Unit, property and simulator tests; the libraries once more with RustCrypto alone; recorded fuzz inputs.
pub(crate) fn unit(log: &Log) -> Result<Outcome> {
    let mut runs = vec![
        test(&["--workspace", "--exclude", "sluice-lab"]),
        test(&["-p", "wg-proto", "-p", "router-core"]),
    ];
    if root().join("fuzz/Cargo.toml").is_file() {
        runs.push(fuzz_corpora());
    }
    all(runs, log)
}

/// Documentation tests and the examples that need no argument.
pub(crate) fn documentation(log: &Log) -> Result<Outcome> {
    all(vec![cargo(&["test", "--locked", "--workspace", "--doc"])], log)
}

/// The tests of the lab; needs root and tools.
pub(crate) fn end_to_end(log: &Log) -> Result<Outcome> {
    let missing = requirements::missing();
    if !missing.is_empty() {
        return Ok(skip_or_fail(missing.join("\n        - ")));
    }
    // The programs are not dependencies of the tests, so they are built by name first.
    let mut tests = test(&["-p", "sluice-lab"]);
    // What failed is in the error's chain; a backtrace would push the programs' logs out of sight.
    tests.env("RUST_BACKTRACE", "0");
    all(vec![cargo(&["build", "--locked", "--workspace", "--bins"]), tests], log)
}

/// One process per test with nextest, so that a hanging one can be ended; the built-in runner does where it is missing.
fn test(arguments: &[&str]) -> Command {
    let runner: &[&str] =
        if setup::has_nextest() { &["nextest", "run"] } else { &["test", "--lib", "--bins", "--tests"] };
    let mut command = cargo(runner);
    command.arg("--locked").args(arguments);
    command
}

/// `fuzz/` is a workspace of its own; its corpora are replayed as ordinary tests.
fn fuzz_corpora() -> Command {
    let mut command = cargo(&["test", "--manifest-path", "fuzz/Cargo.toml"]);
    command.env("CARGO_TARGET_DIR", target().join("fuzz"));
    command
}

fn all(commands: Vec<Command>, log: &Log) -> Result<Outcome> {
    for mut command in commands {
        if let Err(failure) = logged(&mut command, log)? {
            return Ok(Outcome::Failed(failure));
        }
    }
    Ok(Outcome::Passed)
}
