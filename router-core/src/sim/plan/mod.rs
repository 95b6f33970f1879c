//! What a simulation is made from.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::num::NonZeroU16;
use core::time::Duration;

use wg_proto::{Instant, IpNet, PeerConfig, PresharedKey, PrivateKey};

use super::{Link, Sim, StationId};
use crate::{Node, NodeConfig};

mod chain;
mod gateway;
mod pair;

pub use chain::{Chain, ChainShape, names};
pub use gateway::{Gateway, GatewaySession, GatewayShape};
pub use pair::{Pair, PairShape};

/// A simulation to be: conditions first, then `start`.
#[derive(Debug, Clone)]
pub struct Plan<S> {
    pub(super) seed: u64,
    pub(super) outside: Link,
    pub(super) inside: Link,
    preshared_key: bool,
    keepalive_secs: Option<NonZeroU16>,
    shape: S,
}

impl<S> Plan<S> {
    pub(super) fn new(shape: S) -> Plan<S> {
        let outside = Link { latency: Duration::from_millis(10), ..Link::IDEAL };
        Plan { seed: 1, outside, inside: Link::IDEAL, preshared_key: false, keepalive_secs: None, shape }
    }

    /// Everything random follows from this.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Plan<S> {
        self.seed = seed;
        self
    }

    /// One way, between nodes.
    #[must_use]
    pub fn latency_ms(mut self, millis: u64) -> Plan<S> {
        self.outside.latency = Duration::from_millis(millis);
        self
    }

    /// On top of the latency, at random.
    #[must_use]
    pub fn jitter_ms(mut self, millis: u64) -> Plan<S> {
        self.outside.jitter = Duration::from_millis(millis);
        self
    }

    /// Probability that a datagram between nodes is lost.
    #[must_use]
    pub fn loss(mut self, probability: f64) -> Plan<S> {
        self.outside.loss = probability;
        self
    }

    /// Probability that a datagram between nodes arrives twice.
    #[must_use]
    pub fn duplicates(mut self, probability: f64) -> Plan<S> {
        self.outside.duplicates = probability;
        self
    }

    /// Probability that a datagram between nodes is overtaken.
    #[must_use]
    pub fn reorder(mut self, probability: f64) -> Plan<S> {
        self.outside.reorder = probability;
        self
    }

    /// The longest packet between nodes, outer IP header included.
    #[must_use]
    pub fn outer_mtu_bytes(mut self, mtu_bytes: u16) -> Plan<S> {
        self.outside.mtu_bytes = mtu_bytes;
        self
    }

    /// What the networks behind the TUNs do.
    #[must_use]
    pub fn lan(mut self, link: Link) -> Plan<S> {
        self.inside = link;
        self
    }

    /// All peers share a key beforehand.
    #[must_use]
    pub fn preshared_key(mut self) -> Plan<S> {
        self.preshared_key = true;
        self
    }

    /// Whoever dials keeps the path open.
    #[must_use]
    pub fn keepalive_secs(mut self, secs: u16) -> Plan<S> {
        self.keepalive_secs = NonZeroU16::new(secs);
        self
    }

    /// A node with a key of its own.
    fn station(&self, sim: &mut Sim, name: &'static str, config: NodeConfig, addr: SocketAddr) -> StationId {
        let mut node = Node::new(config.clone(), sim.random.seed());
        let key = PrivateKey::from_bytes(sim.random.seed());
        node.device_mut().set_private_key(Instant::from_nanos(0), Some(key));
        sim.add_station(name, node, config, addr)
    }

    /// Makes `other` a peer of `station`, which knows its address if it `dials`.
    fn introduce(
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
