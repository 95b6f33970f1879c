//! Clients, a router, connectors, devices: the system's main job.
//!
//! ```text
//! clients[i] ==WG==> router ==WG==> connectors[j] --TUN--> LAN 192.168.7.0/24, fd07::/64, the same behind each
//! 10.77.0.(2+i)    10.99.0.1        10.99.0.(2+j)          devices[j] is 192.168.7.10, fd07::10
//! fd77::(2+i)      fd99::1          fd99::(2+j)
//! ```
//!
//! Each client has a session with two kinds of destinations for each connector: *services* of a device behind virtual ports
//! of the connector, and the *network*, address by address. [`names`] has both as the clients know them. Both are translated
//! at both nodes; between them the network has addresses of the connector's own, since two connectors' networks are the same:
//!
//! ```text
//! service  10.20.j.5:22    --router--> 10.99.0.(2+j):40000 --connector--> 192.168.7.10:22
//! network  10.30.j.x       --router--> 10.98.j.x           --connector--> 192.168.7.x
//! source   10.77.0.(2+i)   --router--> 10.99.0.1           --connector--> 192.168.7.200
//! ```

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wg_proto::{IpNet, PeerIndex};

use super::Plan;
use crate::flow::Caps;
use crate::nat::{Mapping, PoolId, Snat};
use crate::packet::Protocol;
use crate::rules::{
    Destination, Dnat, EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, SnatPool, Subject,
};
use crate::selector::{IpRange, PortRange, Selector};
use crate::sim::{HostId, Sim, StationId};
use crate::{Mode, NodeConfig, Refusal};

/// The running chain.
#[derive(Debug)]
pub struct Chain {
    /// The network they are in.
    pub sim: Sim,
    /// Plain interfaces of users.
    pub clients: Vec<StationId>,
    /// The applications of users, one host each.
    pub users: Vec<HostId>,
    /// The node that has the sessions.
    pub router: StationId,
    /// The nodes that have the mappings.
    pub connectors: Vec<StationId>,
    /// A device behind each connector. It echoes on TCP 22 and UDP 53.
    pub devices: Vec<HostId>,
}

/// What can be chosen about a chain.
#[derive(Debug, Clone, Copy)]
pub struct ChainShape {
    clients: u8,
    connectors: u8,
    connector_dials: bool,
    src_nat: bool,
    refusal: Refusal,
    tun_mtu_bytes: u16,
}

/// Addresses as the clients know them. `connector` counts from 0; `is_v4` chooses the IP version.
pub mod names {
    use super::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    /// TCP 22 of the device.
    pub fn ssh(connector: u8, is_v4: bool) -> SocketAddr {
        SocketAddr::new(target(connector, is_v4), 22)
    }

    /// UDP 53 of the device.
    pub fn dns(connector: u8, is_v4: bool) -> SocketAddr {
        SocketAddr::new(target(connector, is_v4), 53)
    }

    /// The address that the services are behind.
    pub fn target(connector: u8, is_v4: bool) -> IpAddr {
        if is_v4 {
            Ipv4Addr::new(10, 20, connector, 5).into()
        } else {
            Ipv6Addr::new(0xfd20, u16::from(connector), 0, 0, 0, 0, 0, 5).into()
        }
    }

    /// The host of the network behind the connector whose address ends in `last`.
    pub fn network(connector: u8, last: u8, is_v4: bool) -> IpAddr {
        if is_v4 {
            Ipv4Addr::new(10, 30, connector, last).into()
        } else {
            Ipv6Addr::new(0xfd30, u16::from(connector), 0, 0, 0, 0, 0, u16::from(last)).into()
        }
    }

    /// The device, by the network.
    pub fn device(connector: u8, is_v4: bool) -> IpAddr {
        network(connector, if is_v4 { 10 } else { 0x10 }, is_v4)
    }

    /// The same, as router and connector call it between them.
    pub fn between(connector: u8, last: u8, is_v4: bool) -> IpAddr {
        if is_v4 {
            Ipv4Addr::new(10, 98, connector, last).into()
        } else {
            Ipv6Addr::new(0xfd98, u16::from(connector), 0, 0, 0, 0, 0, u16::from(last)).into()
        }
    }

    /// The address of an overlay node: 1 is the router, 2 and up are the connectors.
    pub fn overlay(number: u8, is_v4: bool) -> IpAddr {
        if is_v4 {
            Ipv4Addr::new(10, 99, 0, number).into()
        } else {
            Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, u16::from(number)).into()
        }
    }

    /// The address of a client, counted from 0.
    pub fn client(number: u8, is_v4: bool) -> IpAddr {
        if is_v4 {
            Ipv4Addr::new(10, 77, 0, 2 + number).into()
        } else {
            Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2 + u16::from(number)).into()
        }
    }

    /// The host of a LAN whose address ends in `last`.
    pub fn lan(last: u8, is_v4: bool) -> IpAddr {
        if is_v4 {
            Ipv4Addr::new(192, 168, 7, last).into()
        } else {
            Ipv6Addr::new(0xfd07, 0, 0, 0, 0, 0, 0, u16::from(last)).into()
        }
    }
}

/// Virtual ports of a connector.
const SSH_AT: u16 = 40_000;
const DNS_AT: u16 = 40_001;
/// Last byte of a connector's egress addresses.
pub(super) const EGRESS_LAST: u8 = 200;
/// Unless the plan says otherwise.
const KEEPALIVE_SECS: u16 = 25;
pub(super) const POOL: PoolId = PoolId(1);

impl ChainShape {
    pub(in crate::sim) fn new() -> ChainShape {
        ChainShape {
            clients: 1,
            connectors: 1,
            connector_dials: true,
            src_nat: true,
            refusal: Refusal::Prohibited,
            tun_mtu_bytes: 1500,
        }
    }
}

impl Plan<ChainShape> {
    /// This many clients.
    #[must_use]
    pub fn clients(mut self, count: u8) -> Plan<ChainShape> {
        self.shape.clients = count;
        self
    }

    /// This many connectors, all with the same network behind them.
    #[must_use]
    pub fn connectors(mut self, count: u8) -> Plan<ChainShape> {
        self.shape.connectors = count;
        self
    }

    /// The router dials the connectors, not they it.
    #[must_use]
    pub fn router_dials(mut self) -> Plan<ChainShape> {
        self.shape.connector_dials = false;
        self
    }

    /// Nobody translates sources.
    #[must_use]
    pub fn without_src_nat(mut self) -> Plan<ChainShape> {
        self.shape.src_nat = false;
        self
    }

    /// How the router refuses.
    #[must_use]
    pub fn refusal(mut self, refusal: Refusal) -> Plan<ChainShape> {
        self.shape.refusal = refusal;
        self
    }

    /// The chain with all its rules, at one second: whoever dials has greeted.
    pub fn start(mut self) -> Chain {
        self.keepalive_secs = self.keepalive_secs.or(core::num::NonZeroU16::new(KEEPALIVE_SECS));
        let mut sim = Sim::new(&self);
        let router = self.node(&mut sim, "router", [203, 0, 113, 1], 1, None);
        let clients: Vec<_> = (0..self.shape.clients).map(|i| self.client(&mut sim, router, i)).collect();
        let connectors: Vec<_> =
            (0..self.shape.connectors).map(|j| self.connector(&mut sim, router, j)).collect();
        let host = |sim: &mut Sim, (i, station): (u8, &StationId)| {
            sim.add_host(*station, &both(|is_v4| names::client(i, is_v4)))
        };
        let users = (0..).zip(&clients).map(|user| host(&mut sim, user)).collect();
        let devices = connectors.iter().map(|station| device(&mut sim, *station)).collect();
        let mut chain = Chain { sim, clients, users, router, connectors, devices };
        let snapshot = chain.router_rules(&self.shape);
        chain.sim.apply(router, &snapshot);
        for j in 0..chain.connectors.len() {
            let snapshot = chain.connector_rules(&self.shape, j as u8);
            chain.sim.apply(chain.connectors[j], &snapshot);
        }
        chain.sim.run_secs(1);
        chain
    }

    fn node(
        &self,
        sim: &mut Sim,
        name: &'static str,
        outer: [u8; 4],
        number: u8,
        tun_mtu_bytes: Option<u16>,
    ) -> StationId {
        let config = NodeConfig {
            mode: Mode::Router,
            overlay_addresses: both(|is_v4| names::overlay(number, is_v4)).to_vec(),
            tun_mtu_bytes,
            refusal: self.shape.refusal,
            flows_max_v4: 4096,
            flows_max_v6: 1024,
            sessions_max: 256,
            ..NodeConfig::default()
        };
        self.station(sim, name, config, SocketAddr::from((outer, 51820)))
    }

    fn client(&self, sim: &mut Sim, router: StationId, number: u8) -> StationId {
        let addr = SocketAddr::from(([198, 51, 100, 1 + number], 51820));
        let client = self.station(sim, "client", NodeConfig::interface(), addr);
        self.introduce(sim, client, router, &everything(), true);
        let own = both(|is_v4| names::client(number, is_v4)).map(IpNet::from);
        self.introduce(sim, router, client, &own, false);
        client
    }

    fn connector(&self, sim: &mut Sim, router: StationId, number: u8) -> StationId {
        let mtu_bytes = Some(self.shape.tun_mtu_bytes);
        let connector = self.node(sim, "connector", [192, 0, 2, 1 + number], 2 + number, mtu_bytes);
        let own = connector_sources(number);
        let dials = self.shape.connector_dials;
        self.introduce(sim, router, connector, &own, !dials);
        self.introduce(sim, connector, router, &router_sources(), dials);
        connector
    }
}

impl Chain {
    /// The number of a client's session with a connector's target, over one IP version.
    pub fn session(client: u8, connector: u8, is_v4: bool) -> SessionId {
        let version = if is_v4 { 4 } else { 6 };
        SessionId(u128::from(client) * 10_000 + u128::from(connector) * 100 + version)
    }

    /// The rules a router has at the start.
    pub fn router_rules(&self, shape: &ChainShape) -> RuleSnapshot {
        let mut snapshot = RuleSnapshot::default();
        if shape.src_nat {
            snapshot.pools.push(pool(&both(|is_v4| names::overlay(1, is_v4))));
        }
        for (client, station) in (0..).zip(&self.clients) {
            let subject = self.sim.peer(self.router, *station);
            for (connector, egress) in (0..).zip(&self.connectors) {
                let egress = self.sim.peer(self.router, *egress);
                for is_v4 in [true, false] {
                    snapshot.rules.push(Rule {
                        id: Chain::session(client, connector, is_v4),
                        subject: Subject {
                            ingress: IngressMatch::Peer(subject),
                            source: names::client(client, is_v4).into(),
                        },
                        destinations: router_destinations(connector, egress, is_v4),
                        snat: snat(shape),
                        deny: shape.refusal,
                        lease: None,
                        caps: Caps::default(),
                    });
                }
            }
        }
        snapshot
    }

    /// The mappings a connector has at the start.
    pub fn connector_rules(&self, shape: &ChainShape, connector: u8) -> RuleSnapshot {
        let router = self.sim.peer(self.connectors[usize::from(connector)], self.router);
        let mut snapshot = RuleSnapshot::default();
        if shape.src_nat {
            snapshot.pools.push(pool(&both(|is_v4| names::lan(EGRESS_LAST, is_v4))));
        }
        for is_v4 in [true, false] {
            let sources = everything();
            snapshot.rules.push(Rule {
                id: SessionId(if is_v4 { 4 } else { 6 }),
                subject: Subject {
                    ingress: IngressMatch::Peer(router),
                    source: sources[usize::from(!is_v4)],
                },
                destinations: connector_destinations(connector, is_v4),
                snat: snat(shape),
                deny: Refusal::Prohibited,
                lease: None,
                caps: Caps::default(),
            });
        }
        snapshot
    }

    /// The shape at the start, for changed rules.
    pub fn shape() -> ChainShape {
        ChainShape::new()
    }
}

fn router_destinations(connector: u8, egress: PeerIndex, is_v4: bool) -> Vec<Destination> {
    let target = IpRange::single(names::target(connector, is_v4));
    let to = IpRange::single(names::overlay(2 + connector, is_v4));
    let service = |proto, port, at| Destination {
        selector: selector(target, Some(proto), Some(port)),
        dnat: Some(Dnat { addr: to, ports: Some(PortRange::single(at)) }),
        egress: EgressChoice::Route,
    };
    let network = range(|last| names::network(connector, last, is_v4));
    alloc::vec![
        service(Protocol::TCP, 22, SSH_AT),
        service(Protocol::UDP, 53, DNS_AT),
        Destination {
            selector: selector(network, None, None),
            dnat: Some(Dnat { addr: range(|last| names::between(connector, last, is_v4)), ports: None }),
            egress: EgressChoice::Peer(egress),
        },
    ]
}

fn connector_destinations(connector: u8, is_v4: bool) -> Vec<Destination> {
    let own = IpRange::single(names::overlay(2 + connector, is_v4));
    let device = IpRange::single(names::lan(if is_v4 { 10 } else { 0x10 }, is_v4));
    let mapping = |proto, at, port| Destination {
        selector: selector(own, Some(proto), Some(at)),
        dnat: Some(Dnat { addr: device, ports: Some(PortRange::single(port)) }),
        egress: EgressChoice::Tun,
    };
    alloc::vec![
        mapping(Protocol::TCP, SSH_AT, 22),
        mapping(Protocol::UDP, DNS_AT, 53),
        Destination {
            selector: selector(range(|last| names::between(connector, last, is_v4)), None, None),
            dnat: Some(Dnat { addr: range(|last| names::lan(last, is_v4)), ports: None }),
            egress: EgressChoice::Tun,
        },
    ]
}

fn selector(ip: IpRange, proto: Option<Protocol>, port: Option<u16>) -> Selector {
    Selector::new(ip, proto, port.map(PortRange::single)).expect("ports come with a protocol here")
}

fn range(address: impl Fn(u8) -> IpAddr) -> IpRange {
    IpRange::new(address(0), address(255)).expect("both ends are of one version, in order")
}

pub(super) fn pool(addresses: &[IpAddr]) -> SnatPool {
    SnatPool { id: POOL, addresses: addresses.to_vec(), mapping: Mapping::PerDestination }
}

fn snat(shape: &ChainShape) -> Snat {
    if shape.src_nat { Snat::Pool(POOL) } else { Snat::Off }
}

fn device(sim: &mut Sim, station: StationId) -> HostId {
    let device = sim.add_host(station, &[names::lan(10, true), names::lan(0x10, false)]);
    let host = sim.host_mut(device);
    host.udp_echo.insert(53);
    host.tcp_services.insert(22, crate::sim::TcpService::Echo);
    device
}

pub(super) fn both(address: impl Fn(bool) -> IpAddr) -> [IpAddr; 2] {
    [true, false].map(address)
}

/// All addresses of both versions.
pub(super) fn everything() -> [IpNet; 2] {
    let zero = |address: IpAddr| IpNet::new(address, 0).expect("no bits fit any address");
    [zero(Ipv4Addr::UNSPECIFIED.into()), zero(Ipv6Addr::UNSPECIFIED.into())]
}

/// What a connector may send from: itself, and its network under the addresses it has between the two.
fn connector_sources(number: u8) -> [IpNet; 4] {
    let network = |is_v4, bits| {
        IpNet::new(names::between(number, 0, is_v4), bits).expect("the bits fit the version").trunc()
    };
    let [v4, v6] = both(|is_v4| names::overlay(2 + number, is_v4)).map(IpNet::from);
    [v4, v6, network(true, 24), network(false, 120)]
}

/// What a router may send from: itself, and, where sources are not translated, clients.
fn router_sources() -> [IpNet; 4] {
    let clients =
        |is_v4, bits| IpNet::new(names::client(0, is_v4), bits).expect("the bits fit the version").trunc();
    let [v4, v6] = both(|is_v4| names::overlay(1, is_v4)).map(IpNet::from);
    [v4, v6, clients(true, 24), clients(false, 64)]
}
