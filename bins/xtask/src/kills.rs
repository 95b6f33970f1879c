//! `cargo xtask kills`: a server that is killed at random moments, again and again; nothing it answered for may be lost.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use sluice_lab::{Lab, kills};

use crate::run::Log;
use crate::{release, setup};

/// Arguments of `cargo xtask kills`.
#[derive(Debug, Args)]
#[command(
    after_help = "A dozen of them are among the end-to-end tests.\nWith SLUICE_BIN_DIR the program there is run; else a \
    release build is made first."
)]
pub(crate) struct Arguments {
    /// How often
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    kills: u64,

    /// Says when; the same seed gives the same lives
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Builds, kills, judges.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    setup::prepare_lab()?;
    release::build(&["sluice-server"], &Log::new("kills-build")?)?;
    let report = kills::run(&Lab::new()?, usize::try_from(arguments.kills)?, arguments.seed)?;
    println!("{report:#?}\nnothing that was answered for is missing, and the audit chain is whole");
    Ok(ExitCode::SUCCESS)
}
