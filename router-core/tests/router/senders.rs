//! Whose packet it is, while senders, sessions and addresses come and go: FLT-1, P1, P15, P17.

use router_core::packet::Protocol;
use router_core::rules::{IngressMatch, Rule, RuleSnapshot, SessionId, Subject};
use router_core::{DropReason, Egress, NodeConfig, Refusal};

use crate::desk::*;

/// A session for whoever has this one address, wherever it comes in.
fn anywhere(desk: &Desk, id: u128, source: &str) -> Rule {
    let subject = Subject { ingress: IngressMatch::Any, source: net(source) };
    Rule { subject, ..rule(id, desk.alice, source, vec![destination(V4.plain, None)]) }
}

fn question(source: &str) -> Vec<u8> {
    udp(&at(source, 5000), &at(V4.plain, 53), b"?")
}

#[test]
fn flt_1_a_session_for_any_ingress_follows_its_address_from_tunnel_to_tunnel() {
    let mut desk = Desk::new();
    let rule = anywhere(&desk, 1, V4.alice);
    desk.node.open_session(desk.now, &rule).unwrap();
    desk.alice_sends(question(V4.alice)).forwarded_to(Egress::Tun);
    let bob = desk.bob;
    desk.node.device_mut().add_allowed_ip(bob, net(V4.alice)).unwrap();
    desk.bob_sends(udp(&at(V4.alice, 5001), &at(V4.plain, 53), b"?")).forwarded_to(Egress::Tun);
    assert_eq!(desk.alice_sends(question(V4.alice)).dropped(), DropReason::SourceNotAssigned);
}

#[test]
fn flt_1_sessions_for_any_ingress_come_and_go_one_by_one() {
    let mut desk = Desk::new();
    for (id, source) in [(1, V4.alice), (2, V4.bob)] {
        let rule = anywhere(&desk, id, source);
        desk.node.open_session(desk.now, &rule).unwrap();
    }
    assert!(desk.node.close_session(desk.now, SessionId(1)));
    assert_prohibited(&desk.alice_sends(question(V4.alice)).answered());
    desk.bob_sends(question(V4.bob)).forwarded_to(Egress::Tun);
    assert!(desk.node.close_session(desk.now, SessionId(2)));
    let rule = anywhere(&desk, 3, V4.alice);
    desk.node.open_session(desk.now, &rule).unwrap();
    desk.alice_sends(question(V4.alice)).forwarded_to(Egress::Tun);
}

#[test]
fn flt_5_who_has_no_session_any_more_is_refused_as_a_stranger_is() {
    // One session is found by its only destination, the other is one of several.
    let exact = destination(V4.plain, Some((Protocol::UDP, 53)));
    for destinations in [vec![exact], vec![exact, destination(V4.lan, None)]] {
        let mut desk = Desk::with(NodeConfig { refusal: Refusal::Prohibited, ..NodeConfig::default() });
        let rule = Rule { deny: Refusal::Silent, ..rule(1, desk.alice, V4.alice, destinations) };
        let elsewhere = udp(&at(V4.alice, 5000), &at(V4.elsewhere, 53), b"?");
        for _ in 0..3 {
            desk.node.open_session(desk.now, &rule).unwrap();
            assert_eq!(desk.alice_sends(elsewhere.clone()).dropped(), DropReason::NotAllowed);
            assert!(desk.node.close_session(desk.now, SessionId(1)));
            assert_prohibited(&desk.alice_sends(elsewhere.clone()).answered());
        }
    }
}

#[test]
fn p27_sessions_come_and_go_for_ever_in_the_room_there_is() {
    let mut desk = Desk::new();
    let exact = |port| destination(V4.plain, Some((Protocol::UDP, port)));
    for round in 0..4_u16 {
        let sessions: Vec<Rule> = (0..900_u16)
            .map(|n| {
                let source = format!("10.77.{}.{}", 8 + n / 250, 1 + n % 250);
                rule(n.into(), desk.alice, &source, vec![exact(round * 1000 + n)])
            })
            .collect();
        sessions.iter().for_each(|rule| desk.node.open_session(desk.now, rule).unwrap());
        assert_eq!(desk.node.sessions().count(), 900);
        sessions.iter().for_each(|rule| assert!(desk.node.close_session(desk.now, rule.id)));
    }
    let last = rule(5000, desk.alice, V4.alice, vec![exact(53)]);
    desk.node.open_session(desk.now, &last).unwrap();
    desk.alice_sends(question(V4.alice)).forwarded_to(Egress::Tun);
}

#[test]
fn p01_an_address_that_becomes_the_routers_own_is_no_clients_any_more() {
    let mut desk = Desk::ready();
    desk.alice_sends(question(V4.alice)).forwarded_to(Egress::Tun);
    let mut pools = pools();
    pools[0].addresses.push(ip(V4.alice));
    desk.node.set_pools(&pools).unwrap();
    assert_eq!(desk.alice_sends(question(V4.alice)).dropped(), DropReason::SourceIsOurs);
}

#[test]
fn p01_a_source_taken_from_a_peer_is_refused_whatever_else_changes_with_it() {
    // Pools that change as often as prefixes do, and less often.
    for changes in 0..3 {
        let mut desk = Desk::ready();
        desk.alice_sends(question(V4.alice)).forwarded_to(Egress::Tun);
        let alice = desk.alice;
        desk.node.device_mut().remove_allowed_ip(alice, net(V4.alice)).unwrap();
        (0..changes).for_each(|_| desk.node.set_pools(&pools()).unwrap());
        assert_eq!(desk.alice_sends(question(V4.alice)).dropped(), DropReason::SourceNotAssigned);
    }
}

#[test]
fn p17_a_snapshot_may_move_a_session_from_one_sender_to_another() {
    let mut desk = Desk::new();
    for source in [V4.alice, V4.bob] {
        let rules = vec![anywhere(&desk, 1, source)];
        desk.node.apply(desk.now, &RuleSnapshot { pools: Vec::new(), rules }).unwrap();
    }
    assert_prohibited(&desk.alice_sends(question(V4.alice)).answered());
    desk.bob_sends(question(V4.bob)).forwarded_to(Egress::Tun);
}
