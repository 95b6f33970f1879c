//! The slow twin of translation: lists of live flows and held ports, searched from end to end. Where the real one
//! chooses at random, the twin says whether the choice was allowed; where it refuses, whether it had to.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use proptest::prelude::*;

use super::tests::{World, far, host_of, outside, udp};
use super::*;
use crate::flow::{Direction, Tick, Tuple, ticks};
use crate::packet::Protocol;

/// All ports of the class below 1024.
const LOW_PORTS: usize = 1023;

#[derive(Clone, Debug)]
enum Operation {
    Open { host: u16, port: u16, far: u8, echo: bool },
    Fill { hosts: u16, far: u8 },
    Close { flow: usize },
    CloseMany { flows: usize },
    Wait { secs: u64 },
}

fn operation() -> impl Strategy<Value = Operation> {
    let port = prop_oneof![Just(0_u16), Just(1), Just(1023), Just(1024), 1..20_u16, 5000..5003_u16];
    prop_oneof![
        6 => (0..6_u16, port, 0..3_u8, prop::bool::weighted(0.2))
            .prop_map(|(host, port, far, echo)| Operation::Open { host, port, far, echo }),
        1 => (900..1100_u16, 0..3_u8).prop_map(|(hosts, far)| Operation::Fill { hosts, far }),
        3 => any::<prop::sample::Index>().prop_map(|flow| Operation::Close { flow: flow.index(4096) }),
        1 => (100..1200_usize).prop_map(|flows| Operation::CloseMany { flows }),
        2 => prop_oneof![0..30_u64, 100..130_u64].prop_map(|secs| Operation::Wait { secs }),
    ]
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

    fn open(&mut self, original: Tuple<Ipv4Addr>) -> Result<(), TestCaseError> {
        if self.world.flows.lookup(&original).is_some() {
            return Ok(());
        }
        let mapped = self.mapped_port(&original).filter(|_| self.mapping == Mapping::EndpointIndependent);
        match self.world.open(&original) {
            Ok(translation) => {
                self.check_chosen(&original, &translation.reply, mapped)?;
                self.live.push(Live { original, translation });
            }
            Err(error) => self.check_refused(&original, error, mapped)?,
        }
        Ok(())
    }

    fn check_chosen(
        &self,
        original: &Tuple<Ipv4Addr>,
        reply: &Tuple<Ipv4Addr>,
        mapped: Option<u16>,
    ) -> Result<(), TestCaseError> {
        let same_host = self.live.iter().find(|live| live.original.src == original.src);
        prop_assert!(same_host.is_none_or(|live| live.translation.reply.dst == reply.dst), "MAP-2");
        prop_assert!(!self.is_barred(reply), "p07, MAP-6");
        let users = self.users(reply.protocol, reply.dst, reply.dst_port);
        if let Some(port) = mapped {
            prop_assert_eq!(reply.dst_port, port, "MAP-1");
            return Ok(());
        }
        prop_assert!(users == 0 || self.mapping == Mapping::PerDestination, "MAP-1");
        prop_assert!(users == 0 || self.is_class_used(reply), "no port is shared while another is free");
        if original.protocol == Protocol::UDP {
            prop_assert_eq!(reply.dst_port < 1024, original.src_port < 1024, "MAP-4");
        }
        let kept = Tuple { dst_port: original.src_port, ..*reply };
        let could_be_kept = original.src_port != 0 && self.users(kept.protocol, kept.dst, kept.dst_port) == 0;
        prop_assert!(!could_be_kept || *reply == kept, "MAP-5");
        Ok(())
    }

    fn check_refused(
        &self,
        original: &Tuple<Ipv4Addr>,
        error: NatError,
        mapped: Option<u16>,
    ) -> Result<(), TestCaseError> {
        prop_assert_eq!(error, NatError::PortsExhausted);
        prop_assert!(mapped.is_none(), "a mapping takes any number of flows");
        prop_assert!(
            original.src_port < 1024 && original.protocol == Protocol::UDP,
            "others were never filled"
        );
        let reply = Tuple { dst: outside(1), dst_port: 1, ..original.inverse() };
        prop_assert!(self.is_class_used(&reply), "MAP-7: refused while a port was free");
        if self.mapping == Mapping::PerDestination {
            let barred = (1..1024).filter(|port| self.is_barred(&Tuple { dst_port: *port, ..reply })).count();
            prop_assert!(
                barred * 100 >= LOW_PORTS * 90,
                "MAP-7: refused with {barred} ports in use towards there"
            );
        }
        Ok(())
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
    fn check_answers(&self) -> Result<(), TestCaseError> {
        for live in &self.live {
            let found = self.world.flows.lookup(&live.translation.reply);
            let Some((id, Direction::Reply)) = found else {
                return Err(TestCaseError::fail(alloc::format!("{live:?}: {found:?}")));
            };
            let sent = self.world.flows.flow(id).unwrap().outgoing(Direction::Reply);
            prop_assert_eq!(sent, live.original.inverse());
        }
        Ok(())
    }
}

fn run(mapping: Mapping, operations: Vec<Operation>) -> Result<(), TestCaseError> {
    let world = World::new(&[outside(1)], mapping);
    let mut twin = Twin { world, mapping, live: Vec::new(), held: Vec::new() };
    for operation in operations {
        match operation {
            Operation::Open { host, port, far: n, echo: true } => {
                twin.open(Tuple::echo_request(host_of(host), far(n), port))?;
            }
            Operation::Open { host, port, far: n, echo: false } => {
                twin.open(udp(host_of(host), port, far(n), 53))?;
            }
            Operation::Fill { hosts, far: n } => {
                for host in 0..hosts {
                    twin.open(udp(host_of(100 + host), 1000, far(n), 53))?;
                }
            }
            Operation::Close { flow } => twin.close(flow),
            Operation::CloseMany { flows } => (0..flows).for_each(|_| twin.close(0)),
            Operation::Wait { secs } => {
                twin.world.wait_secs(secs);
                let now = twin.world.now;
                twin.held.retain(|held| held.until > now);
                // The real one lets go a few at a time; it has had the time.
                twin.world.nat.let_go_all(now);
            }
        }
        twin.check_answers()?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn p07_p08_per_destination_tuples_are_unique_and_answers_reach_who_asked(
        operations in prop::collection::vec(operation(), 1..40)
    ) {
        run(Mapping::PerDestination, operations)?;
    }

    #[test]
    fn p07_p08_endpoint_independent_tuples_are_unique_and_answers_reach_who_asked(
        operations in prop::collection::vec(operation(), 1..40)
    ) {
        run(Mapping::EndpointIndependent, operations)?;
    }
}
