//! `cargo xtask tunnels`: our tunnel and other projects' tunnels in memory, in one criterion run.
//!
//! What the others depend on is in a workspace of its own, `benches/peers`, which nothing else builds.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::cargo::{cargo, root, target};

/// Arguments of `cargo xtask tunnels`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask tunnels                              everything, about two minutes after the build\n  \
    cargo xtask tunnels -- handshake                 what is named so\n  \
    cargo xtask tunnels -- --measurement-time 2      any of criterion's options")]
pub(crate) struct Arguments {
    /// Passed on to criterion
    #[arg(last = true, value_name = "CRITERION")]
    criterion: Vec<String>,
}

/// Builds and measures.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    // Not `--locked`: nothing else would notice that a change of ours asks for another lock file; the others' versions are exact.
    let mut bench = cargo(&["bench", "--manifest-path", "benches/peers/Cargo.toml", "--"]);
    bench.args(&arguments.criterion).current_dir(root()).env("CARGO_TARGET_DIR", target().join("peers"));
    let status = bench.status().context("start cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
