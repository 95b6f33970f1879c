//! Two plain interfaces, back to back: TCP.

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
    up("1 TCP stream up", ONE_STREAM),
    down("1 TCP stream down", ONE_STREAM),
    up("8 TCP streams up", Offer::Iperf(Traffic::Tcp { streams: 8 })),
    down("8 TCP streams down", Offer::Iperf(Traffic::Tcp { streams: 8 })),
];

const ONE_STREAM: Offer = Offer::Iperf(Traffic::Tcp { streams: 1 });

/// All implementations in turns.
pub(crate) fn measure(alone: bool, rounds: &Rounds) -> Result<Report> {
    let caption = format!(
        "Two plain interfaces on one machine, inner MTU 1420, iperf3; medians of {} interleaved rounds of {} s, payload as it \
        arrives. The bare cable shows what iperf3 and the kernel leave to be had. {}.",
        rounds.count,
        rounds.seconds,
        programs::versions(alone)
    );
    Ok(Report { caption, ..throughput::compare("pair", rounds, lanes(alone)?, &LOADS, wanted)? })
}

/// A pair of each implementation, and the bare cable.
pub(crate) fn lanes(alone: bool) -> Result<Vec<Lane>> {
    let pairs = programs::measured(alone).iter().map(|&program| Lane::pair(program));
    pairs.chain([Lane::bare()]).collect()
}

/// By how much we want to lead.
fn wanted(load: &NamedLoad, peer: &Lane) -> Option<f64> {
    match peer.program? {
        Implementation::Sluice => None,
        _ if load.offer != ONE_STREAM => Some(3.0),
        Implementation::Gotatun => Some(5.0),
        Implementation::WireguardGo => Some(7.0),
        Implementation::Boringtun => Some(8.0),
    }
}
