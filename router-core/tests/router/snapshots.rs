//! Snapshots: absent means delete, unchanged keeps its flows, wrong changes nothing (P17).

use proptest::prelude::*;
use router_core::nat::{Mapping, POOL_ADDRESSES_MAX, PoolError, PoolId, Snat};
use router_core::packet::Protocol;
use router_core::rules::{
    Applied, ApplyError, Destination, Dnat, Rule, RuleError, RuleSnapshot, SessionId, SnatPool,
};
use router_core::selector::IpRange;
use router_core::{Egress, Verdict};
use wg_proto::PeerIndex;

use crate::desk::*;

fn snapshot(rules: Vec<Rule>) -> RuleSnapshot {
    RuleSnapshot { pools: pools(), rules }
}

#[test]
fn p17_a_snapshot_is_applied_as_a_difference() {
    let mut desk = Desk::new();
    let (alice, bob) = (desk.alice, desk.bob);
    let stays = rule(1, alice, V4.alice, vec![destination(V4.plain, None)]);
    let goes = rule(2, bob, V4.bob, vec![destination(V4.plain, None)]);
    let changes = rule(3, alice, V4.alice, vec![destination(V4.lan, None)]);
    let first = snapshot(vec![stays.clone(), goes, changes.clone()]);
    assert_eq!(desk.node.apply(desk.now, &first), Ok(Applied { added: 3, removed: 0, kept: 0 }));
    assert_eq!(desk.node.apply(desk.now, &first), Ok(Applied { added: 0, removed: 0, kept: 3 }));
    let packet = |client: &str, to: &str| udp(&at(client, 5000), &at(to, 53), b"?");
    for (ingress, client, to) in
        [(alice, V4.alice, V4.plain), (bob, V4.bob, V4.plain), (alice, V4.alice, V4.lan)]
    {
        desk.take(router_core::Ingress::Peer(ingress), packet(client, to)).forwarded_to(Egress::Tun);
    }
    let changed = Rule { destinations: vec![destination(V4.elsewhere, None)], ..changes };
    let added = rule(4, bob, V4.bob, vec![destination(V4.lan, None)]);
    let second = snapshot(vec![stays, changed, added]);
    assert_eq!(desk.node.apply(desk.now, &second), Ok(Applied { added: 2, removed: 2, kept: 1 }));
    let opened = desk.node.counters().flows_opened;
    desk.alice_sends(packet(V4.alice, V4.plain)).forwarded_to(Egress::Tun);
    assert_eq!(desk.node.counters().flows_opened, opened, "kept with its flows");
    assert_prohibited(&desk.bob_sends(packet(V4.bob, V4.plain)).answered());
    assert_prohibited(&desk.alice_sends(packet(V4.alice, V4.lan)).answered());
    desk.bob_sends(packet(V4.bob, V4.lan)).forwarded_to(Egress::Tun);
}

#[test]
fn a_snapshot_with_one_mistake_is_refused_whole() {
    let mut desk = Desk::new();
    let alice = desk.alice;
    let good = rule(1, alice, V4.alice, vec![destination(V4.plain, None)]);
    desk.node.apply(desk.now, &snapshot(vec![good.clone()])).unwrap();
    let to = |addr: IpRange| Destination {
        dnat: Some(Dnat { addr, ports: None }),
        ..destination("10.0.0.0/30", None)
    };
    let three = IpRange::new(ip("10.0.0.1"), ip("10.0.0.3")).unwrap();
    for (wrong, error) in [
        (rule(2, alice, V4.alice, vec![]), RuleError::NoDestination),
        (rule(2, alice, V6.alice, vec![destination(V4.plain, None)]), RuleError::NoDestination),
        (rule(2, alice, V4.alice, vec![to(IpRange::single(ip("::1")))]), RuleError::DnatVersion),
        (
            rule(2, alice, V4.alice, vec![to(three)]),
            RuleError::Dnat(router_core::nat::DnatError::AddressCounts),
        ),
        (
            Rule { snat: Snat::Pool(PoolId(77)), ..rule(2, alice, V4.alice, good.destinations.clone()) },
            RuleError::UnknownPool,
        ),
        (rule(2, PeerIndex::new(99), V4.alice, good.destinations.clone()), RuleError::UnknownPeer),
        (rule(1, alice, V4.alice, vec![destination(V4.lan, None)]), RuleError::Duplicate),
    ] {
        let session = wrong.id;
        let whole = snapshot(vec![good.clone(), wrong]);
        assert_eq!(desk.node.apply(desk.now, &whole), Err(ApplyError::Rule { session, error }));
        assert_eq!(desk.node.sessions().map(|session| session.id).collect::<Vec<_>>(), [SessionId(1)]);
        let packet = udp(&at(V4.alice, 5000), &at(V4.plain, 53), b"?");
        desk.alice_sends(packet).forwarded_to(Egress::Tun);
    }
}

#[test]
fn wrong_pools_are_refused_and_swapped_ones_taken() {
    let mut desk = Desk::new();
    let pool =
        |id, address: &str, mapping| SnatPool { id: PoolId(id), addresses: vec![ip(address)], mapping };
    let (per_destination, independent) = (Mapping::PerDestination, Mapping::EndpointIndependent);
    let twice = [pool(1, "192.0.2.1", independent), pool(1, "192.0.2.2", independent)];
    assert_eq!(desk.node.set_pools(&twice), Err(ApplyError::DuplicatePool(PoolId(1))));
    let differs = [pool(1, "192.0.2.1", independent), pool(2, "192.0.2.1", per_destination)];
    let error = PoolError::MappingDiffers;
    assert_eq!(desk.node.set_pools(&differs), Err(ApplyError::Pool { pool: PoolId(2), error }));
    desk.node.set_pools(&[pool(1, "192.0.2.1", independent), pool(2, "192.0.2.2", per_destination)]).unwrap();
    desk.node.set_pools(&[pool(1, "192.0.2.2", independent), pool(2, "192.0.2.1", per_destination)]).unwrap();
}

#[test]
fn p27_addresses_of_a_pool_are_bounded() {
    let mut desk = Desk::new();
    let pool = |count: usize| SnatPool {
        id: PoolId(1),
        addresses: (0..count as u32).map(|n| std::net::Ipv4Addr::from_bits(0xc633_6400 + n).into()).collect(),
        mapping: Mapping::PerDestination,
    };
    desk.node.set_pools(&[pool(POOL_ADDRESSES_MAX)]).unwrap();
    for count in [POOL_ADDRESSES_MAX + 1, 2 * POOL_ADDRESSES_MAX] {
        let error = PoolError::TooManyAddresses;
        let refused = desk.node.set_pools(&[pool(count)]);
        assert_eq!(refused, Err(ApplyError::Pool { pool: PoolId(1), error }), "{count}");
    }
}

#[test]
fn p27_sessions_are_bounded() {
    let mut desk = Desk::new();
    let rules = |count: u128| -> Vec<Rule> {
        (0..count).map(|id| rule(id, desk.alice, V4.alice, vec![destination(V4.plain, None)])).collect()
    };
    let (fits, too_many) = (rules(1000), rules(1001));
    let refused = desk.node.apply(desk.now, &snapshot(too_many));
    let error = RuleError::TooManySessions;
    assert_eq!(refused, Err(ApplyError::Rule { session: SessionId(1000), error }));
    desk.node.apply(desk.now, &snapshot(fits)).unwrap();
    let one_more = rule(5000, desk.alice, V4.alice, vec![destination(V4.plain, None)]);
    assert_eq!(desk.node.open_session(desk.now, &one_more), Err(error));
}

/// A device mapping, or a session: a few of each, which collide on purpose.
fn rules() -> impl Strategy<Value = Rule> {
    let sources = prop_oneof![Just("10.77.0.2"), Just("10.77.0.3"), Just("10.77.0.0/24"), Just("0.0.0.0/0")];
    let port = prop::option::of((any::<bool>(), 1..4_u16));
    let to = prop_oneof![Just("10.9.0.1"), Just("10.9.0.2"), Just("10.9.0.1-10.9.0.3")];
    (0..6_u128, 0..2_u32, sources, prop::collection::vec((to, port), 1..3)).prop_map(
        |(id, peer, source, destinations)| {
            let destinations = destinations
                .into_iter()
                .map(|(to, port)| {
                    let port =
                        port.map(|(udp, port)| (if udp { Protocol::UDP } else { Protocol::TCP }, port));
                    destination(to, port)
                })
                .collect();
            rule(id, PeerIndex::new(peer), source, destinations)
        },
    )
}

#[derive(Debug, Clone)]
enum Change {
    Open(Rule),
    Close(u128),
}

proptest! {
    /// The slow twin: a list of rules, and whether any of them matches.
    #[test]
    fn p02_a_packet_passes_exactly_if_some_open_rule_means_it(
        changes in prop::collection::vec(
            prop_oneof![3 => rules().prop_map(Change::Open), 1 => (0..6_u128).prop_map(Change::Close)],
            1..20,
        )
    ) {
        let mut desk = Desk::new();
        let mut open: Vec<Rule> = Vec::new();
        let mut source_port = 1;
        for change in changes {
            match change {
                Change::Open(rule) => {
                    let is_new = open.iter().all(|other| other.id != rule.id);
                    prop_assert_eq!(desk.node.open_session(desk.now, &rule).is_ok(), is_new);
                    if is_new {
                        open.push(rule);
                    }
                }
                Change::Close(id) => {
                    let was_open = open.iter().any(|rule| rule.id == SessionId(id));
                    prop_assert_eq!(desk.node.close_session(desk.now, SessionId(id)), was_open);
                    open.retain(|rule| rule.id != SessionId(id));
                }
            }
            desk.wait(std::time::Duration::from_secs(1));
            for (peer, source) in [(desk.alice, V4.alice), (desk.bob, V4.bob)] {
                for (to, port) in [("10.9.0.1", 1), ("10.9.0.2", 2), ("10.9.0.3", 3), ("10.9.0.4", 1)] {
                    source_port += 1;
                    let packet = udp(&at(source, source_port), &at(to, port), b"?");
                    let is_meant = open.iter().any(|rule| {
                        rule.subject.ingress == router_core::rules::IngressMatch::Peer(peer)
                            && rule.subject.source.contains(&ip(source))
                            && rule.destinations.iter().any(|it| it.selector.matches(ip(to), Protocol::UDP, port))
                    });
                    let outcome = desk.take(router_core::Ingress::Peer(peer), packet);
                    prop_assert_eq!(matches!(outcome.verdict, Verdict::Forward(_)), is_meant, "{}", to);
                }
            }
        }
        prop_assert_eq!(desk.node.sessions().count(), open.len());
    }
}
