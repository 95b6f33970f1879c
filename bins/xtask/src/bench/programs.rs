//! The programs that are compared: how they are built, which versions, which settings.

use anyhow::{Result, bail};
use sluice_lab::peer::Implementation;

use crate::peers::{self, FORWARDER, PEERS};
use crate::release;
use crate::run::Log;

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
    eprintln!("Building …");
    release::build(&["sluice-router", "sluice-connector", "sluice-lab"], &log)?;
    if !alone {
        for outcome in [peers::install(&log)?, peers::install_forwarder(&log)?] {
            if let Err(failure) = outcome {
                bail!("{}\n{}", failure.log, failure.reason);
            }
        }
    }
    Ok(())
}

/// For a table's caption: ours beside another forwarder.
pub(crate) fn forwarder_versions(alone: bool) -> String {
    let ours = versions(true);
    if alone { ours } else { format!("{ours}; {} {}", FORWARDER.package, FORWARDER.version) }
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
