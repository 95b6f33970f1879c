//! `cargo xtask bench`: several implementations end to end, measured in turns.
//!
//! One machine, all ends of all tunnels on it: figures compare programs in the same run and say little else. Rounds are
//! interleaved, so that whatever else the machine does hits all of them; the median of the rounds counts.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::setup;

mod chain;
mod egress;
mod flood;
mod lane;
mod latency;
mod pair;
mod programs;
mod report;
mod rounds;
mod samples;
mod search;
mod short;
mod throughput;
mod udp;
mod workers;

use report::Report;
use rounds::Rounds;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "The first run builds the other implementations into target/tools, which takes some minutes.\n\
    Nothing else should run on the machine meanwhile. Results are also saved as JSON in target/bench."
)]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value_t = Kind::All)]
    kind: Kind,
    /// Rounds per implementation
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Seconds per measurement
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=30))]
    seconds: u32,
    /// Only our own programs
    #[arg(long)]
    alone: bool,
    /// Numbers of workers to compare
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4], value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Vec<u16>,
    /// Handshake initiations a second in a flood
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    flood_rate: u32,
    /// How the tables are printed
    #[arg(long, value_enum, default_value_t = Output::Markdown)]
    output: Output,
    /// Take our programs as they lie beside this one, in whatever profile: a smoke test, not a measurement
    #[arg(long)]
    no_build: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Two plain interfaces: TCP
    Pair,
    /// Two plain interfaces: UDP of MTU size and of 64 bytes
    Udp,
    /// Client, router, connector, device: TCP through both tunnels and translations
    Chain,
    /// The same, with the connector's devices by sockets and by an interface, and onetun
    Egress,
    /// Short connections through the same: requests a second, and how soon a connection stands
    Short,
    /// Round trips of small datagrams, idle and under load
    Latency,
    /// Throughput while one end is flooded with handshakes
    Flood,
    /// Several peers with several workers, and order within flows; ours only
    Workers,
    /// All of them, one after the other
    All,
}

/// How tables are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables to read, and to paste
    Markdown,
    /// What is saved in target/bench, too
    Json,
}

/// Builds, measures, prints and saves.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    setup::prepare_lab()?;
    if !arguments.no_build {
        programs::build(arguments.alone)?;
    }
    let rounds = Rounds::new(arguments.rounds, arguments.seconds)?;
    let kinds = arguments.kind.parts();
    let estimate: u32 = kinds.iter().map(|kind| kind.seconds(arguments)).sum();
    eprintln!("About {} min {:02} s of measuring, after the build.", estimate / 60, estimate % 60);
    let mut complete = true;
    for kind in kinds {
        let report = kind.measure(arguments, &rounds)?;
        report.save()?;
        match arguments.output {
            Output::Markdown => println!("\n{}", report.markdown()),
            Output::Json => println!("{:#}", report.json()),
        }
        complete &= report.failures.is_empty();
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Kind {
    fn parts(self) -> Vec<Kind> {
        match self {
            Kind::All => vec![
                Kind::Pair,
                Kind::Udp,
                Kind::Chain,
                Kind::Egress,
                Kind::Short,
                Kind::Latency,
                Kind::Flood,
                Kind::Workers,
            ],
            Kind::Pair
            | Kind::Udp
            | Kind::Chain
            | Kind::Egress
            | Kind::Short
            | Kind::Latency
            | Kind::Flood
            | Kind::Workers => vec![self],
        }
    }

    /// How long it will take.
    fn seconds(self, arguments: &Arguments) -> u32 {
        let lanes = programs::measured(arguments.alone).len();
        let (lanes, measurements) = match self {
            // With the bare cable.
            Kind::Pair => (lanes + 1, pair::LOADS.len()),
            Kind::Udp => (lanes + 1, udp::TRIALS),
            Kind::Chain => (lanes, chain::LOADS.len()),
            Kind::Egress => (1, egress::measurements(arguments.alone)),
            Kind::Short => (short::lanes(arguments.alone), short::MEASURES.len()),
            // With the bare cable; a load is measured before it is applied.
            Kind::Latency => (lanes + 1, latency::CONDITIONS.len() + 1),
            Kind::Flood => (lanes, flood::STATES.len()),
            Kind::Workers => (arguments.workers.len(), workers::WORK.len()),
            Kind::All => (0, 0),
        };
        lanes as u32 * Rounds::estimate(arguments.rounds, measurements, arguments.seconds)
    }

    fn measure(self, arguments: &Arguments, rounds: &Rounds) -> Result<Report> {
        match self {
            Kind::Pair => pair::measure(arguments.alone, rounds),
            Kind::Udp => udp::measure(arguments.alone, rounds),
            Kind::Chain => chain::measure(arguments.alone, rounds),
            Kind::Egress => egress::measure(arguments.alone, rounds),
            Kind::Short => short::measure(arguments.alone, rounds),
            Kind::Latency => latency::measure(arguments.alone, rounds),
            Kind::Flood => flood::measure(arguments.alone, rounds, arguments.flood_rate),
            Kind::Workers => workers::measure(rounds, &arguments.workers),
            Kind::All => unreachable!("`all` has been taken apart"),
        }
    }
}
