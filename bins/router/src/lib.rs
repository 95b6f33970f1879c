//! Terminates WireGuard tunnels, enforces session rules, translates, forwards. The program is [`main`], and
//! [`embed`] runs the same inside another one; what it makes of a configuration can be had without starting it, as a
//! [`Checked`].

mod access;
mod ask;
mod check;
mod cli;
mod config;
mod packet_text;
mod plan;
mod privx;
mod rules;
mod run;
mod wireguard;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use sluice_runtime::host::admin::print;
use sluice_runtime::host::arguments::LogOptions;
use sluice_runtime::host::failure::Failure;
use sluice_runtime::host::keys;

pub use self::check::Checked;
use self::cli::{Cli, Command, WireguardCli};
use self::config::ADMIN_SOCKET_DEFAULT;
pub use self::packet_text::{PacketTextFault, parse as packet_of_text};
pub use self::run::embed;

/// Under this name the program is what wg-quick can call: one word, and the interface.
const WIREGUARD_NAME: &str = "sluice-wireguard";

/// The program, with this process's command line.
pub fn main() -> ExitCode {
    dispatch().unwrap_or_else(|failure| failure.report())
}

fn dispatch() -> Result<ExitCode, Failure> {
    if called_as(WIREGUARD_NAME) {
        return wireguard::run(&WireguardCli::parse().options, &LogOptions::default());
    }
    let Cli { log, command } = Cli::parse();
    let done = |outcome: Result<(), Failure>| outcome.map(|()| ExitCode::SUCCESS);
    match command {
        Command::Wireguard(options) => wireguard::run(&options, &log),
        Command::CheckConfig(options) => done(check::run(&options.path())),
        Command::Genkey => done(keys::genkey()),
        Command::Genpsk => done(keys::genpsk()),
        Command::Pubkey => done(keys::pubkey()),
        Command::Run(options) => done(run::run(&options.config, &log)),
        Command::Status(options) => done(print::status(&options, ADMIN_SOCKET_DEFAULT)),
        Command::Flows(options) => done(print::flows(&options, ADMIN_SOCKET_DEFAULT)),
        Command::Explain(options) => done(ask::explain(&options)),
        Command::Session(command) => done(ask::session(&command)),
        Command::Privx(command) => done(privx::run(&command)),
    }
}

fn called_as(name: &str) -> bool {
    let called = std::env::args_os().next();
    called.is_some_and(|called| Path::new(&called).file_name().is_some_and(|file| file == name))
}
