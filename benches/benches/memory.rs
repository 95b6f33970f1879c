//! Bytes of memory that peers and flows really take, against the published formula; fails where they take more.
//!
//! Read from the kernel, not from the allocator: part of a session is where the cipher's C library puts it.

use std::process::ExitCode;

use router_core::{FLOW_V4_BYTES, FLOW_V6_BYTES};
use sluice_benches::{tunnel, v4_table, v6_table};
use wg_proto::constants::{PEER_BYTES, SESSION_BYTES};

const PEERS: usize = 10_000;
const FLOWS: usize = 1_000_000;
/// What a table takes when it is empty, and pages that are not full.
const FIXED_BYTES: usize = 64 * 1024;

fn main() -> ExitCode {
    println!("{:<40} {:>11} {:>11} {:>8} {:>8}", "resident", "bytes", "formula", "each", "formula");
    let mut hub = None;
    let peers = line("peers, never spoken to", PEERS, PEER_BYTES, || {
        hub = Some(tunnel::Hub::new(PEERS as u32));
    });
    let mut hub = hub.expect("it was made");
    let all = [
        peers,
        line("their first sessions, on top", PEERS, SESSION_BYTES, || hub.shake_hands_with_all()),
        line("flows over IPv4", FLOWS, FLOW_V4_BYTES, || std::mem::forget(v4_table(FLOWS as u32))),
        line("flows over IPv6", FLOWS, FLOW_V6_BYTES, || std::mem::forget(v6_table(FLOWS as u32))),
    ];
    if all.into_iter().all(|within| within) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures what `fill` leaves in memory. Returns whether that is within the formula.
fn line(what: &str, count: usize, formula: usize, fill: impl FnOnce()) -> bool {
    let before = resident_bytes();
    fill();
    let bytes = resident_bytes().saturating_sub(before);
    let (each, allowed) = (bytes as f64 / count as f64, count * formula + FIXED_BYTES);
    let verdict = if bytes > allowed { "MORE" } else { "" };
    println!("{count:>9} {what:<30} {bytes:>11} {allowed:>11} {each:>8.1} {formula:>8} {verdict}");
    bytes <= allowed
}

/// What the kernel holds in memory for this process.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has that line");
    let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok());
    kib.expect("in KiB") * 1024
}
