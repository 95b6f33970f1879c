//! The road of a packet through the router, in the kinds that the criterion benchmarks of it have, with fewer sessions:
//! setting a million rules up under callgrind takes minutes.

use std::hint::black_box;

use sluice_benches::Scattered;
use sluice_benches::router::{BATCH, Bench, DESTINATIONS, Heading, Pace, RING, Shape};

use crate::{OPERATIONS, count};

/// Sessions that a first packet is one of.
const SESSIONS: u32 = 2048;
/// Flows that an established packet is one of.
const FLOWS: u32 = 4096;

/// One flow's packets, one after the other.
pub(crate) fn run() {
    let mut bench = with_flows();
    forward(&mut bench, std::iter::repeat(Bench::of_flow(5)), Pace::Single);
}

/// Each packet of another flow than the one before, one by one or looked ahead for.
pub(crate) fn alone(pace: Pace) {
    let mut bench = with_flows();
    let mut scattered = Scattered::below(FLOWS);
    forward(&mut bench, std::iter::repeat_with(|| Bench::of_flow(scattered.draw())), pace);
}

/// The first packets of flows.
pub(crate) fn first(pace: Pace) {
    let mut bench = with_sessions();
    let headings = new_flows(&mut bench);
    forward(&mut bench, headings.into_iter(), pace);
}

/// What no rule allows.
pub(crate) fn refused() {
    let mut bench = with_sessions();
    let headings = new_flows(&mut bench);
    let used = bench.lay_out(headings.into_iter().map(|heading| Heading { destination: 77, ..heading }));
    count(|| assert_eq!(bench.hand_in(used, Pace::Single), 0));
}

/// The rules' answer about first packets, and nothing else.
pub(crate) fn classify() {
    let mut bench = with_sessions();
    let headings = new_flows(&mut bench);
    let used = bench.lay_out(headings.into_iter());
    bench.ask(used);
    count(|| assert_eq!(black_box(&bench).classify(), used));
}

fn forward(bench: &mut Bench, headings: impl Iterator<Item = Heading>, pace: Pace) {
    let used = bench.lay_out(headings.take(OPERATIONS as usize));
    count(|| assert_eq!(bench.hand_in(used, pace), used));
}

fn with_flows() -> Bench {
    let mut bench = Bench::new(Shape { clients: FLOWS / 1024, flows: FLOWS, one_peer: false, addresses: 16 });
    for first in (0..FLOWS).step_by(RING) {
        let used = bench.lay_out((first..FLOWS).map(Bench::of_flow));
        assert_eq!(bench.hand_in(used, Pace::Single), used, "flows from {first}");
    }
    bench
}

fn with_sessions() -> Bench {
    Bench::new(Shape { clients: SESSIONS, flows: FLOWS, one_peer: true, addresses: 16 })
}

fn new_flows(bench: &mut Bench) -> Vec<Heading> {
    let mut scattered = Scattered::below(SESSIONS * DESTINATIONS);
    (0..OPERATIONS).map(|_| bench.of_new_flow(scattered.draw())).collect()
}

/// All operations are in memory at once, in whole batches.
const _: () = assert!(OPERATIONS as usize <= RING && (OPERATIONS as usize).is_multiple_of(BATCH));
