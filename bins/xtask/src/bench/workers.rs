//! One interface, several peers, many flows: what more workers bring, and whether flows stay in order.

use std::thread;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use sluice_lab::probe::{self, Counted};
use sluice_lab::services::{Direction, Iperf, Load};
use sluice_lab::topology::Star;
use sluice_lab::{Host, Lab};

use super::lane::{Named, quiet_lab};
use super::report::{Report, Table};
use super::rounds::{Rounds, Series};
use super::samples::median;
use super::throughput::names;

const SPOKES: usize = 4;
const STREAMS_PER_SPOKE: u32 = 2;
const FLOWS_PER_SPOKE: u32 = 16;
/// Of 1000 bytes each, from each spoke or to it.
const DATAGRAMS_PER_SECOND: u32 = 15_000;
const FIRST_IPERF_PORT: u16 = 5301;
const FIRST_COUNT_PORT: u16 = 7101;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Tcp(Direction),
    Numbered(Direction),
}

/// The loads, in order.
pub(crate) const WORK: [Work; 4] = [
    Work::Tcp(Direction::Upload),
    Work::Tcp(Direction::Download),
    Work::Numbered(Direction::Upload),
    Work::Numbered(Direction::Download),
];

impl Named for Work {
    fn name(&self) -> &str {
        match self {
            Work::Tcp(Direction::Upload) => "TCP to the hub",
            Work::Tcp(Direction::Download) => "TCP from the hub",
            Work::Numbered(Direction::Upload) => "numbered datagrams to the hub",
            Work::Numbered(Direction::Download) => "numbered datagrams from the hub",
        }
    }
}

/// A star whose hub has a number of workers.
struct StarLane {
    name: String,
    star: Star,
    servers: Vec<Iperf>,
    // Dropped last: it owns what the others use.
    _lab: Lab,
}

impl Named for StarLane {
    fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Clone, Copy, Debug)]
enum Sample {
    GigabitsPerSecond(f64),
    Numbered(Counted),
}

/// Every number of workers in turns.
pub(crate) fn measure(rounds: &Rounds, workers: &[u16]) -> Result<Report> {
    let mut lanes: Vec<StarLane> = workers.iter().map(|&workers| lane(workers)).collect::<Result<_>>()?;
    let series = rounds.run("workers", &mut lanes, &WORK, |lane, &work| match work {
        Work::Tcp(direction) => tcp(lane, direction, rounds.seconds),
        Work::Numbered(direction) => numbered(lane, direction, rounds.seconds),
    })?;
    let caption = format!(
        "`sluice-router wireguard --workers N` with {SPOKES} peers, each on a host of its own with one worker, all on this \
        machine of {} cores: medians of {} interleaved rounds of {} s. TCP: {STREAMS_PER_SPOKE} streams per peer, all at once. \
        Datagrams: {FLOWS_PER_SPOKE} flows per peer, {DATAGRAMS_PER_SECOND} a second per peer, numbered within each flow; \
        one that arrives after a later one of its flow counts as reordered, and there shall be none.",
        thread::available_parallelism()?,
        rounds.count,
        rounds.seconds,
    );
    Ok(Report {
        kind: "workers",
        caption,
        tables: vec![rates(&lanes, &series), order(&lanes, &series)],
        data: data(&lanes, &series),
        failures: series.failures,
    })
}

fn lane(workers: u16) -> Result<StarLane> {
    let lab = quiet_lab()?;
    let star = Star::start(&lab, SPOKES, workers)?;
    let servers = (FIRST_IPERF_PORT..)
        .take(SPOKES)
        .map(|port| Iperf::start_on(&star.hub, port))
        .collect::<Result<_>>()?;
    let name = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
    Ok(StarLane { name, star, servers, _lab: lab })
}

fn tcp(lane: &StarLane, direction: Direction, seconds: u32) -> Result<Sample> {
    let load = Load::tcp(STREAMS_PER_SPOKE, direction, seconds);
    let rates = at_once(lane, |number, spoke| {
        Ok(lane.servers[number].run(spoke, Star::HUB, &load)?.bits_per_second / 1e9)
    })?;
    Ok(Sample::GigabitsPerSecond(rates.iter().sum()))
}

fn numbered(lane: &StarLane, direction: Direction, seconds: u32) -> Result<Sample> {
    let counts = at_once(lane, |number, spoke| {
        let port = FIRST_COUNT_PORT + number as u16;
        let (from, to, address) = match direction {
            Direction::Upload => (spoke, &lane.star.hub, Star::HUB.to_owned()),
            Direction::Download => (&lane.star.hub, spoke, Star::spoke_address(number)),
        };
        let counter = probe::count(to, port, FLOWS_PER_SPOKE)?;
        probe::sequence(from, &address, port, FLOWS_PER_SPOKE, DATAGRAMS_PER_SECOND, seconds)?;
        Counted::read(&counter)
    })?;
    let sum = |value: fn(&Counted) -> u64| counts.iter().map(value).sum();
    Ok(Sample::Numbered(Counted {
        flows: sum(|count| count.flows),
        received: sum(|count| count.received),
        reordered: sum(|count| count.reordered),
    }))
}

/// Does the same for all spokes at the same time.
fn at_once<T: Send>(lane: &StarLane, action: impl Fn(usize, &Host) -> Result<T> + Sync) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let action = &action;
        let spokes = lane.star.spokes.iter().enumerate();
        let threads: Vec<_> =
            spokes.map(|(number, (host, _))| scope.spawn(move || action(number, host))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<T>>| {
            thread.join().map_err(|_| anyhow!("a spoke's thread panicked"))?
        };
        threads.into_iter().map(join).collect()
    })
}

fn rates(lanes: &[StarLane], series: &Series<Sample>) -> Table {
    let mut table = Table::new("Gbit/s", lanes);
    for (work, row) in WORK.iter().zip(&series.samples).filter(|(work, _)| matches!(work, Work::Tcp(_))) {
        let cells = row.iter().map(|samples| {
            let rates = samples.iter().filter_map(|sample| match sample {
                Sample::GigabitsPerSecond(rate) => Some(*rate),
                Sample::Numbered(_) => None,
            });
            median(rates).map_or_else(|| "–".to_owned(), |rate| format!("{rate:.2}"))
        });
        table.rows.push(std::iter::once(work.name().to_owned()).chain(cells).collect());
    }
    table
}

fn order(lanes: &[StarLane], series: &Series<Sample>) -> Table {
    let mut table = Table::new("reordered, of those that arrived, all rounds", lanes);
    let numbered = WORK.iter().zip(&series.samples).filter(|(work, _)| matches!(work, Work::Numbered(_)));
    for (work, row) in numbered {
        let cells = row.iter().map(|samples| {
            let counts = samples.iter().filter_map(|sample| match sample {
                Sample::GigabitsPerSecond(_) => None,
                Sample::Numbered(count) => Some(count),
            });
            let (reordered, received) = counts.fold((0, 0), |(reordered, received), count| {
                (reordered + count.reordered, received + count.received)
            });
            format!("{reordered} of {received}")
        });
        table.rows.push(std::iter::once(work.name().to_owned()).chain(cells).collect());
    }
    table
}

fn data(lanes: &[StarLane], series: &Series<Sample>) -> Value {
    let sample = |sample: &Sample| match sample {
        Sample::GigabitsPerSecond(rate) => json!({ "gbit_s": rate }),
        Sample::Numbered(Counted { flows, received, reordered }) => {
            json!({ "flows": flows, "received": received, "reordered": reordered })
        }
    };
    let rows = series.samples.iter().map(|row| -> Value {
        row.iter().map(|samples| samples.iter().map(sample).collect::<Value>()).collect()
    });
    json!({ "lanes": names(lanes), "work": names(&WORK), "samples": rows.collect::<Value>() })
}
