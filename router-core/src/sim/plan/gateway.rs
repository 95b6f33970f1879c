//! A router that is its own way out: its TUN leads to servers, and to the clients of another VPN's gateway.
//!
//! ```text
//! client ==WG==> router --TUN--> LAN 192.168.7.0/24, fd07::/64
//! 10.77.0.2      10.99.0.1       server   192.168.7.10, fd07::10
//! fd77::2        fd99::1         foreign  10.88.0.5, fd88::5     a client of the other gateway
//! ```
//!
//! The client has a session with the server, the foreign client one with the server and one with the host at the client.
//! Towards the server sources become 192.168.7.200, towards the client they stay.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wg_proto::IpNet;

use super::Plan;
use super::chain::{EGRESS_LAST, POOL, both, everything, names, pool};
use crate::flow::Caps;
use crate::nat::Snat;
use crate::rules::{Destination, EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, Subject};
use crate::selector::{IpRange, Selector};
use crate::sim::{HostId, Sim, StationId, TcpService};
use crate::{Mode, NodeConfig, Refusal};

/// The running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// The network they are in.
    pub sim: Sim,
    /// A plain interface.
    pub client: StationId,
    /// The host that has the client's address. It echoes on TCP 22 and UDP 53.
    pub user: HostId,
    /// The node that has the sessions and a TUN.
    pub router: StationId,
    /// Behind the TUN. It echoes on TCP 22 and UDP 53.
    pub server: HostId,
    /// Behind the TUN: a client of another gateway, which may open sessions from there.
    pub foreign: HostId,
    /// Behind the TUN: somebody without any right.
    pub stranger: HostId,
}

/// There is nothing to choose about a gateway.
#[derive(Debug, Clone, Copy, Default)]
pub struct GatewayShape;

/// Sessions of a gateway, each over one IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewaySession {
    /// Of the client with the server.
    ClientToServer,
    /// Of the foreign client with the server: in and out by the TUN.
    ForeignToServer,
    /// Of the foreign client with the client.
    ForeignToClient,
}

impl Plan<GatewayShape> {
    /// The gateway with all its rules, at one second: the client has greeted.
    pub fn start(mut self) -> Gateway {
        self.keepalive_secs = self.keepalive_secs.or(core::num::NonZeroU16::new(25));
        let mut sim = Sim::new(&self);
        let router = self.router(&mut sim);
        let addr = SocketAddr::from(([198, 51, 100, 1], 51820));
        let client = self.station(&mut sim, "client", NodeConfig::interface(), addr);
        self.introduce(&mut sim, client, router, &everything(), true);
        let own = both(|is_v4| names::client(0, is_v4)).map(IpNet::from);
        self.introduce(&mut sim, router, client, &own, false);
        let user = sim.add_host(client, &both(|is_v4| names::client(0, is_v4)));
        let server = sim.add_host(router, &both(server_address));
        let foreign = sim.add_host(router, &both(Gateway::foreign_address));
        let stranger = sim.add_host(router, &both(|is_v4| names::lan(66, is_v4)));
        for host in [user, server] {
            sim.host_mut(host).udp_echo.insert(53);
            sim.host_mut(host).tcp_services.insert(22, TcpService::Echo);
        }
        let mut gateway = Gateway { sim, client, user, router, server, foreign, stranger };
        let rules = gateway.rules();
        gateway.sim.apply(router, &rules);
        gateway.sim.run_secs(1);
        gateway
    }

    fn router(&self, sim: &mut Sim) -> StationId {
        let config = NodeConfig {
            mode: Mode::Router,
            overlay_addresses: both(|is_v4| names::overlay(1, is_v4)).to_vec(),
            tun_mtu_bytes: Some(1500),
            tun_clients: foreign_prefixes().to_vec(),
            flows_max_v4: 4096,
            flows_max_v6: 1024,
            sessions_max: 256,
            ..NodeConfig::default()
        };
        self.station(sim, "router", config, SocketAddr::from(([203, 0, 113, 1], 51820)))
    }
}

impl Gateway {
    /// The number of a session.
    pub fn session(which: GatewaySession, is_v4: bool) -> SessionId {
        SessionId(10 * which as u128 + if is_v4 { 4 } else { 6 })
    }

    /// The server, as both kinds of clients know it.
    pub fn server_at(port: u16, is_v4: bool) -> SocketAddr {
        SocketAddr::new(server_address(is_v4), port)
    }

    /// The address of the foreign client.
    pub fn foreign_address(is_v4: bool) -> IpAddr {
        if is_v4 {
            Ipv4Addr::new(10, 88, 0, 5).into()
        } else {
            Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 5).into()
        }
    }

    fn rules(&self) -> RuleSnapshot {
        let client = self.sim.peer(self.router, self.client);
        let rule = |which, is_v4, subject, to, egress, snat| Rule {
            id: Gateway::session(which, is_v4),
            subject,
            destinations: Vec::from([Destination {
                selector: Selector::new(IpRange::single(to), None, None).expect("no ports are asked for"),
                dnat: None,
                egress,
            }]),
            snat,
            deny: Refusal::Prohibited,
            lease: None,
            caps: Caps::default(),
        };
        let mut snapshot = RuleSnapshot::default();
        snapshot.pools.push(pool(&both(|is_v4| names::lan(EGRESS_LAST, is_v4))));
        for is_v4 in [true, false] {
            let (server, own) = (server_address(is_v4), names::client(0, is_v4));
            let from_client = Subject { ingress: IngressMatch::Peer(client), source: own.into() };
            let from_tun =
                Subject { ingress: IngressMatch::Tun, source: Gateway::foreign_address(is_v4).into() };
            let (route, tun) = (EgressChoice::Route, EgressChoice::Tun);
            let (hidden, plain) = (Snat::Pool(POOL), Snat::Off);
            snapshot.rules.extend([
                rule(GatewaySession::ClientToServer, is_v4, from_client, server, route, hidden),
                rule(GatewaySession::ForeignToServer, is_v4, from_tun, server, tun, hidden),
                rule(GatewaySession::ForeignToClient, is_v4, from_tun, own, route, plain),
            ]);
        }
        snapshot
    }
}

fn server_address(is_v4: bool) -> IpAddr {
    names::lan(if is_v4 { 10 } else { 0x10 }, is_v4)
}

/// Where clients of the other gateway come from.
fn foreign_prefixes() -> [IpNet; 2] {
    let prefix = |is_v4, bits| {
        IpNet::new(Gateway::foreign_address(is_v4), bits).expect("the bits fit the version").trunc()
    };
    [prefix(true, 24), prefix(false, 64)]
}
