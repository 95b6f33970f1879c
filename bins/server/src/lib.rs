//! The control plane: who may reach what, through which routers, for how long. It decides, remembers, tells the routers and
//! writes down what happened; a router is embedded in it. The program is [`main`].

mod auth;
mod cli;
mod config;
mod control;
mod documents;
mod embedded;
mod engine;
mod export;
mod health;
mod http;
mod init;
mod meter;
#[cfg(test)]
mod proofs;
mod run;
mod store;
mod upkeep;

use std::process::ExitCode;

use clap::Parser;
use sluice_runtime::host::failure::Failure;

use self::cli::{Cli, Command};

/// The program, with this process's command line.
pub fn main() -> ExitCode {
    dispatch().err().map_or(ExitCode::SUCCESS, |failure| failure.report())
}

fn dispatch() -> Result<(), Failure> {
    let Cli { log, command } = Cli::parse();
    // Whatever is made, store and keys above all, is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    match command {
        Command::Run(options) => run::run(&options.config, &log),
        Command::Init(options) => once(upkeep::init(&options)),
        Command::CheckConfig(options) => upkeep::check(&options.path()),
        Command::AdminToken(options) => once(upkeep::admin_token(&options.config)),
        Command::Backup(options) => once(upkeep::backup(&options)),
        Command::Restore(options) => once(upkeep::restore(&options)),
        Command::MoveStore(options) => once(upkeep::move_store(&options)),
        Command::VerifyAudit(options) => once(upkeep::verify_audit(&options.config)),
    }
}

/// Runs what ends by itself.
fn once(task: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let tasks = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tasks.map_err(|error| Failure::of_system("cannot start", &error))?.block_on(task)
}
