//! What a router says of itself: counters, flows, bounds, explanations in words.

use std::time::Duration;

use router_core::flow::{BATCH, Caps};
use router_core::nat::Snat;
use router_core::packet::TcpFlags;
use router_core::rules::{Rule, RuleSnapshot, SessionId};
use router_core::{
    DropReason, Egress, Explanation, FLOW_V4_BYTES, FLOW_V6_BYTES, Ingress, Node, NodeConfig, Offload,
    Refusal, Verdict,
};
use wg_proto::{Instant, PeerConfig, PrivateKey};

use crate::desk::*;

#[test]
fn packets_that_pass_are_counted_with_their_bytes() {
    let mut desk = Desk::ready();
    for (passed, len) in [(1, 100), (2, 200), (3, 28)] {
        let before = desk.node.counters().forwarded_bytes;
        let packet = udp(&at(V4.alice, 5000), &at(V4.plain, 53), &vec![0; len - 28]);
        desk.alice_sends(packet).forwarded_to(Egress::Tun);
        let counters = desk.node.counters();
        assert_eq!((counters.forwarded_packets, counters.forwarded_bytes - before), (passed, len as u64));
    }
}

#[test]
fn an_interface_counts_what_passes_as_a_router_does() {
    let mut node = Node::new(NodeConfig::interface(), [1; 32]);
    let now = Instant::from_nanos(1);
    let mut config = PeerConfig::new(PrivateKey::from_bytes([9; 32]).public_key());
    config.allowed_ips.push(net(V4.alice));
    node.device_mut().add_peer(now, config).unwrap();
    for (passed, len) in [(1, 100), (2, 200)] {
        let before = node.counters().forwarded_bytes;
        let mut packet = udp(&at(V4.plain, 53), &at(V4.alice, 5000), &vec![0; len - 28]);
        let verdict = node.handle_packet(now, Ingress::Tun, &mut packet, Offload::None);
        assert!(matches!(verdict, Verdict::Forward(_)), "{verdict:?}");
        let counters = node.counters();
        assert_eq!((counters.forwarded_packets, counters.forwarded_bytes - before), (passed, len as u64));
    }
}

#[test]
fn resets_of_the_routers_own_are_counted_as_answers() {
    let mut desk = Desk::ready();
    desk.connect(&at(V4.alice, 5000), &at(V4.plain, 22));
    let before = desk.node.counters().answers;
    desk.node.close_session(desk.now, SessionId(12));
    let own = desk.wait(Duration::ZERO);
    assert!(own.len() >= 2);
    assert_eq!(desk.node.counters().answers - before, own.len() as u64);
}

#[test]
fn a_session_shows_each_external_port_it_holds() {
    let mut desk = Desk::ready();
    for held in 1..=3 {
        let packet = udp(&at(V4.alice, 5000 + held), &at(V4.lan, 53), b"?");
        desk.alice_sends(packet).forwarded_to(Egress::Tun);
        let session = desk.node.sessions().find(|session| session.id == SessionId(11)).unwrap();
        assert_eq!((session.ports, session.flows), (held.into(), held.into()));
    }
}

#[test]
fn flows_of_both_versions_count_together() {
    let mut desk =
        Desk::ready_with(NodeConfig { flows_max_v4: 100, flows_max_v6: 10, ..NodeConfig::default() });
    for (n, net) in [(1, V4), (2, V4), (3, V6)] {
        let packet = udp(&at(net.alice, 5000 + n), &at(net.plain, 53), b"?");
        desk.alice_sends(packet).forwarded_to(Egress::Tun);
        assert_eq!(desk.node.flows_used(), (n.into(), 110));
    }
}

#[test]
fn memory_grows_with_what_is_configured() {
    let config =
        NodeConfig { flows_max_v4: 1000, flows_max_v6: 10, sessions_max: 100, ..NodeConfig::default() };
    let flows = 1000 * FLOW_V4_BYTES + 10 * FLOW_V6_BYTES;
    assert_eq!(config.flow_bytes_max(), flows);
    let sessions = |destinations| config.memory_bytes_max(destinations) - flows;
    let destination = sessions(1) - sessions(0);
    assert_eq!(sessions(7), sessions(0) + 7 * destination);
    // An address and what becomes of packets to it; four cache lines and more of a session itself.
    assert!((100 * 32..100 * 256).contains(&destination), "{destination}");
    assert!((100 * 256..100 * 1024).contains(&sessions(0)), "{}", sessions(0));
}

#[test]
fn cap_a_connection_that_is_established_is_not_half_open_any_more() {
    let mut desk = Desk::new();
    let caps = Caps { half_open_max: 2, ..Caps::default() };
    let rule = Rule { caps, ..rule(1, desk.alice, V4.alice, vec![destination(V4.plain, None)]) };
    desk.node.open_session(desk.now, &rule).unwrap();
    for port in 1..=5 {
        desk.connect(&at(V4.alice, port), &at(V4.plain, 22));
    }
    for (port, passes) in [(6, true), (7, true), (8, false)] {
        let before = desk.dropped(DropReason::CapHalfOpen);
        desk.alice_sends(tcp(&at(V4.alice, port), &at(V4.plain, 22), TcpFlags::SYN, 1, 0, b""));
        assert_eq!(desk.dropped(DropReason::CapHalfOpen) - before, u64::from(!passes), "{port}");
    }
}

#[test]
fn flt_5_a_segment_that_opens_nothing_is_answered_as_the_session_says() {
    for (deny, is_answered) in [(Refusal::Silent, false), (Refusal::Prohibited, true), (Refusal::Reset, true)]
    {
        let mut desk = Desk::new();
        let rule = Rule { deny, ..rule(1, desk.alice, V4.alice, vec![destination(V4.plain, None)]) };
        desk.node.open_session(desk.now, &rule).unwrap();
        let outcome = desk.alice_sends(tcp(&at(V4.alice, 1), &at(V4.plain, 22), TcpFlags::ACK, 1, 1, b""));
        assert_eq!(outcome.verdict == Verdict::Reply, is_answered, "{outcome:?}");
        assert_eq!(desk.dropped(DropReason::TcpNotOpening), 1);
    }
}

#[test]
fn looking_ahead_says_how_many_packets_it_has_looked_at() {
    let mut desk = Desk::ready();
    let packet = udp(&at(V4.alice, 5000), &at(V4.plain, 53), b"?");
    for (count, looked_at) in [(0, 0), (1, 1), (BATCH, BATCH), (BATCH + 5, BATCH)] {
        let packets = std::iter::repeat_n(&packet[..], count);
        assert_eq!(desk.node.look_ahead(packets), looked_at);
    }
    // An interface has nothing to look up.
    let mut interface = Node::new(NodeConfig::interface(), [1; 32]);
    assert!(interface.look_ahead(std::iter::once(&packet[..])) >= 1);
}

#[test]
fn explanations_name_both_ends_as_they_leave() {
    let desk = Desk::ready();
    let explain =
        |packet: Vec<u8>| desk.node.explain(desk.now, Ingress::Peer(desk.alice), &packet).to_string();
    let said = explain(udp(&at(V6.alice, 5000), &at(V6.target, 53), b"?"));
    assert!(said.contains("[fd77::2]:5000 > [fd99::2]:40001"), "{said}");
    assert!(said.contains("session 00000000000000000000000000000014"), "{said}");
    let said = explain(other(router_core::packet::Protocol::GRE, V4.alice, V4.plain, &[0; 8]));
    assert!(said.contains(&format!("{} > {}", V4.alice, V4.plain)), "{said}");
    let said = explain(udp(&at(V4.alice, 5000), &at(V4.elsewhere, 53), b"?"));
    assert!(said.contains(DropReason::NotAllowed.name()), "{said}");
}

#[test]
fn answers_are_counted_whatever_they_say() {
    let mut desk = Desk::ready();
    for answers in 1..=4 {
        let packet = match answers % 2 {
            0 => ping(V4.alice, V4.router, 1),
            _ => udp(&at(V4.alice, 5000), &at(V4.elsewhere, 53), b"?"),
        };
        desk.alice_sends(packet).answered();
        assert_eq!(desk.node.counters().answers, answers);
    }
}

#[test]
fn sessions_show_their_leases() {
    let mut desk = Desk::new();
    let lease = Some(desk.now.saturating_add(Duration::from_secs(15)));
    for (id, lease) in [(1, lease), (2, None)] {
        let rule = Rule { lease, ..rule(id, desk.alice, V4.alice, vec![destination(V4.plain, None)]) };
        desk.node.open_session(desk.now, &rule).unwrap();
    }
    let shown = |id| desk.node.sessions().find(|session| session.id == SessionId(id)).map(|it| it.lease);
    assert_eq!((shown(1), shown(2)), (Some(lease), Some(None)));
}

#[test]
fn explanations_tell_pings_of_the_router_from_other_packets_to_it() {
    let desk = Desk::ready();
    let explain = |ingress, packet: Vec<u8>| desk.node.explain(desk.now, ingress, &packet);
    let alice = Ingress::Peer(desk.alice);
    for net in BOTH {
        assert_eq!(explain(alice, ping(net.alice, net.router, 1)), Explanation::AnsweredHere);
        let packet = udp(&at(net.alice, 5000), &at(net.router, 53), b"?");
        assert!(matches!(explain(alice, packet), Explanation::Refused { .. }));
        let elsewhere = ping(net.alice, net.elsewhere, 1);
        assert!(matches!(explain(alice, elsewhere), Explanation::Refused { .. }));
    }
}

#[test]
fn an_answer_in_a_closed_session_is_explained_by_that() {
    let mut desk = Desk::ready();
    let sent = desk.alice_sends(udp(&at(V4.alice, 5000), &at(V4.target, 53), b"?"));
    let sent = sent.forwarded_to(desk.site_side());
    let answer = router_core::sim::wire::udp(&ends_of(&sent).reversed(), b"!");
    let explain = |desk: &Desk| desk.node.explain(desk.now, Ingress::Peer(desk.site), &answer);
    assert!(matches!(explain(&desk), Explanation::Flow { is_reply: true, .. }));
    desk.node.close_session(desk.now, SessionId(10));
    let explanation = explain(&desk);
    assert!(
        matches!(explanation, Explanation::Refused { reason: DropReason::SessionClosed, .. }),
        "{explanation}"
    );
}

#[test]
fn what_a_router_draws_comes_from_its_seed() {
    let identification = |seed| {
        let mut desk = Desk::seeded([seed; 32]);
        let rule = rule(1, desk.alice, V4.alice, vec![destination(V4.lan, None)]);
        let rule = Rule { snat: Snat::Pool(LAN_POOL), ..rule };
        desk.node.apply(desk.now, &RuleSnapshot { pools: pools(), rules: vec![rule] }).unwrap();
        let packet = udp(&at(V4.alice, 5000), &at(V4.lan, 53), b"?");
        desk.alice_sends(packet).forwarded_to(Egress::Tun)[4..6].to_vec()
    };
    assert_eq!(identification(1), identification(1));
    assert!((2..6).any(|seed| identification(seed) != identification(1)));
}
