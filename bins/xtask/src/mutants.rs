//! `cargo xtask mutants`: what share of deliberate defects the pure crates' tests notice.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::Table;
use serde_json::Value;

use crate::cargo::{cargo, root, target};
use crate::run::{Log, logged, show};
use crate::setup::{self, CargoTool};

const MUTANTS: CargoTool = CargoTool { name: "mutants", version: "27.1.0", accepted: "cargo-mutants 27." };

/// Arguments of `cargo xtask mutants`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask mutants --package wg-proto           all of one crate\n  \
    cargo xtask mutants --shard 3/40                 every 40th mutant of both, beginning with the third\n  \
    cargo xtask mutants --file router-core/src/nat/ports.rs\n\n\
    A mutant takes three seconds of one core to build, and from one to thirty to test: those that live take longest. All of\n\
    wg-proto is an hour or two, router-core a night; a shard is a fair sample.\n\
    What is left out, and why, is in .cargo/mutants.toml.")]
pub(crate) struct Arguments {
    /// Only mutants of this crate
    #[arg(long, value_name = "NAME", value_parser = CRATES)]
    package: Option<String>,
    /// One part of all mutants, spread evenly over the sources: K/N with K < N
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Only mutants of these sources
    #[arg(long, value_name = "PATH")]
    file: Vec<String>,
    /// Wanted share of caught mutants, in percent
    #[arg(long, default_value_t = 90.0)]
    wanted: f64,
}

const CRATES: [&str; 2] = ["wg-proto", "router-core"];

/// What became of a crate's mutants. One that does not compile says nothing and is not counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    caught: u32,
    timed_out: u32,
    missed: Vec<String>,
}

impl Score {
    fn percent(&self) -> f64 {
        let noticed = f64::from(self.caught + self.timed_out);
        let all = noticed + self.missed.len() as f64;
        if all == 0.0 { 100.0 } else { noticed * 100.0 / all }
    }
}

/// Runs cargo-mutants, prints a table and the mutants that lived.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    let log = Log::new("mutants")?;
    if let Err(failure) = setup::install_cargo_tool(&MUTANTS, &log)? {
        bail!("{}\n{}", failure.log, failure.reason);
    }
    let output = target().join("mutants");
    let build = output.join("build");
    if let Err(failure) = logged(&mut clean(&build), &log)? {
        bail!("{}\n{}", failure.log, failure.reason);
    }
    run(command(arguments, &output).env("CARGO_TARGET_DIR", &build))?;
    let path = output.join("mutants.out/outcomes.json");
    let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let outcomes: Value = serde_json::from_slice(&text)?;
    let scores = CRATES.map(|name| score(&outcomes, name));
    Ok(report(&scores, arguments.wanted))
}

/// Dependencies stay built from run to run. What was built of the crates themselves is of no use: each run copies them to a
/// directory of its own.
fn clean(build: &Path) -> Command {
    let mut command = cargo(&["clean", "--profile", "mutants"]);
    command.env("CARGO_TARGET_DIR", build);
    CRATES.iter().for_each(|name| {
        command.args(["--package", name]);
    });
    command
}

fn command(arguments: &Arguments, output: &Path) -> Command {
    let mut command = cargo(&["mutants", "--no-times", "--colors", "never", "--jobs", "1"]);
    command.arg("--output").arg(output);
    // Where a property does not hold, no smaller example of it is looked for.
    command.env("PROPTEST_MAX_SHRINK_ITERS", "0");
    let wanted = |name: &&str| arguments.package.as_deref().is_none_or(|package| package == *name);
    CRATES.iter().copied().filter(wanted).for_each(|name| {
        command.args(["--package", name]);
    });
    if let Some(shard) = &arguments.shard {
        command.args(["--shard", shard, "--sharding", "round-robin"]);
    }
    arguments.file.iter().for_each(|file| {
        command.args(["--file", file]);
    });
    command
}

/// Progress goes to the terminal. Its exit code is no failure of ours: 2 means that mutants were missed, 3 that some timed out.
fn run(command: &mut Command) -> Result<()> {
    println!("{}", show(command));
    let status = command.current_dir(root()).stdin(Stdio::null()).status().context("start cargo-mutants")?;
    match status.code() {
        Some(0 | 2 | 3) => Ok(()),
        _ => bail!("cargo-mutants ended with {status}; do the tests pass without mutants?"),
    }
}

fn score(outcomes: &Value, package: &str) -> Score {
    let mut score = Score::default();
    for outcome in outcomes["outcomes"].as_array().into_iter().flatten() {
        let mutant = &outcome["scenario"]["Mutant"];
        if mutant["package"] != package {
            continue;
        }
        match outcome["summary"].as_str() {
            Some("CaughtMutant") => score.caught += 1,
            Some("Timeout") => score.timed_out += 1,
            Some("MissedMutant") => score.missed.push(mutant["name"].as_str().unwrap_or("?").to_owned()),
            _ => {}
        }
    }
    score
}

fn report(scores: &[Score; 2], wanted: f64) -> ExitCode {
    let mut table = Table::new();
    table.set_header(["crate", "caught", "timed out", "missed", "percent"]);
    for (name, score) in CRATES.iter().zip(scores) {
        table.add_row([
            (*name).to_owned(),
            score.caught.to_string(),
            score.timed_out.to_string(),
            score.missed.len().to_string(),
            format!("{:.1}", score.percent()),
        ]);
    }
    println!("\n{table}");
    scores.iter().flat_map(|score| &score.missed).for_each(|name| println!("missed: {name}"));
    if scores.iter().all(|score| score.percent() >= wanted) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_counts_for_its_own_crate_and_one_that_does_not_compile_for_none() {
        let outcome = |package: &str, name: &str, summary: &str| serde_json::json!({ "scenario": { "Mutant": { "package": package, "name": name } }, "summary": summary });
        let outcomes = serde_json::json!({ "outcomes": [
            { "scenario": "Baseline", "summary": "Success" },
            outcome("wg-proto", "a", "CaughtMutant"),
            outcome("wg-proto", "b", "MissedMutant"),
            outcome("wg-proto", "c", "Unviable"),
            outcome("wg-proto", "d", "Timeout"),
            outcome("router-core", "e", "CaughtMutant"),
        ] });
        let score = score(&outcomes, "wg-proto");
        assert_eq!(score, Score { caught: 1, timed_out: 1, missed: vec!["b".to_owned()] });
        assert!((score.percent() - 66.666).abs() < 0.01);
    }
}
