//! Two plain interfaces, back to back: UDP, datagrams one by one and in runs.
//!
//! iperf3 makes one system call for each datagram, and on two cores that is most of the work there is. What a tunnel can
//! carry shows where datagrams come as QUIC stacks send them, in runs that the kernel cuts.

use anyhow::Result;
use sluice_lab::peer::Implementation;
use sluice_lab::services::Traffic;

use super::lane::Lane;
use super::pair::lanes;
use super::programs;
use super::report::Report;
use super::rounds::Rounds;
use super::search::LOST_PERCENT_MAX;
use super::throughput::{self, NamedLoad, Offer, Unit, down, up};

/// A datagram that fills the MTU of 1420: 20 bytes are the IP header, 8 the UDP header.
const LARGE_BYTES: u16 = 1392;
/// A packet of 64 bytes.
const SMALL_BYTES: u16 = 36;

/// What is measured, both ways.
pub(crate) const LOADS: [NamedLoad; 8] = [
    up("MTU size up", singly(LARGE_BYTES)),
    down("MTU size down", singly(LARGE_BYTES)),
    packets(up("64 bytes up", singly(SMALL_BYTES))),
    packets(down("64 bytes down", singly(SMALL_BYTES))),
    up("MTU size in runs up", in_runs(LARGE_BYTES)),
    down("MTU size in runs down", in_runs(LARGE_BYTES)),
    packets(up("64 bytes in runs up", in_runs(SMALL_BYTES))),
    packets(down("64 bytes in runs down", in_runs(SMALL_BYTES))),
];

/// About six for each load, half as long as others.
pub(crate) const TRIALS: usize = LOADS.len() * 3;

const fn singly(payload_bytes: u16) -> Offer {
    Offer::Iperf(Traffic::Udp { payload_bytes })
}

const fn in_runs(payload_bytes: u16) -> Offer {
    Offer::Runs { payload_bytes }
}

const fn packets(load: NamedLoad) -> NamedLoad {
    NamedLoad { unit: Unit::KilopacketsPerSecond { payload_bytes: SMALL_BYTES }, ..load }
}

/// All implementations in turns.
pub(crate) fn measure(alone: bool, rounds: &Rounds) -> Result<Report> {
    let caption = format!(
        "UDP through two plain interfaces on one machine, inner MTU 1420: the highest rate of which at most \
        {LOST_PERCENT_MAX} % are lost; medians of {} interleaved rounds. iperf3 sends and takes datagrams one by one; in runs \
        they go and come as with QUIC stacks (UDP_SEGMENT, UDP_GRO, by quinn-udp). The bare cable shows what sender, \
        receiver and kernel leave to be had. {}.",
        rounds.count,
        programs::versions(alone)
    );
    Ok(Report { caption, ..throughput::compare("udp", rounds, lanes(alone)?, &LOADS, wanted)? })
}

/// By how much we want to lead.
fn wanted(_: &NamedLoad, peer: &Lane) -> Option<f64> {
    peer.program.filter(|program| *program != Implementation::Sluice).map(|_| 3.0)
}
