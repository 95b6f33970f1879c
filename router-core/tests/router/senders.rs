//! Whose packet it is, while senders, sessions and addresses come and go: FLT-1, P1, P15, P17.

use std::time::Duration;

use router_core::flow::Caps;
use router_core::nat::Snat;
use router_core::packet::{Protocol, TcpFlags};
use router_core::rules::{IngressMatch, Rule, RuleSnapshot, SessionId, Subject};
use router_core::{DropReason, Egress, Ingress, NodeConfig, Refusal};

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
fn p01_a_source_taken_from_a_peer_is_refused_also_where_there_never_was_a_pool() {
    let mut desk = Desk::new();
    let rule = rule(1, desk.alice, V4.alice, vec![destination(V4.plain, None)]);
    desk.node.open_session(desk.now, &rule).unwrap();
    desk.alice_sends(question(V4.alice)).forwarded_to(Egress::Tun);
    let alice = desk.alice;
    desk.node.device_mut().remove_allowed_ip(alice, net(V4.alice)).unwrap();
    assert_eq!(desk.alice_sends(question(V4.alice)).dropped(), DropReason::SourceNotAssigned);
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

#[test]
fn flt_8_whose_lease_has_lapsed_hears_it_however_silent_the_session_is() {
    let mut desk = Desk::new();
    let lease = Some(desk.now.saturating_add(Duration::from_secs(15)));
    let destinations = vec![destination(V4.plain, None)];
    let rule = Rule { lease, deny: Refusal::Silent, ..rule(1, desk.alice, V4.alice, destinations) };
    desk.node.open_session(desk.now, &rule).unwrap();
    desk.wait(Duration::from_secs(20));
    assert_prohibited(&desk.alice_sends(question(V4.alice)).answered());
    assert_eq!(desk.dropped(DropReason::LeaseLapsed), 1);
}

#[test]
fn p17_a_session_that_changes_in_anything_but_its_lease_is_another() {
    let mut desk = Desk::new();
    let base = Rule { snat: Snat::Off, ..rule(1, desk.alice, V4.alice, vec![destination(V4.plain, None)]) };
    let subject = Subject { ingress: IngressMatch::Any, ..base.subject };
    let caps = Caps { flows_max: 7, ..base.caps };
    for changed in [
        Rule { subject, ..base.clone() },
        Rule { deny: Refusal::Silent, ..base.clone() },
        Rule { snat: Snat::Pool(LAN_POOL), ..base.clone() },
        Rule { caps, ..base.clone() },
        Rule { destinations: vec![destination(V4.lan, None)], ..base.clone() },
    ] {
        for (rule, is_new) in [(&base, false), (&changed, true), (&base, true)] {
            let snapshot = RuleSnapshot { pools: pools(), rules: vec![rule.clone()] };
            let applied = desk.node.apply(desk.now, &snapshot).unwrap();
            // The very first is there before none was.
            if applied.kept + applied.removed > 0 {
                assert_eq!(applied.kept == 0, is_new, "{changed:?}");
            }
        }
    }
}

#[test]
fn p17_a_snapshot_renews_and_ends_leases() {
    let mut desk = Desk::new();
    let rule = rule(1, desk.alice, V4.alice, vec![destination(V4.plain, None)]);
    let start = desk.now;
    let apply = |desk: &mut Desk, secs: Option<u64>| {
        let lease = secs.map(|secs| start.saturating_add(Duration::from_secs(secs)));
        let rules = vec![Rule { lease, ..rule.clone() }];
        desk.node.apply(desk.now, &RuleSnapshot { pools: Vec::new(), rules }).unwrap();
    };
    apply(&mut desk, Some(15));
    apply(&mut desk, Some(30));
    desk.wait(Duration::from_secs(20));
    desk.alice_sends(question(V4.alice)).forwarded_to(Egress::Tun);
    desk.wait(Duration::from_secs(11));
    desk.alice_sends(question(V4.alice)).answered();
    apply(&mut desk, None);
    desk.wait(Duration::from_secs(1000));
    desk.alice_sends(question(V4.alice)).forwarded_to(Egress::Tun);
}

#[test]
fn cap_in_a_full_table_a_session_takes_from_who_has_more_than_a_share_and_from_nobody_else() {
    let mut desk = Desk::with(NodeConfig { flows_max_v4: 8, ..NodeConfig::default() });
    for (id, peer, source) in [(1, desk.alice, V4.alice), (2, desk.bob, V4.bob)] {
        let rule = rule(id, peer, source, vec![destination(V4.plain, None)]);
        desk.node.open_session(desk.now, &rule).unwrap();
    }
    let held = |desk: &Desk, id| {
        desk.node.sessions().find(|session| session.id == SessionId(id)).map(|session| session.flows)
    };
    for port in 1..=8 {
        desk.connect(&at(V4.alice, port), &at(V4.plain, 22));
    }
    for port in 1..=6 {
        desk.wait(Duration::from_millis(20));
        let ingress = Ingress::Peer(desk.bob);
        let (from, to) = (at(V4.bob, port), at(V4.plain, 22));
        desk.take(ingress, tcp(&from, &to, TcpFlags::SYN, 1000, 0, b""));
        let syn_ack = TcpFlags::SYN.with(TcpFlags::ACK);
        desk.tun_brings(tcp(&to, &from, syn_ack, 5000, 1001, b""));
        desk.take(ingress, tcp(&from, &to, TcpFlags::ACK, 1001, 5001, b""));
    }
    assert_eq!((held(&desk, 1), held(&desk, 2)), (Some(4), Some(4)));
    assert_eq!(desk.dropped(DropReason::FlowTableFull), 2);
}
