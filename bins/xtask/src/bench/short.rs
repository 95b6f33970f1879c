//! Short connections through a connector without privileges: how many, and how soon they stand.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sluice_lab::peer::Implementation;
use sluice_lab::probe::{self, RoundTrips};
use sluice_lab::sluice::Sockets;
use sluice_lab::topology::{Chain, ChainConfig, Forwarder, Spot};
use sluice_lab::{Host, Lab, Process};

use super::lane::{Named, quiet_lab};
use super::programs;
use super::report::{Report, Table};
use super::rounds::{Rounds, Series};
use super::samples::median;
use super::throughput::names;

/// Requests a second.
const RATE: u32 = 450;
const CONNECTS: u32 = 500;
const PAGE_PORT: u16 = 80;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Pages over a connection each.
    Requests,
    /// Connections, one after the other.
    Connects,
}

/// All of it.
pub(crate) const MEASURES: [Measure; 2] = [Measure::Requests, Measure::Connects];

impl Named for Measure {
    fn name(&self) -> &str {
        match self {
            Measure::Requests => "requests",
            Measure::Connects => "connects",
        }
    }
}

/// A client, a device, and what stands between.
struct ShortLane {
    name: &'static str,
    client: Host,
    /// Where the client reaches the device.
    address: String,
    /// The machine before the device, and where that reaches it.
    gate: Host,
    direct: String,
    /// The program there.
    program: Process,
    _lab: Lab,
}

impl Named for ShortLane {
    fn name(&self) -> &str {
        self.name
    }
}

/// What one measurement found.
#[derive(Clone, Copy, Debug)]
enum Sample {
    Requests {
        per_second: f64,
        /// For each second of processor time of the program before the device.
        per_core: f64,
        failed: u64,
    },
    Connects {
        through: RoundTrips,
        direct: RoundTrips,
    },
}

/// How many lanes are measured.
pub(crate) fn lanes(alone: bool) -> usize {
    if alone { 2 } else { 3 }
}

/// All in turns.
pub(crate) fn measure(alone: bool, rounds: &Rounds) -> Result<Report> {
    let mut lanes = vec![chain("sockets, as nobody", Some(Sockets::default()))?, chain("tun", None)?];
    if !alone {
        lanes.push(forwarder()?);
    }
    let series = rounds.run("short", &mut lanes, &MEASURES, |lane, measure| match measure {
        Measure::Requests => requests(lane, rounds.seconds),
        Measure::Connects => connects(lane),
    })?;
    let caption = format!(
        "Client, router, connector and device on one machine; medians of {} interleaved rounds. Requests: `GET /` of a small \
        page from nginx for {} s, a connection each, {RATE} a second: a session may open no more than 500. Connects: \
        {CONNECTS} connections one after the other; direct ones go from the connector's machine to the device. onetun \
        forwards a local port of the client's through one tunnel to the device. {}.",
        rounds.count,
        rounds.seconds,
        programs::forwarder_versions(alone)
    );
    let tables = vec![table(&lanes, &series)];
    let data = json!({ "lanes": names(&lanes), "samples": data(&series) });
    Ok(Report { kind: "short", caption, tables, failures: series.failures, data })
}

fn chain(name: &'static str, sockets: Option<Sockets>) -> Result<ShortLane> {
    let lab = quiet_lab()?;
    let config = ChainConfig { client: Implementation::Sluice, sockets, ..ChainConfig::default() };
    let mut chain = Chain::start(&lab, &config).context(name)?;
    let site = chain.sites.pop().context("a chain has a site")?;
    Ok(ShortLane {
        name,
        client: chain.client,
        address: Spot::Device.target(site.number)[0].clone(),
        gate: site.connector.program.host().clone(),
        direct: Spot::Device.local()[0].to_owned(),
        program: site.connector.program.process().clone(),
        _lab: lab,
    })
}

fn forwarder() -> Result<ShortLane> {
    let lab = quiet_lab()?;
    let forwarder = Forwarder::start(&lab)?;
    Ok(ShortLane {
        name: Forwarder::PROGRAM,
        client: forwarder.client.clone(),
        address: Forwarder::ADDRESS.to_owned(),
        gate: forwarder.client,
        direct: Forwarder::DIRECT.to_owned(),
        program: forwarder.process,
        _lab: lab,
    })
}

fn requests(lane: &ShortLane, seconds: u32) -> Result<Sample> {
    let before = lane.program.cpu_time()?;
    let requests = probe::requests(&lane.client, &lane.address, PAGE_PORT, RATE, seconds)?;
    let used = lane.program.cpu_time()?.saturating_sub(before).as_secs_f64();
    let done = requests.done as f64;
    Ok(Sample::Requests {
        per_second: done / f64::from(seconds),
        per_core: if used > 0.0 { done / used } else { 0.0 },
        failed: requests.failed,
    })
}

fn connects(lane: &ShortLane) -> Result<Sample> {
    Ok(Sample::Connects {
        through: probe::connects(&lane.client, &lane.address, PAGE_PORT, CONNECTS)?,
        direct: probe::connects(&lane.gate, &lane.direct, PAGE_PORT, CONNECTS)?,
    })
}

fn table(lanes: &[ShortLane], series: &Series<Sample>) -> Table {
    let mut table = Table::new("median", lanes);
    let [requests, connects] = &series.samples[..] else { return table };
    let mut row = |name: &str, samples: &[Vec<Sample>], read: fn(&Sample) -> f64| {
        let cells = samples.iter().map(|samples| {
            median(samples.iter().map(read)).map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"))
        });
        table.rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    };
    row("requests a second", requests, |sample| match sample {
        Sample::Requests { per_second, .. } => *per_second,
        Sample::Connects { .. } => 0.0,
    });
    row("requests for a second of its processor time", requests, |sample| match sample {
        Sample::Requests { per_core, .. } => *per_core,
        Sample::Connects { .. } => 0.0,
    });
    row("requests without an answer", requests, |sample| match sample {
        Sample::Requests { failed, .. } => *failed as f64,
        Sample::Connects { .. } => 0.0,
    });
    row("connect through, p50, µs", connects, |sample| match sample {
        Sample::Connects { through, .. } => through.p50 as f64,
        Sample::Requests { .. } => 0.0,
    });
    row("connect through, p99, µs", connects, |sample| match sample {
        Sample::Connects { through, .. } => through.p99 as f64,
        Sample::Requests { .. } => 0.0,
    });
    row("connect directly, p50, µs", connects, |sample| match sample {
        Sample::Connects { direct, .. } => direct.p50 as f64,
        Sample::Requests { .. } => 0.0,
    });
    table
}

fn data(series: &Series<Sample>) -> Value {
    let sample = |sample: &Sample| match *sample {
        Sample::Requests { per_second, per_core, failed } => {
            json!({ "per_second": per_second, "per_core": per_core, "failed": failed })
        }
        Sample::Connects { through, direct } => json!({
            "through_us": [through.p50, through.p99, through.p999],
            "direct_us": [direct.p50, direct.p99, direct.p999],
        }),
    };
    let lane = |samples: &Vec<Sample>| Value::from(samples.iter().map(sample).collect::<Vec<_>>());
    series.samples.iter().map(|row| Value::from(row.iter().map(lane).collect::<Vec<_>>())).collect()
}
