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
/// With a socket for every flow: how long one without datagrams is kept. As short as may be (RFC 4787 REQ-5), so that what
/// stays behind shows.
const UDP_IDLE_SECONDS: u32 = 120;
/// How long after the churn the last flows may stay: TCP's end and its TIME-WAIT take a minute.
const SETTLE_LIMIT: Duration = Duration::from_secs(240);
/// Descriptors that may be more than before the churn: an operator's question, a timer.
const SETTLED_MORE: u64 = 4;
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
    /// The same before the churn, and when its flows had gone.
    pub descriptors_around: [u64; 2],
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
    /// How even the number of descriptors must be.
    descriptors: Flatness,
}

/// Runs the churn, with `sockets` on programs that have no privileges. The error is for a run that could not go on; whether
/// a finished one is good, [`Report::check`] says.
pub fn run(lab: &Lab, duration: Duration, sockets: Option<Sockets>) -> Result<Report> {
    ensure!(duration <= LONGEST, "at most {LONGEST:?}");
    let limits = if sockets.is_some() { Flatness::DESCRIPTORS_OF_FLOWS } else { Flatness::DESCRIPTORS };
    let sockets = sockets.map(|sockets| Sockets { udp_idle_timeout: Some(UDP_IDLE_SECONDS), ..sockets });
    let chain = Chain::start(lab, &ChainConfig { sites: 2, sockets, ..ChainConfig::default() })?;
    let programs = [&chain.router.program, &chain.sites[0].connector.program];
    let mut watched: Vec<Watched> =
        programs.map(|program| Watched::new(program.host().name(), program.process())).into_iter().collect();
    watched.iter_mut().try_for_each(Watched::begin)?;
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
    watched.iter_mut().try_for_each(Watched::settle)?;
    let tally = churn.finish()?;
    Ok(Report { tally, watched, seconds, descriptors: limits })
}

impl Watched {
    fn new(name: &str, process: &Process) -> Watched {
        Watched {
            name: name.to_owned(),
            resident_kib: Series::default(),
            descriptors: Series::default(),
            descriptors_around: [0; 2],
            process: process.clone(),
        }
    }

    fn begin(&mut self) -> Result<()> {
        self.descriptors_around[0] = self.process.footprint()?.descriptors;
        Ok(())
    }

    /// Waits until as many descriptors are open as before, or long enough.
    fn settle(&mut self) -> Result<()> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        loop {
            self.descriptors_around[1] = self.process.footprint()?.descriptors;
            if self.has_settled() || Instant::now() >= deadline {
                return Ok(());
            }
            std::thread::sleep(STEP_INTERVAL);
        }
    }

    fn has_settled(&self) -> bool {
        let [before, after] = self.descriptors_around;
        after <= before + SETTLED_MORE
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
            ensure!(descriptors.holds(self.descriptors), "descriptors of {name}: {descriptors}");
            let [before, after] = watched.descriptors_around;
            ensure!(
                watched.has_settled(),
                "{name} had {before} descriptors before and {after} after all flows had ended"
            );
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
