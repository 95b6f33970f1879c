//! Client, router, connector, device: two tunnels, and addresses translated twice.

use anyhow::Result;
use sluice_lab::peer::Implementation;
use sluice_lab::services::Traffic;

use super::lane::Lane;
use super::pair::{down, up};
use super::programs;
use super::report::Report;
use super::rounds::Rounds;
use super::throughput::{self, NamedLoad};

/// What is measured, both ways.
pub(crate) const LOADS: [NamedLoad; 4] = [
    up("1 TCP stream forward", Traffic::Tcp { streams: 1 }),
    down("1 TCP stream reverse", Traffic::Tcp { streams: 1 }),
    up("8 TCP streams forward", Traffic::Tcp { streams: 8 }),
    down("8 TCP streams reverse", Traffic::Tcp { streams: 8 }),
];

/// All implementations in turns.
pub(crate) fn measure(alone: bool, rounds: &Rounds) -> Result<Report> {
    let lanes =
        programs::measured(alone).iter().map(|&program| Lane::chain(program)).collect::<Result<_>>()?;
    let caption = format!(
        "Client, router, connector and device on one machine, inner MTU 1420, iperf3; medians of {} interleaved rounds of \
        {} s. Ours: `sluice-router wireguard` as the client, `sluice-router`, `sluice-connector`. The others: three plain \
        interfaces, DNAT and SNAT by nftables at router and connector, same addresses. {}.",
        rounds.count,
        rounds.seconds,
        programs::versions(alone)
    );
    Ok(Report { caption, ..throughput::compare("chain", rounds, lanes, &LOADS, wanted)? })
}

/// By how much we want to lead.
fn wanted(_: &NamedLoad, peer: Implementation) -> Option<f64> {
    (peer == Implementation::Gotatun).then_some(7.5)
}
