//! Other projects' programs that ours talk to in tests and are measured beside: which versions, and how they are built.
//!
//! wireguard-go comes as a Debian package, see [`setup`](crate::setup).

use std::process::Command;

use anyhow::Result;
use sluice_lab::binaries;
use sluice_lab::topology::Forwarder;

use crate::cargo::{cargo, tools};
use crate::run::{Failure, Log, logged};

/// A program from the crate registry, installed into `target/tools` in exactly this version where none is found.
pub(crate) struct Peer {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// The program it installs.
    program: &'static str,
}

pub(crate) const PEERS: [Peer; 2] = [
    Peer { package: "gotatun-cli", version: "0.10.2", program: "gotatun" },
    Peer { package: "boringtun-cli", version: "0.7.1", program: "boringtun-cli" },
];

/// What benchmarks alone need: a forwarder without privileges.
pub(crate) const FORWARDER: Peer = Peer { package: "onetun", version: "0.3.10", program: Forwarder::PROGRAM };

/// Builds those that are missing, as their authors release them.
pub(crate) fn install(log: &Log) -> Result<Result<(), Failure>> {
    install_all(&PEERS, log)
}

/// Builds [`FORWARDER`] if it is missing.
pub(crate) fn install_forwarder(log: &Log) -> Result<Result<(), Failure>> {
    install_all(&[FORWARDER], log)
}

fn install_all(peers: &[Peer], log: &Log) -> Result<Result<(), Failure>> {
    for peer in peers.iter().filter(|peer| !peer.is_installed()) {
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
        let Some(path) = binaries::peer(self.program) else { return false };
        let output = Command::new(path).arg("--version").output();
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).split_whitespace().any(|word| word == self.version)
        })
    }
}
