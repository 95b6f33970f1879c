//! `no_std`, without a second target: a library with its own panic handler and allocator that links the pure crates.
//! Where any of their dependencies brings std along, there are two panic handlers and the build fails.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cargo::{cargo, root, target};
use crate::run::{Log, logged};
use crate::step::Outcome;

/// The library's source.
const SOURCE: &str = include_str!("../../templates/no_std.rs");

/// Writes the crate into the target directory and builds it.
pub(crate) fn check(log: &Log) -> Result<Outcome> {
    let directory = target().join("xtask/no-std");
    write_crate(&directory)?;
    let manifest = directory.join("Cargo.toml").display().to_string();
    let mut build = cargo(&["build", "--manifest-path", &manifest]);
    // A target directory of its own: its profile must not displace what the other steps built.
    build.env("CARGO_TARGET_DIR", target().join("no-std"));
    Ok(logged(&mut build, log)?.into())
}

/// Our own lock file comes along, so that the same versions are checked.
fn write_crate(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory.join("src"))?;
    std::fs::write(directory.join("src/lib.rs"), SOURCE)?;
    std::fs::write(directory.join("Cargo.toml"), manifest(&root()))?;
    std::fs::copy(root().join("Cargo.lock"), directory.join("Cargo.lock")).context("copy Cargo.lock")?;
    Ok(())
}

fn manifest(root: &Path) -> String {
    let root = root.display();
    format!(
        "[package]\nname = \"no-std-check\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\
         [lib]\ncrate-type = [\"staticlib\"]\n\
         [dependencies]\nwg-proto = {{ path = \"{root}/wg-proto\" }}\nrouter-core = {{ path = \"{root}/router-core\" }}\n\
         [profile.dev]\npanic = \"abort\"\ndebug = false\n\
         [workspace]\n"
    )
}
