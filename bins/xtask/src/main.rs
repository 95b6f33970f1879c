//! Set-up, checks and demonstrations: `cargo xtask --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod cargo;
mod checks;
mod coverage;
mod deb;
mod demo;
mod fuzz;
mod instructions;
mod interop;
mod kills;
mod memory;
mod mutants;
mod peers;
mod proofs;
mod release;
mod run;
mod setup;
mod soak;
mod step;
mod tally;
mod tunnels;

/// Everything one does with this repository, each with its own set-up.
#[derive(Debug, Parser)]
#[command(
    bin_name = "cargo xtask",
    after_help = "First time here:\n  \
        sudo cargo xtask setup     installs what the lab needs (Debian packages, cargo tools)\n  \
        sudo cargo xtask lab       client, router, connector and device, live\n  \
        cargo xtask test           all checks; as root also the end-to-end tests in network namespaces\n\n\
        Exit codes: 0 everything passed, 1 something failed, 2 usage."
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the whole picture in network namespaces and show it at work (as root)
    Lab(demo::Arguments),
    /// Run every check that a change must pass, in the order in which failures are cheap to find
    Test(checks::Arguments),
    /// Make the Debian package, under target/deb
    Deb(deb::Arguments),
    /// Install what checks and lab need, or say exactly what is missing and how to get it
    Setup,
    /// Search for inputs that break a promise, with every fuzz target in turn
    Fuzz(fuzz::Arguments),
    /// Measure throughput side by side with other userspace implementations (as root)
    Bench(bench::Arguments),
    /// Show which code of the pure crates their tests do not reach
    Coverage(coverage::Arguments),
    /// Put defects into the pure crates and count how many their tests notice
    Mutants(mutants::Arguments),
    /// Let router, connector and a client run under churn and see that nothing grows (as root)
    Soak(soak::Arguments),
    /// Let every implementation renew its sessions with ours on a bad wire, in both roles (as root)
    Interop(interop::Arguments),
    /// Count the instructions of the packet path and compare them with the committed table
    Instructions(instructions::Arguments),
    /// Compare our tunnel with other projects' tunnels, in memory
    Tunnels(tunnels::Arguments),
    /// Measure what running programs hold in memory, idle and with many peers (as root)
    Memory(memory::Arguments),
    /// Measure the control plane with 10 000 users, 100 000 targets, 10 000 sessions and 100 routers, on both databases
    Load(proofs::Arguments),
    /// Measure from the end of a session to its last packet, a thousand times, with 10 000 rules
    Revocations(proofs::Arguments),
    /// Kill a server again and again while sessions are opened and ended; see that nothing is lost (as root)
    Kills(kills::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Test(arguments) => checks::main(&arguments),
        Task::Lab(arguments) => demo::main(&arguments),
        Task::Deb(arguments) => deb::main(&arguments),
        Task::Setup => setup::main(),
        Task::Fuzz(arguments) => fuzz::main(&arguments),
        Task::Bench(arguments) => bench::main(&arguments),
        Task::Coverage(arguments) => coverage::main(&arguments),
        Task::Mutants(arguments) => mutants::main(&arguments),
        Task::Soak(arguments) => soak::main(&arguments),
        Task::Interop(arguments) => interop::main(&arguments),
        Task::Instructions(arguments) => instructions::main(&arguments),
        Task::Tunnels(arguments) => tunnels::main(&arguments),
        Task::Memory(arguments) => memory::main(&arguments),
        Task::Load(arguments) => proofs::main("load", &arguments),
        Task::Revocations(arguments) => proofs::main("revocations", &arguments),
        Task::Kills(arguments) => kills::main(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\n{error:?}");
            ExitCode::FAILURE
        }
    }
}
