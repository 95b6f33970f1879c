//! `cargo xtask bench`: pairs of plain interfaces of several implementations, measured in turns.
//!
//! One machine, one TCP stream, both tunnel ends on it: figures compare programs in the same run and say little else. Rounds
//! are interleaved, so that whatever else the machine does hits all of them; the median of the rounds counts.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::Table;
use sluice_lab::peer::Implementation;
use sluice_lab::services::{Direction, Iperf};
use sluice_lab::topology::{Pair, PairConfig};
use sluice_lab::{Lab, binaries};

use crate::cargo::{cargo, target, tools};
use crate::run::{Log, logged};
use crate::setup;

/// Other projects' programs from the crate registry, in exactly these versions.
const PEERS: [(&str, &str); 2] = [("gotatun-cli", "0.10.2"), ("boringtun-cli", "0.7.1")];

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "The first run builds the other implementations into target/tools, which takes some minutes.\n\
    Nothing else should run on the machine meanwhile."
)]
pub(crate) struct Arguments {
    /// Rounds per implementation
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Seconds per measurement
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=30))]
    seconds: u32,
    /// Only our own interfaces
    #[arg(long)]
    alone: bool,
}

/// One implementation's pair and what was measured on it.
struct Lane {
    program: Implementation,
    pair: Pair,
    iperf: Iperf,
    upload: Vec<f64>,
    download: Vec<f64>,
    // Dropped last: it owns what the others use.
    _lab: Lab,
}

/// Builds, measures, prints a table.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    setup::prepare_lab()?;
    build(arguments.alone)?;
    let programs: &[Implementation] = if arguments.alone {
        &[Implementation::Sluice]
    } else {
        &[
            Implementation::Sluice,
            Implementation::Gotatun,
            Implementation::WireguardGo,
            Implementation::Boringtun,
        ]
    };
    let mut lanes: Vec<Lane> = programs.iter().map(|&program| lane(program)).collect::<Result<_>>()?;
    for round in 1..=arguments.rounds {
        println!("round {round} of {}", arguments.rounds);
        lanes.iter_mut().try_for_each(|lane| measure(lane, arguments.seconds))?;
    }
    println!("\n{}", table(&mut lanes));
    Ok(ExitCode::SUCCESS)
}

fn build(alone: bool) -> Result<()> {
    let log = Log::new("bench-build")?;
    let mut commands = vec![cargo(&["build", "--locked", "--release", "-p", "sluice-router", "--bins"])];
    let root = tools().display().to_string();
    for (name, version) in PEERS.into_iter().filter(|_| !alone) {
        let package = format!("{name}@{version}");
        let mut install = cargo(&["install", "--locked", "--root", &root, &package]);
        install.env("CARGO_TARGET_DIR", tools().join("build"));
        commands.push(install);
    }
    for mut command in commands {
        println!("{}", crate::run::show(&command));
        if let Err(failure) = logged(&mut command, &log)? {
            bail!("{}\n{}", failure.log, failure.reason);
        }
    }
    binaries::use_directory(target().join("release"));
    Ok(())
}

fn lane(program: Implementation) -> Result<Lane> {
    let lab = Lab::new()?;
    let pair = Pair::start(&lab, &PairConfig::new(program, program)).context(program.name())?;
    pair.wait_until_up().context(program.name())?;
    let iperf = Iperf::start(&pair.right.host)?;
    Ok(Lane { program, pair, iperf, upload: Vec::new(), download: Vec::new(), _lab: lab })
}

fn measure(lane: &mut Lane, seconds: u32) -> Result<()> {
    for (direction, results) in
        [(Direction::Upload, &mut lane.upload), (Direction::Download, &mut lane.download)]
    {
        let report = lane.iperf.measure(&lane.pair.left.host, Pair::RIGHT[0], 5201, seconds, direction)?;
        results.push(report.bits_per_second / 1e9);
    }
    Ok(())
}

fn table(lanes: &mut [Lane]) -> Table {
    let mut table = Table::new();
    table.set_header(["one TCP stream, Gbit/s", "upload", "download", "all rounds"]);
    for lane in lanes {
        let rounds: Vec<String> =
            lane.upload.iter().chain(&lane.download).map(|rate| format!("{rate:.2}")).collect();
        let (upload, download) = (median(&mut lane.upload), median(&mut lane.download));
        table.add_row([
            lane.program.name().into(),
            format!("{upload:.2}"),
            format!("{download:.2}"),
            rounds.join(" "),
        ]);
    }
    table
}

/// The middle of the sorted values; the lower one of two middles. There is at least one round.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len().max(1) - 1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_values() {
        for (mut values, expected) in
            [(vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.0)]
        {
            assert!((median(&mut values) - expected).abs() < f64::EPSILON, "{values:?}");
        }
    }
}
