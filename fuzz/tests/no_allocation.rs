//! Parsing, rewriting and answering packets allocates nothing (P3). Counted by the allocator itself, here, because
//! the libraries forbid unsafe code even in their tests.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;

use router_core::flow::Caps;
use router_core::nat::{Mapping, PoolId, Snat};
use router_core::packet::build::{self, Notice};
use router_core::packet::checksum::Sum;
use router_core::packet::split::Split;
use router_core::packet::{PacketMut, Protocol};
use router_core::rules::{
    Destination, Dnat, EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, SnatPool, Subject,
};
use router_core::selector::{IpRange, PortRange, Selector};
use router_core::{Ingress, Node, NodeConfig, Offload, Refusal, Verdict};
use wg_proto::{Instant, PeerConfig, PeerIndex, PrivateKey};

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

#[test]
fn p03_packets_of_an_established_flow_are_routed_both_ways_without_allocation() {
    let (mut node, [client, device]) = router();
    let now = Instant::from_nanos(1 << 40);
    let question = datagram([10, 64, 0, 1], [10, 20, 0, 5], 4000, 53);
    let first = route(&mut node, now, client, question);
    let answer = datagram([10, 99, 0, 2], first[12..16].try_into().unwrap(), 40_000, port_of(&first));
    route(&mut node, now, device, answer);

    let later = Instant::from_nanos((1 << 40) + 1_000_000_000);
    let packets = [(client, question), (device, answer)];
    let allocated = allocations(|| {
        for (peer, packet) in packets.into_iter().cycle().take(1000) {
            node.look_ahead([&packet[..]].into_iter());
            route(&mut node, later, peer, packet);
        }
    });
    assert_eq!(allocated, 0);
}

/// Hands a packet in, which must be forwarded, and returns it as it leaves.
fn route(node: &mut Node, now: Instant, peer: PeerIndex, mut packet: [u8; 64]) -> [u8; 64] {
    let verdict = node.handle_packet(now, Ingress::Peer(peer), &mut packet, Offload::None);
    assert!(matches!(verdict, Verdict::Forward(_)), "{verdict:?}");
    packet
}

fn port_of(packet: &[u8; 64]) -> u16 {
    u16::from_be_bytes([packet[20], packet[21]])
}

/// A UDP datagram without checksum, which must not be fragmented.
fn datagram(source: [u8; 4], destination: [u8; 4], from: u16, to: u16) -> [u8; 64] {
    let mut packet = [0; 64];
    packet[..10].copy_from_slice(&[0x45, 0, 0, 64, 0, 0, 0x40, 0, 64, 17]);
    packet[12..16].copy_from_slice(&source);
    packet[16..20].copy_from_slice(&destination);
    let checksum = Sum::default().bytes(&packet[..20]).checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet[20..22].copy_from_slice(&from.to_be_bytes());
    packet[22..24].copy_from_slice(&to.to_be_bytes());
    packet[24..26].copy_from_slice(&44_u16.to_be_bytes());
    packet
}

/// A router with a client and a device, and a session between them that translates both addresses.
fn router() -> (Node, [PeerIndex; 2]) {
    let overlay_addresses = vec![IpAddr::from([10, 99, 0, 1])];
    let mut node = Node::new(NodeConfig { overlay_addresses, ..NodeConfig::default() }, [7; 32]);
    let peers = [(1, "10.64.0.1/32"), (2, "10.99.0.2/32")].map(|(key, prefix)| {
        let mut config = PeerConfig::new(PrivateKey::from_bytes([key; 32]).public_key());
        config.allowed_ips.push(prefix.parse().unwrap());
        node.device_mut().add_peer(Instant::from_nanos(1 << 40), config).unwrap()
    });
    let pool = SnatPool {
        id: PoolId(1),
        addresses: vec![IpAddr::from([10, 98, 0, 1])],
        mapping: Mapping::PerDestination,
    };
    let snapshot = RuleSnapshot { pools: vec![pool], rules: vec![rule(peers[0])] };
    node.apply(Instant::from_nanos(1 << 40), &snapshot).unwrap();
    (node, peers)
}

fn rule(client: PeerIndex) -> Rule {
    let target = IpRange::single(IpAddr::from([10, 20, 0, 5]));
    let device = IpRange::single(IpAddr::from([10, 99, 0, 2]));
    Rule {
        id: SessionId(1),
        subject: Subject { ingress: IngressMatch::Peer(client), source: IpAddr::from([10, 64, 0, 1]).into() },
        destinations: vec![Destination {
            selector: Selector::new(target, Some(Protocol::UDP), Some(PortRange::single(53))).unwrap(),
            dnat: Some(Dnat { addr: device, ports: Some(PortRange::single(40_000)) }),
            egress: EgressChoice::Route,
        }],
        snat: Snat::Pool(PoolId(1)),
        deny: Refusal::Silent,
        lease: None,
        caps: Caps::default(),
    }
}
