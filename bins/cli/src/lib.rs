//! Sluice for users who may not install WireGuard: `connect` is a client without any privilege. The program is [`main`].

mod command_line;
mod connect;
mod target;
mod tasks;
mod terminal;
mod wg_quick;

use std::process::ExitCode;

use clap::Parser;

use self::command_line::{Cli, Command};

/// The program, with this process's command line.
pub fn main() -> ExitCode {
    let Cli { log, command } = Cli::parse();
    let outcome = match command {
        Command::Connect(options) => connect::run(&options, &log),
    };
    outcome.err().map_or(ExitCode::SUCCESS, |failure| failure.report())
}
