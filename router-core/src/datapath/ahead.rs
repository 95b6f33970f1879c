//! Looking flows up for a batch of packets before the first of them is handled. In a large table most of a lookup is
//! waiting for memory; a batch waits for all its packets at once.
//!
//! What is found is a hint: the road compares it with the packet, and looks for itself where it does not fit.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Path;
use super::family::Family;
use crate::flow::{BATCH, Direction, FlowId, FlowTable, Tag, Tuple};
use crate::packet::Protocol;
use crate::rules::Rules;

/// Our own choice: as many as fit the first level cache beside everything else.
const PACKETS_MAX: usize = BATCH;

/// What was found for the packets to come, in their order.
#[derive(Debug)]
pub(super) struct Ahead {
    found: [Option<(FlowId, Direction)>; PACKETS_MAX],
    next: usize,
    end: usize,
}

impl Default for Ahead {
    fn default() -> Ahead {
        Ahead { found: [None; PACKETS_MAX], next: 0, end: 0 }
    }
}

impl Ahead {
    /// What was found for the next packet.
    #[inline]
    pub(super) fn take(&mut self) -> Option<(FlowId, Direction)> {
        let found = *self.found[..self.end].get(self.next)?;
        self.next += 1;
        found
    }
}

/// Where to look for the flows of one IP version, and for which packets. Packets come in runs, and a run is one lookup.
struct Wanted<A> {
    tuples: [Tuple<A>; PACKETS_MAX],
    tags: [Tag; PACKETS_MAX],
    tags_used: usize,
    /// The packet's number and its tag's.
    packets: [(u8, u8); PACKETS_MAX],
    packets_used: usize,
}

impl<A: Family> Wanted<A> {
    fn new() -> Wanted<A> {
        let nobody = A::from_number(0);
        Wanted {
            tuples: [Tuple::portless(Protocol(0), nobody, nobody); PACKETS_MAX],
            tags: [Tag::default(); PACKETS_MAX],
            tags_used: 0,
            packets: [(0, 0); PACKETS_MAX],
            packets_used: 0,
        }
    }

    #[inline]
    fn push(&mut self, flows: &FlowTable<A>, packet: usize, tuple: Tuple<A>) {
        if self.tags_used == 0 || self.tuples[self.tags_used - 1] != tuple {
            self.tuples[self.tags_used] = tuple;
            self.tags[self.tags_used] = flows.tag(&tuple);
            self.tags_used += 1;
        }
        self.packets[self.packets_used] = (packet as u8, (self.tags_used - 1) as u8);
        self.packets_used += 1;
    }

    fn look_up(&self, flows: &FlowTable<A>, rules: &Rules, ahead: &mut Ahead) {
        let mut found = [None; PACKETS_MAX];
        let found = &mut found[..self.tags_used];
        flows.guess_many(&self.tags[..self.tags_used], found);
        if found.contains(&None) {
            self.look_up_rules(rules, found);
        }
        for (packet, tag) in &self.packets[..self.packets_used] {
            ahead.found[usize::from(*packet)] = found[usize::from(*tag)];
        }
    }
}

impl<A: Family> Wanted<A> {
    /// Where there is no flow, the rules will be asked.
    #[cold]
    fn look_up_rules(&self, rules: &Rules, found: &[Option<(FlowId, Direction)>]) {
        let mut packets = [(A::from_number(0), A::from_number(0)); PACKETS_MAX];
        let mut packets_used = 0;
        for (tuple, _) in self.tuples.iter().zip(found).filter(|(_, found)| found.is_none()) {
            packets[packets_used] = (tuple.src, tuple.dst);
            packets_used += 1;
        }
        rules.touch_many(&packets[..packets_used]);
    }
}

impl Path {
    /// Looks ahead for the next packets; those beyond the first [`PACKETS_MAX`] are not looked at. Returns how many were.
    pub(crate) fn look_ahead<'p>(&mut self, packets: impl Iterator<Item = &'p [u8]>) -> usize {
        let (mut v4, mut v6) = (None, None);
        let mut seen = 0;
        for (number, packet) in packets.take(PACKETS_MAX).enumerate() {
            seen = number + 1;
            if let Some(tuple) = tuple_v4(packet) {
                v4.get_or_insert_with(Wanted::new).push(&self.v4.flows, number, tuple);
            } else if let Some(tuple) = tuple_v6(packet) {
                v6.get_or_insert_with(Wanted::new).push(&self.v6.flows, number, tuple);
            }
        }
        let (ahead, rules) = (&mut self.shared.ahead, &self.shared.rules);
        *ahead = Ahead { next: 0, end: seen, ..Ahead::default() };
        v4.inspect(|wanted| wanted.look_up(&self.v4.flows, rules, ahead));
        v6.inspect(|wanted| wanted.look_up(&self.v6.flows, rules, ahead));
        seen
    }
}

/// The tuple of a TCP or UDP packet without options; nothing of it is checked.
#[inline]
fn tuple_v4(packet: &[u8]) -> Option<Tuple<Ipv4Addr>> {
    let header: &[u8; 24] = packet.first_chunk().filter(|header| header[0] == 0x45)?;
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let protocol = Protocol(header[9]);
    let ports = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let tuple = Tuple::ports(protocol, (address(12), ports(20)), (address(16), ports(22)));
    (protocol == Protocol::TCP || protocol == Protocol::UDP).then_some(tuple)
}

/// The tuple of a TCP or UDP packet without extension headers; nothing of it is checked.
fn tuple_v6(packet: &[u8]) -> Option<Tuple<Ipv6Addr>> {
    let header: &[u8; 44] = packet.first_chunk().filter(|header| header[0] >> 4 == 6)?;
    let address = |at: usize| {
        let octets: [u8; 16] = *header[at..].first_chunk()?;
        Some(Ipv6Addr::from(octets))
    };
    let protocol = Protocol(header[6]);
    let ports = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let tuple = Tuple::ports(protocol, (address(8)?, ports(40)), (address(24)?, ports(42)));
    (protocol == Protocol::TCP || protocol == Protocol::UDP).then_some(tuple)
}
