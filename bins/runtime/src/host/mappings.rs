//! Device mappings, and what each becomes: whatever a router sends to the virtual port of our overlay address goes to the device.
//! Pure. Called by the connector for what its file says and by control for what a server says.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use router_core::Refusal;
use router_core::flow::Caps;
use router_core::nat::{Mapping as PortMapping, Snat};
use router_core::packet::Protocol;
use router_core::rules::{Destination, Dnat, EgressChoice, IngressMatch, Rule, SessionId, SnatPool, Subject};
use router_core::selector::{IpRange, PortRange, Selector};
use wg_proto::PeerIndex;

use super::ways::{EGRESS_POOL, OVERLAY_POOL};

/// What a connector may hold for one router and mapping: all clients of the router share it.
const CAPS: Caps =
    Caps { flows_max: 32_768, half_open_max: 1024, ports_max: 32_768, new_flows_per_sec: 2000 };

/// A virtual port and what is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where routers find the device.
    pub virtual_port: u16,
    /// The device.
    pub device: IpAddr,
    /// Its service's port.
    pub port: u16,
}

/// How a connector reaches devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlet {
    /// As packets, translated to an egress address or not.
    Tun {
        /// Whether they are.
        snat: bool,
    },
    /// By connections of this process.
    Sockets,
}

/// The rule that lets `router` reach what is behind a virtual port of those addresses among `own` that are of the device's
/// version. Without one there are no destinations, and a node refuses the rule.
pub fn rule(
    id: SessionId,
    router: PeerIndex,
    forwarding: &Forwarding,
    own: &[IpAddr],
    outlet: Outlet,
) -> Rule {
    Rule {
        id,
        subject: Subject { ingress: IngressMatch::Peer(router), source: everything(forwarding.device) },
        destinations: destinations(forwarding, own, outlet),
        snat: match outlet {
            Outlet::Tun { snat: true } => Snat::Pool(EGRESS_POOL),
            Outlet::Tun { snat: false } => Snat::Off,
            Outlet::Sockets => Snat::Pool(OVERLAY_POOL),
        },
        deny: Refusal::Prohibited,
        lease: None,
        caps: CAPS,
    }
}

/// The source addresses towards devices.
pub fn pools(outlet: Outlet, overlay: &[IpAddr], egress: &[IpAddr]) -> Vec<SnatPool> {
    let (id, addresses) = match outlet {
        Outlet::Tun { .. } => (EGRESS_POOL, egress),
        Outlet::Sockets => (OVERLAY_POOL, overlay),
    };
    vec![SnatPool { id, addresses: addresses.to_vec(), mapping: PortMapping::PerDestination }]
}

/// Whatever a router may send: its prefixes are checked before any rule.
fn everything(version_of: IpAddr) -> IpNet {
    match version_of {
        IpAddr::V4(_) => Ipv4Net::default().into(),
        IpAddr::V6(_) => Ipv6Net::default().into(),
    }
}

fn destinations(forwarding: &Forwarding, own: &[IpAddr], outlet: Outlet) -> Vec<Destination> {
    let dnat =
        Dnat { addr: IpRange::single(forwarding.device), ports: Some(PortRange::single(forwarding.port)) };
    let own = own.iter().filter(|own| own.is_ipv4() == forwarding.device.is_ipv4());
    let selectors = own.filter_map(|own| {
        let port = PortRange::single(forwarding.virtual_port);
        Selector::new(IpRange::single(*own), Some(forwarding.protocol), Some(port)).ok()
    });
    let egress = match outlet {
        Outlet::Sockets => EgressChoice::Sockets,
        Outlet::Tun { .. } => EgressChoice::Tun,
    };
    selectors.map(|selector| Destination { selector, dnat: Some(dnat), egress }).collect()
}
