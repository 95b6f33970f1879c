//! Sluice without any privilege: `demo` shows the whole road on this machine, `connect` is a client for users who may
//! not install WireGuard; the other commands ask the control plane. The program is [`main`].

mod command_line;
mod connect;
mod control;
mod demo;
mod generate;
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
        Command::Demo(options) => demo::run(&options, &log).map(|()| ExitCode::SUCCESS),
        Command::Connect(options) => connect::run(&options, &log).map(|()| ExitCode::SUCCESS),
        Command::Completions(options) => {
            generate::completions(&options);
            Ok(ExitCode::SUCCESS)
        }
        Command::Man(options) => generate::man_pages(&options).map(|()| ExitCode::SUCCESS),
        Command::Control(command) => control::run(&command, &log),
    };
    outcome.unwrap_or_else(|failure| failure.report())
}
