//! The programs that are compared: how they are built, which versions, which settings.

use anyhow::{Result, bail};
use sluice_lab::binaries;
use sluice_lab::peer::Implementation;

use crate::cargo::{cargo, target, tools};
use crate::run::{Log, logged};

/// Other projects' programs from the crate registry, in exactly these versions.
const PEERS: [(&str, &str); 2] = [("gotatun-cli", "0.10.2"), ("boringtun-cli", "0.7.1")];

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
    let mut commands = vec![cargo(&[&["build", "--locked", "--release"], &ours[..]].concat())];
    let root = tools().display().to_string();
    for (name, version) in PEERS.into_iter().filter(|_| !alone) {
        let package = format!("{name}@{version}");
        let mut install = cargo(&["install", "--locked", "--root", &root, &package]);
        install.env("CARGO_TARGET_DIR", tools().join("build"));
        commands.push(install);
    }
    for mut command in commands {
        eprintln!("{}", crate::run::show(&command));
        if let Err(failure) = logged(&mut command, &log)? {
            bail!("{}\n{}", failure.log, failure.reason);
        }
    }
    binaries::use_directory(target().join("release"));
    Ok(())
}

/// For a table's caption: what was compared, and how it was set.
pub(crate) fn versions(alone: bool) -> String {
    let ours = format!("sluice {} (workers: one per core)", env!("CARGO_PKG_VERSION"));
    if alone {
        return ours;
    }
    let peers = PEERS.map(|(name, version)| format!("{name} {version}"));
    let go = std::process::Command::new("wireguard-go").arg("--version").output();
    let go = go.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let go = go.lines().next().unwrap_or("wireguard-go").to_owned();
    format!("{ours}; {}; {go}: each with its default threads, logging errors only", peers.join(", "))
}
