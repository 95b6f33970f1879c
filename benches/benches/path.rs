//! The whole path of a router: what a packet of an established flow costs, what the first packet of one costs, and what
//! opening and closing a session costs. Packets are in memory, one core, no tunnel around them.
#![allow(missing_docs, reason = "criterion's macros")]

use std::cell::LazyCell;
use std::hint::black_box;
use std::time::{Duration, Instant as Clock};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use router_core::Verdict;
use router_core::rules::SessionId;
use sluice_benches::Scattered;
use sluice_benches::router::{BATCH, Bench, DESTINATIONS, Shape};

/// Parse, look up, rewrite, checksums, hop limit: 64 bytes over IPv4, source and destination translated.
fn established(c: &mut Criterion) {
    let mut group = c.benchmark_group("path/established, 64 bytes");
    for flows in [1 << 16, 1 << 20] {
        let mut bench = LazyCell::new(|| with_flows(flows));
        let mut scattered = Scattered::below(flows);
        group.bench_function(BenchmarkId::new("random order", flows), |b| {
            b.iter(|| black_box(bench.send(scattered.draw())));
        });
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(BenchmarkId::new("random order, 32 at a time", flows), |b| {
            b.iter(|| bench.send_batch(&[(); BATCH].map(|()| scattered.draw())));
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("runs of 16", flows), |b| {
            let (mut flow, mut left) = (0, 0_u32);
            b.iter(|| {
                if left == 0 {
                    (flow, left) = (scattered.draw(), 16);
                }
                left -= 1;
                black_box(bench.send(flow))
            });
        });
    }
    group.finish();
}

fn with_flows(flows: u32) -> Bench {
    let mut bench = Bench::new(Shape { clients: flows / 1024, flows, one_peer: false, addresses: 64 });
    for flow in 0..flows {
        assert!(matches!(bench.send(flow), Verdict::Forward(_)), "flow {flow}");
    }
    bench
}

/// A miss, classification among 1 M rules of 100 k sessions, caps, a port, an insertion.
fn first_packet(c: &mut Criterion) {
    let mut bench = LazyCell::new(|| {
        Bench::new(Shape { clients: 100_000, flows: 1 << 20, one_peer: true, addresses: 4 })
    });
    let mut scattered = Scattered::below(100_000 * DESTINATIONS);
    let mut opened = 0;
    c.bench_function("path/first packet, 1 M rules", |b| {
        b.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            let mut left = iterations;
            while left > 0 {
                let now = left.min(500_000 - opened);
                let started = Clock::now();
                for _ in 0..now {
                    black_box(bench.open(scattered.draw()));
                }
                spent += started.elapsed();
                (left, opened) = (left - now, opened + now);
                if opened == 500_000 {
                    bench.forget_flows();
                    opened = 0;
                }
            }
            spent
        });
    });
    c.bench_function("path/refused packet, 1 M rules", |b| {
        b.iter(|| black_box(bench.refuse(scattered.draw())));
    });
}

/// A session of ten destinations among 100 k others.
fn sessions(c: &mut Criterion) {
    let mut bench =
        LazyCell::new(|| Bench::new(Shape { clients: 100_000, flows: 1024, one_peer: true, addresses: 4 }));
    let mut scattered = Scattered::below(100_000);
    c.bench_function("path/close and open a session of 10", |b| {
        b.iter(|| {
            let client = scattered.draw();
            let now = bench.now;
            assert!(bench.node.close_session(now, SessionId(u128::from(client))));
            bench.open_session(client);
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500));
    targets = established, first_packet, sessions
}
criterion_main!(benches);
