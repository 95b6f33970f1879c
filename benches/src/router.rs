//! A router with many clients, sessions and flows, and the packets for it.

mod scenario;

pub use scenario::{Longest, Pauses, Scenario, Work, sessions};

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use router_core::flow::Caps;
use router_core::nat::{Mapping, PoolId, Snat};
use router_core::packet::{Ends, Protocol};
use router_core::rules::{
    Destination, Dnat, EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, SnatPool, Subject,
};
use router_core::selector::{IpRange, PortRange, Selector};
use router_core::sim::wire;
use router_core::{Ingress, Node, NodeConfig, Offload, Question, Refusal, Verdict};
use wg_proto::{Instant, PeerConfig, PeerIndex, PrivateKey};

/// Destinations of each session.
pub const DESTINATIONS: u32 = 10;
/// Length of a packet: what a bare acknowledgment or a small question has.
pub const PACKET_BYTES: usize = 64;

/// Packets in a batch.
pub const BATCH: usize = 32;
/// Packets in memory, as a ring of received ones: few enough to stay in the caches.
pub const RING: usize = 256;

/// How large a router.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape {
    /// Clients, with one session each.
    pub clients: u32,
    /// Flows it can hold; the `n`th belongs to client `n / 1024`.
    pub flows: u32,
    /// All clients come from one peer: sessions are many, tunnels are not what is looked at.
    pub one_peer: bool,
    /// External addresses, each with 65 535 ports per far end.
    pub addresses: u8,
}

/// A router, and packets for it in memory.
pub struct Bench {
    /// The router.
    pub node: Node,
    /// Boot time.
    pub now: Instant,
    shape: Shape,
    peers: Vec<PeerIndex>,
    ports: Vec<u16>,
    template: Packet,
    ring: Box<[(Ingress, Packet)]>,
    questions: Vec<Question>,
}

/// A packet in memory.
type Packet = [u8; PACKET_BYTES];

/// Which packet.
#[derive(Debug, Clone, Copy)]
pub struct Heading {
    /// Whose.
    pub client: u32,
    /// To which of the session's destinations; ten and above are none.
    pub destination: u32,
    /// From which port.
    pub port: u16,
}

/// How packets are handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// One by one, nothing known about the next.
    Single,
    /// Looked ahead for, [`BATCH`] at a time.
    Batch,
}

impl Bench {
    /// A router with all its sessions open and no flow.
    pub fn new(shape: Shape) -> Bench {
        let config = NodeConfig {
            overlay_addresses: vec![Ipv4Addr::new(10, 99, 0, 1).into()],
            flows_max_v4: shape.flows + 1,
            flows_max_v6: 1,
            sessions_max: shape.clients + 1,
            refusal: Refusal::Silent,
            ..NodeConfig::default()
        };
        let now = Instant::from_nanos(1 << 40);
        let mut node = Node::new(config, [7; 32]);
        let peers = add_peers(&mut node, now, shape);
        let template: Packet = template()[..].try_into().expect("as long as a packet");
        let ring = vec![(Ingress::Peer(peers[0]), template); RING].into();
        let ports = vec![0; shape.clients as usize];
        let mut bench = Bench { node, now, shape, peers, ports, template, ring, questions: Vec::new() };
        let rules = (0..shape.clients).map(|client| bench.rule(client)).collect();
        bench
            .node
            .apply(now, &RuleSnapshot { pools: vec![pool(shape)], rules })
            .expect("the rules are right");
        bench
    }

    /// Which packet belongs to established flow `number`.
    pub fn of_flow(number: u32) -> Heading {
        Heading { client: number / 1024, destination: 5, port: 1024 + (number % 1024) as u16 }
    }

    /// Which packet opens some new flow: whose and to which destination, `number` says. Ports are those that a host takes,
    /// spread over its range (RFC 6056).
    pub fn of_new_flow(&mut self, number: u32) -> Heading {
        let client = number / DESTINATIONS;
        let opened = &mut self.ports[client as usize];
        *opened += 1;
        let spread = (client ^ u32::from(*opened) << 17).wrapping_mul(0x9e37_79b1) >> 17;
        Heading { client, destination: number % DESTINATIONS, port: 1 << 15 | spread as u16 }
    }

    /// Puts packets into memory, at most [`RING`]. Returns how many.
    pub fn lay_out(&mut self, headings: impl Iterator<Item = Heading>) -> usize {
        let mut used = 0;
        for (heading, (ingress, packet)) in headings.zip(self.ring.iter_mut()) {
            let peer = if self.shape.one_peer { 0 } else { heading.client as usize };
            *ingress = Ingress::Peer(self.peers[peer]);
            packet.copy_from_slice(&self.template);
            address(packet, heading);
            used += 1;
        }
        used
    }

    /// Hands in the first `used` packets that were laid out. Returns how many were forwarded. All that a benchmark measures,
    /// and by name what an instruction count is of.
    #[inline(never)]
    pub fn hand_in(&mut self, used: usize, pace: Pace) -> usize {
        self.pass(used, pace)
    }

    /// Makes the questions that the rules are asked about the first `used` packets.
    pub fn ask(&mut self, used: usize) {
        let Bench { node, ring, questions, .. } = self;
        let packets = ring[..used].iter();
        questions.clear();
        questions.extend(packets.filter_map(|(ingress, packet)| node.question(*ingress, packet)));
    }

    /// Lets the rules answer, and nothing else. Returns how many packets they allow.
    #[inline(never)]
    pub fn classify(&self) -> usize {
        self.questions.iter().filter(|question| self.node.is_allowed(self.now, question)).count()
    }

    /// As [`classify`](Bench::classify), looking ahead for the packets of each batch first.
    #[inline(never)]
    pub fn classify_ahead(&mut self) -> usize {
        let mut allowed = 0;
        for (questions, packets) in self.questions.chunks(BATCH).zip(self.ring.chunks(BATCH)) {
            self.node.look_ahead(packets.iter().map(|(_, packet)| &packet[..]));
            allowed += questions.iter().filter(|question| self.node.is_allowed(self.now, question)).count();
        }
        allowed
    }

    #[inline(always)]
    fn pass(&mut self, used: usize, pace: Pace) -> usize {
        let mut forwarded = 0;
        for batch in self.ring[..used].chunks_mut(BATCH) {
            if pace == Pace::Batch {
                self.node.look_ahead(batch.iter().map(|(_, packet)| &packet[..]));
            }
            for (ingress, packet) in batch {
                let verdict = self.node.handle_packet(self.now, *ingress, packet, Offload::None);
                forwarded += usize::from(matches!(verdict, Verdict::Forward(_)));
            }
        }
        forwarded
    }

    /// Lets all flows run out of time.
    pub fn forget_flows(&mut self) {
        self.now = self.now.saturating_add(Duration::from_secs(1000));
        while self.node.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.node.handle_timeout(self.now);
        }
        self.now = self.now.saturating_add(Duration::from_secs(1000));
        self.ports.fill(0);
        assert_eq!(self.node.flows_used().0, 0);
    }

    /// Opens the session of a client.
    pub fn open_session(&mut self, client: u32) {
        let rule = self.rule(client);
        self.node.open_session(self.now, &rule).expect("it is closed");
    }

    fn peer_of(&self, client: u32) -> PeerIndex {
        self.peers[if self.shape.one_peer { 0 } else { client as usize }]
    }

    /// Ten destinations, each one address and port, translated to the connector.
    fn rule(&self, client: u32) -> Rule {
        let destination = |last: u32| {
            let ip = IpRange::single(IpAddr::from([10, 20, 0, last as u8]));
            let port = Some(PortRange::single(53));
            Destination {
                selector: Selector::new(ip, Some(Protocol::UDP), port).expect("UDP has ports"),
                dnat: Some(Dnat {
                    addr: IpRange::single(IpAddr::from([10, 99, 0, 2])),
                    ports: Some(PortRange::single(40_000 + last as u16)),
                }),
                egress: EgressChoice::Route,
            }
        };
        let no_caps = Caps {
            flows_max: u32::MAX,
            half_open_max: u32::MAX,
            ports_max: u32::MAX,
            new_flows_per_sec: 1_000_000_000,
        };
        Rule {
            id: SessionId(u128::from(client)),
            subject: Subject {
                ingress: IngressMatch::Peer(self.peer_of(client)),
                source: IpAddr::from(client_address(client)).into(),
            },
            destinations: (0..DESTINATIONS).map(destination).collect(),
            snat: Snat::Pool(PoolId(1)),
            deny: Refusal::Silent,
            lease: None,
            caps: no_caps,
        }
    }
}

/// Makes a packet of the template that one.
fn address(packet: &mut Packet, heading: Heading) {
    let source = client_address(heading.client);
    packet[12..16].copy_from_slice(&source.octets());
    packet[19] = heading.destination as u8;
    packet[20..22].copy_from_slice(&heading.port.to_be_bytes());
    fix_checksum(packet, source, heading.destination);
}

/// Enough external addresses for all flows.
fn pool(shape: Shape) -> SnatPool {
    SnatPool {
        id: PoolId(1),
        addresses: (0..shape.addresses).map(|last| IpAddr::from([10, 98, 0, last])).collect(),
        mapping: Mapping::PerDestination,
    }
}

fn client_address(client: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a40_0000 + client)
}

fn add_peers(node: &mut Node, now: Instant, shape: Shape) -> Vec<PeerIndex> {
    let mut add = |number: u32, prefix: &str| {
        let mut key = [1; 32];
        // Not in the first and last byte, which keys are clamped in.
        key[4..8].copy_from_slice(&number.to_le_bytes());
        let mut config = PeerConfig::new(PrivateKey::from_bytes(key).public_key());
        config.allowed_ips.push(prefix.parse().expect("a prefix"));
        node.device_mut().add_peer(now, config).expect("peers differ")
    };
    add(u32::MAX, "10.99.0.2/32");
    if shape.one_peer {
        return vec![add(0, "10.64.0.0/14")];
    }
    (0..shape.clients).map(|client| add(client, &format!("{}/32", client_address(client)))).collect()
}

fn template() -> Vec<u8> {
    let ends: Ends = wire::ends(
        "10.64.0.0:1024".parse().expect("an address"),
        "10.20.0.0:53".parse().expect("an address"),
    );
    wire::with_dont_fragment(&wire::udp(&ends, &[0; PACKET_BYTES - 28]))
}

/// The header checksum of the template without the two addresses' changes, updated for them.
fn fix_checksum(packet: &mut Packet, source: Ipv4Addr, destination: u32) {
    let old = u32::from(u16::from_be_bytes([packet[10], packet[11]]));
    let added = (source.to_bits() >> 16) - 0x0a40 + (source.to_bits() & 0xffff) + destination;
    let mut sum = (!old & 0xffff) + added;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
}
