//! `cargo xtask test`: the list of steps.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use rustix::process::geteuid;
use sluice_lab::requirements;

use crate::cargo::cargo;
use crate::deb;
use crate::instructions;
use crate::peers;
use crate::run::{Failure, Log, logged};
use crate::setup;
use crate::step::{Outcome, Step, run_all};

mod features;
mod layering;
mod no_std;
mod tests;

/// Arguments of `cargo xtask test`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask test                        everything; end-to-end tests only as root\n  \
    cargo xtask test --only fmt,clippy      two steps\n  \
    sudo -E env PATH=\"$PATH\" cargo xtask test --only end-to-end\n\n\
    Logs are under target/xtask/. Root installs what is missing; with CI=true nothing is skipped.")]
pub(crate) struct Arguments {
    /// Only these steps, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "STEP")]
    only: Vec<String>,
    /// Go on after a step failed
    #[arg(long)]
    keep_going: bool,
    /// List the steps and what they make sure of
    #[arg(long)]
    list: bool,
}

/// Cheap and frequent failures first.
static STEPS: [Step; 14] = [
    Step { name: "setup", about: "packages and tools are there", run: set_up },
    Step { name: "fmt", about: "the code is formatted", run: format },
    Step { name: "layering", about: "dependencies point the way DESIGN says", run: layering::check },
    Step { name: "clippy", about: "no lint complains", run: clippy },
    Step { name: "docs", about: "documentation builds without a warning", run: document },
    Step { name: "no-std", about: "the pure crates link without std", run: no_std::check },
    Step { name: "features", about: "each feature builds alone", run: features::check },
    Step { name: "build", about: "libraries, programs, tests and examples build", run: tests::build },
    Step { name: "tests", about: "unit, property and simulator tests", run: tests::unit },
    Step {
        name: "doc-tests",
        about: "examples in the documentation and beside it run",
        run: tests::documentation,
    },
    Step {
        name: "instructions",
        about: "the packet path executes no more than it did",
        run: instructions::check,
    },
    Step { name: "package", about: "the Debian package and its units", run: deb::step },
    Step { name: "end-to-end", about: "real programs in network namespaces", run: tests::end_to_end },
    Step { name: "licences", about: "dependencies' licences, bans and sources", run: licences },
];

/// Runs the chosen steps.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        STEPS.iter().for_each(|step| println!("{:<12} {}", step.name, step.about));
        return Ok(ExitCode::SUCCESS);
    }
    let passed = run_all(&chosen(&arguments.only)?, arguments.keep_going)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(only: &[String]) -> Result<Vec<&'static Step>> {
    if let Some(unknown) = only.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        bail!("there is no step {unknown:?}; `cargo xtask test --list` shows them");
    }
    let is_chosen = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    Ok(STEPS.iter().filter(is_chosen).collect())
}

/// Root and CI install what is missing; anybody else is told what it is and how to get it.
fn set_up(log: &Log) -> Result<Outcome> {
    if requirements::in_ci() || geteuid().is_root() {
        return Ok(setup::install(log)?.into());
    }
    let mut missing = requirements::missing();
    if !setup::has_deny() {
        missing.push("cargo-deny: cargo xtask setup".to_owned());
    }
    missing.extend(peers::missing());
    if missing.is_empty() {
        return Ok(Outcome::Passed);
    }
    Ok(Outcome::Skipped(format!(
        "later steps will be skipped for want of\n        - {}",
        missing.join("\n        - ")
    )))
}

fn format(log: &Log) -> Result<Outcome> {
    Ok(logged(&mut cargo(&["fmt", "--all", "--check"]), log)?.into())
}

fn clippy(log: &Log) -> Result<Outcome> {
    let arguments = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    Ok(logged(&mut cargo(&arguments), log)?.into())
}

fn document(log: &Log) -> Result<Outcome> {
    let arguments = ["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"];
    Ok(logged(cargo(&arguments).env("RUSTDOCFLAGS", "-D warnings"), log)?.into())
}

/// Advisories need a database from the network, so they are not part of the tests.
fn licences(log: &Log) -> Result<Outcome> {
    if !setup::has_deny() {
        return Ok(skip_or_fail("cargo-deny is not installed: cargo xtask setup".to_owned()));
    }
    Ok(logged(&mut cargo(&["deny", "check", "bans", "licenses", "sources"]), log)?.into())
}

/// What is missing is a failure in CI and a loud note elsewhere.
pub(crate) fn skip_or_fail(missing: String) -> Outcome {
    if requirements::in_ci() {
        return Outcome::Failed(Failure { reason: missing, log: String::new() });
    }
    Outcome::Skipped(missing)
}
