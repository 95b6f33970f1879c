//! One node at the border between two clients, in tunnels, and a server, behind a TUN, under a few sets of rules. Its
//! translation is compared with the kernel's, whose rules are made from the same constants; [`recording`] has what the
//! kernel did.

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use wg_proto::{Instant, PeerConfig, PeerIndex, PrivateKey};

use crate::flow::Caps;
use crate::nat::{Mapping, PoolId, Snat};
use crate::packet::Protocol;
use crate::packet::split::Split;
use crate::rules::{
    Destination, Dnat, EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, SnatPool, Subject,
};
use crate::selector::{IpRange, PortRange, Selector};
use crate::{DropReason, Egress, Ingress, Node, NodeConfig, Offload, Refusal, Verdict};

pub mod recording;

/// The ports of TCP and UDP that the rules allow.
pub const PORTS: (u16, u16) = (8000, 8010);
/// Where destination translation leads them, offset by offset.
pub const TRANSLATED_PORTS: (u16, u16) = (9000, 9010);
/// A protocol without ports (RFC 3692).
pub const OTHER: Protocol = Protocol(253);
/// Of the clients' tunnels.
pub const INSIDE_MTU: u16 = 1420;
/// Of the TUN.
pub const OUTSIDE_MTU: u16 = 1300;
/// Between one packet and the next.
const PACE: Duration = Duration::from_millis(1);

/// The addresses of one IP version.
#[derive(Debug, Clone, Copy)]
pub struct Net {
    /// The clients.
    pub clients: [&'static str; 2],
    /// Where the server is.
    pub server: &'static str,
    /// What clients call the server where the destination is translated.
    pub target: &'static str,
    /// What the server sees where the source is translated.
    pub external: &'static str,
    /// A router on the way to the server.
    pub hop: &'static str,
    /// An address that no packet of a flow has.
    pub elsewhere: &'static str,
    /// Our own address towards the clients.
    pub ours: &'static str,
}

/// The addresses of IPv4.
pub const V4: Net = Net {
    clients: ["10.77.0.2", "10.77.0.3"],
    server: "198.51.100.10",
    target: "10.20.0.5",
    external: "192.0.2.1",
    hop: "203.0.113.9",
    elsewhere: "198.51.100.99",
    ours: "10.99.0.1",
};

/// The addresses of IPv6.
pub const V6: Net = Net {
    clients: ["fd77::2", "fd77::3"],
    server: "2001:db8:51::10",
    target: "fd20::5",
    external: "2001:db8:2::1",
    hop: "2001:db8:203::9",
    elsewhere: "2001:db8:51::99",
    ours: "fd99::1",
};

/// Which addresses are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleSet {
    /// The server sees [`Net::external`].
    pub snat: bool,
    /// Clients ask for [`Net::target`] and for other ports.
    pub dnat: bool,
}

impl RuleSet {
    /// Each translation alone, both, none.
    pub const ALL: [RuleSet; 4] = [
        RuleSet { snat: true, dnat: false },
        RuleSet { snat: false, dnat: true },
        RuleSet { snat: true, dnat: true },
        RuleSet { snat: false, dnat: false },
    ];

    /// What clients send to.
    pub fn asked(self, net: Net) -> &'static str {
        if self.dnat { net.target } else { net.server }
    }

    fn rules(self, peers: &[PeerIndex; 2]) -> Vec<Rule> {
        let subjects =
            peers.iter().enumerate().flat_map(|(client, peer)| [(client, peer, V4), (client, peer, V6)]);
        subjects
            .zip(1..)
            .map(|((client, peer, net), id)| self.rule(id, *peer, ip(net.clients[client]), net))
            .collect()
    }

    fn rule(self, id: u128, peer: PeerIndex, source: IpAddr, net: Net) -> Rule {
        let ping = if source.is_ipv4() { Protocol::ICMP } else { Protocol::ICMPV6 };
        let ports = Some(PORTS);
        let destinations = [(Protocol::TCP, ports), (Protocol::UDP, ports), (ping, None), (OTHER, None)];
        Rule {
            id: SessionId(id),
            subject: Subject { ingress: IngressMatch::Peer(peer), source: source.into() },
            destinations: destinations.map(|(protocol, ports)| self.destination(net, protocol, ports)).into(),
            snat: if self.snat { Snat::Pool(PoolId(1)) } else { Snat::Off },
            deny: Refusal::Prohibited,
            lease: None,
            caps: Caps::default(),
        }
    }

    fn destination(self, net: Net, protocol: Protocol, ports: Option<(u16, u16)>) -> Destination {
        let range = |(start, end)| PortRange::new(start, end).expect("a range that is not empty");
        let translated = ports.map(|_| range(TRANSLATED_PORTS));
        let asked = IpRange::single(ip(self.asked(net)));
        Destination {
            selector: Selector::new(asked, Some(protocol), ports.map(range)).expect("a selector"),
            dnat: self.dnat.then(|| Dnat { addr: IpRange::single(ip(net.server)), ports: translated }),
            egress: EgressChoice::Tun,
        }
    }
}

/// Where a packet comes from, or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Where the clients are.
    Inside,
    /// Where the server is.
    Outside,
}

/// What came out after one packet went in.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// The packets, and on which side.
    pub packets: Vec<(Side, Vec<u8>)>,
    /// Why our router dropped the packet; the kernel does not say.
    pub reason: Option<DropReason>,
}

/// The node.
pub struct Border {
    node: Node,
    now: Instant,
    peers: [PeerIndex; 2],
}

impl Border {
    /// A node under these rules, its random numbers from a seed.
    pub fn new(rules: RuleSet, seed: u64) -> Border {
        let config = NodeConfig {
            overlay_addresses: vec![ip(V4.ours), ip(V6.ours)],
            tunnel_mtu_bytes: INSIDE_MTU,
            tun_mtu_bytes: Some(OUTSIDE_MTU),
            flows_max_v4: 256,
            flows_max_v6: 256,
            sessions_max: 16,
            ..NodeConfig::default()
        };
        let mut node_seed = [7; 32];
        node_seed[..8].copy_from_slice(&seed.to_be_bytes());
        let mut node = Node::new(config, node_seed);
        let now = Instant::from_nanos(1_000_000_000_000);
        let peers = [0, 1].map(|client: usize| {
            let key = PrivateKey::from_bytes([client as u8 + 1; 32]).public_key();
            let mut config = PeerConfig::new(key);
            config.allowed_ips = vec![ip(V4.clients[client]).into(), ip(V6.clients[client]).into()];
            node.device_mut().add_peer(now, config).expect("room for two peers")
        });
        let addresses = vec![ip(V4.external), ip(V6.external)];
        let pools = vec![SnatPool { id: PoolId(1), addresses, mapping: Mapping::PerDestination }];
        node.apply(now, &RuleSnapshot { pools, rules: rules.rules(&peers) })
            .expect("rules that hold together");
        Border { node, now, peers }
    }

    /// Hands a packet in, and takes everything out that comes of it.
    pub fn hand_in(&mut self, side: Side, packet: &[u8]) -> Heard {
        self.now = self.now.saturating_add(PACE);
        let mut bytes = packet.to_vec();
        let ingress = self.ingress(side, packet);
        let before = self.node.counters().clone();
        let verdict = self.node.handle_packet(self.now, ingress, &mut bytes, Offload::None);
        let dropped = |reason: &DropReason| self.node.counters().dropped(*reason) > before.dropped(*reason);
        let mut heard = Heard { packets: Vec::new(), reason: DropReason::ALL.iter().copied().find(dropped) };
        if let Verdict::Forward(forward) = verdict {
            let side = side_of(forward.egress);
            let pieces = pieces(&bytes[..forward.len], forward.fragment_to);
            heard.packets.extend(pieces.into_iter().map(|piece| (side, piece)));
        }
        while let Some((egress, packet)) = self.node.pop_own_packet() {
            heard.packets.push((side_of(egress), packet.into()));
        }
        heard
    }

    /// Through the tunnel of the client that owns the source, else through the first one's.
    fn ingress(&self, side: Side, packet: &[u8]) -> Ingress {
        let second = |net: Net, at: usize, len: usize| {
            let octets = match ip(net.clients[1]) {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            packet.get(at..at + len) == Some(&octets)
        };
        match side {
            Side::Outside => Ingress::Tun,
            Side::Inside if second(V4, 12, 4) || second(V6, 8, 16) => Ingress::Peer(self.peers[1]),
            Side::Inside => Ingress::Peer(self.peers[0]),
        }
    }
}

fn side_of(egress: Egress) -> Side {
    match egress {
        Egress::Peer(_) => Side::Inside,
        Egress::Tun | Egress::Sockets => Side::Outside,
    }
}

fn pieces(packet: &[u8], mtu_bytes: Option<u16>) -> Vec<Vec<u8>> {
    let Some(mtu_bytes) = mtu_bytes else { return vec![packet.to_vec()] };
    let mut split = Split::new(packet, mtu_bytes).expect("a packet that may be split");
    let mut pieces = Vec::new();
    let mut buffer = vec![0; usize::from(mtu_bytes)];
    while let Some(len) = split.next_into(&mut buffer) {
        pieces.push(buffer[..len].to_vec());
    }
    pieces
}

/// An address. Panics if it is none: that is a mistake in a test.
pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
