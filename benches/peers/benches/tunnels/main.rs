//! Three WireGuard libraries in memory, in turns: a packet through a tunnel, and a handshake.
//!
//! Each is driven as its own programs drive it, with one thread. "Packet" is all between a packet that goes in on one side and
//! the same packet coming out on the other; ours alone compares the source with the peer's addresses on the way. "Handshake" is
//! all that both sides do until both can send.
#![allow(missing_docs, reason = "criterion's macros")]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

mod boring;
mod gota;
mod ours;

/// A full packet, and what an acknowledgment has.
const PACKETS: [usize; 2] = [1420, 64];

/// Both ends of a tunnel.
trait Pair {
    const NAME: &'static str;

    /// Two ends with a session.
    fn connected() -> Self;
    /// A whole handshake. Returns how long it took.
    fn shake_hands(&mut self) -> Duration;
    /// Sends a packet from the one that made the session. Returns how long it took, and the packet's length at the other end.
    fn carry(&mut self, packet: &[u8]) -> (Duration, usize);
}

fn packets(c: &mut Criterion) {
    for bytes in PACKETS {
        let mut group = c.benchmark_group(format!("tunnels/packet of {bytes} bytes"));
        group.throughput(Throughput::Bytes(bytes as u64));
        carry::<ours::Pair>(&mut group, bytes);
        carry::<gota::Pair>(&mut group, bytes);
        carry::<boring::Pair>(&mut group, bytes);
        group.finish();
    }
}

fn handshakes(c: &mut Criterion) {
    let mut group = c.benchmark_group("tunnels/handshake");
    shake_hands::<ours::Pair>(&mut group);
    shake_hands::<gota::Pair>(&mut group);
    shake_hands::<boring::Pair>(&mut group);
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn carry<P: Pair>(group: &mut Group<'_>, bytes: usize) {
    let mut pair = P::connected();
    let packet = packet(bytes);
    group.bench_function(BenchmarkId::from_parameter(P::NAME), |b| {
        b.iter_custom(|times| {
            let one = |_| {
                let (spent, arrived) = pair.carry(&packet);
                assert_eq!(arrived, bytes, "{}", P::NAME);
                spent
            };
            (0..times).map(one).sum()
        });
    });
}

fn shake_hands<P: Pair>(group: &mut Group<'_>) {
    let mut pair = P::connected();
    group.bench_function(BenchmarkId::from_parameter(P::NAME), |b| {
        b.iter_custom(|times| (0..times).map(|_| pair.shake_hands()).sum());
    });
}

/// A UDP packet over IPv4 of this length.
fn packet(bytes: usize) -> Vec<u8> {
    let mut packet = sluice_benches::tunnel::inner_packet::<1420>();
    packet[2..4].copy_from_slice(&(bytes as u16).to_be_bytes());
    packet[..bytes].to_vec()
}

/// Runs and says how long that took.
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let done = std::hint::black_box(work());
    (started.elapsed(), done)
}

criterion_group!(benches, packets, handshakes);
criterion_main!(benches);
