//! `cargo xtask fuzz`: every target in turn, with libFuzzer on the stable toolchain; what it found joins the corpora.
//! Read first: docs/fuzzing.md.

use std::fs;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::Table;

use crate::cargo::root;

mod campaign;
mod growth;
mod program;

use campaign::{Campaign, State};

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask fuzz                                every target, a minute each\n  \
    cargo xtask fuzz config_file --seconds 600      one target, longer\n  \
    cargo xtask fuzz --until-flat --rounds 30       every target until it reaches nothing new, or for 30 minutes\n\n\
    Needs a C++ compiler for libFuzzer. An input that breaks a promise is kept in fuzz/artifacts/TARGET/.")]
pub(crate) struct Arguments {
    /// Only these targets
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target runs, or each of its rounds
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
    /// Repeat rounds until three in a row, with 50 000 inputs between them, reach no new edge
    #[arg(long)]
    until_flat: bool,
    /// With --until-flat: at most so many rounds for each target
    #[arg(long, default_value_t = 30, value_name = "N", requires = "until_flat")]
    rounds: usize,
}

/// Builds, runs and merges.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    let targets = chosen(&arguments.targets)?;
    program::build()?;
    let rounds_max = if arguments.until_flat { arguments.rounds } else { 1 };
    let mut all = Vec::new();
    for target in targets {
        let mut campaign = Campaign::new(&target);
        while !campaign.is_over(rounds_max) {
            println!("{target}: round {} of at most {rounds_max}", campaign.rounds() + 1);
            campaign.run(arguments.seconds)?;
        }
        if campaign.state() != State::Broken {
            program::merge(&target)?;
        }
        println!("{}", table(std::slice::from_ref(&campaign)));
        all.push(campaign);
    }
    println!("{}", table(&all));
    let is_broken = |campaign: &&Campaign| campaign.state() == State::Broken;
    for broken in all.iter().filter(is_broken) {
        eprintln!("{0} broke a promise: the input is in fuzz/artifacts/{0}/", broken.target);
    }
    Ok(if all.iter().any(|campaign| is_broken(&campaign)) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn chosen(wanted: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        all.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    all.sort();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown:?}; there are {}", all.join(", "));
    }
    all.retain(|name| wanted.is_empty() || wanted.contains(name));
    Ok(all)
}

fn table(all: &[Campaign]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["target", "edges before", "after", "inputs", "a second", "rounds", "quiet", "state"]);
    for campaign in all {
        table.add_row([
            campaign.target.clone(),
            campaign.edges_before().to_string(),
            campaign.edges().to_string(),
            campaign.inputs().to_string(),
            campaign.inputs_per_second().to_string(),
            campaign.rounds().to_string(),
            campaign.quiet_rounds().to_string(),
            campaign.state().to_string(),
        ]);
    }
    table
}
