//! Client, router, connector, device: two tunnels, and addresses translated twice.

use anyhow::Result;
use sluice_lab::peer::Implementation;
use sluice_lab::services::Traffic;

use super::lane::Lane;
use super::programs;
use super::report::Report;
use super::rounds::Rounds;
use super::throughput::{self, NamedLoad, Offer, down, up};

/// What is measured, both ways.
pub(crate) const LOADS: [NamedLoad; 4] = [
    up("1 TCP stream forward", ONE_STREAM),
    down("1 TCP stream reverse", ONE_STREAM),
    up("8 TCP streams forward", EIGHT_STREAMS),
    down("8 TCP streams reverse", EIGHT_STREAMS),
];

const ONE_STREAM: Offer = Offer::Iperf(Traffic::Tcp { streams: 1 });
const EIGHT_STREAMS: Offer = Offer::Iperf(Traffic::Tcp { streams: 8 });

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
fn wanted(_: &NamedLoad, peer: &Lane) -> Option<f64> {
    (peer.program == Some(Implementation::Gotatun)).then_some(7.5)
}
