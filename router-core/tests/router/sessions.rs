//! Sessions end: FLT-7, FLT-8, CAP, TMO, P2, P15.

use std::time::Duration;

use router_core::flow::Caps;
use router_core::packet::{PacketMut, TcpFlags, Transport};
use router_core::rules::{Rule, SessionId};
use router_core::sim::wire;
use router_core::{DropReason, Egress, Event, Ingress, NodeConfig};

use crate::desk::*;

fn is_reset(packet: &[u8]) -> bool {
    let mut packet = packet.to_vec();
    let packet = PacketMut::parse(&mut packet).unwrap();
    matches!(packet.transport(), Transport::Tcp(tcp) if tcp.flags.rst())
}

fn session_of(net: Net) -> SessionId {
    SessionId(if ip(net.alice).is_ipv4() { 10 } else { 20 })
}

#[test]
fn flt_7_closing_resets_both_ends_of_tcp_without_waiting_for_a_packet() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (alice, site) = (desk.alice_side(), desk.site_side());
        let (from, to) = (at(net.alice, 5000), at(net.target, 22));
        let ends = desk.connect(&from, &to);
        assert!(desk.node.close_session(desk.now, session_of(net)));
        let told = desk.wait(Duration::ZERO);
        assert!(told.iter().all(|(_, packet)| is_reset(packet) && wire::checksums_are_right(packet)));
        let to_alice: Vec<_> = told.iter().filter(|(egress, _)| *egress == alice).collect();
        let to_site: Vec<_> = told.iter().filter(|(egress, _)| *egress == site).collect();
        assert_ends(&to_alice[0].1, &to, &from);
        assert_eq!(ends_of(&to_site[0].1), ends);
        let sequence = |packet: &[u8]| {
            let at = wire::header_len(packet) + 4;
            u32::from_be_bytes(packet[at..at + 4].try_into().unwrap())
        };
        assert_eq!(
            (sequence(&to_alice[0].1), sequence(&to_site[0].1)),
            (5001, 1001),
            "what each end expects"
        );
        assert_eq!((desk.node.flows_used().0, desk.node.counters().flows_reset), (0, 1));
    }
}

#[test]
fn p15_after_closing_no_packet_passes_in_either_direction() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (from, to) = (at(net.alice, 5000), at(net.target, 22));
        let ends = desk.connect(&from, &to);
        let site = desk.site_side();
        let asked = desk.alice_sends(udp(&at(net.alice, 5000), &at(net.target, 53), b"?")).forwarded_to(site);
        desk.alice_sends(tcp(&at(net.alice, 5001), &to, TcpFlags::SYN, 1, 0, b"")).forwarded_to(site);
        desk.node.close_session(desk.now, session_of(net));
        // The error first: any other packet makes the router forget the flow.
        let answers = [
            port_unreachable(net.connector, &asked),
            segment(&ends.reversed(), TcpFlags::ACK, 5001, 1001, b"data"),
            wire::udp(&ends_of(&asked).reversed(), b"!"),
        ];
        let forwarded = desk.node.counters().forwarded_packets;
        for packet in answers {
            desk.site_sends(packet);
        }
        for packet in [
            tcp(&from, &to, TcpFlags::ACK, 1001, 5001, b"data"),
            tcp(&at(net.alice, 5001), &to, TcpFlags::SYN, 1, 0, b""),
            udp(&at(net.alice, 5000), &at(net.target, 53), b"?"),
        ] {
            desk.alice_sends(packet);
        }
        assert_eq!(desk.node.counters().forwarded_packets, forwarded);
    }
}

#[test]
fn flt_7_udp_hears_prohibited_on_its_next_packet_from_either_end() {
    for net in BOTH {
        let mut desk =
            Desk::ready_with(NodeConfig { refusal: router_core::Refusal::Silent, ..NodeConfig::default() });
        let question = udp(&at(net.alice, 5000), &at(net.target, 53), b"?");
        desk.alice_sends(question.clone()).forwarded_to(desk.site_side());
        desk.node.close_session(desk.now, session_of(net));
        assert_eq!(desk.wait(Duration::ZERO), [], "nobody to reset");
        assert_prohibited(&desk.alice_sends(question).answered());
        assert_eq!(desk.dropped(DropReason::SessionClosed), 1);
        let mut desk = Desk::ready();
        let seen = desk
            .alice_sends(udp(&at(net.alice, 5000), &at(net.target, 53), b"?"))
            .forwarded_to(desk.site_side());
        desk.node.close_session(desk.now, session_of(net));
        let answer = wire::udp(&ends_of(&seen).reversed(), b"!");
        assert_prohibited(&desk.site_sends(answer.clone()).answered());
        assert_eq!(desk.site_sends(answer).dropped(), DropReason::NoFlow);
    }
}

#[test]
fn what_is_over_and_what_was_refused_is_kept_for_whoever_asks_for_it() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (from, to) = (at(net.alice, 5000), at(net.target, 22));
        let nothing = at(net.target, 4444);
        desk.connect(&from, &to);
        desk.alice_sends(tcp(&from, &nothing, TcpFlags::SYN, 1, 0, b""));
        desk.node.close_session(desk.now, session_of(net));
        desk.wait(Duration::ZERO);
        assert_eq!(desk.node.take_ended_flows(10), (vec![], 0), "nobody has asked");
        assert_eq!(desk.node.take_refusals(), []);

        let mut desk = Desk::ready();
        desk.node.keep_journal(2);
        let ends = desk.connect(&from, &to);
        for port in [5001, 5002] {
            desk.alice_sends(tcp(&at(net.alice, port), &nothing, TcpFlags::SYN, 1, 0, b""));
        }
        assert_eq!(desk.node.take_ended_flows(10), (vec![], 0), "it is not over");
        desk.node.close_session(desk.now, session_of(net));
        desk.wait(Duration::ZERO);
        let (flows, lost) = desk.node.take_ended_flows(10);
        assert_eq!((flows.len(), lost, flows[0].session), (1, 0, session_of(net)));
        assert_eq!(flows[0].reply.reversed(), ends);
        assert!(flows[0].bytes[0] > 0 && flows[0].bytes[1] > 0, "{flows:?}");
        let refusals = desk.node.take_refusals();
        assert_eq!((refusals.len(), refusals[0].packets), (1, 2), "{refusals:?}");
        assert_eq!(refusals[0].from, Ingress::Peer(desk.alice));
        assert_eq!(
            (refusals[0].last.reason, refusals[0].last.ends.ports.source),
            (DropReason::NotAllowed, 5002)
        );
        assert_eq!(desk.node.take_refusals(), []);
    }
}

#[test]
fn of_more_that_is_over_than_is_kept_the_oldest_is_lost_and_counted() {
    let mut desk = Desk::ready();
    desk.node.keep_journal(2);
    for port in 5000..5005 {
        desk.connect(&at(V4.alice, port), &at(V4.target, 22));
    }
    desk.node.close_session(desk.now, session_of(V4));
    desk.wait(Duration::ZERO);
    let (flows, lost) = desk.node.take_ended_flows(1);
    assert_eq!((flows.len(), lost), (1, 3));
    assert_eq!(desk.node.take_ended_flows(10).0.len(), 1);
}

#[test]
fn flt_7_a_session_opened_again_starts_afresh() {
    let mut desk = Desk::new();
    let rule = rule(1, desk.alice, V4.alice, vec![destination(V4.plain, None)]);
    desk.node.open_session(desk.now, &rule).unwrap();
    let (from, to) = (at(V4.alice, 5000), at(V4.plain, 53));
    desk.connect(&from, &to);
    desk.alice_sends(udp(&from, &to, b"?")).forwarded_to(Egress::Tun);
    desk.node.close_session(desk.now, SessionId(1));
    desk.node.open_session(desk.now, &rule).unwrap();
    assert_eq!(desk.tun_brings(udp(&to, &from, b"!")).verdict, router_core::Verdict::Reply);
    desk.alice_sends(udp(&from, &to, b"?")).forwarded_to(Egress::Tun);
    desk.tun_brings(udp(&to, &from, b"!")).forwarded_to(desk.alice_side());
    let outcome = desk.alice_sends(tcp(&from, &to, TcpFlags::ACK, 1001, 5001, b"old"));
    assert!(outcome.own.iter().all(|(_, packet)| is_reset(packet)), "{outcome:?}");
    assert_eq!(outcome.verdict, router_core::Verdict::Reply);
}

#[test]
fn flt_7_closing_one_of_many_is_worked_off_in_pieces() {
    let mut desk = Desk::new();
    let caps = Caps { half_open_max: 10_000, new_flows_per_sec: 1_000_000, ..Caps::default() };
    for (id, peer, source) in [(1, desk.alice, V4.alice), (2, desk.bob, V4.bob)] {
        let rule = Rule { caps, ..rule(id, peer, source, vec![destination(V4.plain, None)]) };
        desk.node.open_session(desk.now, &rule).unwrap();
    }
    let syn = |client: &str, port| tcp(&at(client, port), &at(V4.plain, 80), TcpFlags::SYN, 1, 0, b"");
    for port in 1..=3000 {
        desk.alice_sends(syn(V4.alice, port)).forwarded_to(Egress::Tun);
        desk.bob_sends(syn(V4.bob, port)).forwarded_to(Egress::Tun);
    }
    desk.node.close_session(desk.now, SessionId(1));
    let told = desk.wait(Duration::ZERO);
    let told_bob = told.iter().filter(|(egress, _)| *egress == desk.bob_side()).count();
    assert_eq!((desk.node.flows_used().0, told_bob), (3000, 0));
    let told_alice = told.iter().filter(|(egress, _)| *egress == desk.alice_side()).count();
    assert_eq!(told_alice, 3000);
}

#[test]
fn map_6_ports_of_a_closed_session_are_given_back_once_and_without_waiting_for_its_packets() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let site = desk.site_side();
        let question = udp(&at(net.alice, 5000), &at(net.target, 53), b"?");
        let seen = desk.alice_sends(question.clone()).forwarded_to(site);
        assert_eq!(ends_of(&seen).ports.source, 5000);
        desk.node.close_session(desk.now, session_of(net));
        let bobs_port = |desk: &mut Desk, to_port| {
            desk.wait(Duration::from_secs(122));
            let seen = desk.bob_sends(udp(&at(net.bob, 5000), &at(net.machine, to_port), b"?"));
            ends_of(&seen.forwarded_to(site)).ports.source
        };
        assert_eq!(bobs_port(&mut desk, 9), 5000, "held for two minutes, then free");
        assert_eq!(desk.node.flows_used().0, 2, "the flow is still there to be answered");
        assert_prohibited(&desk.alice_sends(question).answered());
        assert_eq!(desk.node.flows_used().0, 1);
        assert_ne!(bobs_port(&mut desk, 10), 5000, "it is not given back again with the flow");
    }
}

#[test]
fn flt_7_ports_of_many_closed_flows_are_given_back_in_bounded_steps() {
    let mut desk = Desk::ready();
    let caps = Caps { new_flows_per_sec: 1_000_000, ..Caps::default() };
    let allowed = vec![destination("10.66.0.0/16", None)];
    let rule = Rule { caps, ..rule(99, desk.alice, V4.alice, allowed) };
    let rule = Rule { snat: router_core::nat::Snat::Pool(LAN_POOL), ..rule };
    desk.node.open_session(desk.now, &rule).unwrap();
    let flows = 2500;
    for port in 1..=flows {
        desk.alice_sends(udp(&at(V4.alice, 1024 + port), &at(V4.elsewhere, 53), b"?"))
            .forwarded_to(Egress::Tun);
    }
    desk.node.close_session(desk.now, SessionId(99));
    let mut steps = 0;
    while desk.node.poll_timeout().is_some_and(|(at, _)| at <= desk.now) && steps < 100 {
        desk.node.handle_timeout(desk.now);
        steps += 1;
    }
    assert_eq!(steps, 3, "1024 flows a step");
    assert_eq!((desk.node.flows_used().0, desk.own_packets()), (flows.into(), vec![]));
}

#[test]
fn flt_8_a_lapsed_lease_is_a_closed_session_compared_with_each_packet() {
    for net in BOTH {
        let mut desk = Desk::new();
        let lease = desk.now.saturating_add(Duration::from_secs(15));
        let rule =
            Rule { lease: Some(lease), ..rule(1, desk.alice, net.alice, vec![destination(net.plain, None)]) };
        desk.node.open_session(desk.now, &rule).unwrap();
        let (from, to) = (at(net.alice, 5000), at(net.plain, 53));
        let question = udp(&from, &to, b"?");
        desk.alice_sends(question.clone()).forwarded_to(Egress::Tun);
        desk.now = lease;
        assert_prohibited(&desk.alice_sends(question.clone()).answered());
        let answer = udp(&to, &from, b"!");
        assert_eq!(desk.tun_brings(answer.clone()).dropped(), DropReason::NoFlow);
        let later = desk.now.saturating_add(Duration::from_secs(15));
        assert!(desk.node.renew_lease(desk.now, SessionId(1), Some(later)));
        assert_eq!(desk.tun_brings(answer).dropped(), DropReason::NoFlow);
        desk.alice_sends(question).forwarded_to(Egress::Tun);
    }
}

#[test]
fn flt_8_a_lapse_resets_both_ends_and_is_told() {
    let mut desk = Desk::new();
    let lease = Some(desk.now.saturating_add(Duration::from_secs(15)));
    let rule = Rule { lease, ..rule(1, desk.alice, V4.alice, vec![destination(V4.plain, None)]) };
    desk.node.open_session(desk.now, &rule).unwrap();
    desk.connect(&at(V4.alice, 5000), &at(V4.plain, 22));
    assert_eq!(desk.wait(Duration::from_secs(14)), []);
    let told = desk.wait(Duration::from_secs(1));
    assert!(told.iter().all(|(_, packet)| is_reset(packet)));
    assert!(told.iter().any(|(egress, _)| *egress == desk.alice_side()));
    assert!(told.iter().any(|(egress, _)| *egress == Egress::Tun));
    assert_eq!(desk.node.poll_event(), Some(Event::LeaseLapsed { session: SessionId(1) }));
}

#[test]
fn flt_8_a_renewed_lease_keeps_its_flows() {
    let mut desk = Desk::new();
    let after = |desk: &Desk, secs| Some(desk.now.saturating_add(Duration::from_secs(secs)));
    let rule =
        Rule { lease: after(&desk, 15), ..rule(1, desk.alice, V4.alice, vec![destination(V4.plain, None)]) };
    desk.node.open_session(desk.now, &rule).unwrap();
    let question = udp(&at(V4.alice, 5000), &at(V4.plain, 53), b"?");
    desk.alice_sends(question.clone()).forwarded_to(Egress::Tun);
    for _ in 0..10 {
        desk.wait(Duration::from_secs(10));
        let lease = after(&desk, 15);
        assert!(desk.node.renew_lease(desk.now, SessionId(1), lease));
        desk.alice_sends(question.clone()).forwarded_to(Egress::Tun);
    }
    assert_eq!(desk.node.counters().flows_opened, 1);
}

#[test]
fn p16_without_the_nodes_own_lease_nothing_passes_and_old_flows_stay_dead() {
    let mut desk = Desk::ready();
    let question = udp(&at(V4.alice, 5000), &at(V4.plain, 53), b"?");
    desk.alice_sends(question.clone()).forwarded_to(Egress::Tun);
    let lease = desk.now.saturating_add(Duration::from_secs(15));
    desk.node.set_node_lease(desk.now, Some(lease));
    desk.alice_sends(question.clone()).forwarded_to(Egress::Tun);
    desk.now = lease;
    desk.alice_sends(question.clone()).answered();
    assert_eq!(desk.dropped(DropReason::LeaseLapsed), 1);
    desk.node.set_node_lease(desk.now, None);
    let answer = udp(&at(V4.plain, 53), &at(V4.alice, 5000), b"!");
    assert_eq!(desk.tun_brings(answer).dropped(), DropReason::NoFlow);
    desk.alice_sends(question).forwarded_to(Egress::Tun);
}

#[test]
fn cap_a_full_table_evicts_half_open_flows_first_and_never_an_established_one_within_its_share() {
    let mut desk = Desk::ready_with(NodeConfig { flows_max_v4: 8, ..NodeConfig::default() });
    let ends = desk.connect(&at(V4.alice, 4000), &at(V4.target, 22));
    for port in 1..=100 {
        desk.wait(Duration::from_millis(20));
        let syn = tcp(&at(V4.bob, port), &at(V4.lan, 80), TcpFlags::SYN, 1, 0, b"");
        desk.bob_sends(syn).forwarded_to(Egress::Tun);
    }
    assert_eq!(desk.node.counters().flows_evicted, 93);
    let data = segment(&ends.reversed(), TcpFlags::ACK, 5001, 1001, b"alive");
    desk.site_sends(data).forwarded_to(desk.alice_side());
}

#[test]
fn tmo_1_udp_idles_five_minutes_and_is_refreshed() {
    let mut desk = Desk::ready();
    let question = udp(&at(V4.alice, 5000), &at(V4.plain, 53), b"?");
    desk.alice_sends(question.clone()).forwarded_to(Egress::Tun);
    for _ in 0..5 {
        desk.wait(Duration::from_secs(290));
        desk.alice_sends(question.clone()).forwarded_to(Egress::Tun);
    }
    assert_eq!(desk.node.counters().flows_opened, 1);
    desk.wait(Duration::from_secs(320));
    assert_eq!(desk.node.flows_used().0, 0);
}

#[test]
fn tmo_4_pings_idle_a_minute() {
    let mut desk = Desk::ready();
    desk.alice_sends(ping(V4.alice, V4.plain, 7)).forwarded_to(Egress::Tun);
    desk.wait(Duration::from_secs(59));
    assert_eq!(desk.node.flows_used().0, 1);
    desk.wait(Duration::from_secs(3));
    assert_eq!(desk.node.flows_used().0, 0);
}

#[test]
fn sessions_and_flows_say_what_they_have_carried() {
    let mut desk = Desk::ready();
    let sent = desk
        .alice_sends(udp(&at(V4.alice, 5000), &at(V4.target, 53), &[0; 72]))
        .forwarded_to(desk.site_side());
    let answer = wire::udp(&ends_of(&sent).reversed(), &[0; 172]);
    desk.site_sends(answer).forwarded_to(desk.alice_side());
    let session = desk.node.sessions().find(|session| session.id == SessionId(10)).unwrap();
    assert_eq!((session.packets, session.bytes, session.flows), ([1, 1], [100, 200], 1));
    assert_eq!((session.ports, session.last_packet), (1, Some(desk.now)));
    let flow = desk.node.flows(desk.now).next().unwrap();
    assert_eq!((flow.session, flow.bytes), (Some(SessionId(10)), [100, 200]));
    assert_eq!((flow.from, flow.to), (desk.alice_side(), desk.site_side()));
}

#[test]
fn removing_a_peer_closes_what_comes_from_it_and_leaves_to_it() {
    let mut desk = Desk::ready();
    desk.connect(&at(V4.alice, 5000), &at(V4.target, 22));
    let alice = desk.alice;
    assert_eq!(desk.node.remove_peer(desk.now, alice), 6);
    desk.wait(Duration::ZERO);
    assert_eq!(desk.node.flows_used().0, 0);
    assert_eq!(desk.node.sessions().count(), 6);
}
