//! Long runs of router, connector and client under churn, and what must not grow meanwhile.
//!
//! Called by `cargo xtask soak` for an hour, by an ordinary test for a minute. The churn is light on purpose: leaks show by
//! repetition, not by load.

mod churn;
mod flatness;
mod guest;
mod warnings;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

pub use churn::Tally;
pub use flatness::{Flatness, Series};

use crate::lab::Lab;
use crate::process::{Footprint, Process};
use crate::sluice::Sockets;
use crate::topology::{Chain, ChainConfig};
use churn::Churn;

/// Between two looks at the processes.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(3);
/// Between two steps of the churn.
const STEP_INTERVAL: Duration = Duration::from_millis(500);
/// A run's longest duration: the loop and the series are bounded by it.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What one of our programs took over the run.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its host's name.
    pub name: String,
    /// Resident memory in KiB.
    pub resident_kib: Series,
    /// Open file descriptors.
    pub descriptors: Series,
    process: Process,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was done.
    pub tally: Tally,
    /// What it took.
    pub watched: Vec<Watched>,
    /// Seconds since the start at which the samples were taken.
    pub seconds: Vec<u64>,
}

/// Runs the churn, with `sockets` on programs that have no privileges. The error is for a run that could not go on; whether
/// a finished one is good, [`Report::check`] says.
pub fn run(lab: &Lab, duration: Duration, sockets: Option<Sockets>) -> Result<Report> {
    ensure!(duration <= LONGEST, "at most {LONGEST:?}");
    let chain = Chain::start(lab, &ChainConfig { sites: 2, sockets, ..ChainConfig::default() })?;
    let programs = [&chain.router.program, &chain.sites[0].connector.program];
    let mut watched: Vec<Watched> =
        programs.map(|program| Watched::new(program.host().name(), program.process())).into_iter().collect();
    let mut churn = Churn::new(chain)?;
    let (started, mut seconds) = (Instant::now(), Vec::new());
    while started.elapsed() < duration {
        churn.step()?;
        if started.elapsed() >= SAMPLE_INTERVAL * u32::try_from(seconds.len()).unwrap_or(u32::MAX) {
            watched.iter_mut().try_for_each(Watched::sample)?;
            seconds.push(started.elapsed().as_secs());
        }
        std::thread::sleep(STEP_INTERVAL);
    }
    let tally = churn.finish()?;
    Ok(Report { tally, watched, seconds })
}

impl Watched {
    fn new(name: &str, process: &Process) -> Watched {
        Watched {
            name: name.to_owned(),
            resident_kib: Series::default(),
            descriptors: Series::default(),
            process: process.clone(),
        }
    }

    fn sample(&mut self) -> Result<()> {
        let Footprint { resident_kib, descriptors } = self.process.footprint()?;
        self.resident_kib.push(resident_kib);
        self.descriptors.push(descriptors);
        Ok(())
    }
}

impl Report {
    /// Fails if memory or descriptors grew, if a line of WARN or ERROR is in a log that is not expected, or if more than a
    /// tenth of the requests got no answer: loss and restarts are part of the run.
    pub fn check(&self) -> Result<()> {
        for watched in &self.watched {
            let name = &watched.name;
            let (memory, descriptors) = (watched.resident_kib.flatness(), watched.descriptors.flatness());
            ensure!(memory.holds(Flatness::MEMORY_KIB), "memory of {name} in KiB: {memory}");
            ensure!(descriptors.holds(Flatness::DESCRIPTORS), "descriptors of {name}: {descriptors}");
            let log = watched.process.log();
            let unexpected = warnings::unexpected(&log);
            ensure!(unexpected.is_empty(), "{name} logged:\n{}", unexpected.join("\n"));
        }
        let Tally { answered, unanswered, reloads, visits, .. } = self.tally;
        ensure!(
            answered > 0 && unanswered * 10 <= answered,
            "{unanswered} requests failed, {answered} did not"
        );
        // Every other reload invites the guest, who is unlucky in bad weather.
        ensure!(visits * 3 >= reloads, "the guest got in {visits} times in {reloads} reloads");
        Ok(())
    }

    /// The samples, one line each.
    pub fn csv(&self) -> String {
        let mut text = "seconds".to_owned();
        for watched in &self.watched {
            let _ = write!(text, ",{0}_resident_kib,{0}_descriptors", watched.name);
        }
        text.push('\n');
        for (index, second) in self.seconds.iter().enumerate() {
            let _ = write!(text, "{second}");
            for watched in &self.watched {
                let (memory, descriptors) = (watched.resident_kib.get(index), watched.descriptors.get(index));
                let _ = write!(text, ",{memory},{descriptors}");
            }
            text.push('\n');
        }
        text
    }
}
