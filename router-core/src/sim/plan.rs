//! What a simulation is made from.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU16;
use core::time::Duration;

use wg_proto::{Instant, IpNet, PeerConfig, PresharedKey, PrivateKey};

use super::{HostId, Link, Sim, StationId};
use crate::{Node, NodeConfig};

/// A simulation to be: conditions first, then [`start`](Plan::start).
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) seed: u64,
    pub(super) outside: Link,
    pub(super) inside: Link,
    pub(super) preshared_key: bool,
    pub(super) keepalive_secs: Option<NonZeroU16>,
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Pair,
}

/// Two plain interfaces, each with one host behind it that has the tunnel's address.
#[derive(Debug)]
pub struct Pair {
    /// The network they are in.
    pub sim: Sim,
    /// Knows where the other one is.
    pub alice: StationId,
    /// Learns it.
    pub bob: StationId,
    /// Behind `alice`: 10.0.0.1 and fd00::1.
    pub alice_host: HostId,
    /// Behind `bob`: 10.0.0.2 and fd00::2.
    pub bob_host: HostId,
}

impl Plan {
    fn new(shape: Shape) -> Plan {
        let outside = Link { latency: Duration::from_millis(10), ..Link::IDEAL };
        Plan { seed: 1, outside, inside: Link::IDEAL, preshared_key: false, keepalive_secs: None, shape }
    }

    pub(super) fn pair() -> Plan {
        Plan::new(Shape::Pair)
    }

    /// Everything random follows from this.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Plan {
        self.seed = seed;
        self
    }

    /// One way, between nodes.
    #[must_use]
    pub fn latency_ms(mut self, millis: u64) -> Plan {
        self.outside.latency = Duration::from_millis(millis);
        self
    }

    /// On top of the latency, at random.
    #[must_use]
    pub fn jitter_ms(mut self, millis: u64) -> Plan {
        self.outside.jitter = Duration::from_millis(millis);
        self
    }

    /// Probability that a datagram between nodes is lost.
    #[must_use]
    pub fn loss(mut self, probability: f64) -> Plan {
        self.outside.loss = probability;
        self
    }

    /// Probability that a datagram between nodes arrives twice.
    #[must_use]
    pub fn duplicates(mut self, probability: f64) -> Plan {
        self.outside.duplicates = probability;
        self
    }

    /// Probability that a datagram between nodes is overtaken.
    #[must_use]
    pub fn reorder(mut self, probability: f64) -> Plan {
        self.outside.reorder = probability;
        self
    }

    /// The longest packet between nodes, outer IP header included.
    #[must_use]
    pub fn outer_mtu_bytes(mut self, mtu_bytes: u16) -> Plan {
        self.outside.mtu_bytes = mtu_bytes;
        self
    }

    /// What the networks behind the TUNs do.
    #[must_use]
    pub fn lan(mut self, link: Link) -> Plan {
        self.inside = link;
        self
    }

    /// All peers share a key beforehand.
    #[must_use]
    pub fn preshared_key(mut self) -> Plan {
        self.preshared_key = true;
        self
    }

    /// Whoever dials keeps the path open.
    #[must_use]
    pub fn keepalive_secs(mut self, secs: u16) -> Plan {
        self.keepalive_secs = NonZeroU16::new(secs);
        self
    }

    /// The pair, at time zero.
    pub fn start(self) -> Pair {
        match self.shape {
            Shape::Pair => self.start_pair(),
        }
    }

    fn start_pair(self) -> Pair {
        let mut sim = Sim::new(&self);
        let alice = self.interface(&mut sim, "alice", 1);
        let bob = self.interface(&mut sim, "bob", 2);
        self.introduce(&mut sim, alice, bob, &both_hosts(2), true);
        self.introduce(&mut sim, bob, alice, &both_hosts(1), false);
        let alice_host = sim.add_host(alice, &addresses_of(1));
        let bob_host = sim.add_host(bob, &addresses_of(2));
        Pair { sim, alice, bob, alice_host, bob_host }
    }

    fn interface(&self, sim: &mut Sim, name: &'static str, number: u8) -> StationId {
        let addr = SocketAddr::from(([192, 0, 2, number], 51820));
        self.station(sim, name, NodeConfig::interface(), addr)
    }

    /// A node with a key of its own.
    pub(super) fn station(
        &self,
        sim: &mut Sim,
        name: &'static str,
        config: NodeConfig,
        addr: SocketAddr,
    ) -> StationId {
        let mtu_bytes = config.tunnel_mtu_bytes;
        let mut node = Node::new(config, sim.random.seed());
        let key = PrivateKey::from_bytes(sim.random.seed());
        node.device_mut().set_private_key(Instant::from_nanos(0), Some(key));
        sim.add_station(name, node, addr, mtu_bytes)
    }

    /// Makes `other` a peer of `station`, which knows its address if it `dials`.
    pub(super) fn introduce(
        &self,
        sim: &mut Sim,
        station: StationId,
        other: StationId,
        prefixes: &[IpNet],
        dials: bool,
    ) {
        let public_key = sim.station(other).node.device().public_key().expect("every station has a key");
        let mut config = PeerConfig::new(public_key);
        config.allowed_ips = Vec::from(prefixes);
        config.preshared_key = self.preshared_key.then(|| PresharedKey::from_bytes([0x5a; 32]));
        if dials {
            config.endpoint = Some(sim.station(other).addr.into());
            config.persistent_keepalive = self.keepalive_secs;
        }
        let now = sim.now();
        let device = sim.station_mut(station).node.device_mut();
        device.add_peer(now, config).expect("stations differ");
    }
}

fn addresses_of(number: u8) -> [IpAddr; 2] {
    let v6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number));
    [Ipv4Addr::new(10, 0, 0, number).into(), v6.into()]
}

fn both_hosts(number: u8) -> [IpNet; 2] {
    addresses_of(number).map(IpNet::from)
}
