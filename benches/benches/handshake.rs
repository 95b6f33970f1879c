//! A responder's handshake against the bare Diffie-Hellman operations in it, and what a flood of handshakes costs.
//!
//! Counted are those that cannot be avoided (whitepaper §5.4.2, §5.4.3): the ephemeral key pair and three agreements, one in
//! reading the initiation (`es`), two in the response (`ee`, `se`). The agreement of both static keys (`ss`) is the same in every
//! handshake with a peer, and computed once.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sluice_benches::tunnel::{Tunnel, endpoint};
use wg_proto::{Handled, QueueLoad, Rejected};

/// A queue from which on senders must show a cookie.
const BUSY: QueueLoad = QueueLoad { waiting: 512, capacity: 4096 };

fn responder(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake/responder");
    group.bench_function("bare agreements", |b| {
        let ours = PrivateKey::from_private_key(&X25519, &[1; 32]).expect("32 bytes are a key");
        let theirs = ours.compute_public_key().expect("it has one");
        b.iter(|| {
            let ephemeral = PrivateKey::from_private_key(&X25519, &black_box([2; 32])).expect("a key");
            black_box(ephemeral.compute_public_key().expect("it has one"));
            for secret in [&ours, &ephemeral, &ephemeral] {
                let theirs = UnparsedPublicKey::new(&X25519, theirs.as_ref());
                let shared = |shared: &[u8]| Ok::<u8, ()>(shared[0]);
                black_box(agree(secret, theirs, (), shared).expect("no low-order point"));
            }
        });
    });
    group.bench_function("whole", |b| {
        let mut tunnel = Tunnel::connected();
        b.iter_custom(|iterations| (0..iterations).map(|_| respond(&mut tunnel)).sum());
    });
    group.finish();
}

/// How long the responder takes from the initiation to the response; the rest of the handshake is not timed.
fn respond(tunnel: &mut Tunnel) -> Duration {
    let mut initiation = tunnel.initiation();
    let started = Instant::now();
    tunnel.respond(&mut initiation);
    let spent = started.elapsed();
    tunnel.complete();
    spent
}

fn both_sides(c: &mut Criterion) {
    let mut tunnel = Tunnel::new();
    c.bench_function("handshake/both sides", |b| b.iter(|| tunnel.shake_hands()));
}

/// What one message of a flood costs, with and without knowledge of our public key.
fn flood(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake/flood");
    let mut tunnel = Tunnel::new();
    let genuine = tunnel.initiation();
    let mut blind = genuine;
    blind[120] ^= 1;
    let filter = tunnel.right.mac1_filter();
    group.bench_function("bad mac1, without the device", |b| {
        b.iter(|| black_box(filter.admit(black_box(&blind)).map(drop)));
    });
    let (now, unix) = (tunnel.now, tunnel.unix());
    group.bench_function("bad mac1", |b| {
        b.iter(|| {
            let refused = tunnel.right.handle_control(now, unix, endpoint(1), &mut blind, BUSY);
            assert_eq!(refused, Err(Rejected::Mac1));
        });
    });
    let admitted = filter.admit(&genuine).expect("it is signed");
    let mut forged = genuine;
    forged[140] ^= 1;
    let forged = filter.admit(&forged).expect("mac1 does not cover mac2");
    for (name, message) in [("no mac2", admitted), ("bad mac2", forged)] {
        group.bench_function(format!("valid mac1, {name}: a cookie reply"), |b| {
            b.iter_batched_ref(
                || [0; 148],
                |buffer| {
                    let asked = tunnel.right.handle_admitted(now, unix, endpoint(1), &message, BUSY);
                    assert_eq!(asked, Ok(Handled::CookieSent));
                    black_box(tunnel.right.poll_transmit(now, unix, buffer));
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, responder, both_sides, flood);
criterion_main!(benches);
