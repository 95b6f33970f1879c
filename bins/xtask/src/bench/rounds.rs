//! Rounds in turns: every round visits every load, and for each load every lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::lane::Named;

/// What a measurement takes beyond its seconds: starting programs, TCP's start and end.
const OVERHEAD_PERCENT: u32 = 15;
/// Namespaces, tunnels and handshakes of one lane.
const SET_UP_SECONDS: u32 = 3;

/// How many rounds, how long a measurement, and whether the user has had enough.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    pub(crate) count: u32,
    pub(crate) seconds: u32,
    stop: Arc<AtomicBool>,
}

/// All samples of a run, by load, then by lane, then by round.
#[derive(Clone, Debug)]
pub(crate) struct Series<S> {
    pub(crate) samples: Vec<Vec<Vec<S>>>,
    /// Measurements that failed: which, and why.
    pub(crate) failures: Vec<String>,
}

impl Rounds {
    /// Ctrl-C ends a run between two measurements, so that namespaces do not stay behind.
    pub(crate) fn new(count: u32, seconds: u32) -> Result<Rounds> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Rounds { count, seconds, stop })
    }

    /// The seconds that one lane will take.
    pub(crate) fn estimate(rounds: u32, loads: usize, seconds: u32) -> u32 {
        let measurements = rounds * loads as u32;
        SET_UP_SECONDS + measurements * seconds + measurements * seconds.max(2) * OVERHEAD_PERCENT / 100
    }

    /// Measures every load on every lane, `count` times. One failure does not end the run: it is told, and kept.
    pub(crate) fn run<L: Named, M: Named, S>(
        &self,
        what: &str,
        lanes: &mut [L],
        loads: &[M],
        mut measure: impl FnMut(&mut L, &M) -> Result<S>,
    ) -> Result<Series<S>> {
        let mut series = Series::empty(loads.len(), lanes.len());
        for round in 1..=self.count {
            let started = Instant::now();
            for (load, row) in loads.iter().zip(&mut series.samples) {
                for (lane, samples) in lanes.iter_mut().zip(row) {
                    ensure!(!self.stop.load(Ordering::Relaxed), "stopped");
                    match measure(lane, load) {
                        Ok(sample) => samples.push(sample),
                        Err(error) => series.failures.push(format!(
                            "{what}, {}, {}, round {round}: {error:#}",
                            lane.name(),
                            load.name()
                        )),
                    }
                }
            }
            ensure!(!self.stop.load(Ordering::Relaxed), "stopped");
            let took = started.elapsed().as_secs_f64();
            eprintln!("{what}: round {round} of {} in {took:.0} s", self.count);
        }
        for failure in &series.failures {
            eprintln!("failed: {failure}");
        }
        Ok(series)
    }
}

impl<S> Series<S> {
    fn empty(loads: usize, lanes: usize) -> Series<S> {
        let row = || (0..lanes).map(|_| Vec::new()).collect();
        Series { samples: (0..loads).map(|_| row()).collect(), failures: Vec::new() }
    }
}
