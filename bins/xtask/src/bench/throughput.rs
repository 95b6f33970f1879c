//! What gets through a lane, what it costs, and how lanes compare.

use anyhow::Result;
use serde_json::{Value, json};
use sluice_lab::probe;
use sluice_lab::services::{Direction, Load, Traffic};

use super::lane::{Lane, Named};
use super::report::{Report, Table};
use super::rounds::{Rounds, Series};
use super::samples::{Ratio, median};
use super::search::{self, Trial};

/// A load with a name, and what it is counted in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedLoad {
    pub(crate) name: &'static str,
    pub(crate) offer: Offer,
    pub(crate) direction: Direction,
    pub(crate) unit: Unit,
}

/// Who sends what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// iperf3: for UDP one system call for each datagram.
    Iperf(Traffic),
    /// UDP in runs that the kernel cuts, as QUIC stacks send it.
    Runs {
        /// Of one datagram.
        payload_bytes: u16,
    },
}

/// What throughput is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Payload.
    GigabitsPerSecond,
    /// Datagrams of this many payload bytes.
    KilopacketsPerSecond { payload_bytes: u16 },
}

/// What one measurement found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// What arrived, in the load's unit.
    pub(crate) rate: f64,
    pub(crate) lost_percent: f64,
    /// Processor seconds of the lane's programs for each gigabit or million packets that arrived.
    pub(crate) cost: f64,
}

impl Named for NamedLoad {
    fn name(&self) -> &str {
        self.name
    }
}

/// A load from the client, in gigabits.
pub(crate) const fn up(name: &'static str, offer: Offer) -> NamedLoad {
    NamedLoad { name, offer, direction: Direction::Upload, unit: Unit::GigabitsPerSecond }
}

/// A load towards the client, in gigabits.
pub(crate) const fn down(name: &'static str, offer: Offer) -> NamedLoad {
    NamedLoad { name, offer, direction: Direction::Download, unit: Unit::GigabitsPerSecond }
}

impl Unit {
    fn rate(self, bits_per_second: f64) -> f64 {
        match self {
            Unit::GigabitsPerSecond => bits_per_second / 1e9,
            Unit::KilopacketsPerSecond { payload_bytes } => {
                bits_per_second / 8.0 / f64::from(payload_bytes) / 1e3
            }
        }
    }

    fn bits_per_second(self, rate: f64) -> f64 {
        match self {
            Unit::GigabitsPerSecond => rate * 1e9,
            Unit::KilopacketsPerSecond { payload_bytes } => rate * 1e3 * f64::from(payload_bytes) * 8.0,
        }
    }

    /// Gigabits, or millions of packets, in a second at this rate.
    fn units_per_second(self, rate: f64) -> f64 {
        match self {
            Unit::GigabitsPerSecond => rate,
            Unit::KilopacketsPerSecond { .. } => rate / 1e3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::GigabitsPerSecond => "Gbit/s",
            Unit::KilopacketsPerSecond { .. } => "kpps",
        }
    }

    fn shown(self, rate: f64) -> String {
        match self {
            Unit::GigabitsPerSecond => format!("{rate:.2}"),
            Unit::KilopacketsPerSecond { .. } => format!("{rate:.0}"),
        }
    }
}

/// Measures all loads on all lanes and compares the first lane with the others.
pub(crate) fn compare(
    kind: &'static str,
    rounds: &Rounds,
    mut lanes: Vec<Lane>,
    loads: &[NamedLoad],
    wanted: impl Fn(&NamedLoad, &Lane) -> Option<f64>,
) -> Result<Report> {
    let series = rounds.run(kind, &mut lanes, loads, |lane, load| measure(lane, load, rounds.seconds))?;
    let tables = vec![rates(&lanes, loads, &series, wanted), costs(&lanes, loads, &series)];
    let data = json!({ "lanes": names(&lanes), "loads": all_samples(&lanes, loads, &series) });
    Ok(Report { kind, caption: String::new(), tables, failures: series.failures, data })
}

impl Trial for Sample {
    fn lost_percent(&self) -> f64 {
        self.lost_percent
    }
}

const BULK_PORT: u16 = 7201;
/// One trial of several: a tunnel has no slow start.
const TRIAL_SECONDS: u32 = 1;

/// TCP finds its rate by itself. For UDP we look for the highest one that gets through, from what arrives of too much.
pub(crate) fn measure(lane: &Lane, load: &NamedLoad, seconds: u32) -> Result<Sample> {
    let unpaced = run(lane, load, seconds, None)?;
    match load.offer {
        Offer::Iperf(Traffic::Tcp { .. }) => Ok(unpaced),
        Offer::Iperf(Traffic::Udp { .. }) | Offer::Runs { .. } => {
            search::highest(load.unit.bits_per_second(unpaced.rate), |bits_per_second| {
                run(lane, load, TRIAL_SECONDS, Some(bits_per_second as u64))
            })
        }
    }
}

fn run(lane: &Lane, load: &NamedLoad, seconds: u32, bits_per_second: Option<u64>) -> Result<Sample> {
    let NamedLoad { offer, direction, unit, .. } = *load;
    let before = lane.cpu_time()?;
    let (bits_per_second, lost_percent) = match offer {
        Offer::Iperf(traffic) => {
            let offered = Load { traffic, direction, seconds, bits_per_second };
            let report = lane.iperf.run(&lane.client, &lane.address, &offered)?;
            (report.bits_per_second, report.lost_percent)
        }
        Offer::Runs { payload_bytes } => {
            let (from, to, address) = lane.ends(direction);
            let bulk = probe::bulk(from, to, address, BULK_PORT, payload_bytes, bits_per_second, seconds)?;
            (bulk.bits_per_second, bulk.lost_percent())
        }
    };
    let used = (lane.cpu_time()?.saturating_sub(before)).as_secs_f64();
    let rate = unit.rate(bits_per_second);
    let cost = used / (unit.units_per_second(rate) * f64::from(seconds));
    Ok(Sample { rate, lost_percent, cost })
}

fn rates(
    lanes: &[Lane],
    loads: &[NamedLoad],
    series: &Series<Sample>,
    wanted: impl Fn(&NamedLoad, &Lane) -> Option<f64>,
) -> Table {
    let mut table = Table::new("load", lanes);
    table.header.extend(lanes.iter().skip(1).map(|lane| format!("against {}", lane.name())));
    for (load, row) in loads.iter().zip(&series.samples) {
        let medians: Vec<Option<f64>> = row.iter().map(|samples| rate_of(samples)).collect();
        let mut cells = vec![format!("{}, {}", load.name, load.unit.name())];
        cells.extend(row.iter().map(|samples| rate_cell(load.unit, samples)));
        for (lane, &theirs) in lanes.iter().zip(&medians).skip(1) {
            let ratio = Ratio::new(medians[0], theirs, wanted(load, lane));
            cells.push(ratio.map_or_else(|| "–".to_owned(), |ratio| ratio.to_string()));
        }
        table.rows.push(cells);
    }
    table
}

fn costs(lanes: &[Lane], loads: &[NamedLoad], series: &Series<Sample>) -> Table {
    let mut table = Table::new("processor seconds per Gbit or million packets", lanes);
    for (load, row) in loads.iter().zip(&series.samples) {
        let mut cells = vec![load.name.to_owned()];
        cells.extend(row.iter().map(|samples| {
            median(samples.iter().map(|sample| sample.cost))
                .map_or_else(|| "–".to_owned(), |cost| format!("{cost:.2}"))
        }));
        table.rows.push(cells);
    }
    table
}

fn rate_of(samples: &[Sample]) -> Option<f64> {
    median(samples.iter().map(|sample| sample.rate))
}

fn rate_cell(unit: Unit, samples: &[Sample]) -> String {
    rate_of(samples).map_or_else(|| "–".to_owned(), |rate| unit.shown(rate))
}

pub(crate) fn names<N: Named>(all: &[N]) -> Vec<&str> {
    all.iter().map(Named::name).collect()
}

fn all_samples(lanes: &[Lane], loads: &[NamedLoad], series: &Series<Sample>) -> Value {
    let lane = |(lane, samples): (&Lane, &Vec<Sample>)| {
        let rates: Vec<f64> = samples.iter().map(|sample| sample.rate).collect();
        let lost: Vec<f64> = samples.iter().map(|sample| sample.lost_percent).collect();
        let costs: Vec<f64> = samples.iter().map(|sample| sample.cost).collect();
        json!({ "lane": lane.name(), "rate": rates, "lost_percent": lost, "cost": costs })
    };
    let load = |(load, row): (&NamedLoad, &Vec<Vec<Sample>>)| {
        let rows: Vec<Value> = lanes.iter().zip(row).map(lane).collect();
        json!({ "load": load.name, "unit": load.unit.name(), "lanes": rows })
    };
    loads.iter().zip(&series.samples).map(load).collect()
}
