//! The programs that are compared: how they are built, which versions, which settings.

use anyhow::{Result, bail};
use sluice_lab::binaries;
use sluice_lab::peer::Implementation;

use crate::cargo::{cargo, target};
use crate::peers::{self, PEERS};
use crate::run::{Log, logged};

/// Ours first, then those it is compared with.
pub(crate) fn measured(alone: bool) -> &'static [Implementation] {
    const ALL: [Implementation; 4] = [
        Implementation::Sluice,
        Implementation::Gotatun,
        Implementation::WireguardGo,
        Implementation::Boringtun,
    ];
    if alone { &ALL[..1] } else { &ALL }
}

/// Builds our programs in release, and the others once.
pub(crate) fn build(alone: bool) -> Result<()> {
    let log = Log::new("bench-build")?;
    let ours = ["-p", "sluice-router", "-p", "sluice-connector", "-p", "sluice-lab", "--bins"];
    let mut build = cargo(&[&["build", "--locked", "--release"], &ours[..]].concat());
    eprintln!("{}", crate::run::show(&build));
    let mut done = logged(&mut build, &log)?;
    binaries::use_directory(target().join("release"));
    if done.is_ok() && !alone {
        done = peers::install(&log)?;
    }
    if let Err(failure) = done {
        bail!("{}\n{}", failure.log, failure.reason);
    }
    Ok(())
}

/// For a table's caption: what was compared, and how it was set.
pub(crate) fn versions(alone: bool) -> String {
    let ours = format!("sluice {} (workers: one per core)", env!("CARGO_PKG_VERSION"));
    if alone {
        return ours;
    }
    let peers = PEERS.map(|peer| format!("{} {}", peer.package, peer.version));
    let go = std::process::Command::new("wireguard-go").arg("--version").output();
    let go = go.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let go = go.lines().next().unwrap_or("wireguard-go").to_owned();
    format!("{ours}; {}; {go}: each with its default threads, logging errors only", peers.join(", "))
}
