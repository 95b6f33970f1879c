//! What a router does over and over, set up once and run as often as wanted: timed by criterion, counted by callgrind.

use std::time::{Duration, Instant};

use router_core::rules::SessionId;

use super::{Bench, DESTINATIONS, Pace, RING, Shape};
use crate::Scattered;

/// Clients, each with a session of [`DESTINATIONS`]: a million rules.
const CLIENTS: u32 = 100_000;
/// New flows before all are forgotten.
const OPENED_MAX: u32 = 500_000;

/// Kinds of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Of one established flow.
    Run,
    /// Of this many established flows, in random order.
    Established {
        /// How many.
        flows: u32,
        /// Sixteen packets of a flow at a time.
        in_runs: bool,
    },
    /// The first packets of flows, among a million rules.
    First,
    /// First packets when nearly all ports are in use, so that they are given again towards other far ends.
    FirstWithSharedPorts,
    /// Classification of first packets among a million rules, and nothing else of the road.
    Classify,
    /// What none of a million rules allows.
    Refused,
}

/// A router, and the packets it is given.
pub struct Scenario {
    bench: Bench,
    work: Work,
    pace: Pace,
    scattered: Scattered,
    opened: u32,
}

impl Scenario {
    /// Sets a router up, with the flows that are to be established.
    pub fn new(work: Work, pace: Pace) -> Scenario {
        let bench = match work {
            Work::Run => with_flows(1024),
            Work::Established { flows, .. } => with_flows(flows),
            Work::First | Work::Classify | Work::Refused => with_rules(16),
            Work::FirstWithSharedPorts => with_rules(4),
        };
        Scenario { bench, work, pace, scattered: Scattered::below(choices(work)), opened: 0 }
    }

    /// Hands in as many packets, and says how long that took: laying them out in memory is not counted.
    pub fn run(&mut self, packets: u64) -> Duration {
        let (mut left, mut spent) = (packets, Duration::ZERO);
        while left > 0 {
            let used = self.lay_out(left.min(RING as u64) as usize);
            let (time, forwarded) = self.time(used);
            spent += time;
            let expected = if self.work == Work::Refused { 0 } else { used };
            assert_eq!(forwarded, expected, "{:?}", self.work);
            left -= used as u64;
        }
        spent
    }

    fn time(&mut self, used: usize) -> (Duration, usize) {
        if self.work == Work::Classify {
            self.bench.ask(used);
            let started = Instant::now();
            let allowed = match self.pace {
                Pace::Single => self.bench.classify(),
                Pace::Batch => self.bench.classify_ahead(),
            };
            return (started.elapsed(), allowed);
        }
        let started = Instant::now();
        let forwarded = self.bench.hand_in(used, self.pace);
        (started.elapsed(), forwarded)
    }

    fn lay_out(&mut self, packets: usize) -> usize {
        let (bench, scattered) = (&mut self.bench, &mut self.scattered);
        match self.work {
            Work::Run => bench.lay_out(std::iter::repeat_n(Bench::of_flow(5), packets)),
            Work::Established { in_runs, .. } => {
                let run = if in_runs { 16 } else { 1 };
                let mut headings = Vec::with_capacity(packets + run);
                while headings.len() < packets {
                    headings.extend(std::iter::repeat_n(Bench::of_flow(scattered.draw()), run));
                }
                bench.lay_out(headings.into_iter().take(packets))
            }
            Work::First | Work::FirstWithSharedPorts => {
                if self.opened + packets as u32 > OPENED_MAX {
                    bench.forget_flows();
                    self.opened = 0;
                }
                self.opened += packets as u32;
                let headings: Vec<_> = (0..packets).map(|_| bench.of_new_flow(scattered.draw())).collect();
                bench.lay_out(headings.into_iter())
            }
            Work::Classify => {
                let headings: Vec<_> = (0..packets).map(|_| bench.of_new_flow(scattered.draw())).collect();
                bench.lay_out(headings.into_iter())
            }
            Work::Refused => {
                let headings: Vec<_> = (0..packets).map(|_| bench.of_new_flow(scattered.draw())).collect();
                bench.lay_out(
                    headings.into_iter().map(|heading| super::Heading { destination: 77, ..heading }),
                )
            }
        }
    }
}

/// A pause that a router's packets should not notice.
const PAUSE_MAX: Duration = Duration::from_micros(50);

/// How long changes of sessions took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pauses {
    /// All of them.
    pub all: Duration,
    /// Single calls.
    pub calls: Longest,
    /// Between two looks at the clock in a loop that does nothing else, for as long as the calls took: the machine's own pauses.
    pub idle: Longest,
}

/// The longest of some times, and how many were too long.
#[derive(Debug, Clone, Copy, Default)]
pub struct Longest {
    /// The longest.
    pub time: Duration,
    /// How many were longer than 50 µs.
    pub too_long: u64,
}

impl Longest {
    fn note(&mut self, time: Duration) {
        self.time = self.time.max(time);
        self.too_long += u64::from(time > PAUSE_MAX);
    }

    /// Takes what another has noted as well.
    pub fn join(&mut self, other: &Longest) {
        self.time = self.time.max(other.time);
        self.too_long += other.too_long;
    }
}

/// Closes a session of ten destinations among 100 000 and opens it again, as often as it is told.
pub fn sessions() -> impl FnMut(u64) -> Pauses {
    let mut bench = with_rules(16);
    let mut scattered = Scattered::below(CLIENTS);
    move |times| {
        let mut pauses = Pauses::default();
        for _ in 0..times {
            let client = scattered.draw();
            let rule = bench.rule(client);
            let started = Instant::now();
            assert!(bench.node.close_session(bench.now, SessionId(u128::from(client))));
            let closed = Instant::now();
            bench.node.open_session(bench.now, &rule).expect("it is closed");
            let opened = Instant::now();
            pauses.calls.note(closed - started);
            pauses.calls.note(opened - closed);
            pauses.all += opened - started;
            watch_the_clock(opened - started, &mut pauses.idle);
        }
        pauses
    }
}

fn watch_the_clock(time: Duration, longest: &mut Longest) {
    let started = Instant::now();
    let mut before = started;
    while before - started < time {
        let now = Instant::now();
        longest.note(now - before);
        before = now;
    }
}

/// What numbers are drawn from.
fn choices(work: Work) -> u32 {
    match work {
        Work::Run => 1,
        Work::Established { flows, .. } => flows,
        Work::First | Work::FirstWithSharedPorts | Work::Classify | Work::Refused => CLIENTS * DESTINATIONS,
    }
}

fn with_rules(addresses: u8) -> Bench {
    Bench::new(Shape { clients: CLIENTS, flows: 1 << 20, one_peer: true, addresses })
}

fn with_flows(flows: u32) -> Bench {
    let mut bench = Bench::new(Shape { clients: flows / 1024, flows, one_peer: false, addresses: 64 });
    for first in (0..flows).step_by(RING) {
        let used = bench.lay_out((first..flows).map(Bench::of_flow));
        assert_eq!(bench.pass(used, Pace::Single), used, "flows from {first}");
    }
    bench
}
