//! From sessions to what the node enforces. Pure. Called by `run` at start, at reloads and for sessions opened at
//! run time; read first: `router_core::rules`, `config::ways`.
//!
//! A session becomes one rule for the destinations behind connectors, one for those behind the TUN and one for those
//! reached by sockets: each way has its own source addresses.

use std::net::IpAddr;

use router_core::flow::Caps;
use router_core::rules::{IngressMatch, Rule, RuleSnapshot, SessionId, SnatPool, Subject};
use sluice_runtime::host::admin::collect::{RuleText, RuleTexts};
use sluice_runtime::host::config::value;
use sluice_runtime::host::moment::Moment;
use sluice_runtime::host::peers::PeerNumbers;
use sluice_runtime::host::rule_id;
use sluice_runtime::host::status_page;
use sluice_runtime::host::ways::{self, Exit, Permission};
use wg_proto::Instant;

use crate::check;
use crate::config::RouterConfig;
use crate::config::granted::Granted;
use crate::config::session::Session;
use crate::config::target::{Destination, Target};
use crate::config::ways::Way;

/// The rules of `sessions`. Those past their end are left out.
pub(crate) fn snapshot(
    config: &RouterConfig,
    sessions: &[Session],
    peers: &PeerNumbers,
    moment: Moment,
) -> RuleSnapshot {
    let rules = sessions.iter().flat_map(|session| of_session(config, session, peers, moment));
    let page = page_rules(config).into_iter().map(|(rule, _)| rule);
    RuleSnapshot { pools: pools(config), rules: rules.chain(page).collect() }
}

/// The rules of one session: none if it is past its end, else one for each way its target takes.
pub(crate) fn of_session(
    config: &RouterConfig,
    session: &Session,
    peers: &PeerNumbers,
    moment: Moment,
) -> Vec<Rule> {
    let Some(target) = config.target(&session.target) else { return Vec::new() };
    let Some(lease) = lease(session, moment) else { return Vec::new() };
    let Some(subject) = subject(config, session.client_ip, peers) else { return Vec::new() };
    ways::rules(&permission(config, subject, target, lease), |way| id(session, way))
}

/// The rules of access that stands in no file. They last until it is taken back.
pub(crate) fn of_granted(config: &RouterConfig, granted: &Granted, peers: &PeerNumbers) -> Vec<Rule> {
    let Some(subject) = subject(config, granted.client_ip(), peers) else { return Vec::new() };
    ways::rules(&permission(config, subject, &granted.target, None), |way| id_granted(granted, way))
}

fn permission(
    config: &RouterConfig,
    subject: Subject,
    target: &Target,
    lease: Option<Instant>,
) -> Permission {
    Permission {
        subject,
        exits: target.destinations.iter().map(exit).collect(),
        src_nat: target.src_nat,
        deny: target.deny_signal.unwrap_or(config.deny_signal),
        lease,
        caps: Caps::default(),
    }
}

/// The identities that the rules of a session can have.
pub(crate) fn ids(session: &Session) -> [SessionId; 3] {
    Way::ALL.map(|way| id(session, way))
}

/// The same of access that stands in no file.
pub(crate) fn ids_granted(granted: &Granted) -> [SessionId; 3] {
    Way::ALL.map(|way| id_granted(granted, way))
}

fn id_granted(granted: &Granted, way: Way) -> SessionId {
    rule_id::of(&["granted", &granted.asked.id, way.name()])
}

/// What all rules are called, for status.
pub(crate) fn texts(config: &RouterConfig, sessions: &[Session]) -> RuleTexts {
    let pairs = sessions.iter().flat_map(|session| Way::ALL.map(|way| (session, way)));
    let sessions = pairs.filter_map(|(session, way)| {
        let target = config.target(&session.target)?;
        Some((id(session, way), text(config, session.client_ip, target, way)))
    });
    sessions.chain(page_rules(config).into_iter().map(|(rule, text)| (rule.id, text))).collect()
}

/// What the rules of access that stands in no file are called.
pub(crate) fn texts_granted<'a>(
    config: &'a RouterConfig,
    granted: &'a [Granted],
) -> impl Iterator<Item = (SessionId, RuleText)> + 'a {
    let pairs = granted.iter().flat_map(|granted| Way::ALL.map(|way| (granted, way)));
    pairs.map(|(granted, way)| {
        (id_granted(granted, way), text(config, granted.client_ip(), &granted.target, way))
    })
}

/// Clients may ask for the status page.
fn page_rules(config: &RouterConfig) -> Vec<(Rule, RuleText)> {
    status_page::rules(&config.node, &config.client_ip_pool)
}

fn text(config: &RouterConfig, client_ip: IpAddr, target: &Target, way: Way) -> RuleText {
    let destinations = of_way(client_ip, target, way).map(|destination| {
        let (sent, becomes) = check::in_words(destination);
        format!("{sent} -> {becomes}")
    });
    let client = config.client_at(client_ip);
    let client = client.map_or(String::new(), |client| format!(" ({})", client.name));
    RuleText {
        target: target.name.clone(),
        source: format!("{client_ip}{client}"),
        destinations: destinations.collect(),
        src_nat: target.src_nat || way == Way::Sockets,
    }
}

fn id(session: &Session, way: Way) -> SessionId {
    rule_id::of(&[&session.client_ip.to_string(), &session.target, way.name()])
}

/// `None` if the session is past its end; `Some(None)` if it has none.
fn lease(session: &Session, moment: Moment) -> Option<Option<Instant>> {
    match session.expires {
        None => Some(None),
        Some(expires) => moment.deadline(expires.as_second()).map(Some),
    }
}

/// A client with a tunnel of its own is expected there and nowhere else. `None` if that tunnel's peer is not there.
fn subject(config: &RouterConfig, client_ip: IpAddr, peers: &PeerNumbers) -> Option<Subject> {
    let ingress = match config.client_at(client_ip) {
        Some(client) => IngressMatch::Peer(peers.get(&client.public_key)?),
        None => IngressMatch::Tun,
    };
    Some(Subject { ingress, source: value::host_prefix(client_ip) })
}

fn exit(destination: &Destination) -> Exit {
    let Destination { selector, nat, way } = *destination;
    Exit { selector, dnat: nat, way, through: None }
}

/// The destinations of the client's IP version that leave by `way`.
fn of_way(client_ip: IpAddr, target: &Target, way: Way) -> impl Iterator<Item = &Destination> {
    let v4 = client_ip.is_ipv4();
    target.destinations.iter().filter(move |destination| {
        destination.way == way && destination.selector.ip().start().is_ipv4() == v4
    })
}

fn pools(config: &RouterConfig) -> Vec<SnatPool> {
    let egress = config.tun.as_ref().map(|tun| &tun.common.egress_addresses[..]);
    ways::pools(&config.node.addresses, egress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{read, whole};
    use router_core::nat::Snat;
    use router_core::rules::EgressChoice;
    use router_core::{Node, NodeConfig};
    use sluice_runtime::host::ways::{EGRESS_POOL, OVERLAY_POOL};
    use wg_proto::{PeerConfig, UnixTime};

    const NOW: Moment = Moment { boot: Instant::from_nanos(0), unix: UnixTime::new(1_790_000_000, 0) };

    #[test]
    fn a_session_becomes_a_rule_for_each_way_out() {
        let (config, mut node) = node();
        let snapshot = snapshot(&config, &config.sessions, &PeerNumbers::of(node.device()), NOW);
        let snats: Vec<_> = snapshot.rules.iter().map(|rule| (rule.snat, rule.destinations.len())).collect();
        assert_eq!(snats, [(Snat::Pool(OVERLAY_POOL), 1), (Snat::Pool(EGRESS_POOL), 1), (Snat::Off, 1)]);
        assert!(snapshot.rules.iter().all(|rule| matches!(rule.subject.ingress, IngressMatch::Peer(_))));
        assert_eq!(node.apply(NOW.boot, &snapshot).unwrap().added, 3);
        assert_eq!(node.apply(NOW.boot, &snapshot).unwrap().kept, 3);
    }

    #[test]
    fn a_session_past_its_end_has_no_rule_and_one_with_an_end_has_a_lease() {
        let (mut config, node) = node();
        config.sessions.retain(|session| session.expires.is_some());
        let leases = |secs| {
            let moment = Moment { unix: UnixTime::new(secs, 0), ..NOW };
            let rules = snapshot(&config, &config.sessions, &PeerNumbers::of(node.device()), moment).rules;
            rules.into_iter().map(|rule| rule.lease.unwrap().as_nanos()).collect::<Vec<_>>()
        };
        let end = u64::try_from(config.sessions[0].expires.unwrap().as_second()).unwrap();
        assert_eq!(leases(end - 5), [5_000_000_000]);
        assert!(leases(end).is_empty());
    }

    #[test]
    fn every_rule_is_found_by_its_identity_and_told_in_words() {
        let (config, node) = node();
        for rule in snapshot(&config, &config.sessions, &PeerNumbers::of(node.device()), NOW).rules {
            let text = &texts(&config, &config.sessions)[&rule.id];
            assert_eq!((text.source.as_str(), text.destinations.len()), ("10.77.0.2 (alice)", 1));
        }
    }

    #[test]
    fn only_a_client_without_a_tunnel_of_its_own_is_expected_on_the_tun() {
        let (config, node) = node();
        let peers = PeerNumbers::of(node.device());
        let subject = |address: &str, peers| subject(&config, address.parse().unwrap(), peers);
        assert_eq!(subject("10.77.0.99", &peers).unwrap().ingress, IngressMatch::Tun);
        assert_eq!(subject("10.77.0.2", &PeerNumbers::default()), None);
    }

    #[test]
    fn by_sockets_our_own_stack_is_the_way_and_our_own_addresses_are_the_sources() {
        let text = whole().replace("src_nat = true", "src_nat = false\negress = 'sockets'") + "[sockets]\n";
        let config = read(&text).unwrap();
        let (_, node) = node();
        let snapshot = snapshot(&config, &config.sessions, &PeerNumbers::of(node.device()), NOW);
        let by_sockets = snapshot.rules.iter().find(|rule| rule.snat == Snat::Pool(OVERLAY_POOL)).unwrap();
        assert!(by_sockets.destinations.iter().all(|to| to.egress == EgressChoice::Sockets));
        assert!(texts(&config, &config.sessions)[&by_sockets.id].src_nat);
    }

    fn node() -> (RouterConfig, Node) {
        let config = read(&whole()).unwrap();
        let mut node = Node::new(NodeConfig { tun_mtu_bytes: Some(1420), ..NodeConfig::default() }, [1; 32]);
        let connectors = config.connectors.iter().map(|connector| connector.public_key);
        for key in config.clients.iter().map(|client| client.public_key).chain(connectors) {
            node.device_mut().add_peer(NOW.boot, PeerConfig::new(key)).unwrap();
        }
        (config, node)
    }
}
