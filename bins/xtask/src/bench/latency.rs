//! Small datagrams there and back, over an idle tunnel and over a busy one.

use std::fmt;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use sluice_lab::probe::{self, RoundTrips};
use sluice_lab::services::{Direction, Load};

use super::lane::{Lane, Named};
use super::programs;
use super::report::{Report, Table};
use super::rounds::{Rounds, Series};
use super::samples::median;
use super::throughput::names;

/// 2000 requests a second: a voice call's rate forty times, and little beside the load.
const INTERVAL: Duration = Duration::from_micros(500);
const REQUESTS_PER_SECOND: u32 = 2000;
/// Of what the implementation itself reached just before.
const LOAD_SHARE: f64 = 0.7;
const ECHO_PORT: u16 = 7007;
/// The load is up before the first request, and stays until after the last.
const RAMP: Duration = Duration::from_millis(500);

/// What else the tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Idle,
    Loaded,
}

/// The conditions, in order.
pub(crate) const CONDITIONS: [Condition; 2] = [Condition::Idle, Condition::Loaded];

impl Named for Condition {
    fn name(&self) -> &str {
        match self {
            Condition::Idle => "idle",
            Condition::Loaded => "at 70 % load",
        }
    }
}

/// A share of the requests.
#[derive(Clone, Copy, Debug)]
enum Percentile {
    P50,
    P99,
    P999,
}

const PERCENTILES: [Percentile; 3] = [Percentile::P50, Percentile::P99, Percentile::P999];

impl Percentile {
    fn of(self, sample: &RoundTrips) -> f64 {
        let micros = match self {
            Percentile::P50 => sample.p50,
            Percentile::P99 => sample.p99,
            Percentile::P999 => sample.p999,
        };
        micros as f64
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Percentile::P50 => "p50",
            Percentile::P99 => "p99",
            Percentile::P999 => "p99.9",
        })
    }
}

/// All implementations in turns, and the bare cable last.
pub(crate) fn measure(alone: bool, rounds: &Rounds) -> Result<Report> {
    let mut lanes: Vec<Lane> =
        programs::measured(alone).iter().map(|&program| Lane::pair(program)).collect::<Result<_>>()?;
    lanes.push(Lane::bare()?);
    lanes.iter().try_for_each(|lane| probe::echo(&lane.server, ECHO_PORT).map(drop))?;
    let series = rounds.run("latency", &mut lanes, &CONDITIONS, |lane, condition| match condition {
        Condition::Idle => round_trips(lane, rounds.seconds),
        Condition::Loaded => loaded(lane, rounds.seconds),
    })?;
    Ok(Report {
        kind: "latency",
        caption: caption(alone, rounds),
        tables: vec![table(&lanes, &series), added(&lanes, &series), lost(&lanes, &series)],
        data: data(&lanes, &series),
        failures: series.failures,
    })
}

fn caption(alone: bool, rounds: &Rounds) -> String {
    format!(
        "Round trips of 64-byte UDP packets through two plain interfaces, in microseconds; medians of {} interleaved rounds \
        of {} requests each, sent on a schedule of one every {} µs whether or not answers have come. Load: one TCP stream in \
        the requests' direction, held by iperf3 to 70 % of what the same implementation carried just before. Added: less \
        the idle bare veth's. {}.",
        rounds.count,
        rounds.seconds * REQUESTS_PER_SECOND,
        INTERVAL.as_micros(),
        programs::versions(alone)
    )
}

fn round_trips(lane: &Lane, seconds: u32) -> Result<RoundTrips> {
    probe::round_trips(&lane.client, &lane.address, ECHO_PORT, seconds * REQUESTS_PER_SECOND, INTERVAL)
}

fn loaded(lane: &Lane, seconds: u32) -> Result<RoundTrips> {
    let full = Load::tcp(1, Direction::Upload, seconds);
    let capacity = lane.iperf.run(&lane.client, &lane.address, &full)?.bits_per_second;
    let held = Load {
        bits_per_second: Some((capacity * LOAD_SHARE) as u64),
        seconds: seconds + (RAMP * 2).as_secs() as u32,
        ..full
    };
    thread::scope(|scope| {
        let load = scope.spawn(|| lane.iperf.run(&lane.client, &lane.address, &held));
        thread::sleep(RAMP);
        let sample = round_trips(lane, seconds);
        load.join().map_err(|_| anyhow!("the load's thread panicked"))??;
        sample
    })
}

fn table(lanes: &[Lane], series: &Series<RoundTrips>) -> Table {
    rows("round trip, µs", lanes, series, |value, _| format!("{value:.0}"))
}

fn added(lanes: &[Lane], series: &Series<RoundTrips>) -> Table {
    let idle = series.samples.first().and_then(|row| row.last());
    rows("added, µs", lanes, series, |value, percentile| {
        let bare = idle.and_then(|samples| median(samples.iter().map(|sample| percentile.of(sample))));
        bare.map_or_else(|| "–".to_owned(), |bare| format!("{:+.0}", value - bare))
    })
}

fn rows(
    title: &str,
    lanes: &[Lane],
    series: &Series<RoundTrips>,
    shown: impl Fn(f64, Percentile) -> String,
) -> Table {
    let mut table = Table::new(title, lanes);
    for (condition, row) in CONDITIONS.iter().zip(&series.samples) {
        for percentile in PERCENTILES {
            let mut cells = vec![format!("{}, {percentile}", condition.name())];
            cells.extend(row.iter().map(|samples| {
                median(samples.iter().map(|sample| percentile.of(sample)))
                    .map_or_else(|| "–".to_owned(), |value| shown(value, percentile))
            }));
            table.rows.push(cells);
        }
    }
    table
}

fn lost(lanes: &[Lane], series: &Series<RoundTrips>) -> Table {
    let mut table = Table::new("requests without an answer, all rounds", lanes);
    for (condition, row) in CONDITIONS.iter().zip(&series.samples) {
        let total = |samples: &Vec<RoundTrips>| samples.iter().map(|sample| sample.lost).sum::<u64>();
        let cells = row.iter().map(|samples| total(samples).to_string());
        table.rows.push(std::iter::once(condition.name().to_owned()).chain(cells).collect());
    }
    table
}

fn data(lanes: &[Lane], series: &Series<RoundTrips>) -> Value {
    let sample = |sample: &RoundTrips| json!({ "p50_us": sample.p50, "p99_us": sample.p99, "p999_us": sample.p999, "lost": sample.lost });
    let rows = series.samples.iter().map(|row| -> Value {
        row.iter().map(|samples| samples.iter().map(sample).collect::<Value>()).collect()
    });
    json!({ "lanes": names(lanes), "conditions": names(&CONDITIONS), "samples": rows.collect::<Value>() })
}
