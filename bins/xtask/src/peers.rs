//! Other projects' programs that ours talk to in tests and are measured beside: which versions, and how they are built.
//!
//! wireguard-go comes as a Debian package, see [`setup`](crate::setup).

use std::process::Command;

use anyhow::Result;
use sluice_lab::binaries;
use sluice_lab::peer::Implementation;

use crate::cargo::{cargo, tools};
use crate::run::{Failure, Log, logged};

/// A program from the crate registry, installed into `target/tools` in exactly this version where none is found.
pub(crate) struct Peer {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    pub(crate) implementation: Implementation,
}

pub(crate) const PEERS: [Peer; 2] = [
    Peer { package: "gotatun-cli", version: "0.10.2", implementation: Implementation::Gotatun },
    Peer { package: "boringtun-cli", version: "0.7.1", implementation: Implementation::Boringtun },
];

/// Builds those that are missing, as their authors release them.
pub(crate) fn install(log: &Log) -> Result<Result<(), Failure>> {
    for peer in PEERS.iter().filter(|peer| !peer.is_installed()) {
        println!("      building {} {} into target/tools (once)", peer.package, peer.version);
        let (root, package) = (tools().display().to_string(), format!("{}@{}", peer.package, peer.version));
        let mut command = cargo(&["install", "--locked", "--force", "--root", &root, &package]);
        if let Err(failure) = logged(command.env("CARGO_TARGET_DIR", tools().join("build")), log)? {
            return Ok(Err(failure));
        }
    }
    Ok(Ok(()))
}

/// What is missing, one sentence each.
pub(crate) fn missing() -> Vec<String> {
    PEERS
        .iter()
        .filter(|peer| !peer.is_installed())
        .map(|peer| format!("{} {}: cargo xtask setup", peer.package, peer.version))
        .collect()
}

impl Peer {
    /// True if the program that the lab would start says that it is of this version.
    fn is_installed(&self) -> bool {
        let Some(path) = binaries::peer(self.implementation.program()) else { return false };
        let output = Command::new(path).arg("--version").output();
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).split_whitespace().any(|word| word == self.version)
        })
    }
}
