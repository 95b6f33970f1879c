//! From mappings to what the node enforces. Pure. Called by `run`; read first: `router_core::rules`.
//!
//! Each router has one rule per mapping: whatever it sends to the virtual port of our overlay address goes to the
//! device. There is no other rule, so nothing else is reached.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use router_core::Refusal;
use router_core::flow::Caps;
use router_core::nat::{Mapping as PortMapping, PoolId, Snat};
use router_core::packet::Protocol;
use router_core::rules::{
    Destination, Dnat, EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, SnatPool, Subject,
};
use router_core::selector::{IpRange, PortRange, Selector};
use sluice_runtime::host::admin::collect::{RuleText, RuleTexts};
use sluice_runtime::host::config::peer::PeerSettings;
use sluice_runtime::host::peers::PeerNumbers;
use sluice_runtime::host::rule_id;
use sluice_runtime::host::status_page;

use crate::config::mapping::{self, Mapping};
use crate::config::{ConnectorConfig, Egress};

/// Our own addresses: sources towards our own stack, at which conversations are told apart by them.
const OVERLAY_POOL: PoolId = PoolId(0);
/// Egress addresses: sources towards devices.
const EGRESS_POOL: PoolId = PoolId(1);

/// What a connector may hold for one router and mapping: all clients of the router share it.
const CAPS: Caps =
    Caps { flows_max: 32_768, half_open_max: 1024, ports_max: 32_768, new_flows_per_sec: 2000 };

/// The rules of all mappings, for all routers.
pub(crate) fn snapshot(config: &ConnectorConfig, peers: &PeerNumbers) -> RuleSnapshot {
    let rules = pairs(config).filter_map(|(router, mapping)| rule(config, router, mapping, peers));
    let page = page_rules(config).into_iter().map(|(rule, _)| rule);
    RuleSnapshot { pools: pools(config), rules: rules.chain(page).collect() }
}

/// What all rules are called, for status.
pub(crate) fn texts(config: &ConnectorConfig) -> RuleTexts {
    let mappings =
        pairs(config).map(|(router, mapping)| (id(router, mapping), text(config, router, mapping)));
    mappings.chain(page_rules(config).into_iter().map(|(rule, text)| (rule.id, text))).collect()
}

/// Whoever has a tunnel here may ask for the status page.
fn page_rules(config: &ConnectorConfig) -> Vec<(Rule, RuleText)> {
    status_page::rules(&config.node, &[Ipv4Net::default().into(), Ipv6Net::default().into()])
}

fn text(config: &ConnectorConfig, router: &PeerSettings, mapping: &Mapping) -> RuleText {
    RuleText {
        target: mapping.name.clone(),
        source: router.name.clone(),
        destinations: vec![in_words(mapping)],
        src_nat: config.snats(),
    }
}

fn pairs(config: &ConnectorConfig) -> impl Iterator<Item = (&PeerSettings, &Mapping)> {
    config.routers.iter().flat_map(|router| config.mappings.iter().map(move |mapping| (router, mapping)))
}

/// A mapping for people.
pub(crate) fn in_words(mapping: &Mapping) -> String {
    let device = std::net::SocketAddr::new(mapping.device, mapping.port.get());
    format!("{} port {} -> {device}", mapping.protocol, mapping.virtual_port.get())
}

fn id(router: &PeerSettings, mapping: &Mapping) -> SessionId {
    rule_id::of(&[&router.name, &mapping.name])
}

/// `None` only if there is no overlay address of the device's version, which the configuration refuses.
fn rule(
    config: &ConnectorConfig,
    router: &PeerSettings,
    mapping: &Mapping,
    peers: &PeerNumbers,
) -> Option<Rule> {
    let peer = peers.get(&router.public_key)?;
    Some(Rule {
        id: id(router, mapping),
        subject: Subject { ingress: IngressMatch::Peer(peer), source: everything(mapping.device) },
        destinations: destinations(config, mapping),
        snat: snat(config.egress.as_ref()?),
        deny: Refusal::Prohibited,
        lease: None,
        caps: CAPS,
    })
}

fn snat(egress: &Egress) -> Snat {
    match egress {
        Egress::Tun(tun) if tun.snat => Snat::Pool(EGRESS_POOL),
        Egress::Tun(_) => Snat::Off,
        Egress::Sockets(_) => Snat::Pool(OVERLAY_POOL),
    }
}

/// Whatever a router may send: its prefixes are checked before any rule.
fn everything(version_of: IpAddr) -> IpNet {
    match version_of {
        IpAddr::V4(_) => Ipv4Net::default().into(),
        IpAddr::V6(_) => Ipv6Net::default().into(),
    }
}

/// The virtual port, on each of our addresses of the device's version.
fn destinations(config: &ConnectorConfig, mapping: &Mapping) -> Vec<Destination> {
    let dnat =
        Dnat { addr: IpRange::single(mapping.device), ports: Some(PortRange::single(mapping.port.get())) };
    let own = config.node.addresses.iter().filter(|own| own.is_ipv4() == mapping.device.is_ipv4());
    let selectors = own.filter_map(|own| {
        let port = PortRange::single(mapping.virtual_port.get());
        Selector::new(IpRange::single(*own), Some(protocol(mapping.protocol)), Some(port)).ok()
    });
    let egress = match config.egress {
        Some(Egress::Sockets(_)) => EgressChoice::Sockets,
        Some(Egress::Tun(_)) | None => EgressChoice::Tun,
    };
    selectors.map(|selector| Destination { selector, dnat: Some(dnat), egress }).collect()
}

fn protocol(protocol: mapping::Protocol) -> Protocol {
    match protocol {
        mapping::Protocol::Tcp => Protocol::TCP,
        mapping::Protocol::Udp => Protocol::UDP,
    }
}

fn pools(config: &ConnectorConfig) -> Vec<SnatPool> {
    let pool = |id, addresses: &[IpAddr]| SnatPool {
        id,
        addresses: addresses.to_vec(),
        mapping: PortMapping::PerDestination,
    };
    let pool = config.egress.as_ref().map(|egress| match egress {
        Egress::Tun(tun) => pool(EGRESS_POOL, &tun.common.egress_addresses),
        Egress::Sockets(_) => pool(OVERLAY_POOL, &config.node.addresses),
    });
    pool.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{by_sockets, read, whole};
    use router_core::{Node, NodeConfig};
    use wg_proto::{Instant, PeerConfig};

    const NOW: Instant = Instant::from_nanos(0);

    #[test]
    fn only_the_router_reaches_only_the_virtual_ports_of_only_the_right_version() {
        let (config, mut node, router) = node();
        let snapshot = snapshot(&config, &PeerNumbers::of(node.device()));
        let told: Vec<_> =
            snapshot.rules.iter().map(|rule| (rule.subject, rule.destinations[0].selector)).collect();
        let subject =
            |net: &str| Subject { ingress: IngressMatch::Peer(router), source: net.parse().unwrap() };
        assert_eq!(told[0].0, subject("0.0.0.0/0"));
        assert_eq!(told[0].1.to_string(), "10.99.0.2 tcp 40000");
        assert_eq!(told[1].0, subject("::/0"));
        assert_eq!(told[1].1.to_string(), "fd99::2 tcp 40000");
        assert_eq!(node.apply(NOW, &snapshot).unwrap().added, 2);
    }

    #[test]
    fn without_snat_sources_stay() {
        let (_, node, _) = node();
        let config = read(&whole().replace("[tun]", "[tun]\nsnat = false")).unwrap();
        assert!(
            snapshot(&config, &PeerNumbers::of(node.device()))
                .rules
                .iter()
                .all(|rule| rule.snat == Snat::Off)
        );
    }

    #[test]
    fn by_sockets_our_own_stack_is_the_way_and_our_own_addresses_are_the_sources() {
        let config = read(&by_sockets()).unwrap();
        let node_config = NodeConfig {
            overlay_addresses: config.node.addresses.clone(),
            has_sockets: true,
            ..NodeConfig::default()
        };
        let mut node = Node::new(node_config, [1; 32]);
        node.device_mut().add_peer(NOW, PeerConfig::new(config.routers[0].public_key)).unwrap();
        let snapshot = snapshot(&config, &PeerNumbers::of(node.device()));
        for rule in &snapshot.rules {
            assert_eq!(rule.snat, Snat::Pool(OVERLAY_POOL));
            assert!(rule.destinations.iter().all(|to| to.egress == EgressChoice::Sockets));
        }
        assert_eq!(node.apply(NOW, &snapshot).unwrap().added, 2);
    }

    #[test]
    fn every_rule_is_found_by_its_identity_and_told_in_words() {
        let (config, node, _) = node();
        let rules = snapshot(&config, &PeerNumbers::of(node.device())).rules;
        let texts: Vec<_> = rules.iter().map(|rule| super::texts(&config)[&rule.id].clone()).collect();
        assert_eq!(texts[0].destinations, ["tcp port 40000 -> 192.168.7.10:80"]);
        assert_eq!((texts[1].target.as_str(), texts[1].source.as_str()), ("web6", "router-1"));
    }

    fn node() -> (ConnectorConfig, Node, wg_proto::PeerIndex) {
        let config = read(&whole()).unwrap();
        let mut node = Node::new(NodeConfig { tun_mtu_bytes: Some(1420), ..NodeConfig::default() }, [1; 32]);
        let router = node.device_mut().add_peer(NOW, PeerConfig::new(config.routers[0].public_key)).unwrap();
        (config, node, router)
    }
}
