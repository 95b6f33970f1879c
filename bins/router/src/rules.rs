//! From sessions to what the node enforces. Pure. Called by `run` at start, at reloads and for sessions opened at
//! run time; read first: `router_core::rules`, `config::ways`.
//!
//! A session becomes one rule for the destinations behind connectors and one for those behind the TUN: each way has
//! its own source addresses.

use std::net::IpAddr;

use router_core::flow::Caps;
use router_core::nat::{Mapping, PoolId, Snat};
use router_core::rules::{
    self, EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, SnatPool, Subject,
};
use sluice_runtime::host::admin::collect::RuleText;
use sluice_runtime::host::config::value;
use sluice_runtime::host::moment::Moment;
use sluice_runtime::host::rule_id;
use wg_proto::{Device, Instant};

use crate::check;
use crate::config::RouterConfig;
use crate::config::session::Session;
use crate::config::target::{Destination, Target};
use crate::config::ways::Way;

/// Our own addresses: sources towards connectors.
const OVERLAY_POOL: PoolId = PoolId(0);
/// Egress addresses: sources towards the TUN.
const EGRESS_POOL: PoolId = PoolId(1);
const WAYS: [Way; 2] = [Way::Connector, Way::Tun];

/// The rules of `sessions`. Those past their end are left out.
pub(crate) fn snapshot(
    config: &RouterConfig,
    sessions: &[Session],
    device: &Device,
    moment: Moment,
) -> RuleSnapshot {
    let rules = sessions.iter().flat_map(|session| of_session(config, session, device, moment));
    RuleSnapshot { pools: pools(config), rules: rules.collect() }
}

/// The rules of one session: none if it is past its end, else one for each way its target takes.
pub(crate) fn of_session(
    config: &RouterConfig,
    session: &Session,
    device: &Device,
    moment: Moment,
) -> Vec<Rule> {
    let Some(target) = config.target(&session.target) else { return Vec::new() };
    let Some(lease) = lease(session, moment) else { return Vec::new() };
    let rule = |way| {
        let destinations = destinations(config, session, target, way);
        (!destinations.is_empty()).then(|| Rule {
            id: id(session, way),
            subject: subject(config, session.client_ip, device),
            destinations,
            snat: snat(target, way),
            deny: target.deny_signal.unwrap_or(config.deny_signal),
            lease,
            caps: Caps::default(),
        })
    };
    WAYS.into_iter().filter_map(rule).collect()
}

/// The identities that the rules of a session can have.
pub(crate) fn ids(session: &Session) -> [SessionId; 2] {
    WAYS.map(|way| id(session, way))
}

/// What a rule is called, for status.
pub(crate) fn describe(config: &RouterConfig, sessions: &[Session], id: SessionId) -> RuleText {
    let found = sessions.iter().find_map(|session| {
        let way = WAYS.into_iter().find(|way| self::id(session, *way) == id)?;
        Some((session, config.target(&session.target)?, way))
    });
    let Some((session, target, way)) = found else { return RuleText::default() };
    let destinations = of_way(config, session, target, way).map(|destination| {
        let (sent, becomes) = check::in_words(destination);
        format!("{sent} -> {becomes}")
    });
    let client =
        config.client_at(session.client_ip).map_or(String::new(), |client| format!(" ({})", client.name));
    RuleText {
        target: target.name.clone(),
        source: format!("{}{client}", session.client_ip),
        destinations: destinations.collect(),
        src_nat: target.src_nat,
    }
}

fn id(session: &Session, way: Way) -> SessionId {
    let way = match way {
        Way::Connector => "connector",
        Way::Tun => "tun",
    };
    rule_id::of(&[&session.client_ip.to_string(), &session.target, way])
}

/// `None` if the session is past its end; `Some(None)` if it has none.
fn lease(session: &Session, moment: Moment) -> Option<Option<Instant>> {
    match session.expires {
        None => Some(None),
        Some(expires) => moment.deadline(expires.as_second()).map(Some),
    }
}

fn subject(config: &RouterConfig, client_ip: IpAddr, device: &Device) -> Subject {
    let client = config.client_at(client_ip).and_then(|client| device.peer_by_key(&client.public_key));
    let ingress = client.map_or(IngressMatch::Tun, IngressMatch::Peer);
    Subject { ingress, source: value::host_prefix(client_ip) }
}

fn snat(target: &Target, way: Way) -> Snat {
    match (target.src_nat, way) {
        (false, _) => Snat::Off,
        (true, Way::Connector) => Snat::Pool(OVERLAY_POOL),
        (true, Way::Tun) => Snat::Pool(EGRESS_POOL),
    }
}

fn destinations(
    config: &RouterConfig,
    session: &Session,
    target: &Target,
    way: Way,
) -> Vec<rules::Destination> {
    let rule = |destination: &Destination| rules::Destination {
        selector: destination.selector,
        dnat: destination.nat,
        egress: EgressChoice::Route,
    };
    of_way(config, session, target, way).map(rule).collect()
}

/// The destinations of the client's IP version that leave by `way`.
fn of_way<'a>(
    config: &'a RouterConfig,
    session: &Session,
    target: &'a Target,
    way: Way,
) -> impl Iterator<Item = &'a Destination> {
    let v4 = session.client_ip.is_ipv4();
    target.destinations.iter().filter(move |destination| {
        destination.selector.ip().start().is_ipv4() == v4 && config.ways().of(target, destination) == Ok(way)
    })
}

fn pools(config: &RouterConfig) -> Vec<SnatPool> {
    let pool = |id, addresses: &[IpAddr]| SnatPool {
        id,
        addresses: addresses.to_vec(),
        mapping: Mapping::PerDestination,
    };
    let egress = config.tun.as_ref().map(|tun| pool(EGRESS_POOL, &tun.common.egress_addresses));
    std::iter::once(pool(OVERLAY_POOL, &config.node.addresses)).chain(egress).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{read, whole};
    use router_core::{Node, NodeConfig};
    use wg_proto::{PeerConfig, UnixTime};

    const NOW: Moment = Moment { boot: Instant::from_nanos(0), unix: UnixTime::new(1_790_000_000, 0) };

    #[test]
    fn a_session_becomes_a_rule_for_each_way_out() {
        let (config, mut node) = node();
        let snapshot = snapshot(&config, &config.sessions, node.device(), NOW);
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
            let rules = snapshot(&config, &config.sessions, node.device(), moment).rules;
            rules.into_iter().map(|rule| rule.lease.unwrap().as_nanos()).collect::<Vec<_>>()
        };
        let end = u64::try_from(config.sessions[0].expires.unwrap().as_second()).unwrap();
        assert_eq!(leases(end - 5), [5_000_000_000]);
        assert!(leases(end).is_empty());
    }

    #[test]
    fn every_rule_is_found_by_its_identity_and_told_in_words() {
        let (config, node) = node();
        for rule in snapshot(&config, &config.sessions, node.device(), NOW).rules {
            let text = describe(&config, &config.sessions, rule.id);
            assert_eq!((text.source.as_str(), text.destinations.len()), ("10.77.0.2 (alice)", 1));
        }
    }

    #[test]
    fn a_client_without_a_tunnel_of_its_own_is_expected_on_the_tun() {
        let (config, node) = node();
        let subject = subject(&config, "10.77.0.99".parse().unwrap(), node.device());
        assert_eq!(subject.ingress, IngressMatch::Tun);
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
