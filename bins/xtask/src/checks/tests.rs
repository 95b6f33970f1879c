//! The steps that run tests.

use std::process::Command;

use anyhow::Result;
use sluice_lab::requirements;

use super::skip_or_fail;
use crate::cargo::{cargo, root, target};
use crate::run::{Log, logged};
use crate::setup;
use crate::step::Outcome;

/// Which tests of the workspace.
#[derive(Clone, Copy)]
enum Which {
    EndToEnd,
    AllOthers,
}

/// Everything once, programs included: the steps after this one find it built. Building parts of the workspace by
/// themselves would choose other features of their dependencies and build those again.
pub(crate) fn build(log: &Log) -> Result<Outcome> {
    all(vec![cargo(&["build", "--locked", "--workspace", "--all-targets"])], log)
}

/// Unit, property and simulator tests; the libraries once more with RustCrypto alone; recorded fuzz inputs.
pub(crate) fn unit(log: &Log) -> Result<Outcome> {
    let mut runs = vec![workspace(Which::AllOthers), libraries()];
    if root().join("fuzz/Cargo.toml").is_file() {
        runs.push(fuzz_corpora());
    }
    all(runs, log)
}

/// The libraries' examples, which show how to embed them.
const EXAMPLES: [(&str, &str); 2] = [("wg-proto", "two_devices"), ("router-core", "pcap_node")];

/// Documentation tests, then the examples.
pub(crate) fn documentation(log: &Log) -> Result<Outcome> {
    let examples =
        EXAMPLES.map(|(package, name)| cargo(&["run", "--locked", "--package", package, "--example", name]));
    let mut runs = vec![cargo(&["test", "--locked", "--workspace", "--doc"])];
    runs.extend(examples);
    all(runs, log)
}

/// The tests of the lab; needs root and tools.
pub(crate) fn end_to_end(log: &Log) -> Result<Outcome> {
    let missing = requirements::missing();
    if !missing.is_empty() {
        return Ok(skip_or_fail(missing.join("\n        - ")));
    }
    let mut tests = workspace(Which::EndToEnd);
    // What failed is in the error's chain; a backtrace would push the programs' logs out of sight.
    tests.env("RUST_BACKTRACE", "0");
    // The programs are not dependencies of the tests.
    all(vec![cargo(&["build", "--locked", "--workspace", "--all-targets"]), tests, comparison()], log)
}

/// The comparison of `cargo xtask bench` with our own programs as they have just been built: every load once, for a second.
/// Its figures mean nothing here; that each is there is the test.
fn comparison() -> Command {
    // Not the program that runs this: the build may just have replaced its file.
    let mut command = Command::new(target().join("debug/xtask"));
    command.args(["bench", "all", "--rounds", "1", "--seconds", "1", "--alone", "--no-build"]);
    command
}

/// One process per test with nextest, so that a hanging one can be ended; the built-in runner where it is missing.
fn workspace(which: Which) -> Command {
    if setup::has_nextest() {
        let filter = match which {
            Which::EndToEnd => "package(sluice-lab)",
            Which::AllOthers => "not package(sluice-lab)",
        };
        return cargo(&["nextest", "run", "--locked", "--workspace", "--filterset", filter]);
    }
    let packages: &[&str] = match which {
        Which::EndToEnd => &["--package", "sluice-lab"],
        Which::AllOthers => &["--workspace", "--exclude", "sluice-lab"],
    };
    let mut command = cargo(&["test", "--locked", "--lib", "--bins", "--tests"]);
    command.args(packages);
    command
}

/// In the workspace's build aws-lc-rs takes over; here RustCrypto does the work.
fn libraries() -> Command {
    let runner: &[&str] =
        if setup::has_nextest() { &["nextest", "run"] } else { &["test", "--lib", "--tests"] };
    let mut command = cargo(runner);
    command.args(["--locked", "--package", "wg-proto", "--package", "router-core"]);
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
