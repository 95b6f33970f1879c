//! Flow table: what a packet of an established flow, a new flow and a TCP segment cost in it.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use router_core::flow::tcp_state::{Segment, TcpTrack, TcpVerdict};
use router_core::flow::{Direction, FlowTable};
use router_core::packet::TcpFlags;
use sluice_benches::{NOW, Scattered, v4_flow, v4_table, v6_flow, v6_table};

const SIZES: [u32; 2] = [1 << 16, 1 << 20];

/// The tuple is made, looked up and its flow refreshed; the outgoing tuple is read.
fn established(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow/established");
    for flows in SIZES {
        let mut table = v4_table(flows);
        let mut scattered = Scattered::below(flows);
        group.bench_function(BenchmarkId::new("v4", flows), |b| {
            b.iter(|| {
                let tuple = black_box(v4_flow(scattered.draw()).original);
                let (id, direction) = table.lookup(&tuple).expect("it was inserted");
                table.datagram(NOW, id, direction);
                table.count(id, direction, 64);
                table.flow(id).map(|flow| (flow.outgoing(direction), flow.meta()))
            });
        });
        drop(table);
        let table = v6_table(flows);
        group.bench_function(BenchmarkId::new("v6", flows), |b| {
            b.iter(|| table.lookup(&black_box(v6_flow(scattered.draw()).original)));
        });
    }
    group.finish();
}

/// The same packets, looked up 32 at a time.
fn established_batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow/established, 32 at a time");
    for flows in SIZES {
        let mut table = v4_table(flows);
        let mut scattered = Scattered::below(flows);
        group.throughput(Throughput::Elements(32));
        group.bench_function(BenchmarkId::new("v4", flows), |b| {
            b.iter(|| {
                let mut batch = [(); 32].map(|()| table.seek(black_box(v4_flow(scattered.draw()).original)));
                table.guess_many(&mut batch);
                for sought in &batch {
                    let (id, direction) = sought.guess.expect("it was inserted");
                    assert!(table.is_of(id, direction, &sought.tuple));
                    table.datagram(NOW, id, direction);
                    table.count(id, direction, 64);
                    black_box(table.flow(id).map(|flow| (flow.outgoing(direction), flow.meta())));
                }
            });
        });
    }
    group.finish();
}

fn miss(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow/miss");
    for flows in SIZES {
        let table = v4_table(flows);
        let mut scattered = Scattered::below(flows);
        group.bench_function(BenchmarkId::new("v4", flows), |b| {
            b.iter(|| table.lookup(&black_box(v4_flow(flows + scattered.draw()).original)));
        });
    }
    group.finish();
}

fn insert_and_remove(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow/insert and remove");
    for flows in SIZES {
        let mut table = v4_table(flows);
        let mut number = flows;
        group.bench_function(BenchmarkId::new("v4", flows), |b| {
            b.iter(|| {
                number += 1;
                let id = table.insert(NOW, &v4_flow(number)).expect("there is room for one");
                table.remove(id)
            });
        });
    }
    group.finish();
}

/// An empty table for a million flows: what start-up costs.
fn construct(c: &mut Criterion) {
    c.bench_function("flow/construct for 1M", |b| {
        b.iter_batched(|| (), |()| FlowTable::<Ipv4Addr>::new(1 << 20, &[7; 16]), BatchSize::PerIteration);
    });
}

fn tcp_step(c: &mut Criterion) {
    let mut track = TcpTrack::open(&segment(TcpFlags::SYN, 0, 0), false).expect("a SYN opens");
    track.step(Direction::Reply, &segment(TcpFlags(0x12), 0, 1));
    track.step(Direction::Original, &segment(TcpFlags::ACK, 1, 1));
    let mut seq = 1_u32;
    c.bench_function("flow/tcp step", |b| {
        b.iter(|| {
            let data = Segment { payload_len: 1400, ..segment(TcpFlags::ACK, seq, 1) };
            seq = seq.wrapping_add(1400);
            let verdict = track.step(Direction::Original, &black_box(data));
            assert_eq!(verdict, TcpVerdict::Accept);
            track.step(Direction::Reply, &black_box(segment(TcpFlags::ACK, 1, seq)))
        });
    });
}

fn segment(flags: TcpFlags, seq: u32, ack: u32) -> Segment {
    Segment {
        flags,
        seq,
        ack,
        window: 60_000,
        payload_len: 0,
        window_scale: None,
        sack_permitted: true,
        sack_edge: None,
    }
}

criterion_group!(benches, established, established_batch, miss, insert_and_remove, construct, tcp_step);
criterion_main!(benches);
