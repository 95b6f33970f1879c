//! Sealing and opening against the bare AEAD of the same back end: everything around the cipher must be hard to see.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sluice_benches::tunnel::{DATAGRAM_BYTES, MTU_BYTES, Tunnel};
use wg_proto::HEADER_BYTES;

/// Payloads: a full packet, and what an acknowledgment has.
const PAYLOADS: [usize; 2] = [1420, 64];
/// Nonces of a batch: more than a round of measurement takes at once.
const BATCH: u32 = 64;

fn seal(c: &mut Criterion) {
    let mut group = c.benchmark_group("cipher/seal");
    for payload in PAYLOADS {
        group.throughput(Throughput::Bytes(payload as u64));
        let mut tunnel = Tunnel::connected();
        let mut datagram = [0; DATAGRAM_BYTES];
        group.bench_function(BenchmarkId::new("TxBatch::seal", payload), |b| {
            b.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                for _ in 0..iterations.div_ceil(u64::from(BATCH)) {
                    let mut batch = tunnel.batch(BATCH);
                    let started = Instant::now();
                    for _ in 0..BATCH {
                        let sealed = batch.seal(&mut datagram, payload, MTU_BYTES);
                        black_box(sealed.expect("there is room"));
                    }
                    spent += started.elapsed();
                }
                per_iteration(spent, iterations)
            });
        });
        let (key, mut counter) = (bare_key(), 0);
        group.bench_function(BenchmarkId::new("bare AEAD", payload), |b| {
            b.iter(|| {
                counter += 1;
                let buffer = &mut datagram[HEADER_BYTES..HEADER_BYTES + payload];
                drop(black_box(
                    key.seal_in_place_separate_tag(nonce(counter), Aad::empty(), buffer).expect("short"),
                ));
            });
        });
    }
    group.finish();
}

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("cipher/open");
    for payload in PAYLOADS {
        group.throughput(Throughput::Bytes(payload as u64));
        let mut tunnel = Tunnel::connected();
        let key = tunnel.rx_key();
        let sealed = tunnel.sealed(1, payload).swap_remove(0);
        group.bench_function(BenchmarkId::new("RxKey::open", payload), |b| {
            let copy = || sealed.clone();
            let open = |datagram: &mut Vec<u8>| black_box(key.open(datagram).expect("authentic"));
            b.iter_batched_ref(copy, open, BatchSize::SmallInput);
        });
        let key = bare_key();
        let mut plain = vec![0; payload];
        let tag = key.seal_in_place_separate_tag(nonce(1), Aad::empty(), &mut plain).expect("short");
        plain.extend_from_slice(tag.as_ref());
        group.bench_function(BenchmarkId::new("bare AEAD", payload), |b| {
            let open = |sealed: &mut Vec<u8>| {
                let (text, tag) = sealed.split_at_mut(payload);
                let opened = key.open_in_place_separate_tag(nonce(1), Aad::empty(), tag, text);
                black_box(opened.expect("authentic").len())
            };
            b.iter_batched_ref(|| plain.clone(), open, BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// Whole batches were sealed, perhaps a few packets more than asked for.
fn per_iteration(spent: Duration, iterations: u64) -> Duration {
    let sealed = iterations.div_ceil(u64::from(BATCH)) * u64::from(BATCH);
    spent.mul_f64(iterations as f64 / sealed as f64)
}

fn bare_key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("32 bytes are a key"))
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

criterion_group!(benches, seal, open);
criterion_main!(benches);
