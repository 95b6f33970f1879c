//! Installing what is missing, or saying what and how.

use std::collections::BTreeSet;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail, ensure};
use rustix::process::geteuid;
use sluice_lab::requirements;

use crate::cargo::{cargo, tools};
use crate::peers;
use crate::run::{Failure, Log, logged};

/// A cargo tool, installed into `target/tools` in exactly this version where none is on the path.
pub(crate) struct CargoTool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// What `cargo NAME --version` must begin with for an installed one to do.
    pub(crate) accepted: &'static str,
}

const CARGO_TOOLS: [CargoTool; 2] = [
    CargoTool { name: "nextest", version: "0.9.143", accepted: "cargo-nextest 0.9." },
    CargoTool { name: "deny", version: "0.20.2", accepted: "cargo-deny 0.20." },
];

/// `cargo xtask setup`.
pub(crate) fn main() -> Result<ExitCode> {
    let log = Log::new("setup")?;
    match install(&log)? {
        Ok(()) => {
            println!("Everything is there: `cargo xtask test` and `cargo xtask lab` can run.");
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            println!("{}\n\n{}", failure.log, failure.reason);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Installs everything that is missing. Where that needs root and we are not, the failure lists what to do.
pub(crate) fn install(log: &Log) -> Result<Result<(), Failure>> {
    if let Err(failure) = install_packages(log)? {
        return Ok(Err(failure));
    }
    for tool in &CARGO_TOOLS {
        if let Err(failure) = install_cargo_tool(tool, log)? {
            return Ok(Err(failure));
        }
    }
    let outcome = peers::install(log)?;
    if outcome.is_ok() {
        // A gigabyte that nobody reads again. After a failure it stays: the next try goes on from there.
        let _ = std::fs::remove_dir_all(tools().join("build"));
    }
    Ok(outcome)
}

/// What labs need, or an error that lists what is missing and how to get it. Root installs packages.
pub(crate) fn prepare_lab() -> Result<()> {
    if geteuid().is_root()
        && let Err(failure) = install_packages(&Log::new("setup")?)?
    {
        bail!("{}\n{}", failure.log, failure.reason);
    }
    let missing = requirements::missing();
    ensure!(missing.is_empty(), "this machine lacks what the lab needs:\n  - {}", missing.join("\n  - "));
    Ok(())
}

fn install_packages(log: &Log) -> Result<Result<(), Failure>> {
    let packages = missing_packages();
    if packages.is_empty() {
        return Ok(Ok(()));
    }
    let list: Vec<&str> = packages.into_iter().collect();
    if !geteuid().is_root() {
        let reason = format!("As root: apt-get install --no-install-recommends {}", list.join(" "));
        return Ok(Err(Failure {
            reason,
            log: "The lab needs Debian packages that are not installed.".into(),
        }));
    }
    println!("      installing {}", list.join(" "));
    if let Err(failure) = logged(apt().arg("update"), log)? {
        return Ok(Err(failure));
    }
    logged(apt().args(["install", "--yes", "--no-install-recommends"]).args(list), log)
}

fn missing_packages() -> BTreeSet<&'static str> {
    let mut packages: BTreeSet<_> = requirements::missing_tools().iter().map(|tool| tool.package).collect();
    if !requirements::is_installed("cc") {
        packages.extend(["gcc", "libc6-dev"]);
    }
    if !requirements::is_installed("valgrind") {
        packages.insert("valgrind");
    }
    packages
}

/// `RUNLEVEL=1`: the lab starts its own servers, so packages need not start theirs.
fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").arg("--quiet");
    command
}

/// Builds the tool into `target/tools`, unless one that does is on the path.
pub(crate) fn install_cargo_tool(tool: &CargoTool, log: &Log) -> Result<Result<(), Failure>> {
    if has_cargo_tool(tool.name, tool.accepted) {
        return Ok(Ok(()));
    }
    println!("      building cargo-{} {} into target/tools (once)", tool.name, tool.version);
    let (root, package) = (tools().display().to_string(), format!("cargo-{}@{}", tool.name, tool.version));
    logged(
        cargo(&["install", "--locked", "--root", &root, &package])
            .env("CARGO_TARGET_DIR", tools().join("build")),
        log,
    )
}

/// True if `cargo NAME` is there in a version that does.
pub(crate) fn has_cargo_tool(name: &str, accepted: &str) -> bool {
    let output = cargo(&[name, "--version"]).output();
    output.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).starts_with(accepted)
    })
}

/// True if `cargo deny` is there in the version that the checks are written for.
pub(crate) fn has_deny() -> bool {
    CARGO_TOOLS.iter().any(|tool| tool.name == "deny" && has_cargo_tool(tool.name, tool.accepted))
}

/// True if `cargo nextest` is there.
pub(crate) fn has_nextest() -> bool {
    CARGO_TOOLS.iter().any(|tool| tool.name == "nextest" && has_cargo_tool(tool.name, tool.accepted))
}
