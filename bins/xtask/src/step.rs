//! Steps: named, timed, summarised.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::run::{Failure, Log};
use crate::tally::Tally;

/// How a step ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing to complain about.
    Passed,
    /// Not done, and why; never used in CI.
    Skipped(String),
    /// Stops the run unless told to keep going.
    Failed(Failure),
}

impl From<Result<(), Failure>> for Outcome {
    fn from(done: Result<(), Failure>) -> Outcome {
        match done {
            Ok(()) => Outcome::Passed,
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

/// One check.
pub(crate) struct Step {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it makes sure of, in half a sentence.
    pub(crate) about: &'static str,
    /// Does it.
    pub(crate) run: fn(&Log) -> Result<Outcome>,
}

struct Done {
    name: &'static str,
    took: Duration,
    outcome: Outcome,
    tally: Tally,
}

/// Runs the steps in order and prints a summary with the number of tests; returns true if nothing failed.
pub(crate) fn run_all(steps: &[&Step], keep_going: bool) -> Result<bool> {
    let mut all = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        announce(&format!("[{}/{}] {}: {}", number + 1, steps.len(), step.name, step.about));
        let done = run_one(step)?;
        report(&done);
        let failed = matches!(done.outcome, Outcome::Failed(_));
        all.push(done);
        if failed && !keep_going {
            break;
        }
    }
    summarise(&all);
    Ok(all.iter().all(|done| !matches!(done.outcome, Outcome::Failed(_))))
}

fn run_one(step: &Step) -> Result<Done> {
    let log = Log::new(step.name)?;
    let started = Instant::now();
    let outcome = (step.run)(&log)?;
    Ok(Done { name: step.name, took: started.elapsed(), outcome, tally: Tally::read(&log.text()) })
}

fn announce(line: &str) {
    println!("{}", bold(line));
    let _ = std::io::stdout().flush();
}

fn report(done: &Done) {
    let seconds = done.took.as_secs_f64();
    match &done.outcome {
        Outcome::Passed if done.tally.is_empty() => println!("      ok, {seconds:.1} s"),
        Outcome::Passed => println!("      ok, {} tests, {seconds:.1} s", done.tally.passed),
        Outcome::Skipped(why) => println!("      {}", bold(&format!("SKIPPED: {why}"))),
        Outcome::Failed(failure) => println!("\n{}\n\n{}: {}\n", failure.log, bold("FAILED"), failure.reason),
    }
}

/// A table of times, then the plain closing line.
fn summarise(all: &[Done]) {
    println!();
    let mut total = Tally::default();
    for done in all {
        let word = match &done.outcome {
            Outcome::Passed => "ok",
            Outcome::Skipped(_) => "SKIPPED",
            Outcome::Failed(_) => "FAILED",
        };
        println!("  {:<14} {:>7.1} s  {word}", done.name, done.took.as_secs_f64());
        total.add(&done.tally);
        if word == "FAILED" && done.tally.failed == 0 {
            total.failed += 1;
        }
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
}

fn bold(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}
