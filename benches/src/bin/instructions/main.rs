//! What `cargo xtask instructions` runs under callgrind: one scenario at a time, set up outside the section that is counted.
//!
//! `--list` prints the scenarios' names and how many operations each counts.

use std::hint::black_box;
use std::process::ExitCode;

use sluice_benches::router::Pace;
use sluice_benches::tunnel::{DATAGRAM_BYTES, MTU_BYTES, Tunnel, endpoint};
use wg_proto::Opened;

mod router;

/// Operations per scenario: enough that what the first one does alone disappears.
const OPERATIONS: u32 = 256;
/// Packets in a batch or run of the tunnel.
const BATCH: u32 = 64;

struct Scenario {
    name: &'static str,
    run: fn(),
}

const SCENARIOS: [Scenario; 14] = [
    Scenario { name: "seal-1420", run: || seal(1420) },
    Scenario { name: "seal-64", run: || seal(64) },
    Scenario { name: "open-1420", run: || open(1420) },
    Scenario { name: "open-64", run: || open(64) },
    Scenario { name: "begin-send", run: begin_send },
    Scenario { name: "commit-received-64-packets", run: commit_received },
    Scenario { name: "refuse-mac1", run: refuse_mac1 },
    Scenario { name: "established-run", run: router::run },
    Scenario { name: "established-alone", run: || router::alone(Pace::Single) },
    Scenario { name: "established-alone-batched", run: || router::alone(Pace::Batch) },
    Scenario { name: "first-packet", run: || router::first(Pace::Single) },
    Scenario { name: "first-packet-batched", run: || router::first(Pace::Batch) },
    Scenario { name: "refused", run: router::refused },
    Scenario { name: "classification", run: router::classify },
];

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--list" {
        SCENARIOS.iter().for_each(|scenario| println!("{} {OPERATIONS}", scenario.name));
        return ExitCode::SUCCESS;
    }
    let Some(scenario) = SCENARIOS.iter().find(|scenario| scenario.name == argument) else {
        eprintln!("usage: instructions --list | SCENARIO");
        return ExitCode::from(2);
    };
    (scenario.run)();
    ExitCode::SUCCESS
}

/// Counts what `operations` executes, and nothing that was executed before.
fn count(operations: impl FnOnce()) {
    forget_counts();
    counted_section(operations);
}

/// Callgrind counts while this function runs, and finds it by its name.
#[inline(never)]
fn counted_section(operations: impl FnOnce()) {
    operations();
}

/// Callgrind forgets its counts when this function is entered.
#[inline(never)]
fn forget_counts() {
    // Without an effect the call would be left out.
    black_box(0);
}

fn each(mut operation: impl FnMut(usize)) {
    count(|| (0..OPERATIONS as usize).for_each(&mut operation));
}

fn seal(payload: usize) {
    let mut tunnel = Tunnel::connected();
    let (mut batch, mut datagram) = (tunnel.batch(OPERATIONS), [0; DATAGRAM_BYTES]);
    each(|_| {
        black_box(batch.seal(&mut datagram, payload, MTU_BYTES).expect("there is room"));
    });
}

fn open(payload: usize) {
    let mut tunnel = Tunnel::connected();
    let key = tunnel.rx_key();
    let mut datagrams = tunnel.sealed(OPERATIONS, payload);
    each(|at| {
        black_box(key.open(&mut datagrams[at]).expect("authentic"));
    });
}

fn begin_send() {
    let mut tunnel = Tunnel::connected();
    each(|_| drop(black_box(tunnel.batch(BATCH))));
}

fn commit_received() {
    let mut tunnel = Tunnel::connected();
    let key = tunnel.rx_key();
    let open = |datagram: &mut Vec<u8>| key.open(datagram).expect("authentic");
    let mut run = |_| -> Vec<Opened> { tunnel.sealed(BATCH, 64).iter_mut().map(open).collect() };
    let mut runs: Vec<Vec<Opened>> = (0..OPERATIONS).map(&mut run).collect();
    let now = tunnel.now;
    each(|at| {
        let done = tunnel.right.commit_received(now, &key, endpoint(1), &mut runs[at]);
        black_box(done.expect("the session is there"));
    });
}

fn refuse_mac1() {
    let mut tunnel = Tunnel::new();
    let mut initiation = tunnel.initiation();
    initiation[120] ^= 1;
    let filter = tunnel.right.mac1_filter();
    each(|_| assert!(filter.admit(black_box(&initiation)).is_err()));
}
