//! Any sequence of packets into the tunnels and the TUNs of a router and a connector, of sessions that end and begin, and
//! of time, with the slow twin of each node beside it: what is forwarded was allowed and leaves as it must, and what a
//! rule or a live conversation allows gets through (P1 to P8, P15).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use router_core::packet::{Ends, PacketMut, Protocol, TcpFlags, Transport, Version};
use router_core::sim::wire::{self, PieceRange, Segment};
use router_core::sim::{Chain, Passage, Sim, StationId, names};
use router_core::{DropReason, Ingress, Refusal, Verdict};

use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "router_packets",
    run: router_packets,
    outcomes: &[
        "extension_chain",
        "forwarded",
        "forwarded in pieces",
        "fragment_duplicate",
        "fragment_given_up",
        "fragment_overlap",
        "fragment_poisoned",
        "fragment_shape",
        "fragment_tiny",
        "header_checksum",
        "header_length",
        "hop_limit_reached",
        "icmp_error_bad_mtu",
        "icmp_error_checksum",
        "icmp_error_malformed",
        "icmp_error_outside_window",
        "icmp_error_quotes_error",
        "icmp_error_quotes_fragment",
        "icmp_error_without_flow",
        "icmp_not_tracked",
        "icmp_redirect",
        "icmp_source_quench",
        "lease_lapsed",
        "malformed_option",
        "martian_destination",
        "martian_source",
        "nat_pair_taken",
        "no_flow",
        "no_route",
        "not_allowed",
        "not_served",
        "overlay_address_outside_tunnel",
        "parked",
        "replied",
        "routing_header",
        "session_closed",
        "source_is_ours",
        "source_not_assigned",
        "source_route",
        "tcp_invalid",
        "tcp_not_opening",
        "tcp_outside_window",
        "tcp_reset_outside_window",
        "too_big",
        "too_short",
        "udp_length",
        "unknown_version",
    ],
};

const STEPS_MAX: usize = 64;
const REFUSALS: [Refusal; 3] = [Refusal::Silent, Refusal::Prohibited, Refusal::Reset];
const WAITS_MILLIS: [u64; 8] = [1, 50, 1_000, 16_000, 31_000, 121_000, 300_000, 7_500_000];
/// Ports of services, of the connector's mappings, and some to come from.
const PORTS: [u16; 10] = [22, 53, 40_000, 40_001, 5000, 5001, 80, 0, 1023, 65_535];
/// Longer ones get no further options or extension headers.
const LAST_BYTES_MAX: usize = 4096;
/// Lengths around those of headers, and around MTUs.
const SIZES: [usize; 8] = [0, 1, 8, 40, 548, 1232, 1400, 1480];

/// The first byte says how the router refuses; then each six bytes are one step: what, from where, and four numbers.
fn router_packets(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    // Nobody keeps a path open, so that hours pass without handshakes.
    let plan = Sim::chain().clients(2).keepalive_secs(u16::MAX);
    let chain = plan.refusal(REFUSALS[usize::from(input.u8()) % REFUSALS.len()]).start();
    let mut world = World { chain, last: Vec::new(), tally };
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let [what, from, a, b, c, d] = input.array();
        world.step(what, from, [a, b, c, d], &mut input);
    }
    world.chain.sim.run_secs(1);
    let Chain { sim, router, connectors, .. } = &world.chain;
    for node in connectors.iter().chain([router]) {
        let twin = sim.station(*node).twin.as_ref().expect("a twin watches every node with rules");
        assert_eq!(twin.wrongly_forwarded, [""; 0], "forwarded, but not allowed");
        assert_eq!(twin.wrongly_refused, [""; 0], "allowed, but refused");
        for reason in DropReason::ALL {
            world.tally.add(reason.name(), sim.node(*node).counters().dropped(*reason));
        }
    }
}

struct World<'a> {
    chain: Chain,
    /// The last packet made here, to be sent again.
    last: Vec<u8>,
    tally: &'a mut Tally,
}

impl World<'_> {
    fn step(&mut self, what: u8, from: u8, [a, b, c, d]: [u8; 4], input: &mut Input<'_>) {
        let is_v4 = from & 0x80 == 0;
        match what % 24 {
            0..3 => self.send(from, wire::udp(&self.ends(from, is_v4, a, b), &vec![c; size(d)])),
            3..6 => self.send(from, wire::tcp(&self.ends(from, is_v4, a, b), &first(c, d), &[])),
            6 => {
                let addresses = self.ends(from, is_v4, a, b).addresses;
                let id = u16::from(c % 2);
                let message = if d & 1 == 0 { wire::ping } else { wire::pong };
                self.send(from, message(&addresses, id, d.into(), b"echo"));
            }
            7 => {
                let addresses = self.ends(from, is_v4, a, b).addresses;
                self.send(from, wire::ip(&addresses, Protocol(c), &vec![0; size(d)]));
            }
            8 => {
                let addresses = self.ends(from, is_v4, a, b).addresses;
                let body = self.last.get(..usize::from(d)).unwrap_or(&self.last).to_vec();
                self.send(from, wire::icmp(&addresses, c, d, [0; 4], &body));
            }
            9..12 => self.answer(from, a, [b, c, d]),
            12..14 => self.error_about(from, a, [b, c, d]),
            14 => self.again(from, |packet| packet),
            15 => self.again(from, |mut packet| {
                let at = usize::from(a) % packet.len();
                packet[at] ^= b;
                if c & 1 == 0 { with_right_header(packet) } else { packet }
            }),
            16 => self.again_if_packet(from, |packet| wire::with_hop_limit(packet, a % 4)),
            17 => self.again_if_packet(from, |packet| match a % 3 {
                0 => wire::with_dont_fragment(packet),
                1 => wire::with_options(packet, &[b, 4, c, d]),
                _ if packet[0] >> 4 == 6 => wire::with_extensions(packet, &[(b, &[c, d, 0, 0, 0, 0])]),
                _ => packet.to_vec(),
            }),
            18 | 19 => self.piece(from, [a, b, c]),
            20 => self.send(from, input.take(usize::from(a)).to_vec()),
            21 => self.session(a, b),
            _ => {
                let millis = WAITS_MILLIS[usize::from(a) % WAITS_MILLIS.len()];
                self.chain.sim.run_for(Duration::from_millis(millis));
            }
        }
    }

    /// Hands a packet to the node that it comes to from there.
    fn send(&mut self, from: u8, packet: Vec<u8>) {
        if packet.is_empty() {
            return;
        }
        self.last.clone_from(&packet);
        let (at, ingress) = self.way_in(from);
        match self.chain.sim.inject_inner(at, ingress, packet) {
            // Counted in the end, with those that were answered.
            Verdict::Drop(_) => {}
            Verdict::Forward(forward) if forward.fragment_to.is_some() => {
                self.tally.count("forwarded in pieces")
            }
            Verdict::Forward(_) => self.tally.count("forwarded"),
            Verdict::Reply => self.tally.count("replied"),
            Verdict::Parked => self.tally.count("parked"),
        }
    }

    /// From a client or the connector to the router, from a device or the router to the connector.
    fn way_in(&self, from: u8) -> (StationId, Ingress) {
        let Chain { sim, clients, router, connectors, .. } = &self.chain;
        let (router, connector) = (*router, connectors[0]);
        match from % 5 {
            0 => (router, Ingress::Peer(sim.peer(router, clients[0]))),
            1 => (router, Ingress::Peer(sim.peer(router, clients[1]))),
            2 => (router, Ingress::Peer(sim.peer(router, connector))),
            3 => (connector, Ingress::Tun),
            _ => (connector, Ingress::Peer(sim.peer(connector, router))),
        }
    }

    /// Mostly addresses that belong where the packet comes from and that it may go to.
    fn ends(&self, from: u8, is_v4: bool, a: u8, b: u8) -> Ends {
        let (source, destination) = match from % 5 {
            who @ (0 | 1) => (names::client(who, is_v4), target(a, is_v4)),
            2 => (between(a >> 4, is_v4), between(a, is_v4)),
            3 => (names::lan(if is_v4 { 10 } else { 16 }, is_v4), names::lan(200, is_v4)),
            _ => (names::overlay(1, is_v4), between(a, is_v4)),
        };
        let port = |b: u8| PORTS[usize::from(b) % PORTS.len()];
        wire::ends(SocketAddr::new(source, port(b >> 4)), SocketAddr::new(destination, port(b)))
    }

    /// A packet back along the way of one that was forwarded: its answer, if the numbers say so.
    fn answer(&mut self, from: u8, which: u8, [b, c, d]: [u8; 3]) {
        let Some(Passage { mut after, .. }) = self.forwarded(from, which) else { return };
        let Ok(packet) = PacketMut::parse(&mut after) else { return };
        let back = packet.ends().reversed();
        let payload = vec![d; size(d)];
        let answer = match packet.transport() {
            Transport::Tcp(segment) => {
                let header = Segment {
                    sequence: segment.acknowledgment.wrapping_add(near(b)),
                    acknowledgment: segment
                        .sequence
                        .wrapping_add(segment.sequence_len())
                        .wrapping_add(near(b >> 4)),
                    ..first(c, d)
                };
                wire::tcp(&back, &header, &payload)
            }
            Transport::IcmpEcho { sequence, .. } => {
                wire::pong(&back.addresses, packet.ports().source, sequence, &payload)
            }
            Transport::Udp
            | Transport::IcmpError(_)
            | Transport::IcmpOther { .. }
            | Transport::Other
            | Transport::LaterPiece => wire::udp(&back, &payload),
        };
        self.send(from, answer);
    }

    /// An ICMP error about a packet that was forwarded, from whom it was sent to or from somebody on the way.
    fn error_about(&mut self, from: u8, which: u8, [b, c, d]: [u8; 3]) {
        let Some(Passage { mut after, .. }) = self.forwarded(from, which) else { return };
        let Ok(packet) = PacketMut::parse(&mut after) else { return };
        let (is_v4, ends) = (packet.version() == Version::V4, packet.addresses());
        let source = if b & 1 == 0 { ends.destination() } else { names::lan(1, is_v4) };
        let kinds = if is_v4 { [3, 11, 12, 4, 5] } else { [1, 2, 3, 4, 137] };
        let kind = kinds[usize::from(b >> 1) % kinds.len()];
        let quoted = packet.bytes()[..packet.total_len().min(28 + usize::from(d))].to_vec();
        let error = wire::icmp(&wire::addresses(source, ends.source()), kind, c % 16, [0, 0, d, c], &quoted);
        self.send(from, error);
    }

    /// One of the last packets that left to where packets come from.
    fn forwarded(&self, from: u8, which: u8) -> Option<Passage> {
        let (at, _) = self.way_in(from);
        let passages = self.chain.sim.station(at).passages.iter().rev();
        let forwarded = passages.filter(|passage| matches!(passage.verdict, Verdict::Forward(_)));
        forwarded.take(16).nth(usize::from(which % 16)).cloned()
    }

    fn again(&mut self, from: u8, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        if !self.last.is_empty() {
            self.send(from, change(self.last.clone()));
        }
    }

    fn again_if_packet(&mut self, from: u8, change: impl FnOnce(&[u8]) -> Vec<u8>) {
        if PacketMut::parse(&mut self.last.clone()).is_ok() && self.last.len() <= LAST_BYTES_MAX {
            self.send(from, change(&self.last));
        }
    }

    /// A piece of a datagram, with nothing around it that a piece cannot have.
    fn piece(&mut self, from: u8, [a, b, c]: [u8; 3]) {
        let ends = self.ends(from, from & 0x80 == 0, c, 0x41);
        let whole = wire::udp(&ends, &[7; 120]);
        let start = u16::from(a % 16) * 8;
        let end = (start + 8 * u16::from(1 + b % 16)).min(128);
        let range = PieceRange { start, end, is_last: end == 128 };
        self.send(from, wire::piece(&whole, range, u16::from(b >> 6)));
    }

    /// A session of the first client ends, begins anew or gets a lease.
    fn session(&mut self, how: u8, secs: u8) {
        let Chain { router, .. } = self.chain;
        let rules = self.chain.router_rules(&Chain::shape()).rules;
        let (id, now) = (Chain::session(0, 0, how & 1 == 0), self.chain.sim.now());
        let lease = now.saturating_add(Duration::from_secs(u64::from(secs)));
        match how >> 1 & 3 {
            0 => _ = self.chain.sim.close_session(router, id),
            1 => {
                if self.chain.sim.close_session(router, id) {
                    let rule = rules.iter().find(|rule| rule.id == id).expect("it is among the rules");
                    self.chain.sim.open_session(router, rule);
                }
            }
            2 => _ = self.chain.sim.renew_lease(router, id, Some(lease)),
            _ => self.chain.sim.set_node_lease(router, Some(lease)),
        }
    }
}

/// The bytes with a right IPv4 header checksum, if they have room for a header.
fn with_right_header(packet: Vec<u8>) -> Vec<u8> {
    let is_v4 = packet[0] >> 4 == 4;
    if is_v4 && (20..=packet.len()).contains(&wire::header_len(&packet)) {
        wire::with_hop_limit(&packet, packet[8])
    } else {
        packet
    }
}

fn target(a: u8, is_v4: bool) -> IpAddr {
    match a % 4 {
        0 | 1 => names::target(0, is_v4),
        2 => names::network(0, a, is_v4),
        _ => between(a >> 2, is_v4),
    }
}

/// Addresses that router and connector have for each other, and some that they must not use.
fn between(a: u8, is_v4: bool) -> IpAddr {
    match a % 8 {
        0..3 => names::overlay(2, is_v4),
        3 | 4 => names::overlay(1, is_v4),
        5 => names::between(0, a, is_v4),
        6 => names::client(a & 1, is_v4),
        _ => "127.0.0.1".parse().ok().filter(|_| is_v4).unwrap_or(names::lan(a, is_v4)),
    }
}

fn size(d: u8) -> usize {
    SIZES[usize::from(d) % SIZES.len()]
}

/// Near zero, on both sides.
fn near(b: u8) -> u32 {
    [0, 1, u32::MAX, 2000, 100_000, 1 << 31, u32::MAX - 70_000, 536][usize::from(b) % 8]
}

fn first(c: u8, d: u8) -> Segment {
    Segment {
        flags: TcpFlags(c & 0x3f),
        sequence: u32::from(d) << 24,
        acknowledgment: u32::from(d >> 4),
        window: u16::from(d) << 8,
        mss: (c & 0x80 != 0).then_some(1460),
    }
}
