//! Several renewals of the session, while packets flow both ways and some get lost. All pairs at once: waiting costs nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::interop::pings::Answers;
use crate::interop::{Pings, Roles};
use crate::lab::Lab;
use crate::process::Process;
use crate::services::Iperf;
use crate::topology::{Pair, PairConfig};
use crate::wait::wait_until;

/// Between two looks at the sessions. A handshake is shown by its second.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A run's longest duration: the loop is bounded by it.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Of the bulk transfer, each way: enough to keep a session in use, little enough for six pairs on two cores.
const BULK_BITS_PER_SECOND: u32 = 1_000_000;

/// A run's settings.
#[derive(Clone, Copy, Debug)]
pub struct LongRun {
    /// How long.
    pub duration: Duration,
    /// Of a hundred packets that arrive at either side from outside, so many are lost.
    pub loss_percent: u32,
    /// Beside the pings, a TCP connection carries data both ways for the whole run.
    pub bulk: bool,
}

/// What became of one pair.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Which.
    pub roles: Roles,
    /// Seconds from each handshake to the next, as our side shows them: the shortest and the longest.
    pub renewed_after: Option<(u64, u64)>,
    /// Handshakes after the first.
    pub rekeys: u64,
    /// Pings from left to right over IPv4, and from right to left over IPv6.
    pub answers: Answers,
    /// Carried by the TCP connection, both ways together.
    pub bulk_bytes: u64,
}

struct Running {
    roles: Roles,
    pair: Pair,
    pings: [Pings; 2],
    bulk: Option<(Iperf, Process)>,
    handshakes: BTreeSet<u64>,
}

impl LongRun {
    /// Runs these pairs, each in a lab of its own. The error is for a run that could not go on.
    pub fn run(&self, roles: &[Roles]) -> Result<Vec<Outcome>> {
        ensure!(self.duration <= LONGEST, "at most {LONGEST:?}");
        let pairs: Vec<Pair> = roles
            .iter()
            .map(|roles| Pair::start(&Lab::new()?, &PairConfig::new(roles.dialler, roles.answerer)))
            .collect::<Result<_>>()?;
        let mut running: Vec<Running> = roles
            .iter()
            .zip(pairs)
            .map(|(&roles, pair)| self.start(roles, pair).with_context(|| roles.to_string()))
            .collect::<Result<_>>()?;
        let end = Instant::now() + self.duration;
        while Instant::now() < end {
            for one in &mut running {
                one.look().with_context(|| one.roles.to_string())?;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        running.into_iter().map(|one| one.finish()).collect()
    }

    fn start(&self, roles: Roles, pair: Pair) -> Result<Running> {
        pair.wait_until_up()?;
        for side in [&pair.left, &pair.right] {
            side.host.lose("wan0", self.loss_percent)?;
        }
        let pings = [
            Pings::start(&pair.left.host, Pair::RIGHT[0], self.duration)?,
            Pings::start(&pair.right.host, Pair::LEFT[1], self.duration)?,
        ];
        let bulk = self.bulk.then(|| self.bulk(&pair)).transpose()?;
        Ok(Running { roles, pair, pings, bulk, handshakes: BTreeSet::new() })
    }

    fn bulk(&self, pair: &Pair) -> Result<(Iperf, Process)> {
        let server = Iperf::start(&pair.right.host)?;
        let (rate, seconds) = (BULK_BITS_PER_SECOND.to_string(), self.duration.as_secs().to_string());
        let arguments = ["iperf3", "-J", "-c", Pair::RIGHT[0], "--bidir", "-b", &rate, "-t", &seconds];
        Ok((server, pair.left.host.spawn(&arguments)?))
    }
}

impl Running {
    fn look(&mut self) -> Result<()> {
        let newest = self.pair.latest_handshake()?;
        self.handshakes.insert(newest);
        Ok(())
    }

    fn finish(self) -> Result<Outcome> {
        let limit = Duration::from_secs(15);
        wait_until("the pings' end", limit, || Ok(!self.pings.iter().any(Pings::is_running)))?;
        let [left, right] = &self.pings;
        let times: Vec<u64> = self.handshakes.iter().copied().collect();
        let ages: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        Ok(Outcome {
            roles: self.roles,
            renewed_after: ages.iter().min().copied().zip(ages.iter().max().copied()),
            rekeys: ages.len() as u64,
            answers: left.answers()?.with(right.answers()?),
            bulk_bytes: self.bulk.map_or(Ok(0), |(_, client)| bulk_bytes(&client))?,
        })
    }
}

/// Fails if the connection did not last.
fn bulk_bytes(client: &Process) -> Result<u64> {
    let status = client.wait(Duration::from_secs(30))?;
    let log = client.log();
    ensure!(status.success(), "the TCP connection did not last:\n{log}");
    let json: serde_json::Value = serde_json::from_str(&log).with_context(|| log.clone())?;
    let bytes = |name: &str| json["end"][name]["bytes"].as_u64().with_context(|| format!("no {name}"));
    Ok(bytes("sum_received")? + bytes("sum_received_bidir_reverse")?)
}
