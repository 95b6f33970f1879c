//! Looking flows up for a batch of packets before the first of them is handled. In a large table most of a lookup is
//! waiting for memory; a batch waits for all its packets at once.
//!
//! What is found is a hint: the road compares it with the packet, and looks for itself where it does not fit.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Path;
use crate::flow::{Direction, FlowId, FlowTable, Tuple};
use crate::packet::Protocol;

/// Our own choice: as many as fit the first level cache beside everything else.
const PACKETS_MAX: usize = 32;

/// What was found for the packets to come, in their order.
#[derive(Debug)]
pub(super) struct Ahead {
    found: [Option<(FlowId, Direction)>; PACKETS_MAX],
    next: usize,
}

impl Default for Ahead {
    fn default() -> Ahead {
        Ahead { found: [None; PACKETS_MAX], next: PACKETS_MAX }
    }
}

impl Ahead {
    /// What was found for the next packet.
    #[inline]
    pub(super) fn take(&mut self) -> Option<(FlowId, Direction)> {
        let found = *self.found.get(self.next)?;
        self.next += 1;
        found
    }
}

/// Tuples of one IP version to look up, and which of them each packet has. Packets come in runs, and a run is one tuple.
struct Wanted<A> {
    tuples: [Tuple<A>; PACKETS_MAX],
    tuples_used: usize,
    /// The packet's number and its tuple's.
    packets: [(u8, u8); PACKETS_MAX],
    packets_used: usize,
}

impl<A: crate::flow::Address> Wanted<A> {
    fn new() -> Wanted<A> {
        let nobody = Tuple::portless(Protocol(0), A::from_number(0), A::from_number(0));
        Wanted {
            tuples: [nobody; PACKETS_MAX],
            tuples_used: 0,
            packets: [(0, 0); PACKETS_MAX],
            packets_used: 0,
        }
    }

    fn push(&mut self, packet: usize, tuple: Tuple<A>) {
        if self.tuples_used == 0 || self.tuples[self.tuples_used - 1] != tuple {
            self.tuples[self.tuples_used] = tuple;
            self.tuples_used += 1;
        }
        self.packets[self.packets_used] = (packet as u8, (self.tuples_used - 1) as u8);
        self.packets_used += 1;
    }

    fn look_up(&self, flows: &FlowTable<A>, ahead: &mut Ahead) {
        let mut found = [None; PACKETS_MAX];
        flows.lookup_many(&self.tuples[..self.tuples_used], &mut found[..self.tuples_used]);
        for (packet, tuple) in &self.packets[..self.packets_used] {
            ahead.found[usize::from(*packet)] = found[usize::from(*tuple)];
        }
    }
}

impl Path {
    /// Looks ahead for the next packets; those beyond the first [`PACKETS_MAX`] are not looked at. Returns how many were.
    pub(crate) fn look_ahead<'p>(&mut self, packets: impl Iterator<Item = &'p [u8]>) -> usize {
        let (mut v4, mut v6) = (Wanted::<Ipv4Addr>::new(), Wanted::<Ipv6Addr>::new());
        let mut seen = 0;
        for (number, packet) in packets.take(PACKETS_MAX).enumerate() {
            seen = number + 1;
            match packet.first() {
                Some(0x45) => tuple_v4(packet).into_iter().for_each(|tuple| v4.push(number, tuple)),
                Some(0x60..=0x6f) => tuple_v6(packet).into_iter().for_each(|tuple| v6.push(number, tuple)),
                Some(_) | None => {}
            }
        }
        let ahead = &mut self.shared.ahead;
        *ahead = Ahead { next: PACKETS_MAX - seen, ..Ahead::default() };
        v4.look_up(&self.v4.flows, ahead);
        v6.look_up(&self.v6.flows, ahead);
        ahead.found.rotate_right(PACKETS_MAX - seen);
        seen
    }
}

/// The tuple of a TCP or UDP packet without options; nothing of it is checked.
fn tuple_v4(packet: &[u8]) -> Option<Tuple<Ipv4Addr>> {
    let header: &[u8; 24] = packet.first_chunk()?;
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let protocol = Protocol(header[9]);
    let ports = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let tuple = Tuple::ports(protocol, (address(12), ports(20)), (address(16), ports(22)));
    (protocol == Protocol::TCP || protocol == Protocol::UDP).then_some(tuple)
}

/// The tuple of a TCP or UDP packet without extension headers; nothing of it is checked.
fn tuple_v6(packet: &[u8]) -> Option<Tuple<Ipv6Addr>> {
    let header: &[u8; 44] = packet.first_chunk()?;
    let address = |at: usize| {
        let octets: [u8; 16] = *header[at..].first_chunk()?;
        Some(Ipv6Addr::from(octets))
    };
    let protocol = Protocol(header[6]);
    let ports = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let tuple = Tuple::ports(protocol, (address(8)?, ports(40)), (address(24)?, ports(42)));
    (protocol == Protocol::TCP || protocol == Protocol::UDP).then_some(tuple)
}
