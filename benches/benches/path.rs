//! The whole path of a router: what a packet of an established flow costs, what the first packet of one costs, and what
//! opening and closing a session costs. Packets are in memory, one core, no tunnel around them.
#![allow(missing_docs, reason = "criterion's macros")]

use std::cell::LazyCell;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sluice_benches::chase::Chase;
use sluice_benches::router::{Longest, Pace, Scenario, Work, sessions as change_sessions};

/// Parse, look up, rewrite, checksums, hop limit: 64 bytes over IPv4, source and destination translated.
fn established(c: &mut Criterion) {
    let mut group = c.benchmark_group("path/established, 64 bytes");
    measure(&mut group, "one flow", Work::Run, Pace::Single);
    measure(&mut group, "one flow, 32 at a time", Work::Run, Pace::Batch);
    for (size, flows) in [("64 k", 1 << 16), ("1 M", 1 << 20)] {
        let work = |in_runs| Work::Established { flows, in_runs };
        measure(&mut group, &format!("random order/{size}"), work(false), Pace::Single);
        measure(&mut group, &format!("random order, 32 at a time/{size}"), work(false), Pace::Batch);
        measure(&mut group, &format!("runs of 16/{size}"), work(true), Pace::Single);
        measure(&mut group, &format!("runs of 16, 32 at a time/{size}"), work(true), Pace::Batch);
    }
    group.finish();
}

/// A miss, classification among 1 M rules of 100 k sessions, caps, a port, an insertion.
fn first_packet(c: &mut Criterion) {
    let mut group = c.benchmark_group("path/first packet, 1 M rules");
    for (name, work) in [
        ("forwarded", Work::First),
        ("forwarded, all ports in use", Work::FirstWithSharedPorts),
        ("refused", Work::Refused),
    ] {
        measure(&mut group, name, work, Pace::Single);
        measure(&mut group, &format!("{name}, 32 at a time"), work, Pace::Batch);
    }
    measure(&mut group, "classification alone", Work::Classify, Pace::Single);
    measure(&mut group, "classification alone, 32 at a time", Work::Classify, Pace::Batch);
    group.finish();
}

/// What the machine itself takes for one read that waits for the one before: through as much memory as 64 k flows have, and as
/// 1 M flows or the rules of 100 k sessions have.
fn memory(c: &mut Criterion) {
    let mut group = c.benchmark_group("path/one line of memory in random order");
    for (name, mebibytes) in [("of 6 MiB", 6), ("of 88 MiB", 88)] {
        let mut chase = LazyCell::new(|| Chase::through(mebibytes << 20));
        group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter_custom(|reads| chase.run(reads)));
    }
    group.finish();
}

/// A session of ten destinations among 100 k others. Prints the longest single call, and beside it the longest pause of a loop
/// that only looked at the clock for as long, in turn with the calls: what the machine's own interruptions are.
fn sessions(c: &mut Criterion) {
    let mut change = LazyCell::new(change_sessions);
    let (mut calls, mut idle) = (Longest::default(), Longest::default());
    c.bench_function("path/close and open a session of 10", |b| {
        b.iter_custom(|times| {
            let pauses = change(times);
            calls.join(&pauses.calls);
            idle.join(&pauses.idle);
            pauses.all
        });
    });
    if calls.time > Duration::ZERO {
        println!("calls: {calls:?}, the machine alone: {idle:?}");
    }
}

fn measure(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    work: Work,
    pace: Pace,
) {
    let mut scenario = LazyCell::new(|| Scenario::new(work, pace));
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        b.iter_custom(|packets| scenario.run(packets));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = established, first_packet, memory, sessions
}
criterion_main!(benches);
