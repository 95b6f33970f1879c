//! `cargo xtask interop`: ours and every other implementation in both roles at once, over several renewals and a bad wire.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::Table;
use sluice_lab::interop::{LongRun, Outcome, Roles};

use crate::run::Log;
use crate::{peers, release, setup};

/// A renewal takes one attempt of 5 s more than REKEY_AFTER_TIME now and then, and each attempt can get lost; REJECT_AFTER_TIME
/// is the end (whitepaper §6.1, §6.2).
const RENEWAL_SECONDS: std::ops::RangeInclusive<u64> = 115..=180;
/// Both directions of a ping can get lost. What the wire does not take, the tunnel must not take either, apart from chance.
const CHANCE: f64 = 0.02;
/// The old session serves while the new one is made, so all that is left of a gap is chance, at ten pings a second.
const LONGEST_GAP: Duration = Duration::from_secs(2);
/// A tenth of what is offered both ways together: TCP loses packets, too, and must go on all the same.
const BULK_BYTES_PER_SECOND: u64 = 25_000;

/// Arguments of `cargo xtask interop`.
#[derive(Debug, Args)]
#[command(
    after_help = "A session is renewed every two minutes. Short cases of the same pairs are among the end-to-end \
    tests.\nWith SLUICE_BIN_DIR the programs there are run; else a release build is made first."
)]
pub(crate) struct Arguments {
    /// How long
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(3..=1440))]
    minutes: u64,
    /// Percent of the packets that are lost on their way to either side
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=20))]
    loss: u32,
}

/// Builds, runs, prints, judges.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    setup::prepare_lab()?;
    build()?;
    let duration = Duration::from_secs(arguments.minutes * 60);
    let run = LongRun { duration, loss_percent: arguments.loss, bulk: true };
    println!("{} pairs, {} minutes, {} % loss", Roles::ALL.len(), arguments.minutes, arguments.loss);
    let outcomes = run.run(&Roles::ALL)?;
    println!("{}", table(&outcomes));
    let faults: Vec<String> = outcomes.iter().flat_map(|outcome| faults(outcome, arguments)).collect();
    faults.iter().for_each(|fault| println!("{fault}"));
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build() -> Result<()> {
    let log = Log::new("interop-build")?;
    release::build(&["sluice-router", "sluice-lab"], &log)?;
    if let Err(failure) = peers::install(&log)? {
        bail!("{}\n{}", failure.log, failure.reason);
    }
    Ok(())
}

/// What is outside its bounds.
fn faults(outcome: &Outcome, arguments: &Arguments) -> Vec<String> {
    let Outcome { roles, rekeys, renewed_after, answers, bulk_bytes } = *outcome;
    let seconds = arguments.minutes * 60;
    let mut faults = Vec::new();
    // A session lives for two minutes at least, and for three at most.
    if !(seconds / 180..=seconds / 115).contains(&rekeys) {
        faults.push(format!("{roles}: {rekeys} renewals"));
    }
    if let Some((shortest, longest)) = renewed_after
        && !(RENEWAL_SECONDS.contains(&shortest) && RENEWAL_SECONDS.contains(&longest))
    {
        faults.push(format!("{roles}: renewed after {shortest} to {longest} s"));
    }
    let there = 1.0 - f64::from(arguments.loss) / 100.0;
    let share = answers.received as f64 / answers.sent.max(1) as f64;
    let chance = if arguments.loss == 0 { 0.0 } else { CHANCE };
    if share < there * there - chance {
        faults.push(format!("{roles}: only {:.1} % of the pings were answered", share * 100.0));
    }
    if answers.longest_gap > LONGEST_GAP {
        faults.push(format!("{roles}: no ping was answered for {:.1?}", answers.longest_gap));
    }
    if bulk_bytes < BULK_BYTES_PER_SECOND * seconds {
        faults.push(format!("{roles}: TCP carried only {bulk_bytes} bytes"));
    }
    faults
}

fn table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    let columns =
        ["pair", "renewals", "after, s", "pings sent", "answered", "longest gap, s", "TCP both ways, MB"];
    table.set_header(columns);
    for outcome in outcomes {
        let Outcome { roles, rekeys, renewed_after, answers, bulk_bytes } = outcome;
        let after = renewed_after.map_or(String::new(), |(from, to)| format!("{from} to {to}"));
        table.add_row([
            roles.to_string(),
            rekeys.to_string(),
            after,
            answers.sent.to_string(),
            format!("{} ({:.1} %)", answers.received, answers.received as f64 * 100.0 / answers.sent as f64),
            format!("{:.1}", answers.longest_gap.as_secs_f64()),
            format!("{:.1}", *bulk_bytes as f64 / 1e6),
        ]);
    }
    table
}
