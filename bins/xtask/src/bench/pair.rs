//! Two plain interfaces, back to back.

use anyhow::Result;
use sluice_lab::peer::Implementation;
use sluice_lab::services::{Direction, Traffic};

use super::lane::Lane;
use super::programs;
use super::report::Report;
use super::rounds::Rounds;
use super::search::LOST_PERCENT_MAX;
use super::throughput::{self, NamedLoad, Unit};

/// A datagram that fills the MTU of 1420: 20 bytes are the IP header, 8 the UDP header.
const LARGE: Traffic = Traffic::Udp { payload_bytes: 1392 };
/// A packet of 64 bytes.
const SMALL_BYTES: u16 = 36;
const SMALL: Traffic = Traffic::Udp { payload_bytes: SMALL_BYTES };

/// What is measured, both ways.
pub(crate) const LOADS: [NamedLoad; 8] = [
    up("1 TCP stream up", Traffic::Tcp { streams: 1 }),
    down("1 TCP stream down", Traffic::Tcp { streams: 1 }),
    up("8 TCP streams up", Traffic::Tcp { streams: 8 }),
    down("8 TCP streams down", Traffic::Tcp { streams: 8 }),
    up("UDP at MTU size up", LARGE),
    down("UDP at MTU size down", LARGE),
    packets(up("64-byte UDP packets up", SMALL)),
    packets(down("64-byte UDP packets down", SMALL)),
];

/// Runs of iperf3 for all of them: one for TCP; for UDP about six that are half as long.
pub(crate) const TRIALS: usize = 4 + 4 * 3;

pub(crate) const fn up(name: &'static str, traffic: Traffic) -> NamedLoad {
    NamedLoad { name, traffic, direction: Direction::Upload, unit: Unit::GigabitsPerSecond }
}

pub(crate) const fn down(name: &'static str, traffic: Traffic) -> NamedLoad {
    NamedLoad { name, traffic, direction: Direction::Download, unit: Unit::GigabitsPerSecond }
}

const fn packets(load: NamedLoad) -> NamedLoad {
    NamedLoad { unit: Unit::KilopacketsPerSecond { payload_bytes: SMALL_BYTES }, ..load }
}

/// All implementations in turns.
pub(crate) fn measure(alone: bool, rounds: &Rounds) -> Result<Report> {
    let mut lanes: Vec<Lane> =
        programs::measured(alone).iter().map(|&program| Lane::pair(program)).collect::<Result<_>>()?;
    lanes.push(Lane::bare()?);
    let caption = format!(
        "Two plain interfaces on one machine, inner MTU 1420, iperf3; medians of {} interleaved rounds of {} s, payload as \
        it arrives. UDP: the highest rate of which at most {LOST_PERCENT_MAX} % are lost. The bare cable shows what iperf3 \
        and the kernel leave to be had. {}.",
        rounds.count,
        rounds.seconds,
        programs::versions(alone)
    );
    Ok(Report { caption, ..throughput::compare("pair", rounds, lanes, &LOADS, wanted)? })
}

/// By how much we want to lead.
fn wanted(load: &NamedLoad, peer: Implementation) -> Option<f64> {
    let one_stream = load.traffic == Traffic::Tcp { streams: 1 };
    match peer {
        Implementation::Sluice => None,
        _ if !one_stream => Some(3.0),
        Implementation::Gotatun => Some(5.0),
        Implementation::WireguardGo => Some(7.0),
        Implementation::Boringtun => Some(8.0),
    }
}
