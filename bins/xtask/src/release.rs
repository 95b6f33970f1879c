//! Our programs as they are released, for what is shown or measured by hand.

use anyhow::{Result, bail};
use sluice_lab::binaries;

use crate::cargo::{cargo, target};
use crate::run::{Log, logged};

/// Builds the programs of these packages, and has the lab start them. Where `SLUICE_BIN_DIR` names others, nothing is built.
pub(crate) fn build(packages: &[&str], log: &Log) -> Result<()> {
    if std::env::var_os("SLUICE_BIN_DIR").is_some() {
        return Ok(());
    }
    let mut command = cargo(&["build", "--locked", "--release", "--bins"]);
    packages.iter().for_each(|package| {
        command.args(["-p", package]);
    });
    if let Err(failure) = logged(&mut command, log)? {
        bail!("{}\n{}", failure.log, failure.reason);
    }
    binaries::use_directory(target().join("release"));
    Ok(())
}
