//! Parsing, rewriting and answering packets allocates nothing (P3). Counted by the allocator itself, here, because
//! the libraries forbid unsafe code even in their tests.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use router_core::packet::PacketMut;
use router_core::packet::build::{self, Notice};
use router_core::packet::split::Split;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise about `layout` is the one asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `run` runs.
fn allocations(run: impl FnOnce()) -> u32 {
    let before = ALLOCATIONS.with(Cell::get);
    run();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(vec![1, 2, 3])), 1);
}

#[test]
fn p03_packets_are_parsed_rewritten_and_answered_without_allocation() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/ip_packet");
    for entry in std::fs::read_dir(corpus).unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        let mut bytes = input[12.min(input.len())..].to_vec();
        let mut out = [0; build::BUILT_BYTES_MAX];
        assert_eq!(allocations(|| handle(&mut bytes, &mut out)), 0);
    }
}

fn handle(bytes: &mut [u8], out: &mut [u8]) {
    let Ok(mut packet) = PacketMut::parse(bytes) else { return };
    let _ = build::icmp_error(&packet, packet.addresses().destination(), Notice::HopLimitExceeded, out);
    let _ = build::reset_answering(&packet, out);
    packet.clamp_mss(1200);
    let _ = packet.decrement_hop_limit();
    let ends = packet.ends().reversed();
    packet.translate(&ends).unwrap();
    if let Ok(mut quote) = packet.quote() {
        let back = quote.ends().reversed();
        quote.translate(&back, ends.addresses).unwrap();
    }
    if let Ok(mut split) = Split::new(packet.bytes(), 576) {
        while split.next_into(out).is_some() {}
    }
}
