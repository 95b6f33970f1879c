//! What several test files need.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use router_core::sim::{Chain, Sim, StationId, TcpEnd};
use router_core::{DropReason, Event};

/// Runs a test with each seed; a failure prints which.
pub(crate) fn for_seeds(count: u64, test: impl Fn(u64)) {
    for seed in 1..=count {
        let outcome = catch_unwind(AssertUnwindSafe(|| test(seed)));
        outcome.unwrap_or_else(|panic| {
            eprintln!("failed with seed {seed}");
            resume_unwind(panic)
        });
    }
}

/// How often a node dropped for this reason.
pub(crate) fn dropped(sim: &Sim, station: StationId, reason: DropReason) -> u64 {
    sim.node(station).counters().dropped(reason)
}

/// How many handshakes a station has completed.
pub(crate) fn handshakes(sim: &Sim, station: StationId) -> usize {
    let is_completed =
        |event: &Event| matches!(event, Event::Device(wg_proto::Event::HandshakeCompleted { .. }));
    sim.station(station).events.iter().filter(|(_, event)| is_completed(event)).count()
}

/// A pattern that shows where it was cut.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at) as u8).collect()
}

/// A user sends `len` bytes through TCP, gets them back, and both ends finish.
pub(crate) fn tcp_round_trip(chain: &mut Chain, user: usize, port: u16, to: SocketAddr, len: usize) {
    let sent = pattern(len);
    let connection = chain.sim.connect(chain.users[user], port, to);
    chain.sim.write(connection, &sent, true);
    chain.sim.run_secs(120);
    let connection = chain.sim.connection(connection);
    let seed = chain.sim.seed();
    assert_eq!(connection.end(), Some(TcpEnd::Finished), "seed {seed}: {:?}", connection.stage);
    assert!(connection.received == sent, "seed {seed}: {} of {len} bytes", connection.received.len());
}

/// Both properties that every run has.
pub(crate) fn assert_both(sim: &Sim) {
    sim.assert_forwarded_was_allowed();
    sim.assert_allowed_got_through();
}
