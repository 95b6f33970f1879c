//! `cargo xtask load` and `cargo xtask revocations`: the server's own proofs in full, which run in small with its tests.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::cargo::{cargo, root};

/// Arguments of `cargo xtask load` and `cargo xtask revocations`.
#[derive(Debug, Args)]
#[command(
    after_help = "Built with the test profile, as the tests are: our own code at opt-level 1, everything it uses at 2."
)]
pub(crate) struct Arguments {
    /// Build with the release profile, which takes minutes more
    #[arg(long)]
    release: bool,

    /// On this database alone
    #[arg(long)]
    only: Option<Store>,
}

/// A database.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Store {
    Sqlite,
    Postgres,
}

/// Runs the proofs of one module, in full, one after the other, and shows their figures.
pub(crate) fn main(module: &str, arguments: &Arguments) -> Result<ExitCode> {
    let mut command = cargo(&["test", "--locked", "--package", "sluice-server", "--lib"]);
    if arguments.release {
        command.arg("--release");
    }
    command.arg(format!("proofs::{module}::")).args(["--", "--nocapture", "--test-threads", "1"]);
    // A second filter is not "and" but "or", so what is not wanted is skipped.
    match arguments.only {
        Some(Store::Sqlite) => command.args(["--skip", "on_postgres"]),
        Some(Store::Postgres) => command.args(["--skip", "on_sqlite"]),
        None => &mut command,
    };
    let status = command.current_dir(root()).env("SLUICE_PROOF", "full").status().context("start cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
