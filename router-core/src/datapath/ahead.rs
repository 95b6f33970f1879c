//! Looking flows up for a batch of packets before the first of them is handled. In a large table most of a lookup is
//! waiting for memory; a batch waits for all its packets at once.
//!
//! What is found is a hint: the road compares it with the packet, and looks for itself where it does not fit.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Path;
use super::family::Family;
use crate::flow::{BATCH, FlowTable, Sought, Tuple, TupleHash};
use crate::nat::Nat;
use crate::packet::Protocol;
use crate::rules::Rules;

/// Our own choice: as many as fit the first level cache beside everything else.
const PACKETS_MAX: usize = BATCH;

/// Which of the packets that were looked at comes next.
#[derive(Debug, Default)]
pub(super) struct Turn {
    next: usize,
    end: usize,
}

impl Turn {
    /// The number of the next packet, if it was looked at.
    #[inline]
    pub(super) fn take(&mut self) -> Option<usize> {
        let number = self.next;
        (number < self.end).then(|| {
            self.next += 1;
            number
        })
    }
}

/// What was found for the packets to come of one IP version. Packets come in runs, and a run is one lookup.
#[derive(Debug)]
pub(super) struct Ahead<A> {
    runs: [Sought<A>; PACKETS_MAX],
    runs_used: usize,
    /// Each packet's run. Of packets that have none it says what it said before.
    run_of: [u8; PACKETS_MAX],
}

impl<A: Family> Ahead<A> {
    pub(super) fn new(flows: &FlowTable<A>) -> Ahead<A> {
        let nobody = A::from_number(0);
        let nothing = flows.seek(Tuple::portless(Protocol(0), nobody, nobody));
        Ahead { runs: [nothing; PACKETS_MAX], runs_used: 0, run_of: [0; PACKETS_MAX] }
    }

    /// What was found for a packet: it may be another's.
    #[inline]
    pub(super) fn of(&self, packet: usize) -> Option<&Sought<A>> {
        self.runs.get(usize::from(*self.run_of.get(packet)?))
    }

    #[inline]
    fn push(&mut self, flows: &FlowTable<A>, packet: usize, tuple: Tuple<A>) {
        if self.runs_used == 0 || self.runs[self.runs_used - 1].tuple != tuple {
            self.runs[self.runs_used] = flows.seek(tuple);
            self.runs_used += 1;
        }
        self.run_of[packet] = (self.runs_used - 1) as u8;
    }

    fn look_up(&mut self, flows: &FlowTable<A>, nat: &Nat<A>, rules: &Rules) {
        let runs = &mut self.runs[..self.runs_used];
        if !flows.guess_many(runs) {
            look_up_rules(runs, flows, nat, rules);
        }
    }
}

/// Where there is no flow, the rules will be asked, and a flow will be stored under the packet's tuple and its answers'.
#[cold]
fn look_up_rules<A: Family>(runs: &[Sought<A>], flows: &FlowTable<A>, nat: &Nat<A>, rules: &Rules) {
    let nobody = A::from_number(0);
    let mut tuples = [Tuple::portless(Protocol(0), nobody, nobody); PACKETS_MAX];
    let mut replies = [TupleHash::default(); PACKETS_MAX];
    let (mut tuples_used, mut replies_used) = (0, 0);
    for sought in runs.iter().filter(|sought| sought.guess.is_none()) {
        tuples[tuples_used] = sought.tuple;
        tuples_used += 1;
    }
    rules.touch_many(&tuples[..tuples_used], |tuple, snat, to| {
        replies[replies_used] = flows.hash(&nat.likely_reply(tuple, to, snat));
        replies_used += 1;
    });
    flows.touch_places(replies[..replies_used].iter().copied());
}

impl Path {
    /// Looks ahead for the next packets; those beyond the first [`PACKETS_MAX`] are not looked at. Returns how many were.
    pub(crate) fn look_ahead<'p>(&mut self, packets: impl Iterator<Item = &'p [u8]>) -> usize {
        let Path { v4, v6, shared } = self;
        (v4.ahead.runs_used, v6.ahead.runs_used) = (0, 0);
        let mut seen = 0;
        for (number, packet) in packets.take(PACKETS_MAX).enumerate() {
            seen = number + 1;
            if let Some(tuple) = tuple_v4(packet) {
                v4.ahead.push(&v4.flows, number, tuple);
            } else if let Some(tuple) = tuple_v6(packet) {
                v6.ahead.push(&v6.flows, number, tuple);
            }
        }
        shared.turn = Turn { next: 0, end: seen };
        v4.ahead.look_up(&v4.flows, &v4.nat, &shared.rules);
        v6.ahead.look_up(&v6.flows, &v6.nat, &shared.rules);
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
    protocol.is_tcp_or_udp().then_some(tuple)
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
    protocol.is_tcp_or_udp().then_some(tuple)
}
