//! Terminates WireGuard tunnels, enforces session rules, translates, forwards.
#![expect(dead_code, reason = "the router's own commands are being built on them")]

mod check;
mod cli;
mod config;
mod packet_text;
mod wireguard;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use sluice_runtime::host::arguments::LogOptions;
use sluice_runtime::host::failure::{Exit, Failure};
use sluice_runtime::host::keys;

use self::cli::{Cli, Command, WireguardCli};

/// Under this name the program is what wg-quick can call: one word, and the interface.
const WIREGUARD_NAME: &str = "sluice-wireguard";

fn main() -> ExitCode {
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
        Command::Run(_)
        | Command::Status(_)
        | Command::Flows(_)
        | Command::Explain(_)
        | Command::Session(_) => Err(Failure::new(Exit::Failed, "this build does not run a router yet")),
    }
}

fn called_as(name: &str) -> bool {
    let called = std::env::args_os().next();
    called.is_some_and(|called| Path::new(&called).file_name().is_some_and(|file| file == name))
}
