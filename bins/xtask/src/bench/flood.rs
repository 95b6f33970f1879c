//! What a tunnel still carries while somebody floods one end with handshake initiations.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use sluice_lab::peer::Implementation;
use sluice_lab::probe::{self, FirstMac};
use sluice_lab::services::{Direction, Load};
use sluice_lab::topology::Pair;
use sluice_lab::{Host, Mtu, Port, Process};

use super::lane::{Lane, Named};
use super::programs;
use super::report::{Report, Table};
use super::rounds::{Rounds, Series};
use super::samples::{Ratio, median};
use super::throughput::names;

/// A port that is taken up and never read from.
const SINK_PORT: u16 = 7009;
/// The flood is on before data are measured.
const RAMP: Duration = Duration::from_millis(300);
/// It is ended after the measurement, and ends by itself a little later.
const FLOOD_SPARE_SECONDS: u32 = 5;
/// How the flooder's cable is called at the flooded end.
const FLOODED_INTERFACE: &str = "flood0";

/// What is sent meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    Quiet,
    /// The same packets to a port that nobody reads: what the generator itself takes from this machine.
    Elsewhere,
    /// Initiations with a bad first MAC.
    Bad,
    /// Initiations with a valid first MAC, from unknown keys.
    Valid,
}

/// The states, in order.
pub(crate) const STATES: [State; 4] = [State::Quiet, State::Elsewhere, State::Bad, State::Valid];

impl Named for State {
    fn name(&self) -> &str {
        match self {
            State::Quiet => "no flood",
            State::Elsewhere => "flood of another port",
            State::Bad => "bad mac1",
            State::Valid => "valid mac1",
        }
    }
}

impl State {
    /// The share of the baseline that ours must keep.
    fn wanted(self) -> Option<f64> {
        match self {
            State::Quiet | State::Elsewhere => None,
            State::Bad => Some(0.9),
            State::Valid => Some(0.7),
        }
    }
}

/// A pair, and a third host that floods its server's side.
struct Flooded {
    lane: Lane,
    key: String,
    flooder: Host,
}

impl Named for Flooded {
    fn name(&self) -> &str {
        self.lane.name()
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    gigabits_per_second: f64,
    /// What really arrived at the flooded end.
    flood_per_second: f64,
}

/// All implementations in turns, each in all states.
pub(crate) fn measure(alone: bool, rounds: &Rounds, rate: u32) -> Result<Report> {
    let mut lanes: Vec<Flooded> =
        programs::measured(alone).iter().map(|&program| flooded(program)).collect::<Result<_>>()?;
    let series =
        rounds.run("flood", &mut lanes, &STATES, |lane, &state| sample(lane, state, rate, rounds.seconds))?;
    let caption = format!(
        "One TCP stream through two plain interfaces, Gbit/s, while a third host sends {rate} handshake initiations a second \
        to the receiving end; medians of {} interleaved rounds of {} s. The flooder shares the two cores; what it costs by \
        itself shows in \"{}\", which the shares are of. {}.",
        rounds.count,
        rounds.seconds,
        State::Elsewhere.name(),
        programs::versions(alone)
    );
    Ok(Report {
        kind: "flood",
        caption,
        tables: vec![
            table("Gbit/s", &lanes, &series, |sample| sample.gigabits_per_second, 2),
            shares(&lanes, &series),
            table("initiations a second that arrived", &lanes, &series, |sample| sample.flood_per_second, 0),
        ],
        data: data(&lanes, &series),
        failures: series.failures,
    })
}

fn flooded(program: Implementation) -> Result<Flooded> {
    let (lane, key) = Lane::pair_with_key(program)?;
    let flooder = lane.lab.host("flooder")?;
    lane.lab.cable(
        Port::new(&flooder, "wan0", &["198.51.100.2/24"]),
        Port::new(&lane.server, FLOODED_INTERFACE, &["198.51.100.1/24"]),
        Mtu::ETHERNET,
    )?;
    probe::sink(&lane.server, SINK_PORT)?;
    Ok(Flooded { lane, key, flooder })
}

fn sample(flooded: &Flooded, state: State, rate: u32, seconds: u32) -> Result<Sample> {
    let flood = start(flooded, state, rate, seconds + FLOOD_SPARE_SECONDS)?;
    sleep(RAMP);
    let arrived = || flooded.lane.server.interface_counter(FLOODED_INTERFACE, "rx_packets");
    let (before, since) = (arrived()?, Instant::now());
    let load = Load::tcp(1, Direction::Upload, seconds);
    let report = flooded.lane.iperf.run(&flooded.lane.client, &flooded.lane.address, &load)?;
    let flood_per_second = (arrived()? - before) as f64 / since.elapsed().as_secs_f64();
    if let Some(flood) = flood {
        flood.stop()?;
    }
    Ok(Sample { gigabits_per_second: report.bits_per_second / 1e9, flood_per_second })
}

fn start(flooded: &Flooded, state: State, rate: u32, seconds: u32) -> Result<Option<Process>> {
    let (mac, port) = match state {
        State::Quiet => return Ok(None),
        State::Elsewhere => (FirstMac::Valid, SINK_PORT),
        State::Bad => (FirstMac::Bad, Pair::RIGHT_PORT),
        State::Valid => (FirstMac::Valid, Pair::RIGHT_PORT),
    };
    let endpoint = format!("198.51.100.1:{port}");
    probe::flood_of(&flooded.flooder, mac, &endpoint, &flooded.key, rate, seconds).map(Some)
}

fn table(
    title: &str,
    lanes: &[Flooded],
    series: &Series<Sample>,
    value: fn(&Sample) -> f64,
    digits: usize,
) -> Table {
    let mut table = Table::new(title, lanes);
    for (state, row) in STATES.iter().zip(&series.samples) {
        let cells = row.iter().map(|samples| {
            median(samples.iter().map(value))
                .map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        });
        table.rows.push(std::iter::once(state.name().to_owned()).chain(cells).collect());
    }
    table
}

/// Of what the same implementation carries while the flood goes elsewhere.
fn shares(lanes: &[Flooded], series: &Series<Sample>) -> Table {
    let mut table = Table::new("share of the baseline", lanes);
    let rates = |row: &[Vec<Sample>]| -> Vec<Option<f64>> {
        row.iter().map(|samples| median(samples.iter().map(|sample| sample.gigabits_per_second))).collect()
    };
    let baseline = rates(&series.samples[1]);
    for (state, row) in STATES.iter().zip(&series.samples).skip(2) {
        let mut cells = vec![state.name().to_owned()];
        for ((lane, rate), &baseline) in lanes.iter().zip(rates(row)).zip(&baseline) {
            let ours = lane.lane.program == Some(Implementation::Sluice);
            let ratio = Ratio::new(rate, baseline, state.wanted().filter(|_| ours));
            cells.push(ratio.map_or_else(|| "–".to_owned(), |ratio| ratio.to_string()));
        }
        table.rows.push(cells);
    }
    table
}

fn data(lanes: &[Flooded], series: &Series<Sample>) -> Value {
    let sample =
        |sample: &Sample| json!({ "gbit_s": sample.gigabits_per_second, "flood_s": sample.flood_per_second });
    let rows = series.samples.iter().map(|row| -> Value {
        row.iter().map(|samples| samples.iter().map(sample).collect::<Value>()).collect()
    });
    json!({ "lanes": names(lanes), "states": names(&STATES), "samples": rows.collect::<Value>() })
}
