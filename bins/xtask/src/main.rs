//! Set-up, checks and demonstrations: `cargo xtask --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cargo;
mod checks;
mod run;
mod setup;
mod step;
mod tally;

/// Everything one does with this repository, each with its own set-up.
#[derive(Debug, Parser)]
#[command(
    bin_name = "cargo xtask",
    after_help = "First time here:\n  \
        sudo cargo xtask setup     installs what the lab needs (Debian packages, cargo tools)\n  \
        cargo xtask test           all checks; as root also the end-to-end tests in network namespaces\n\n\
        Exit codes: 0 everything passed, 1 something failed, 2 usage."
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every check that a change must pass, in the order in which failures are cheap to find
    Test(checks::Arguments),
    /// Install what checks and lab need, or say exactly what is missing and how to get it
    Setup,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Test(arguments) => checks::main(&arguments),
        Task::Setup => setup::main(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\n{error:?}");
            ExitCode::FAILURE
        }
    }
}
