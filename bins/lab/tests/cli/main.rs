//! The `sluice` program as nobody, without a capability to gain: programs that nobody here wrote reach what is behind other
//! programs' tunnels, and join its demonstration.

mod connect;
mod demo;
mod office;

use std::path::Path;

use anyhow::Result;
use sluice_lab::{Host, Output, Process, binaries};

/// What goes before a command line so that it runs as nobody.
const NOBODY: &str = "setpriv --reuid nobody --regid nogroup --clear-groups --bounding-set -all --inh-caps -all --no-new-privs --pdeathsig=KILL";

/// Starts `sluice` on a host as nobody.
fn spawn(host: &Host, arguments: &[&str]) -> Result<Process> {
    let program = binaries::sluice("sluice")?.display().to_string();
    let argv: Vec<&str> =
        NOBODY.split_whitespace().chain([program.as_str()]).chain(arguments.iter().copied()).collect();
    host.spawn(&argv)
}

/// Runs it to its end.
fn run(host: &Host, arguments: &str) -> Result<Output> {
    let program = binaries::sluice("sluice")?;
    host.sh(&format!("{NOBODY} {} {arguments}", program.display()))
}

/// Gives a file to nobody, and lets him through to it.
fn give(host: &Host, path: &Path) -> Result<()> {
    let (file, directory) = (path.display(), host.lab().directory().display());
    host.sh(&format!("chown nobody:nogroup {file} && chmod o+x {directory}"))?.ok().map(drop)
}
