//! The slow twin of translation: lists of live flows and held ports, searched from end to end. Where the real one
//! chooses at random, the twin says whether the choice was allowed; where it refuses, whether it had to.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use self::world::{World, far, host_of, outside, udp};
use super::{HOLD_DOWN, Mapping, NatError, Translation};
use crate::flow::{Direction, Tick, Tuple, ticks};
use crate::packet::Protocol;

#[cfg(test)]
mod tests;
pub(super) mod world;

/// All ports of the class below 1024.
const LOW_PORTS: usize = 1023;

/// At most so many operations make one run: they never fill the flow table.
pub const OPERATIONS_MAX: usize = 64;
/// At most so many hosts open flows in one [`Operation::Fill`].
pub const FILL_HOSTS_MAX: u16 = 1100;
/// Every low port towards each of three far ends, and one flow for each operation.
const FLOWS_MAX: u32 = 8192;

/// What hosts and time do.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// One host opens a flow, of ICMP echo or UDP.
    Open {
        /// Which host.
        host: u16,
        /// From which port, or with which identifier.
        port: u16,
        /// To whom.
        far: u8,
        /// Whether it pings.
        echo: bool,
    },
    /// Many hosts open flows from one low port.
    Fill {
        /// How many, at most [`FILL_HOSTS_MAX`].
        hosts: u16,
        /// To whom.
        far: u8,
    },
    /// A flow ends.
    Close {
        /// Which, counted around.
        flow: usize,
    },
    /// The oldest flows end.
    CloseMany {
        /// How many.
        flows: usize,
    },
    /// Time passes.
    Wait {
        /// How much.
        secs: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Live {
    original: Tuple<Ipv4Addr>,
    translation: Translation<Ipv4Addr>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    reply: Tuple<Ipv4Addr>,
    /// Held towards everyone: the mapping was endpoint-independent.
    for_all: bool,
    until: Tick,
}

struct Twin {
    world: World,
    mapping: Mapping,
    live: Vec<Live>,
    held: Vec<Held>,
}

impl Twin {
    fn step(&mut self, operation: &Operation) {
        match *operation {
            Operation::Open { host, port, far: n, echo: true } => {
                self.open(Tuple::echo_request(host_of(host), far(n), port));
            }
            Operation::Open { host, port, far: n, echo: false } => {
                self.open(udp(host_of(host), port, far(n), 53));
            }
            Operation::Fill { hosts, far: n } => {
                assert!(hosts <= FILL_HOSTS_MAX, "the flow table would fill up");
                (0..hosts).for_each(|host| self.open(udp(host_of(100 + host), 1000, far(n), 53)));
            }
            Operation::Close { flow } => self.close(flow),
            Operation::CloseMany { flows } => (0..flows).for_each(|_| self.close(0)),
            Operation::Wait { secs } => self.wait(secs),
        }
    }

    fn wait(&mut self, secs: u64) {
        self.world.wait_secs(secs);
        let now = self.world.now;
        self.held.retain(|held| held.until > now);
        // The real one lets go a few at a time; it has had the time.
        self.world.nat.let_go_all(now);
    }

    fn users(&self, protocol: Protocol, address: Ipv4Addr, port: u16) -> usize {
        let uses = |reply: &Tuple<Ipv4Addr>| {
            (reply.protocol, reply.dst, reply.dst_port) == (protocol, address, port)
        };
        self.live.iter().filter(|live| uses(&live.translation.reply)).count()
            + self.held.iter().filter(|held| uses(&held.reply)).count()
    }

    /// Whether the port could not be chosen for a flow to this far end.
    fn is_barred(&self, reply: &Tuple<Ipv4Addr>) -> bool {
        self.live.iter().any(|live| live.translation.reply == *reply)
            || self.held.iter().any(|held| {
                let end = |reply: &Tuple<Ipv4Addr>| (reply.protocol, reply.dst, reply.dst_port);
                held.reply == *reply || held.for_all && end(&held.reply) == end(reply)
            })
    }

    fn mapped_port(&self, original: &Tuple<Ipv4Addr>) -> Option<u16> {
        let same = |live: &&Live| {
            (live.original.protocol, live.original.src, live.original.src_port)
                == (original.protocol, original.src, original.src_port)
        };
        self.live.iter().find(same).map(|live| live.translation.reply.dst_port)
    }

    fn open(&mut self, original: Tuple<Ipv4Addr>) {
        if self.world.flows.lookup(&original).is_some() {
            return;
        }
        let mapped = self.mapped_port(&original).filter(|_| self.mapping == Mapping::EndpointIndependent);
        match self.world.open(&original) {
            Ok(translation) => {
                self.check_chosen(&original, &translation.reply, mapped);
                self.live.push(Live { original, translation });
            }
            Err(error) => self.check_refused(&original, error, mapped),
        }
    }

    fn check_chosen(&self, original: &Tuple<Ipv4Addr>, reply: &Tuple<Ipv4Addr>, mapped: Option<u16>) {
        let same_host = self.live.iter().find(|live| live.original.src == original.src);
        assert!(same_host.is_none_or(|live| live.translation.reply.dst == reply.dst), "MAP-2");
        assert!(!self.is_barred(reply), "p07, MAP-6");
        let users = self.users(reply.protocol, reply.dst, reply.dst_port);
        if let Some(port) = mapped {
            assert_eq!(reply.dst_port, port, "MAP-1");
            return;
        }
        assert!(users == 0 || self.mapping == Mapping::PerDestination, "MAP-1");
        assert!(users == 0 || self.is_class_used(reply), "no port is shared while another is free");
        if original.protocol == Protocol::UDP {
            assert_eq!(reply.dst_port < 1024, original.src_port < 1024, "MAP-4");
        }
        let kept = Tuple { dst_port: original.src_port, ..*reply };
        let could_be_kept = original.src_port != 0 && self.users(kept.protocol, kept.dst, kept.dst_port) == 0;
        assert!(!could_be_kept || *reply == kept, "MAP-5");
    }

    fn check_refused(&self, original: &Tuple<Ipv4Addr>, error: NatError, mapped: Option<u16>) {
        assert_eq!(error, NatError::PortsExhausted);
        assert!(mapped.is_none(), "a mapping takes any number of flows");
        assert!(original.src_port < 1024 && original.protocol == Protocol::UDP, "others were never filled");
        let reply = Tuple { dst: outside(1), dst_port: 1, ..original.inverse() };
        assert!(self.is_class_used(&reply), "MAP-7: refused while a port was free");
        if self.mapping == Mapping::PerDestination {
            let barred = (1..1024).filter(|port| self.is_barred(&Tuple { dst_port: *port, ..reply })).count();
            assert!(
                barred * 100 >= LOW_PORTS * 90,
                "MAP-7: refused with {barred} ports in use towards there"
            );
        }
    }

    fn is_class_used(&self, reply: &Tuple<Ipv4Addr>) -> bool {
        let live = self.live.iter().map(|live| &live.translation.reply);
        let all = live.chain(self.held.iter().map(|held| &held.reply));
        let ports = all.filter(|other| (other.protocol, other.dst) == (reply.protocol, reply.dst));
        let low: BTreeSet<u16> =
            ports.map(|other| other.dst_port).filter(|port| (1..1024).contains(port)).collect();
        low.len() == LOW_PORTS
    }

    fn close(&mut self, flow: usize) {
        if self.live.is_empty() {
            return;
        }
        let gone = self.live.swap_remove(flow % self.live.len());
        self.world.close(&gone.translation);
        let independent = self.mapping == Mapping::EndpointIndependent;
        let still_mapped = independent && self.mapped_port(&gone.original).is_some();
        if !still_mapped {
            let until = self.world.now.after(ticks(HOLD_DOWN));
            self.held.push(Held { reply: gone.translation.reply, for_all: independent, until });
        }
    }

    /// Every answer reaches the host that asked, and no other.
    fn check_answers(&self) {
        for live in &self.live {
            let found = self.world.flows.lookup(&live.translation.reply);
            let Some((id, Direction::Reply)) = found else {
                panic!("{live:?}: {found:?}");
            };
            let sent = self.world.flows.flow(id).expect("what was found is there").outgoing(Direction::Reply);
            assert_eq!(sent, live.original.inverse());
        }
    }
}

/// Does the operations to translation and twin.
///
/// # Panics
/// If they disagree, at more than [`OPERATIONS_MAX`] operations, and at more than [`FILL_HOSTS_MAX`] hosts.
pub fn run(mapping: Mapping, operations: &[Operation]) {
    assert!(operations.len() <= OPERATIONS_MAX, "the flow table would fill up");
    let world = World::sized(1, FLOWS_MAX, &[outside(1)], mapping);
    let mut twin = Twin { world, mapping, live: Vec::new(), held: Vec::new() };
    for operation in operations {
        twin.step(operation);
        twin.check_answers();
    }
}
