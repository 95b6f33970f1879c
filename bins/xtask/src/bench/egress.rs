//! A connector's two ways to its devices: connections of its own, without privileges, and packets by an interface.

use anyhow::Result;
use sluice_lab::peer::Implementation;
use sluice_lab::sluice::Sockets;

use super::chain::LOADS;
use super::lane::Lane;
use super::programs;
use super::report::Report;
use super::rounds::Rounds;
use super::throughput::{self, NamedLoad};

/// How many ways are measured.
pub(crate) const LANES: usize = 2;

/// Both in turns.
pub(crate) fn measure(rounds: &Rounds) -> Result<Report> {
    let sockets = Lane::chain_by("sockets, as nobody", Some(Sockets::default()))?;
    let lanes = vec![sockets, Lane::chain_by("tun", None)?];
    let caption = format!(
        "Client, router, connector and device on one machine, inner MTU 1420, iperf3; medians of {} interleaved rounds of \
        {} s. The connector reaches the device by `[sockets]`, where it and the router run as nobody, or by `[tun]`. {}.",
        rounds.count,
        rounds.seconds,
        programs::versions(true)
    );
    Ok(Report { caption, ..throughput::compare("egress", rounds, lanes, &LOADS, wanted)? })
}

/// What a stack in the process may cost.
fn wanted(_: &NamedLoad, _: Implementation) -> Option<f64> {
    Some(0.5)
}
