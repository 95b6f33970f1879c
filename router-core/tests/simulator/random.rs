//! Random packets, rules and endings through two routers in a row. Twice over: each node is watched by its slow twin, and
//! what arrives at hosts is compared with a model of the whole that knows sessions and nothing else (p01 to p09, p15).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::common;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use router_core::Ingress;
use router_core::packet::{Ends, Protocol, TcpFlags};
use router_core::rules::Rule;
use router_core::sim::wire::{self, PieceRange, Segment};
use router_core::sim::{Chain, HostId, Sim, is_of, names};
use wg_proto::Instant;

const CLIENTS: u8 = 2;
const CONNECTORS: u8 = 2;
/// Long enough for everything under way to arrive, and for its answer.
const SETTLED: Duration = Duration::from_millis(80);

/// Something that happens.
#[derive(Debug, Clone)]
enum Op {
    /// A client asks a device by UDP, in one piece or in several, in any order.
    Ask {
        who: u8,
        connector: u8,
        is_v4: bool,
        place: Place,
        port: u16,
        pieces: u8,
    },
    /// A client pings the device.
    Ping {
        who: u8,
        connector: u8,
        is_v4: bool,
        id: u16,
    },
    /// Any TCP segment.
    Segment {
        who: u8,
        connector: u8,
        is_v4: bool,
        port: u16,
        flags: u8,
        sequence: u32,
    },
    /// A whole small connection.
    Connect {
        who: u8,
        connector: u8,
        is_v4: bool,
        port: u16,
    },
    /// A client sends from an address that it does not have.
    Spoof {
        who: u8,
        connector: u8,
        is_v4: bool,
        last: u8,
        port: u16,
    },
    /// A device sends to whatever it likes, as UDP or as an ICMP error that quotes it.
    Device {
        connector: u8,
        is_v4: bool,
        to: u8,
        ports: (u16, u16),
        is_error: bool,
    },
    /// A connector sends into its tunnel what it likes. The router's twin knows whose conversation it may be part of.
    Lie {
        connector: u8,
        is_v4: bool,
        from: u8,
        to: u8,
        ports: (u16, u16),
        kind: Lie,
    },
    /// A session ends, begins again, gets a lease.
    Close {
        who: u8,
        connector: u8,
        is_v4: bool,
    },
    Open {
        who: u8,
        connector: u8,
        is_v4: bool,
        lease_ms: Option<u16>,
    },
    Renew {
        who: u8,
        connector: u8,
        is_v4: bool,
        lease_ms: Option<u16>,
    },
    NodeLease {
        lease_ms: Option<u16>,
    },
    /// A client's address goes to another client's tunnel, or comes back.
    Move {
        who: u8,
        is_v4: bool,
        away: bool,
    },
    Wait {
        millis: u32,
    },
}

/// Which address of a device a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Service,
    Network,
    /// No rule has this one.
    Nowhere,
}

/// What a connector sends that was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    Datagram,
    LastPiece,
    Segment(u8, u32),
    Pong,
    Error,
}

/// What the model knows of a session at the router.
#[derive(Debug, Clone, Copy, Default)]
struct Session {
    is_open: bool,
    lease: Option<Instant>,
}

struct World {
    chain: Chain,
    rules: Vec<Rule>,
    sessions: Vec<Session>,
    node_lease: Option<Instant>,
    /// Whose addresses are somebody else's now.
    moved: BTreeSet<(u8, bool)>,
    /// How many datagrams have been numbered.
    asked: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let chain = Sim::chain().seed(seed).clients(CLIENTS).connectors(CONNECTORS).start();
        let rules = chain.router_rules(&Chain::shape()).rules;
        let open = Session { is_open: true, lease: None };
        let sessions = vec![open; rules.len()];
        World { chain, rules, sessions, node_lease: None, moved: BTreeSet::new(), asked: 0 }
    }

    fn number_of(&self, who: u8, connector: u8, is_v4: bool) -> usize {
        let id = Chain::session(who, connector, is_v4);
        self.rules.iter().position(|rule| rule.id == id).expect("each client has a session with each")
    }

    /// Whether a session is alive; waits for leases that end while a packet would be under way.
    fn is_alive(&mut self, who: u8, connector: u8, is_v4: bool) -> bool {
        self.settle();
        let number = self.number_of(who, connector, is_v4);
        let lasts = |lease: Option<Instant>, at| lease.is_none_or(|lease| at < lease);
        loop {
            let (session, now) = (self.sessions[number], self.chain.sim.now());
            let may_send = session.is_open && !self.moved.contains(&(who, is_v4));
            let is_alive = [now, now.saturating_add(SETTLED)]
                .map(|at| may_send && lasts(session.lease, at) && lasts(self.node_lease, at));
            if is_alive[0] == is_alive[1] {
                return is_alive[0];
            }
            self.settle();
        }
    }

    fn in_ms(&self, millis: Option<u16>) -> Option<Instant> {
        millis.map(|millis| self.chain.sim.now().saturating_add(Duration::from_millis(millis.into())))
    }

    fn take(&mut self, op: &Op) -> TestCaseResult {
        match *op {
            Op::Ask { who, connector, is_v4, place, port, pieces } => {
                return self.ask(who, connector, is_v4, place, port, pieces);
            }
            Op::Ping { who, connector, is_v4, id } => return self.ping(who, connector, is_v4, id),
            Op::Segment { who, connector, is_v4, port, flags, sequence } => {
                let from = SocketAddr::new(names::client(who, is_v4), port);
                let ends = wire::ends(from, names::ssh(connector, is_v4));
                let flags = TcpFlags(flags);
                let header = Segment { flags, sequence, acknowledgment: 0, window: 100, mss: None };
                self.chain.sim.send(self.chain.users[usize::from(who)], wire::tcp(&ends, &header, b"?"));
            }
            Op::Connect { who, connector, is_v4, port } => {
                let user = self.chain.users[usize::from(who)];
                let id = self.chain.sim.connect(user, port, names::ssh(connector, is_v4));
                self.chain.sim.write(id, &[who; 100], true);
            }
            Op::Spoof { who, connector, is_v4, last, port } => {
                let from = SocketAddr::new(names::client(last, is_v4), port);
                let packet = wire::udp(&wire::ends(from, names::dns(connector, is_v4)), b"spoofed");
                if last != who {
                    return self.arrives_nowhere(who, packet);
                }
            }
            Op::Device { connector, is_v4, to, ports, is_error } => {
                self.device_sends(connector, is_v4, to, ports, is_error);
            }
            Op::Lie { connector, is_v4, from, to, ports, kind } => {
                let addresses = (liars(connector, is_v4, from), deceived(is_v4, to));
                let ends =
                    wire::ends(SocketAddr::new(addresses.0, ports.0), SocketAddr::new(addresses.1, ports.1));
                let sim = &mut self.chain.sim;
                let liar = sim.peer(self.chain.router, self.chain.connectors[usize::from(connector)]);
                sim.inject_inner(self.chain.router, Ingress::Peer(liar), kind.packet(&ends, is_v4));
            }
            Op::Close { who, connector, is_v4 } => {
                let number = self.number_of(who, connector, is_v4);
                let was_open = std::mem::take(&mut self.sessions[number].is_open);
                let id = self.rules[number].id;
                prop_assert_eq!(self.chain.sim.close_session(self.chain.router, id), was_open);
            }
            Op::Open { who, connector, is_v4, lease_ms } => {
                let (number, lease) = (self.number_of(who, connector, is_v4), self.in_ms(lease_ms));
                if !self.sessions[number].is_open {
                    self.sessions[number] = Session { is_open: true, lease };
                    let rule = Rule { lease, ..self.rules[number].clone() };
                    self.chain.sim.open_session(self.chain.router, &rule);
                }
            }
            Op::Renew { who, connector, is_v4, lease_ms } => {
                let (number, lease) = (self.number_of(who, connector, is_v4), self.in_ms(lease_ms));
                let id = self.rules[number].id;
                let renewed = self.chain.sim.renew_lease(self.chain.router, id, lease);
                prop_assert_eq!(renewed, self.sessions[number].is_open);
                if renewed {
                    self.sessions[number].lease = lease;
                }
            }
            Op::NodeLease { lease_ms } => {
                self.node_lease = self.in_ms(lease_ms);
                self.chain.sim.set_node_lease(self.chain.router, self.node_lease);
            }
            Op::Move { who, is_v4, away } => self.move_address(who, is_v4, away),
            Op::Wait { millis } => self.chain.sim.run_for(Duration::from_millis(millis.into())),
        }
        self.settle();
        Ok(())
    }

    fn settle(&mut self) {
        self.chain.sim.run_for(SETTLED);
    }

    /// A datagram reaches its device, once, exactly if the session is alive, and the answer its sender.
    fn ask(
        &mut self,
        who: u8,
        connector: u8,
        is_v4: bool,
        place: Place,
        port: u16,
        pieces: u8,
    ) -> TestCaseResult {
        let to = match place {
            Place::Service => names::dns(connector, is_v4),
            Place::Network => SocketAddr::new(names::device(connector, is_v4), 53),
            Place::Nowhere => SocketAddr::new(names::target(connector, is_v4), 54),
        };
        let is_due = place != Place::Nowhere && self.is_alive(who, connector, is_v4);
        self.asked += 1;
        let payload = [&self.asked.to_be_bytes()[..], &common::pattern(996)].concat();
        let from = SocketAddr::new(names::client(who, is_v4), port);
        let packet = wire::udp(&wire::ends(from, to), &payload);
        let (device, user) = (self.device(connector), self.chain.users[usize::from(who)]);
        let (had, heard) = (self.inbox(device), self.chain.sim.host(user).datagrams(port).len());
        for piece in in_pieces(&packet, pieces, self.asked as u16) {
            self.chain.sim.send(user, piece);
        }
        self.settle();
        let got = self.inbox(device) - had;
        let expected = if is_due { usize::from(pieces.max(1)) } else { 0 };
        prop_assert_eq!(got, expected, "datagram {}", self.asked);
        if pieces == 0 {
            let answers = self.chain.sim.host(user).datagrams(port);
            let answers = &answers[heard..];
            prop_assert_eq!(answers.len(), usize::from(is_due));
            for (source, answer) in answers {
                prop_assert_eq!((source, answer), (&to, &payload));
            }
        }
        Ok(())
    }

    fn ping(&mut self, who: u8, connector: u8, is_v4: bool, id: u16) -> TestCaseResult {
        let (user, to) = (self.chain.users[usize::from(who)], names::device(connector, is_v4));
        let is_due = self.is_alive(who, connector, is_v4);
        let heard = self.chain.sim.host(user).pongs().len();
        self.chain.sim.send_ping(user, to, id, 1);
        self.settle();
        let pongs = self.chain.sim.host(user).pongs();
        let expected = if is_due { vec![(to, id)] } else { vec![] };
        prop_assert_eq!(&pongs[heard..], expected);
        Ok(())
    }

    fn move_address(&mut self, who: u8, is_v4: bool, away: bool) {
        let owner = if away { (who + 1) % CLIENTS } else { who };
        let owner = self.chain.sim.peer(self.chain.router, self.chain.clients[usize::from(owner)]);
        let address = names::client(who, is_v4).into();
        let device = self.chain.sim.node_mut(self.chain.router).device_mut();
        device.add_allowed_ip(owner, address).expect("it is a peer");
        if away {
            self.moved.insert((who, is_v4));
        } else {
            self.moved.remove(&(who, is_v4));
        }
    }

    fn arrives_nowhere(&mut self, who: u8, packet: Vec<u8>) -> TestCaseResult {
        self.settle();
        let count = |world: &World| (0..CONNECTORS).map(|j| world.inbox(world.device(j))).sum::<usize>();
        let had = count(self);
        self.chain.sim.send(self.chain.users[usize::from(who)], packet);
        self.settle();
        prop_assert_eq!(count(self), had);
        Ok(())
    }

    fn device_sends(&mut self, connector: u8, is_v4: bool, to: u8, ports: (u16, u16), is_error: bool) {
        let device = self.device(connector);
        let source = self.chain.sim.host(device).address_like(names::lan(10, is_v4));
        let to: IpAddr = match to {
            0 => names::lan(200, is_v4),
            1 => names::overlay(1, is_v4),
            2 => names::overlay(2 + connector, is_v4),
            3 => names::client(0, is_v4),
            _ => names::target(connector, is_v4),
        };
        let ends = wire::ends(SocketAddr::new(source, ports.0), SocketAddr::new(to, ports.1));
        let packet = match is_error {
            false => wire::udp(&ends, b"from a device"),
            true => {
                let (kind, code) = if is_v4 { (3, 3) } else { (1, 4) };
                let quote = wire::udp(&ends.reversed(), b"made up");
                wire::icmp(&ends.addresses, kind, code, [0; 4], &quote)
            }
        };
        self.chain.sim.send(device, packet);
    }

    fn device(&self, connector: u8) -> HostId {
        self.chain.devices[usize::from(connector)]
    }

    /// UDP datagrams and pieces of them that a host has got.
    fn inbox(&self, host: HostId) -> usize {
        let inbox = &self.chain.sim.host(host).inbox;
        inbox.iter().filter(|arrival| is_of(&arrival.packet, Protocol::UDP)).count()
    }
}

/// Where a connector claims to be: at its own places, at the other's, at a client.
fn liars(connector: u8, is_v4: bool, from: u8) -> IpAddr {
    match from {
        0 => names::overlay(2 + connector, is_v4),
        1 => names::between(connector, if is_v4 { 10 } else { 0x10 }, is_v4),
        2 => names::overlay(3 - connector, is_v4),
        _ => names::client(0, is_v4),
    }
}

/// Whom it speaks to.
fn deceived(is_v4: bool, to: u8) -> IpAddr {
    match to {
        0 | 1 => names::overlay(1, is_v4),
        2 => names::client(1, is_v4),
        _ => names::target(0, is_v4),
    }
}

impl Lie {
    fn packet(self, ends: &Ends, is_v4: bool) -> Vec<u8> {
        match self {
            Lie::Datagram => wire::udp(ends, b"a lie"),
            Lie::LastPiece => {
                let range = PieceRange { start: 400, end: 800, is_last: true };
                wire::piece(&wire::udp(ends, &common::pattern(792)), range, 1)
            }
            Lie::Segment(flags, sequence) => {
                let flags = TcpFlags(flags);
                let header = Segment { flags, sequence, acknowledgment: 0, window: 100, mss: None };
                wire::tcp(ends, &header, b"")
            }
            Lie::Pong => wire::pong(&ends.addresses, ends.ports.destination, 1, b"a lie"),
            Lie::Error => {
                let (kind, code) = if is_v4 { (3, 3) } else { (1, 4) };
                wire::icmp(&ends.addresses, kind, code, [0; 4], &wire::udp(&ends.reversed(), b"made up"))
            }
        }
    }
}

/// The packet, or that many pieces of it, the last one first.
fn in_pieces(packet: &[u8], pieces: u8, id: u16) -> Vec<Vec<u8>> {
    if pieces < 2 {
        return vec![packet.to_vec()];
    }
    let len = (packet.len() - wire::header_len(packet)) as u16;
    let step = (len / u16::from(pieces)).next_multiple_of(8);
    let range = |n: u16| {
        let end = if n + 1 == pieces.into() { len } else { (n + 1) * step };
        PieceRange { start: n * step, end, is_last: end == len }
    };
    (0..pieces.into()).rev().map(|n| wire::piece(packet, range(n), id)).collect()
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (who, connector, is_v4) = (0..CLIENTS, 0..CONNECTORS, any::<bool>());
    let place = prop_oneof![4 => Just(Place::Service), 3 => Just(Place::Network), 1 => Just(Place::Nowhere)];
    let session = (who, connector, is_v4);
    let port = prop_oneof![5000..5003_u16, Just(1023)];
    let lease = prop::option::weighted(0.7, 300..2000_u16);
    let lie = prop_oneof![
        Just(Lie::Datagram),
        Just(Lie::LastPiece),
        (0..64_u8, any::<u32>()).prop_map(|(flags, sequence)| Lie::Segment(flags, sequence)),
        Just(Lie::Pong),
        Just(Lie::Error),
    ];
    let lie_from = prop_oneof![Just(40_000_u16), Just(40_001), Just(53)];
    let lie_to = prop_oneof![5000..5003_u16, 6000..6003_u16, 0..3_u16];
    let op = prop_oneof![
        8 => (session.clone(), place, port.clone(), prop_oneof![2 => Just(0), 1 => 2..5_u8]).prop_map(
            |((who, connector, is_v4), place, port, pieces)| Op::Ask { who, connector, is_v4, place, port, pieces }
        ),
        3 => (session.clone(), 0..3_u16)
            .prop_map(|((who, connector, is_v4), id)| Op::Ping { who, connector, is_v4, id }),
        3 => (session.clone(), 6000..6002_u16, 0..64_u8, any::<u32>()).prop_map(
            |((who, connector, is_v4), port, flags, sequence)| {
                Op::Segment { who, connector, is_v4, port, flags, sequence }
            }
        ),
        2 => (session.clone(), 6000..6003_u16)
            .prop_map(|((who, connector, is_v4), port)| Op::Connect { who, connector, is_v4, port }),
        2 => (session.clone(), 0..4_u8, port.clone()).prop_map(
            |((who, connector, is_v4), last, port)| Op::Spoof { who, connector, is_v4, last, port }
        ),
        3 => (0..CONNECTORS, any::<bool>(), 0..5_u8, (Just(53_u16), port), any::<bool>()).prop_map(
            |(connector, is_v4, to, ports, is_error)| Op::Device { connector, is_v4, to, ports, is_error }
        ),
        3 => (0..CONNECTORS, any::<bool>(), 0..4_u8, 0..4_u8, (lie_from, lie_to), lie).prop_map(
            |(connector, is_v4, from, to, ports, kind)| Op::Lie { connector, is_v4, from, to, ports, kind }
        ),
        2 => session.clone().prop_map(|(who, connector, is_v4)| Op::Close { who, connector, is_v4 }),
        2 => (session.clone(), lease.clone()).prop_map(
            |((who, connector, is_v4), lease_ms)| Op::Open { who, connector, is_v4, lease_ms }
        ),
        1 => (session, lease.clone()).prop_map(
            |((who, connector, is_v4), lease_ms)| Op::Renew { who, connector, is_v4, lease_ms }
        ),
        2 => (0..CLIENTS, any::<bool>(), any::<bool>())
            .prop_map(|(who, is_v4, away)| Op::Move { who, is_v4, away }),
        1 => lease.prop_map(|lease_ms| Op::NodeLease { lease_ms }),
        1 => prop_oneof![100..2000_u32, 100_000..400_000_u32].prop_map(|millis| Op::Wait { millis }),
    ];
    prop::collection::vec(op, 1..60)
}

/// Few enough for every run; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let cases =
        if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 64 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn p02_p08_what_is_allowed_and_nothing_else_gets_through(ops in ops(), seed in 1..1000_u64) {
        let mut world = World::new(seed);
        for op in &ops {
            world.take(op)?;
        }
        common::assert_both(&world.chain.sim);
    }
}
