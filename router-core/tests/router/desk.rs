//! A router on the desk: two clients, a connector and a TUN; packets are handed in and looked at.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use router_core::flow::Caps;
use router_core::nat::{Mapping, PoolId, Snat};
use router_core::packet::{Addresses, Ends, PacketMut, Protocol, TcpFlags};
use router_core::rules::{
    Destination, Dnat, EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, SnatPool, Subject,
};
use router_core::selector::{IpRange, PortRange, Selector};
use router_core::sim::wire::{self, Segment};
use router_core::{DropReason, Egress, Ingress, Node, NodeConfig, Offload, Refusal, Verdict};
use wg_proto::{Instant, IpNet, PeerConfig, PeerIndex, PrivateKey};

/// The addresses of one IP version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Net {
    pub(crate) alice: &'static str,
    pub(crate) bob: &'static str,
    /// Translated to the connector: tcp 22 to 40000, udp 53 to 40001.
    pub(crate) target: &'static str,
    /// Translated to the connector's address, whatever the protocol.
    pub(crate) machine: &'static str,
    pub(crate) connector: &'static str,
    pub(crate) router: &'static str,
    /// Behind the TUN, with the source translated to `egress`.
    pub(crate) lan: &'static str,
    pub(crate) egress: &'static str,
    /// Behind the TUN, nothing translated.
    pub(crate) plain: &'static str,
    /// Where no rule leads.
    pub(crate) elsewhere: &'static str,
}

pub(crate) const V4: Net = Net {
    alice: "10.77.0.2",
    bob: "10.77.0.3",
    target: "10.20.0.5",
    machine: "10.20.0.6",
    connector: "10.99.0.2",
    router: "10.99.0.1",
    lan: "192.168.7.10",
    egress: "192.168.7.200",
    plain: "192.168.8.10",
    elsewhere: "10.66.0.1",
};

pub(crate) const V6: Net = Net {
    alice: "fd77::2",
    bob: "fd77::3",
    target: "fd20::5",
    machine: "fd20::6",
    connector: "fd99::2",
    router: "fd99::1",
    lan: "fd07::10",
    egress: "fd07::200",
    plain: "fd08::10",
    elsewhere: "fd66::1",
};

pub(crate) const BOTH: [Net; 2] = [V4, V6];

pub(crate) const OVERLAY_POOL: PoolId = PoolId(1);
pub(crate) const LAN_POOL: PoolId = PoolId(2);
pub(crate) const PEER_TO_PEER_POOL: PoolId = PoolId(3);

pub(crate) struct Desk {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    pub(crate) alice: PeerIndex,
    pub(crate) bob: PeerIndex,
    pub(crate) site: PeerIndex,
}

/// What became of a packet, and what the router says on its own.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) packet: Vec<u8>,
    pub(crate) own: Vec<(Egress, Vec<u8>)>,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn forwarded_to(self, egress: Egress) -> Vec<u8> {
        match self.verdict {
            Verdict::Forward(forward) => {
                assert_eq!(forward.egress, egress);
                assert_eq!(forward.len, self.packet.len());
                self.packet
            }
            other => panic!("not forwarded: {other:?}, {:?}", self.own),
        }
    }

    #[track_caller]
    pub(crate) fn dropped(self) -> DropReason {
        assert_eq!(self.own, [], "{:?}", self.verdict);
        match self.verdict {
            Verdict::Drop(reason) => reason,
            other => panic!("not dropped: {other:?}"),
        }
    }

    /// The one answer that goes back to where the packet came from.
    #[track_caller]
    pub(crate) fn answered(mut self) -> Vec<u8> {
        assert_eq!(self.verdict, Verdict::Reply);
        assert_eq!(self.own.len(), 1, "{:?}", self.own);
        let (_, packet) = self.own.remove(0);
        assert!(wire::checksums_are_right(&packet));
        packet
    }
}

impl Desk {
    pub(crate) fn new() -> Desk {
        Desk::with(NodeConfig::default())
    }

    pub(crate) fn with(config: NodeConfig) -> Desk {
        Desk::built(NodeConfig { tun_mtu_bytes: Some(1500), ..config }, [7; 32])
    }

    pub(crate) fn without_tun() -> Desk {
        Desk::bare(NodeConfig::default())
    }

    /// With a stack of our own in the TUN's place.
    pub(crate) fn with_stack() -> Desk {
        Desk::bare(NodeConfig { has_sockets: true, ..NodeConfig::default() })
    }

    /// Without a TUN.
    pub(crate) fn bare(config: NodeConfig) -> Desk {
        Desk::built(config, [7; 32])
    }

    pub(crate) fn seeded(seed: [u8; 32]) -> Desk {
        Desk::built(NodeConfig { tun_mtu_bytes: Some(1500), ..NodeConfig::default() }, seed)
    }

    fn built(config: NodeConfig, seed: [u8; 32]) -> Desk {
        let overlay_addresses = vec![ip(V4.router), ip(V6.router)];
        let config = NodeConfig { overlay_addresses, sessions_max: 1000, ..config };
        let mut node = Node::new(config, seed);
        let now = Instant::from_nanos(1_000_000_000_000);
        let mut peer = |number: u8, addresses: &[&str]| {
            let mut config = PeerConfig::new(PrivateKey::from_bytes([number; 32]).public_key());
            config.allowed_ips = addresses.iter().map(|address| net(address)).collect();
            node.device_mut().add_peer(now, config).unwrap()
        };
        let alice = peer(1, &[V4.alice, V6.alice]);
        let bob = peer(2, &[V4.bob, V6.bob]);
        let site = peer(3, &[V4.connector, V6.connector]);
        Desk { node, now, alice, bob, site }
    }

    /// With the rules that most tests use, for both clients.
    pub(crate) fn ready() -> Desk {
        Desk::ready_with(NodeConfig::default())
    }

    pub(crate) fn ready_with(config: NodeConfig) -> Desk {
        let mut desk = Desk::with(config);
        let (alice, bob) = (desk.alice, desk.bob);
        let rules =
            [(1, alice, V4.alice, V4), (2, alice, V6.alice, V6), (3, bob, V4.bob, V4), (4, bob, V6.bob, V6)]
                .into_iter()
                .flat_map(|(number, peer, source, net)| rules_of(number, peer, source, net))
                .collect();
        desk.node.apply(desk.now, &RuleSnapshot { pools: pools(), rules }).unwrap();
        desk
    }

    pub(crate) fn alice_sends(&mut self, packet: Vec<u8>) -> Outcome {
        self.take(Ingress::Peer(self.alice), packet)
    }

    pub(crate) fn bob_sends(&mut self, packet: Vec<u8>) -> Outcome {
        self.take(Ingress::Peer(self.bob), packet)
    }

    pub(crate) fn site_sends(&mut self, packet: Vec<u8>) -> Outcome {
        self.take(Ingress::Peer(self.site), packet)
    }

    pub(crate) fn tun_brings(&mut self, packet: Vec<u8>) -> Outcome {
        self.take(Ingress::Tun, packet)
    }

    pub(crate) fn take(&mut self, ingress: Ingress, packet: Vec<u8>) -> Outcome {
        self.take_offloaded(ingress, packet, Offload::None)
    }

    pub(crate) fn take_offloaded(
        &mut self,
        ingress: Ingress,
        mut packet: Vec<u8>,
        offload: Offload,
    ) -> Outcome {
        let verdict = self.node.handle_packet(self.now, ingress, &mut packet, offload);
        if let Verdict::Forward(forward) = verdict {
            packet.truncate(forward.len);
        }
        Outcome { verdict, packet, own: self.own_packets() }
    }

    /// What waits in the router's outbox.
    pub(crate) fn own_packets(&mut self) -> Vec<(Egress, Vec<u8>)> {
        std::iter::from_fn(|| self.node.pop_own_packet())
            .map(|(egress, packet)| (egress, packet.into()))
            .collect()
    }

    /// Lets time pass, timers included; returns what the router says meanwhile.
    pub(crate) fn wait(&mut self, duration: Duration) -> Vec<(Egress, Vec<u8>)> {
        let end = self.now.saturating_add(duration);
        let mut own = self.own_packets();
        for _ in 0..100_000 {
            match self.node.poll_timeout().filter(|(at, _)| *at <= end) {
                Some((at, _)) => self.now = self.now.max(at),
                None => break,
            }
            self.node.handle_timeout(self.now);
            own.extend(self.own_packets());
        }
        self.now = end;
        own
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.node.counters().dropped(reason)
    }

    pub(crate) fn alice_side(&self) -> Egress {
        Egress::Peer(self.alice)
    }

    pub(crate) fn bob_side(&self) -> Egress {
        Egress::Peer(self.bob)
    }

    pub(crate) fn site_side(&self) -> Egress {
        Egress::Peer(self.site)
    }

    /// A TCP handshake from alice to this destination; returns both ends as the far side sees them.
    #[track_caller]
    pub(crate) fn connect(&mut self, from: &str, to: &str) -> Ends {
        let syn = self.alice_sends(tcp(from, to, TcpFlags::SYN, 1000, 0, b""));
        let Verdict::Forward(forward) = syn.verdict else { panic!("{syn:?}") };
        let ends = ends_of(&syn.packet);
        let ingress = match forward.egress {
            Egress::Peer(peer) => Ingress::Peer(peer),
            Egress::Tun => Ingress::Tun,
            Egress::Sockets => Ingress::Sockets,
        };
        let syn_ack = TcpFlags::SYN.with(TcpFlags::ACK);
        let answer = segment(&ends.reversed(), syn_ack, 5000, 1001, b"");
        self.take(ingress, answer).forwarded_to(Egress::Peer(self.alice));
        self.alice_sends(tcp(from, to, TcpFlags::ACK, 1001, 5001, b"")).forwarded_to(forward.egress);
        ends
    }
}

/// The sessions of one client over one IP version.
fn rules_of(number: u128, peer: PeerIndex, source: &str, net: Net) -> Vec<Rule> {
    let to_connector = |selector, port: Option<u16>| Destination {
        selector,
        dnat: Some(Dnat { addr: IpRange::single(ip(net.connector)), ports: port.map(PortRange::single) }),
        egress: EgressChoice::Route,
    };
    let db = vec![
        to_connector(select(net.target, Some((Protocol::TCP, 22))), Some(40_000)),
        to_connector(select(net.target, Some((Protocol::UDP, 53))), Some(40_001)),
        to_connector(select(net.machine, None), None),
    ];
    let rule = |id, destinations, snat| Rule { snat, ..rule(id, peer, source, destinations) };
    vec![
        rule(number * 10, db, Snat::Pool(OVERLAY_POOL)),
        rule(number * 10 + 1, vec![destination(net.lan, None)], Snat::Pool(LAN_POOL)),
        rule(number * 10 + 2, vec![destination(net.plain, None)], Snat::Off),
    ]
}

pub(crate) fn pools() -> Vec<SnatPool> {
    let pool = |id, v4: &str, v6: &str, mapping| SnatPool { id, addresses: vec![ip(v4), ip(v6)], mapping };
    vec![
        pool(OVERLAY_POOL, V4.router, V6.router, Mapping::PerDestination),
        pool(LAN_POOL, V4.egress, V6.egress, Mapping::PerDestination),
        pool(PEER_TO_PEER_POOL, "198.51.100.1", "fd51::1", Mapping::EndpointIndependent),
    ]
}

/// A session without translation.
pub(crate) fn rule(id: u128, peer: PeerIndex, source: &str, destinations: Vec<Destination>) -> Rule {
    Rule {
        id: SessionId(id),
        subject: Subject { ingress: IngressMatch::Peer(peer), source: net(source) },
        destinations,
        snat: Snat::Off,
        deny: Refusal::Prohibited,
        lease: None,
        caps: Caps::default(),
    }
}

pub(crate) fn destination(to: &str, port: Option<(Protocol, u16)>) -> Destination {
    Destination { selector: select(to, port), dnat: None, egress: EgressChoice::Route }
}

pub(crate) fn select(to: &str, port: Option<(Protocol, u16)>) -> Selector {
    let (proto, ports) = port.map(|(proto, port)| (proto, PortRange::single(port))).unzip();
    Selector::new(range(to), proto, ports).unwrap()
}

fn range(text: &str) -> IpRange {
    match text.split_once('-') {
        Some((start, end)) => IpRange::new(ip(start), ip(end)).unwrap(),
        None => net(text).into(),
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A prefix, or an address as a prefix of its own.
pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap_or_else(|_| ip(text).into())
}

/// `address` and `port` the way people write them.
pub(crate) fn at(address: &str, port: u16) -> String {
    SocketAddr::new(ip(address), port).to_string()
}

pub(crate) fn ends(from: &str, to: &str) -> Ends {
    wire::ends(from.parse().unwrap(), to.parse().unwrap())
}

pub(crate) fn udp(from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
    wire::udp(&ends(from, to), payload)
}

pub(crate) fn tcp(
    from: &str,
    to: &str,
    flags: TcpFlags,
    sequence: u32,
    acknowledgment: u32,
    payload: &[u8],
) -> Vec<u8> {
    segment(&ends(from, to), flags, sequence, acknowledgment, payload)
}

pub(crate) fn segment(
    ends: &Ends,
    flags: TcpFlags,
    sequence: u32,
    acknowledgment: u32,
    payload: &[u8],
) -> Vec<u8> {
    let mss = flags.syn().then_some(9000);
    wire::tcp(ends, &Segment { flags, sequence, acknowledgment, window: 8192, mss }, payload)
}

pub(crate) fn ping(from: &str, to: &str, id: u16) -> Vec<u8> {
    wire::ping(&wire::addresses(ip(from), ip(to)), id, 1, b"hello")
}

pub(crate) fn pong(from: &str, to: &str, id: u16) -> Vec<u8> {
    wire::pong(&wire::addresses(ip(from), ip(to)), id, 1, b"hello")
}

/// Any protocol, with `payload` as its packet.
pub(crate) fn other(protocol: Protocol, from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
    wire::ip(&wire::addresses(ip(from), ip(to)), protocol, payload)
}

/// What `host` sends about a packet that it received: type and code of either version.
pub(crate) fn icmp_error(host: &str, about: &[u8], v4: (u8, u8), v6: (u8, u8), word: u32) -> Vec<u8> {
    let addresses = wire::addresses(ip(host), addresses_of(about).source());
    let (kind, code) = if ip(host).is_ipv4() { v4 } else { v6 };
    wire::icmp(&addresses, kind, code, word.to_be_bytes(), about)
}

pub(crate) fn port_unreachable(host: &str, about: &[u8]) -> Vec<u8> {
    icmp_error(host, about, (3, 3), (1, 4), 0)
}

pub(crate) fn ends_of(packet: &[u8]) -> Ends {
    PacketMut::parse(&mut packet.to_vec()).unwrap().ends()
}

/// Source and destination of a packet of which the IP header is there.
pub(crate) fn addresses_of(packet: &[u8]) -> Addresses {
    let address = |at: usize, len: usize| -> IpAddr {
        match len {
            4 => <[u8; 4]>::try_from(&packet[at..at + len]).unwrap().into(),
            _ => <[u8; 16]>::try_from(&packet[at..at + len]).unwrap().into(),
        }
    };
    match packet[0] >> 4 {
        4 => wire::addresses(address(12, 4), address(16, 4)),
        _ => wire::addresses(address(8, 16), address(24, 16)),
    }
}

/// Type and code of an ICMP message.
pub(crate) fn kind_of(packet: &[u8]) -> (u8, u8) {
    let at = wire::header_len(packet);
    (packet[at], packet[at + 1])
}

/// The packet that an ICMP error quotes.
pub(crate) fn quote_of(packet: &[u8]) -> &[u8] {
    &packet[wire::header_len(packet) + 8..]
}

/// The same for both versions of ICMP: "administratively prohibited".
#[track_caller]
pub(crate) fn assert_prohibited(packet: &[u8]) {
    let expected = if packet[0] >> 4 == 4 { (3, 13) } else { (1, 1) };
    assert_eq!(kind_of(packet), expected);
}

#[track_caller]
pub(crate) fn assert_ends(packet: &[u8], from: &str, to: &str) {
    assert_eq!(ends_of(packet), ends(from, to));
    assert!(wire::checksums_are_right(packet));
}
