//! A network in virtual time, around real [`Node`]s: they shake hands, seal, open, route and translate exactly as in a
//! program; only links, clocks and hosts are made up. Everything random follows from one seed, and nothing sleeps.
//!
//! ```
//! use router_core::sim::Sim;
//!
//! let mut pair = Sim::pair().seed(7).latency_ms(20).loss(0.1).start();
//! pair.sim.host_mut(pair.bob_host).udp_echo.insert(7);
//! pair.sim.send_udp(pair.alice_host, 5000, "10.0.0.2:7".parse()?, b"hello");
//! pair.sim.run_secs(30);
//! assert_eq!(pair.sim.host(pair.alice_host).datagrams(5000).len(), 1);
//! # Ok::<(), core::net::AddrParseError>(())
//! ```
//!
//! A run is bounded: queues lose what does not fit, memories forget the oldest, and [`Sim::run_until`] panics after
//! [`STEPS_MAX`] steps, because then the nodes keep each other busy without end.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use wg_proto::Instant;

mod agenda;
pub mod border;
mod host;
mod lan;
mod link;
mod plan;
mod random;
mod rules;
mod station;
mod twin;
pub mod wire;

pub use host::{Arrival, Connection, HeardError, Host, TcpEnd, TcpService, TcpStage, is_of};
pub use lan::{Hop, Lan};
pub use link::Link;
pub use plan::{Chain, ChainShape, Gateway, GatewaySession, GatewayShape, Pair, PairShape, Plan, names};
pub use random::Random;
pub use station::{Passage, Refused, Station};
pub use twin::Twin;

use crate::{Ingress, Node, NodeConfig, Verdict};
use agenda::Agenda;
use lan::Passing;
use station::Output;

/// The most steps of one run.
pub const STEPS_MAX: u32 = 4_000_000;

/// The most datagrams that are recorded; when full, the oldest is forgotten.
const RECORDED_MAX: usize = 1 << 14;

/// Headers of UDP and IPv4 around a datagram; IPv6 is longer, but the links here count only one kind.
const OUTER_HEADERS_BYTES: usize = 28;

/// Names a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StationId(usize);

/// Names a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(usize);

/// Names a connection of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Whose.
    pub host: HostId,
    /// Which of the host's, in the order they were opened.
    pub number: usize,
}

/// The network.
pub struct Sim {
    seed: u64,
    now: Instant,
    random: Random,
    agenda: Agenda<Happening>,
    stations: Vec<Station>,
    lans: Vec<Lan>,
    hosts: Vec<Host>,
    outside: Link,
    inside: Link,
    /// Datagrams between stations, lost ones included.
    pub datagrams: u64,
    /// Datagrams to an address where nobody is.
    pub astray: u64,
    /// What stations have sent, oldest first, lost ones included: what somebody on the way could have seen.
    pub recorded: VecDeque<Recorded>,
}

/// A datagram between stations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When it was sent.
    pub at: Instant,
    /// Who sent it.
    pub from: SocketAddr,
    /// Where to.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// Something on its way.
#[derive(Debug)]
enum Happening {
    Datagram { from: SocketAddr, to: SocketAddr, tos: u8, bytes: Vec<u8> },
    Lan(Walk),
}

/// A packet on its way through a LAN. Place 0 is the TUN, then come the hops, then the hosts.
#[derive(Debug)]
struct Walk {
    station: StationId,
    place: usize,
    is_outward: bool,
    packet: Vec<u8>,
}

impl core::fmt::Debug for Sim {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sim").field("seed", &self.seed).field("now", &self.now).finish_non_exhaustive()
    }
}

impl Sim {
    /// Two plain WireGuard interfaces with a host each.
    pub fn pair() -> Plan<PairShape> {
        Plan::new(PairShape)
    }

    /// Clients, a router, connectors and devices.
    pub fn chain() -> Plan<ChainShape> {
        Plan::new(ChainShape::new())
    }

    /// A router with a TUN: a client's servers are behind it, and another gateway's clients.
    pub fn gateway() -> Plan<GatewayShape> {
        Plan::new(GatewayShape)
    }

    fn new<S>(plan: &Plan<S>) -> Sim {
        Sim {
            seed: plan.seed,
            now: Instant::from_nanos(0),
            random: Random::new(plan.seed),
            agenda: Agenda::new(),
            stations: Vec::new(),
            lans: Vec::new(),
            hosts: Vec::new(),
            outside: plan.outside,
            inside: plan.inside,
            datagrams: 0,
            astray: 0,
            recorded: VecDeque::new(),
        }
    }

    /// The seed, for messages.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Boot time, the same everywhere.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The dice, for what tests do at random.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// The links between nodes, to change them on the way.
    pub fn outside_mut(&mut self) -> &mut Link {
        &mut self.outside
    }

    /// A station.
    pub fn station(&self, id: StationId) -> &Station {
        &self.stations[id.0]
    }

    /// A station, to change it. What its node wants to send leaves with the next step.
    pub fn station_mut(&mut self, id: StationId) -> &mut Station {
        &mut self.stations[id.0]
    }

    /// The node of a station.
    pub fn node(&self, id: StationId) -> &Node {
        &self.stations[id.0].node
    }

    /// The node of a station, to change it.
    pub fn node_mut(&mut self, id: StationId) -> &mut Node {
        &mut self.stations[id.0].node
    }

    /// The network behind a station's TUN.
    pub fn lan_mut(&mut self, id: StationId) -> &mut Lan {
        &mut self.lans[id.0]
    }

    /// A host.
    pub fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.0]
    }

    /// A host, to change it.
    pub fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[id.0]
    }

    /// Puts a station at an address. `config` is what the node was made from.
    pub fn add_station(
        &mut self,
        name: &'static str,
        node: Node,
        config: NodeConfig,
        addr: SocketAddr,
    ) -> StationId {
        self.stations.push(Station::new(name, node, config, addr));
        self.lans.push(Lan::default());
        StationId(self.stations.len() - 1)
    }

    /// Puts a host behind a station's TUN. Its interface takes what the TUN takes; that of a plain interface takes what
    /// fits into the tunnel.
    pub fn add_host(&mut self, station: StationId, addresses: &[IpAddr]) -> HostId {
        let mtu_bytes = self.stations[station.0].host_mtu_bytes();
        self.hosts.push(Host::new(station, addresses, mtu_bytes));
        HostId(self.hosts.len() - 1)
    }

    /// A host sends any packet.
    pub fn send(&mut self, from: HostId, packet: Vec<u8>) {
        let station = self.hosts[from.0].station;
        let place = self.lans[station.0].hops.len() + 1;
        self.walk(Walk { station, place, is_outward: false, packet });
    }

    /// A host sends a UDP datagram from its address and this port.
    pub fn send_udp(&mut self, from: HostId, port: u16, to: SocketAddr, payload: &[u8]) {
        let source = self.host(from).address_like(to.ip());
        self.send(from, wire::udp(&wire::ends(SocketAddr::new(source, port), to), payload));
    }

    /// A host pings another.
    pub fn send_ping(&mut self, from: HostId, to: IpAddr, id: u16, sequence: u16) {
        let source = self.host(from).address_like(to);
        self.send(from, wire::ping(&wire::addresses(source, to), id, sequence, b"are you there?"));
    }

    /// A host opens a TCP connection from its address and this port.
    pub fn connect(&mut self, from: HostId, port: u16, to: SocketAddr) -> ConnectionId {
        let source = self.host(from).address_like(to.ip());
        let ends = wire::ends(SocketAddr::new(source, port), to);
        let first = self.random.below(u32::MAX);
        let host = self.host_mut(from);
        host.connections.push(Connection::opening(ends, first, host.mtu_bytes));
        let id = ConnectionId { host: from, number: host.connections.len() - 1 };
        self.pump(id);
        id
    }

    /// A connection.
    pub fn connection(&self, id: ConnectionId) -> &Connection {
        &self.hosts[id.host.0].connections[id.number]
    }

    /// Sends data through a connection, and if `is_all` says that nothing follows.
    pub fn write(&mut self, id: ConnectionId, bytes: &[u8], is_all: bool) {
        let connection = &mut self.hosts[id.host.0].connections[id.number];
        connection.queue(bytes);
        if is_all {
            connection.finish();
        }
        self.pump(id);
    }

    /// Ends a connection by a reset.
    pub fn abort(&mut self, id: ConnectionId) {
        let reset = self.hosts[id.host.0].connections[id.number].abort();
        self.send(id.host, reset);
    }

    fn pump(&mut self, id: ConnectionId) {
        let mut out = Vec::new();
        self.hosts[id.host.0].connections[id.number].pump(self.now, &mut out);
        out.into_iter().for_each(|packet| self.send(id.host, packet));
    }

    /// A datagram from anywhere to anywhere, past all links: what an attacker outside does.
    pub fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.agenda.push(self.now, Happening::Datagram { from, to, tos: 0, bytes });
    }

    /// A packet inside a tunnel, as if its peer had sealed it: what a node that was taken over can send.
    pub fn inject_inner(&mut self, at: StationId, ingress: Ingress, packet: Vec<u8>) -> Verdict {
        let (verdict, out) = self.stations[at.0].take(self.now, ingress, packet);
        self.launch(at, out);
        verdict
    }

    /// A station is somewhere else from now on.
    pub fn move_station(&mut self, id: StationId, addr: SocketAddr) {
        self.stations[id.0].addr = addr;
    }

    /// A station neither hears nor does anything for a while: its machine sleeps, but its boot time runs on.
    pub fn suspend(&mut self, id: StationId, duration: Duration) {
        self.stations[id.0].asleep_until = self.now.saturating_add(duration);
    }

    /// A station's wall clock steps forwards. Boot time does not.
    pub fn step_wall_clock(&mut self, id: StationId, forwards: Duration) {
        let wall = &mut self.stations[id.0].wall;
        *wall = wall.saturating_add(forwards);
    }

    /// A station's wall clock steps backwards, at most to the epoch.
    pub fn step_wall_clock_back(&mut self, id: StationId, backwards: Duration) {
        let wall = &mut self.stations[id.0].wall;
        wall.secs = wall.secs.saturating_sub(backwards.as_secs());
    }

    /// All that happens within these seconds.
    pub fn run_secs(&mut self, secs: u64) {
        self.run_for(Duration::from_secs(secs));
    }

    /// All that happens within this duration.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now.saturating_add(duration));
    }

    /// All that happens until `end`. Panics after [`STEPS_MAX`] steps.
    pub fn run_until(&mut self, end: Instant) {
        self.tick_all();
        let mut steps = 0;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step();
            steps += 1;
            assert!(steps < STEPS_MAX, "seed {}: the nodes keep each other busy without end", self.seed);
        }
        self.now = end;
    }

    fn next(&mut self) -> Option<Instant> {
        let nodes = self.stations.iter_mut().filter_map(Station::timeout);
        nodes.chain(self.agenda.next()).chain(self.hosts.iter().filter_map(Host::timeout)).min()
    }

    /// One happening, or the timers that are due.
    fn step(&mut self) {
        match self.agenda.pop(self.now) {
            Some(Happening::Datagram { from, to, tos, bytes }) => self.arrive(from, to, tos, bytes),
            Some(Happening::Lan(walk)) => self.step_walk(walk),
            None => self.tick_all(),
        }
    }

    fn tick_all(&mut self) {
        for id in (0..self.stations.len()).map(StationId) {
            if !self.stations[id.0].is_asleep(self.now) {
                let out = self.stations[id.0].tick(self.now);
                self.launch(id, out);
            }
        }
        for id in (0..self.hosts.len()).map(HostId) {
            let packets = self.hosts[id.0].handle_timeout(self.now);
            packets.into_iter().for_each(|packet| self.send(id, packet));
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, tos: u8, mut bytes: Vec<u8>) {
        let Some(id) = self.stations.iter().position(|station| station.addr == to) else {
            self.astray += 1;
            return;
        };
        if !self.stations[id].is_asleep(self.now) {
            let out = self.stations[id].receive(self.now, from, tos, &mut bytes);
            self.launch(StationId(id), out);
        }
    }

    /// Sends what left a station on its way.
    fn launch(&mut self, id: StationId, out: Vec<Output>) {
        let from = self.stations[id.0].addr;
        for output in out {
            match output {
                Output::Tun(packet) => self.walk(Walk { station: id, place: 0, is_outward: true, packet }),
                Output::Datagram { to, tos, bytes } => self.fly(from, to, tos, &bytes),
            }
        }
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, tos: u8, bytes: &[u8]) {
        self.datagrams += 1;
        self.record(Recorded { at: self.now, from, to, bytes: bytes.to_vec() });
        let arrivals = self.outside.arrivals(&mut self.random, bytes.len() + OUTER_HEADERS_BYTES);
        for delay in arrivals.into_iter().flatten() {
            let at = self.now.saturating_add(delay);
            self.agenda.push(at, Happening::Datagram { from, to, tos, bytes: bytes.to_vec() });
        }
    }

    fn record(&mut self, sent: Recorded) {
        if self.recorded.len() == RECORDED_MAX {
            self.recorded.pop_front();
        }
        self.recorded.push_back(sent);
    }

    /// Sends a packet to its next place in a LAN.
    fn walk(&mut self, walk: Walk) {
        let place = if walk.is_outward { walk.place + 1 } else { walk.place - 1 };
        for delay in self.inside.arrivals(&mut self.random, walk.packet.len()).into_iter().flatten() {
            let packet = walk.packet.clone();
            let at = self.now.saturating_add(delay);
            self.agenda.push(at, Happening::Lan(Walk { place, packet, ..walk }));
        }
    }

    /// A packet is at a place in a LAN: at the TUN, at a hop, or where the hosts are.
    fn step_walk(&mut self, walk: Walk) {
        if walk.place == 0 {
            return self.at_tun(walk);
        }
        let Some(hop) = self.lans[walk.station.0].hops.get(walk.place - 1).copied() else {
            return self.at_hosts(walk);
        };
        match hop.pass(&walk.packet, walk.is_outward) {
            Passing::On(packet) => self.walk(Walk { packet, ..walk }),
            Passing::Answered(packet) => {
                self.walk(Walk { packet, is_outward: !walk.is_outward, ..walk });
            }
            Passing::Gone => {}
        }
    }

    fn at_tun(&mut self, walk: Walk) {
        let station = &mut self.stations[walk.station.0];
        if !station.is_asleep(self.now) {
            let out = station.take(self.now, Ingress::Tun, walk.packet).1;
            self.launch(walk.station, out);
        }
    }

    fn at_hosts(&mut self, walk: Walk) {
        let to = destination(&walk.packet);
        let is_meant =
            |host: &Host| host.station == walk.station && to.is_some_and(|to| host.addresses.contains(&to));
        let first = self.random.below(u32::MAX);
        let answers = match self.hosts.iter_mut().find(|host| is_meant(host)) {
            Some(host) => host.receive(self.now, walk.packet, first),
            None => self.nobody(walk.station, &walk.packet).into_iter().collect(),
        };
        for packet in answers {
            self.walk(Walk { packet, is_outward: false, ..walk });
        }
    }

    /// What comes back for a packet to a host that is not there.
    fn nobody(&self, station: StationId, packet: &[u8]) -> Option<Vec<u8>> {
        let gateway = self.lans[station.0].gateway?;
        let is_alike = gateway.is_ipv4() == destination(packet)?.is_ipv4();
        is_alike.then(|| lan::host_unreachable(packet, gateway)).flatten()
    }
}

fn destination(packet: &[u8]) -> Option<IpAddr> {
    wg_proto::InnerPacket::parse(packet).map(|inner| inner.destination)
}
