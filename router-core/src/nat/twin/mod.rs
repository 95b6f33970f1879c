//! The slow twin of translation: it remembers each live flow by host and each live or held port by who has it, and
//! counts. Where the real one chooses at random, the twin says whether the choice was allowed; where it refuses,
//! whether it had to.

use alloc::collections::BTreeMap;
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
/// While no more are live, the answers of all are checked after each operation. Else those of the flows just opened
/// are, and those of all after every so many operations and in the end.
const CHECKED_EACH_TIME_MAX: usize = 128;
const CHECK_ALL_EVERY: usize = 8;

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

/// What a run came to, each as a count: a run that never fills a class says nothing about full ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Flows that opened.
    pub opened: u32,
    /// Of these: with the port of an endpoint-independent mapping that was there.
    pub mapped: u32,
    /// Of these: with the source port as it was.
    pub kept: u32,
    /// Of these: with a port that others have towards other far ends.
    pub shared: u32,
    /// Flows refused for want of a port.
    pub refused: u32,
    /// Flows that ended.
    pub closed: u32,
    /// Ports that were free again after their time.
    pub let_go: u32,
}

/// An external end: what a port is a port of, and the port.
type End = (Protocol, Ipv4Addr, u16);

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

/// Who has an external end. Never nobody.
#[derive(Default)]
struct Users {
    live: Vec<Tuple<Ipv4Addr>>,
    held: Vec<Held>,
}

impl Users {
    /// Whether the end could not be chosen for a flow to this far end.
    fn bar(&self, reply: &Tuple<Ipv4Addr>) -> bool {
        self.live.contains(reply) || self.held.iter().any(|held| held.for_all || held.reply == *reply)
    }

    fn count(&self) -> usize {
        self.live.len() + self.held.len()
    }
}

/// Who has which external end.
#[derive(Default)]
struct Ends {
    users: BTreeMap<End, Users>,
    /// How many low ports of each address are somebody's.
    low: BTreeMap<(Protocol, Ipv4Addr), usize>,
}

impl Ends {
    fn users(&self, end: End) -> usize {
        self.users.get(&end).map_or(0, Users::count)
    }

    fn bar(&self, reply: &Tuple<Ipv4Addr>) -> bool {
        self.users.get(&end(reply)).is_some_and(|users| users.bar(reply))
    }

    /// The low ports, of the reply's protocol and address, that somebody has.
    fn low_ports(&self, reply: &Tuple<Ipv4Addr>) -> impl Iterator<Item = (&End, &Users)> {
        let low = |port| (reply.protocol, reply.dst, port);
        self.users.range(low(1)..low(1024))
    }

    fn is_class_used(&self, reply: &Tuple<Ipv4Addr>) -> bool {
        self.low.get(&(reply.protocol, reply.dst)) == Some(&LOW_PORTS)
    }

    /// Changes who has an end.
    fn change(&mut self, end: End, change: impl FnOnce(&mut Users)) {
        let users = self.users.entry(end).or_default();
        let before = users.count();
        change(users);
        let after = users.count();
        if after == 0 {
            self.users.remove(&end);
        }
        let (protocol, address, port) = end;
        if (1..1024).contains(&port) {
            let low = self.low.entry((protocol, address)).or_default();
            *low = *low + usize::from(after > 0) - usize::from(before > 0);
        }
    }

    /// Lets go of what need not be held any more, and says how many.
    fn let_go(&mut self, now: Tick) -> u32 {
        let is_over = |held: &Held| held.until <= now;
        let over = |(end, users): (&End, &Users)| users.held.iter().any(is_over).then_some(*end);
        let ends: Vec<End> = self.users.iter().filter_map(over).collect();
        let mut count = 0;
        for end in ends {
            self.change(end, |users| {
                count += users.held.extract_if(.., |held| is_over(held)).count() as u32;
            });
        }
        count
    }
}

struct Twin {
    world: World,
    mapping: Mapping,
    /// By number, in the order in which they opened.
    live: BTreeMap<u32, Live>,
    hosts: BTreeMap<Ipv4Addr, Vec<Live>>,
    ends: Ends,
    reached: Reached,
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
        self.reached.let_go += self.ends.let_go(now);
        // The real one lets go a few at a time; it has had the time.
        self.world.nat.let_go_all(now);
    }

    fn mapped_port(&self, original: &Tuple<Ipv4Addr>) -> Option<u16> {
        let same = |live: &&Live| {
            (live.original.protocol, live.original.src_port) == (original.protocol, original.src_port)
        };
        self.of_host(original).iter().find(same).map(|live| live.translation.reply.dst_port)
    }

    fn of_host(&self, original: &Tuple<Ipv4Addr>) -> &[Live] {
        self.hosts.get(&original.src).map_or(&[], Vec::as_slice)
    }

    fn open(&mut self, original: Tuple<Ipv4Addr>) {
        if self.world.flows.lookup(&original).is_some() {
            return;
        }
        let mapped = self.mapped_port(&original).filter(|_| self.mapping == Mapping::EndpointIndependent);
        match self.world.open(&original) {
            Ok(translation) => {
                self.check_chosen(&original, &translation.reply, mapped);
                self.remember(Live { original, translation });
            }
            Err(error) => {
                self.check_refused(&original, error, mapped);
                self.reached.refused += 1;
            }
        }
    }

    fn remember(&mut self, live: Live) {
        self.check_answer(&live);
        self.live.insert(self.reached.opened, live);
        self.hosts.entry(live.original.src).or_default().push(live);
        let reply = live.translation.reply;
        self.ends.change(end(&reply), |users| users.live.push(reply));
        self.reached.opened += 1;
    }

    fn forget(&mut self, flow: usize) -> Option<Live> {
        let number = *self.live.keys().nth(flow.checked_rem(self.live.len())?)?;
        let gone = self.live.remove(&number)?;
        let (original, reply) = (gone.original, gone.translation.reply);
        self.hosts.get_mut(&original.src)?.retain(|live| live.original != original);
        self.ends.change(end(&reply), |users| users.live.retain(|live| *live != reply));
        Some(gone)
    }

    fn check_chosen(&mut self, original: &Tuple<Ipv4Addr>, reply: &Tuple<Ipv4Addr>, mapped: Option<u16>) {
        let same_host = self.of_host(original).first();
        assert!(same_host.is_none_or(|live| live.translation.reply.dst == reply.dst), "MAP-2");
        assert!(!self.ends.bar(reply), "p07, MAP-6");
        let users = self.ends.users(end(reply));
        if let Some(port) = mapped {
            assert_eq!(reply.dst_port, port, "MAP-1");
            self.reached.mapped += 1;
            return;
        }
        assert!(users == 0 || self.mapping == Mapping::PerDestination, "MAP-1");
        assert!(users == 0 || self.ends.is_class_used(reply), "no port is shared while another is free");
        if original.protocol == Protocol::UDP {
            assert_eq!(reply.dst_port < 1024, original.src_port < 1024, "MAP-4");
        }
        let kept = Tuple { dst_port: original.src_port, ..*reply };
        let could_be_kept = original.src_port != 0 && self.ends.users(end(&kept)) == 0;
        assert!(!could_be_kept || *reply == kept, "MAP-5");
        self.reached.kept += u32::from(*reply == kept);
        self.reached.shared += u32::from(users > 0);
    }

    fn check_refused(&self, original: &Tuple<Ipv4Addr>, error: NatError, mapped: Option<u16>) {
        assert_eq!(error, NatError::PortsExhausted);
        assert!(mapped.is_none(), "a mapping takes any number of flows");
        assert!(original.src_port < 1024 && original.protocol == Protocol::UDP, "others were never filled");
        let reply = Tuple { dst: outside(1), dst_port: 1, ..original.inverse() };
        assert!(self.ends.is_class_used(&reply), "MAP-7: refused while a port was free");
        if self.mapping == Mapping::PerDestination {
            let bars = |(end, users): &(&End, &Users)| users.bar(&Tuple { dst_port: end.2, ..reply });
            let barred = self.ends.low_ports(&reply).filter(bars).count();
            assert!(
                barred * 100 >= LOW_PORTS * 90,
                "MAP-7: refused with {barred} ports in use towards there"
            );
        }
    }

    fn close(&mut self, flow: usize) {
        let Some(gone) = self.forget(flow) else { return };
        self.world.close(&gone.translation);
        self.reached.closed += 1;
        let reply = gone.translation.reply;
        assert_eq!(self.world.flows.lookup(&reply), None, "nobody is answered any more");
        let independent = self.mapping == Mapping::EndpointIndependent;
        let still_mapped = independent && self.mapped_port(&gone.original).is_some();
        if !still_mapped {
            let until = self.world.now.after(ticks(HOLD_DOWN));
            let held = Held { reply, for_all: independent, until };
            self.ends.change(end(&reply), |users| users.held.push(held));
        }
    }

    fn check_answers(&self) {
        self.live.values().for_each(|live| self.check_answer(live));
    }

    /// Every answer reaches the host that asked, and no other.
    fn check_answer(&self, live: &Live) {
        let found = self.world.flows.lookup(&live.translation.reply);
        let Some((id, Direction::Reply)) = found else {
            panic!("{live:?}: {found:?}");
        };
        let sent = self.world.flows.flow(id).expect("what was found is there").outgoing(Direction::Reply);
        assert_eq!(sent, live.original.inverse());
    }
}

fn end(reply: &Tuple<Ipv4Addr>) -> End {
    (reply.protocol, reply.dst, reply.dst_port)
}

/// Does the operations to translation and twin, and says what they reached.
///
/// # Panics
/// If they disagree, at more than [`OPERATIONS_MAX`] operations, and at more than [`FILL_HOSTS_MAX`] hosts.
pub fn run(mapping: Mapping, operations: &[Operation]) -> Reached {
    assert!(operations.len() <= OPERATIONS_MAX, "the flow table would fill up");
    let world = World::sized(1, FLOWS_MAX, &[outside(1)], mapping);
    let (live, hosts, ends) = (BTreeMap::new(), BTreeMap::new(), Ends::default());
    let mut twin = Twin { world, mapping, live, hosts, ends, reached: Reached::default() };
    for (count, operation) in operations.iter().enumerate() {
        twin.step(operation);
        if twin.live.len() <= CHECKED_EACH_TIME_MAX || count % CHECK_ALL_EVERY == 0 {
            twin.check_answers();
        }
    }
    twin.check_answers();
    twin.reached
}
