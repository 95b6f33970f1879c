//! Shared inputs of the micro-benchmarks.

pub mod chase;
pub mod router;
pub mod tunnel;

use std::net::{Ipv4Addr, Ipv6Addr};

use router_core::flow::{FlowMeta, FlowTable, Leg, NewFlow, Opening, SessionRef, Tick, Tuple};
use router_core::packet::Protocol;

/// A moment well after boot.
pub const NOW: Tick = Tick::from_nanos(1 << 40);

/// What every flow here belongs to.
pub const META: FlowMeta =
    FlowMeta { session: SessionRef { slot: 1, generation: 1 }, ingress: Leg(1), egress: Leg(2) };

/// The `number`th UDP flow over IPv4: many hosts to a few services through one address.
pub fn v4_flow(number: u32) -> NewFlow<Ipv4Addr> {
    let (host, service) = (Ipv4Addr::from_bits(0x0A4D_0000 + number / 64), Ipv4Addr::new(10, 20, 0, 5));
    let (device, outside) = (Ipv4Addr::from_bits(0x0A63_0000 + number / 60_000), Ipv4Addr::new(10, 99, 0, 1));
    let outside_port = (number % 60_000) as u16 + 1024;
    NewFlow {
        original: Tuple::ports(Protocol::UDP, (host, 1024 + (number % 64) as u16), (service, 53)),
        reply: Tuple::ports(Protocol::UDP, (device, 40_000), (outside, outside_port)),
        meta: META,
        opening: Opening::Datagram,
    }
}

/// The same flow over IPv6.
pub fn v6_flow(number: u32) -> NewFlow<Ipv6Addr> {
    let widen = |tuple: Tuple<Ipv4Addr>| {
        let Tuple { src, dst, src_port, dst_port, protocol } = tuple;
        Tuple { src: src.to_ipv6_mapped(), dst: dst.to_ipv6_mapped(), src_port, dst_port, protocol }
    };
    let flow = v4_flow(number);
    NewFlow {
        original: widen(flow.original),
        reply: widen(flow.reply),
        meta: META,
        opening: Opening::Datagram,
    }
}

/// A table that holds the first `flows` v4 flows, with room for one more.
pub fn v4_table(flows: u32) -> FlowTable<Ipv4Addr> {
    let mut table = FlowTable::new(flows + 1, &[7; 16]);
    for number in 0..flows {
        table.insert(NOW, &v4_flow(number)).expect("flows differ and there is room");
    }
    table
}

/// A table that holds the first `flows` v6 flows, with room for one more.
pub fn v6_table(flows: u32) -> FlowTable<Ipv6Addr> {
    let mut table = FlowTable::new(flows + 1, &[7; 16]);
    for number in 0..flows {
        table.insert(NOW, &v6_flow(number)).expect("flows differ and there is room");
    }
    table
}

/// Numbers below `bound` in an order no prefetcher follows.
#[derive(Debug)]
pub struct Scattered {
    state: u64,
    bound: u32,
}

impl Scattered {
    /// Starts the same each time.
    pub fn below(bound: u32) -> Scattered {
        Scattered { state: 0x9E37_79B9_7F4A_7C15, bound }
    }

    /// The next number.
    pub fn draw(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (((self.state >> 32) * u64::from(self.bound)) >> 32) as u32
    }
}
