//! `cargo xtask soak`: router, connector and client under churn for an hour; memory and descriptors must stay flat.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use comfy_table::Table;
use sluice_lab::Lab;
use sluice_lab::sluice::Sockets;
use sluice_lab::soak::{Report, Tally, run};

use crate::cargo::target;
use crate::run::Log;
use crate::{release, setup};

/// Arguments of `cargo xtask soak`.
#[derive(Debug, Args)]
#[command(after_help = "The samples are written to target/xtask/soak.csv. One minute of it is among the \
    end-to-end tests.\nWith SLUICE_BIN_DIR the programs there are run; else a release build is made first.")]
pub(crate) struct Arguments {
    /// How long
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,

    /// Router and connectors without privileges, devices by sockets
    #[arg(long)]
    rootless: bool,
}

/// Builds, runs, writes the samples, judges.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    setup::prepare_lab()?;
    release::build(&["sluice-router", "sluice-connector"], &Log::new("soak-build")?)?;
    let sockets = arguments.rootless.then(Sockets::default);
    let report = run(&Lab::new()?, Duration::from_secs(arguments.minutes * 60), sockets)?;
    let path = target().join("xtask/soak.csv");
    std::fs::create_dir_all(target().join("xtask"))?;
    std::fs::write(&path, report.csv())?;
    println!("{}\n{}", done(report.tally), table(&report));
    println!("samples: {}", path.display());
    report.check()?;
    println!("flat, and no unexpected warning");
    Ok(ExitCode::SUCCESS)
}

fn done(tally: Tally) -> String {
    let Tally { answered, unanswered, reloads, visits, moves, weather, restarts, flows, crashes } = tally;
    format!(
        "{answered} requests answered, {unanswered} not; {flows} more flows; {reloads} reloads, {visits} visits of a \
         guest, {moves} moves, {weather} changes of weather, {restarts} restarts of the client, {crashes} of a connector"
    )
}

fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table.set_header(["program", "at the end", "in the last two thirds"]);
    for watched in &report.watched {
        for (series, unit) in [(&watched.resident_kib, "KiB"), (&watched.descriptors, "descriptors")] {
            let last = format!("{} {unit}", series.last());
            table.add_row([watched.name.clone(), last, series.flatness().to_string()]);
        }
        let [before, after] = watched.descriptors_around;
        let around = format!("{before} before the first flow, {after} after the last");
        table.add_row([watched.name.clone(), format!("{after} descriptors"), around]);
    }
    table
}
