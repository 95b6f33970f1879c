//! From mappings to what the node enforces. Pure. Called by `run`; read first: `router_core::rules`.
//!
//! Each router has one rule per mapping: whatever it sends to the virtual port of our overlay address goes to the
//! device. There is no other rule, so nothing else is reached.

use ipnet::{Ipv4Net, Ipv6Net};
use router_core::packet::Protocol;
use router_core::rules::{Rule, RuleSnapshot, SessionId, SnatPool};
use sluice_runtime::host::admin::collect::{RuleText, RuleTexts};
use sluice_runtime::host::config::peer::PeerSettings;
use sluice_runtime::host::mappings::{self, Forwarding, Outlet};
use sluice_runtime::host::peers::PeerNumbers;
use sluice_runtime::host::rule_id;
use sluice_runtime::host::status_page;

use crate::config::mapping::{self, Mapping};
use crate::config::{ConnectorConfig, Egress};

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
    let forwarding = Forwarding {
        protocol: protocol(mapping.protocol),
        virtual_port: mapping.virtual_port.get(),
        device: mapping.device,
        port: mapping.port.get(),
    };
    let outlet = outlet(config.egress.as_ref()?);
    Some(mappings::rule(id(router, mapping), peer, &forwarding, &config.node.addresses, outlet))
}

fn outlet(egress: &Egress) -> Outlet {
    match egress {
        Egress::Tun(tun) => Outlet::Tun { snat: tun.snat },
        Egress::Sockets(_) => Outlet::Sockets,
    }
}

fn protocol(protocol: mapping::Protocol) -> Protocol {
    match protocol {
        mapping::Protocol::Tcp => Protocol::TCP,
        mapping::Protocol::Udp => Protocol::UDP,
    }
}

fn pools(config: &ConnectorConfig) -> Vec<SnatPool> {
    let Some(egress) = config.egress.as_ref() else { return Vec::new() };
    let egress_addresses = config.tun().map_or(&[][..], |tun| &tun.common.egress_addresses);
    mappings::pools(outlet(egress), &config.node.addresses, egress_addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{by_sockets, read, whole};
    use router_core::nat::Snat;
    use router_core::rules::{EgressChoice, IngressMatch, Subject};
    use router_core::{Node, NodeConfig};
    use sluice_runtime::host::ways::OVERLAY_POOL;
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
