//! Reaches devices in a tenant network for Sluice routers. The program is [`main`], and [`embed`] runs the same
//! inside another one; what it makes of a configuration can be had without starting it, as a [`Checked`].

mod check;
mod cli;
mod config;
mod plan;
mod rules;
mod run;

use std::process::ExitCode;

use clap::Parser;
use sluice_runtime::host::admin::print;
use sluice_runtime::host::failure::Failure;
use sluice_runtime::host::keys;

pub use self::check::Checked;
use self::cli::{Cli, Command};
use self::config::ADMIN_SOCKET_DEFAULT;
pub use self::run::embed;

/// The program, with this process's command line.
pub fn main() -> ExitCode {
    dispatch(Cli::parse()).err().map_or(ExitCode::SUCCESS, |failure| failure.report())
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(options) => run::run(&options.config, &cli.log),
        Command::CheckConfig(options) => check::run(&options.path()),
        Command::Status(options) => print::status(&options, ADMIN_SOCKET_DEFAULT),
        Command::Flows(options) => print::flows(&options, ADMIN_SOCKET_DEFAULT),
        Command::Genkey => keys::genkey(),
        Command::Genpsk => keys::genpsk(),
        Command::Pubkey => keys::pubkey(),
    }
}
