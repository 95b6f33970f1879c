//! `cargo xtask instructions`: counts what the packet path executes, and fails when that grew.
//!
//! Time depends on the machine and its mood, instructions do not: callgrind counts them exactly. What does depend on the
//! processor is left out: the cipher here, the C library in [`profile`]. Counts still change with the compiler and with
//! libraries; then `--bless` them.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use sluice_lab::requirements;

use crate::cargo::{cargo, target};
use crate::run::{Failure, Log, logged};
use crate::step::Outcome;

mod profile;
mod table;

use table::Table;

/// Entering and leaving these functions turns counting on and off: it pauses in the cipher, which chooses its code by the
/// processor. Where something is sealed before the section that counts, the two are the other way round; therefore
/// counts of that time are forgotten.
const CALLGRIND: [&str; 5] = [
    "--tool=callgrind",
    "--collect-atstart=no",
    "--toggle-collect=*counted_section*",
    "--toggle-collect=*crypto::rustcrypto::Aead::*",
    "--zero-before=*forget_counts*",
];

/// Arguments of `cargo xtask instructions`.
#[derive(Debug, Args)]
#[command(
    after_help = "Needs valgrind. The table is benches/instructions.toml; commit it with the change that blessed it."
)]
pub(crate) struct Arguments {
    /// Write what was counted into the table instead of comparing with it
    #[arg(long)]
    bless: bool,
}

/// Counts, prints all counts, compares them or keeps them.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(requirements::is_installed("valgrind"), "valgrind is not installed: cargo xtask setup");
    let counted = match count(&Log::new("instructions")?)? {
        Ok(counted) => counted,
        Err(failure) => bail!("{}\n{}", failure.log, failure.reason),
    };
    let mut table = Table::read()?;
    println!("{}", table.compare(&counted));
    if arguments.bless {
        table.bless(counted)?;
        return Ok(ExitCode::SUCCESS);
    }
    match table.complaint(&counted) {
        None => Ok(ExitCode::SUCCESS),
        Some(complaint) => {
            eprintln!("{complaint}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The same as a step of `cargo xtask test`. Only x86-64 has a table.
pub(crate) fn check(log: &Log) -> Result<Outcome> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(Outcome::Skipped("instructions are counted on x86-64 only".to_owned()));
    }
    if !requirements::is_installed("valgrind") {
        return Ok(super::checks::skip_or_fail("valgrind is not installed: cargo xtask setup".to_owned()));
    }
    let counted = match count(log)? {
        Ok(counted) => counted,
        Err(failure) => return Ok(Outcome::Failed(failure)),
    };
    let table = Table::read()?;
    let complaint = table.complaint(&counted);
    Ok(complaint
        .map_or(Outcome::Passed, |reason| Outcome::Failed(Failure { reason, log: table.compare(&counted) })))
}

/// A scenario and the instructions of one operation.
type Counted = Vec<(String, u64)>;

/// Builds the scenarios as programs are released, and counts each in a process of its own.
fn count(log: &Log) -> Result<Result<Counted, Failure>> {
    let build = [
        "build",
        "--locked",
        "--release",
        "--package=sluice-benches",
        "--bin=instructions",
        "--no-default-features",
        "--features=rustcrypto",
    ];
    let mut build = cargo(&build);
    // An incremental build inlines otherwise, and is not what is released.
    build.env("CARGO_INCREMENTAL", "0");
    if let Err(failure) = logged(&mut build, log)? {
        return Ok(Err(failure));
    }
    let mut counted = Counted::new();
    for (name, operations) in scenarios()? {
        match count_one(&name, log)? {
            Ok(total) => counted.push((name, total / operations)),
            Err(failure) => return Ok(Err(failure)),
        }
    }
    Ok(Ok(counted))
}

fn count_one(name: &str, log: &Log) -> Result<Result<u64, Failure>> {
    let output = target().join("xtask").join(format!("instructions-{name}.callgrind"));
    let mut callgrind = Command::new("valgrind");
    callgrind
        .args(CALLGRIND)
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(program())
        .arg(name);
    if let Err(failure) = logged(&mut callgrind, log)? {
        return Ok(Err(failure));
    }
    let text = std::fs::read_to_string(&output).with_context(|| format!("read {}", output.display()))?;
    let total =
        profile::instructions(&text).with_context(|| format!("{} is no profile", output.display()))?;
    Ok(Ok(total))
}

fn scenarios() -> Result<Vec<(String, u64)>> {
    let output = Command::new(program()).arg("--list").output().context("run the scenarios' program")?;
    let text = String::from_utf8(output.stdout)?;
    let line = |line: &str| {
        let (name, operations) = line.split_once(' ').context("a line of the list")?;
        Ok((name.to_owned(), operations.parse()?))
    };
    text.lines().map(line).collect()
}

fn program() -> std::path::PathBuf {
    target().join("release/instructions")
}
