//! A connector's two ways to its devices: connections of its own, without privileges, and packets by an interface. Beside
//! them another forwarder without privileges.

use anyhow::Result;
use serde_json::json;
use sluice_lab::peer::Implementation;
use sluice_lab::sluice::Sockets;

use super::chain::LOADS;
use super::lane::Lane;
use super::programs;
use super::report::Report;
use super::rounds::Rounds;
use super::throughput::{self, NamedLoad};

/// onetun has one stream at a time, so those two come first, and the others are measured without it.
const FOR_ALL: usize = 2;

/// How many measurements a round has, over all lanes.
pub(crate) fn measurements(alone: bool) -> usize {
    2 * LOADS.len() + if alone { 0 } else { FOR_ALL }
}

/// All in turns.
pub(crate) fn measure(alone: bool, rounds: &Rounds) -> Result<Report> {
    let (one_stream, many) = LOADS.split_at(FOR_ALL);
    let mut lanes = ours()?;
    if !alone {
        lanes.push(Lane::forwarder()?);
    }
    let first = throughput::compare("egress", rounds, lanes, one_stream, wanted)?;
    let second = throughput::compare("egress", rounds, ours()?, many, |_, _| None)?;
    let caption = format!(
        "Client, router, connector and device on one machine, inner MTU 1420, iperf3; medians of {} interleaved rounds of \
        {} s. The connector reaches the device by `[sockets]`, where it and the router run as nobody, or by `[tun]`. onetun \
        forwards a local port of the client's through one tunnel to the device. {}.",
        rounds.count,
        rounds.seconds,
        programs::forwarder_versions(alone)
    );
    Ok(Report {
        kind: "egress",
        caption,
        tables: [first.tables, second.tables].concat(),
        failures: [first.failures, second.failures].concat(),
        data: json!([first.data, second.data]),
    })
}

fn ours() -> Result<Vec<Lane>> {
    let sockets = Lane::chain_by("sockets, as nobody", Some(Sockets::default()))?;
    Ok(vec![sockets, Lane::chain_by("tun", None)?])
}

/// What a stack in the process may cost, and by how much we want to lead.
fn wanted(_: &NamedLoad, other: &Lane) -> Option<f64> {
    Some(if other.program == Some(Implementation::Sluice) { 0.5 } else { 8.0 })
}
