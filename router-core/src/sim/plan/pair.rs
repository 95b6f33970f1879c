//! Two plain interfaces.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wg_proto::IpNet;

use super::Plan;
use crate::NodeConfig;
use crate::sim::{HostId, Sim, StationId};

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

/// There is nothing to choose about a pair.
#[derive(Debug, Clone, Copy, Default)]
pub struct PairShape;

impl Plan<PairShape> {
    /// The pair, at time zero.
    pub fn start(self) -> Pair {
        let mut sim = Sim::new(&self);
        let station = |sim: &mut Sim, name, number| {
            let addr = SocketAddr::from(([192, 0, 2, number], 51820));
            self.station(sim, name, NodeConfig::interface(), addr)
        };
        let (alice, bob) = (station(&mut sim, "alice", 1), station(&mut sim, "bob", 2));
        self.introduce(&mut sim, alice, bob, &addresses(2).map(IpNet::from), true);
        self.introduce(&mut sim, bob, alice, &addresses(1).map(IpNet::from), false);
        let (alice_host, bob_host) = (sim.add_host(alice, &addresses(1)), sim.add_host(bob, &addresses(2)));
        Pair { sim, alice, bob, alice_host, bob_host }
    }
}

fn addresses(number: u8) -> [IpAddr; 2] {
    let v6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number));
    [Ipv4Addr::new(10, 0, 0, number).into(), v6.into()]
}
