//! Who may send where: FLT-1 to FLT-5, P1, P2, P8, P33.

use router_core::packet::{Protocol, TcpFlags};
use router_core::sim::wire;
use router_core::{DropReason, NodeConfig, Refusal, Verdict};

use crate::desk::*;

#[test]
fn flt_1_what_no_rule_allows_is_denied_and_what_one_allows_passes() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let site = desk.site_side();
        for (to, port, allowed) in [
            (net.target, 53, true),
            (net.target, 54, false),
            (net.elsewhere, 53, false),
            (net.machine, 9, true),
        ] {
            let outcome = desk.alice_sends(udp(&at(net.alice, 5000), &at(to, port), b"?"));
            match allowed {
                true => drop(outcome.forwarded_to(site)),
                false => assert_prohibited(&outcome.answered()),
            }
        }
        assert_eq!(desk.dropped(DropReason::NotAllowed), 2);
    }
}

#[test]
fn flt_1_replies_pass_only_for_an_exact_live_flow() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (alice, site) = (desk.alice_side(), desk.site_side());
        let sent = desk.alice_sends(udp(&at(net.alice, 5000), &at(net.target, 53), b"?")).forwarded_to(site);
        let outside = ends_of(&sent).ports.source;
        let answer = udp(&at(net.connector, 40_001), &at(net.router, outside), b"!");
        assert_ends(&desk.site_sends(answer).forwarded_to(alice), &at(net.target, 53), &at(net.alice, 5000));
        for (from, to) in [(40_002, outside), (40_001, outside.wrapping_add(1))] {
            let stray = udp(&at(net.connector, from), &at(net.router, to), b"!");
            assert_eq!(desk.site_sends(stray).dropped(), DropReason::NoFlow);
        }
    }
}

#[test]
fn p01_a_source_that_the_peer_does_not_own_is_dropped_before_any_state() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let site = desk.site_side();
        let sent = desk.alice_sends(udp(&at(net.alice, 5000), &at(net.target, 53), b"?")).forwarded_to(site);
        for packet in [
            udp(&at(net.alice, 5000), &at(net.target, 53), b"?"),
            udp(&at(net.elsewhere, 5000), &at(net.target, 53), b"?"),
            port_unreachable(net.alice, &udp(&at(net.target, 53), &at(net.alice, 5000), b"!")),
            port_unreachable(net.connector, &sent),
        ] {
            assert_eq!(desk.bob_sends(packet).dropped(), DropReason::SourceNotAssigned);
        }
        assert_eq!(desk.node.flows_used().0, 1);
    }
}

#[test]
fn p01_who_has_a_tunnel_does_not_come_in_by_the_tun() {
    for net in BOTH {
        let mut desk = Desk::ready_with(NodeConfig {
            tun_clients: vec![crate::desk::net("0.0.0.0/0"), crate::desk::net("::/0")],
            ..NodeConfig::default()
        });
        let packet = udp(&at(net.alice, 5000), &at(net.target, 53), b"?");
        assert_eq!(desk.tun_brings(packet).dropped(), DropReason::SourceNotAssigned);
    }
}

#[test]
fn flt_3_martians_are_dropped_in_silence() {
    let mut desk = Desk::ready();
    for source in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.0.1"] {
        let packet = udp(&at(source, 1), &at(V4.target, 53), b"?");
        assert_eq!(desk.alice_sends(packet).dropped(), DropReason::MartianSource, "{source}");
    }
    for source in ["::", "::1", "::ffff:10.77.0.2", "fe80::1", "ff02::1"] {
        let packet = udp(&at(source, 1), &at(V6.target, 53), b"?");
        assert_eq!(desk.alice_sends(packet).dropped(), DropReason::MartianSource, "{source}");
    }
    for (source, destination) in [(V4.alice, "224.0.0.251"), (V4.alice, "127.0.0.1"), (V6.alice, "ff02::fb")]
    {
        let packet = udp(&at(source, 1), &at(destination, 53), b"?");
        assert_eq!(desk.alice_sends(packet).dropped(), DropReason::MartianDestination, "{destination}");
    }
}

#[test]
fn flt_3_nobody_else_is_us() {
    for net in BOTH {
        let mut desk = Desk::ready();
        for own in [net.router, net.egress] {
            let packet = udp(&at(own, 1), &at(net.target, 53), b"?");
            assert_eq!(desk.tun_brings(packet.clone()).dropped(), DropReason::SourceIsOurs);
            assert_eq!(desk.alice_sends(packet).dropped(), DropReason::SourceIsOurs);
        }
    }
}

#[test]
fn flt_4_each_rule_says_how_it_refuses() {
    for net in BOTH {
        for (deny, tcp_hears, udp_hears) in [
            (Refusal::Silent, None, None),
            (Refusal::Prohibited, Some("icmp"), Some("icmp")),
            (Refusal::Reset, Some("reset"), Some("icmp")),
        ] {
            let mut desk = Desk::new();
            let allowed = vec![destination(net.plain, Some((Protocol::TCP, 80)))];
            let rule = router_core::rules::Rule { deny, ..rule(1, desk.alice, net.alice, allowed) };
            desk.node.open_session(desk.now, &rule).unwrap();
            let (from, to) = (at(net.alice, 5000), at(net.plain, 81));
            let hears = |outcome: Outcome| match outcome.verdict {
                Verdict::Drop(DropReason::NotAllowed) => None,
                _ => {
                    let answer = outcome.answered();
                    assert_eq!(addresses_of(&answer).destination(), ip(net.alice));
                    Some(if wire_protocol(&answer) == 6 { "reset" } else { "icmp" })
                }
            };
            assert_eq!(hears(desk.alice_sends(tcp(&from, &to, TcpFlags::SYN, 1, 0, b""))), tcp_hears);
            assert_eq!(hears(desk.alice_sends(udp(&from, &to, b"?"))), udp_hears);
        }
    }
}

fn wire_protocol(packet: &[u8]) -> u8 {
    if packet[0] >> 4 == 4 { packet[9] } else { packet[6] }
}

#[test]
fn flt_4_a_refused_syn_gets_the_reset_that_its_sender_believes() {
    let mut desk = Desk::with(NodeConfig { refusal: Refusal::Reset, ..NodeConfig::default() });
    let (from, to) = (at(V4.alice, 5000), at(V4.elsewhere, 80));
    let reset = desk.alice_sends(tcp(&from, &to, TcpFlags::SYN, 77, 0, b"")).answered();
    assert_ends(&reset, &to, &from);
    assert_eq!(reset[33], TcpFlags::RST.with(TcpFlags::ACK).0);
    assert_eq!(reset[28..32], 78_u32.to_be_bytes());
    let reset = tcp(&from, &to, TcpFlags::RST, 78, 0, b"");
    assert_eq!(desk.alice_sends(reset).dropped(), DropReason::NotAllowed);
}

#[test]
fn flt_4_strangers_on_the_tun_hear_nothing() {
    for net in BOTH {
        let mut desk = Desk::ready();
        for to in [net.egress, net.alice, net.target, net.elsewhere] {
            let packet = udp(&at(net.lan, 53), &at(to, 5000), b"!");
            assert_eq!(desk.tun_brings(packet).dropped(), DropReason::NoFlow);
        }
    }
}

#[test]
fn flt_5_errors_pieces_and_multicast_are_never_answered() {
    let mut desk = Desk::new();
    let about = udp(&at(V4.elsewhere, 1), &at(V4.alice, 2), b"?");
    let packet = udp(&at(V4.alice, 2), &at(V4.elsewhere, 1), &[0; 64]);
    let range = wire::PieceRange { start: 32, end: 72, is_last: true };
    for packet in [
        port_unreachable(V4.alice, &about),
        wire::icmp(&wire::addresses(ip(V4.alice), ip(V4.elsewhere)), 5, 1, [0; 4], &about),
        udp(&at(V4.alice, 2), "224.0.0.5:1", b"?"),
    ] {
        desk.alice_sends(packet).dropped();
    }
    assert_eq!(desk.alice_sends(wire::piece(&packet, range, 1)).verdict, Verdict::Parked);
}

#[test]
fn gen_1_refusals_are_limited_per_source_and_counted() {
    let mut desk = Desk::new();
    let packet = udp(&at(V4.alice, 5000), &at(V4.elsewhere, 53), b"?");
    let answered = (0..1000).filter(|_| desk.alice_sends(packet.clone()).verdict == Verdict::Reply).count();
    assert_eq!(answered, 50);
    assert_eq!(desk.node.counters().answers_withheld, 950);
    assert_eq!(desk.dropped(DropReason::NotAllowed), 1000);
    let other = udp(&at(V4.bob, 5000), &at(V4.elsewhere, 53), b"?");
    assert_eq!(desk.bob_sends(other).verdict, Verdict::Reply);
}

#[test]
fn p02_a_rule_for_one_source_is_none_for_another() {
    for net in BOTH {
        let mut desk = Desk::new();
        let allowed = vec![destination(net.plain, None)];
        desk.node.open_session(desk.now, &rule(1, desk.alice, net.alice, allowed)).unwrap();
        let packet = udp(&at(net.bob, 5000), &at(net.plain, 53), b"?");
        assert_prohibited(&desk.bob_sends(packet).answered());
        let packet = udp(&at(net.alice, 5000), &at(net.plain, 53), b"?");
        desk.alice_sends(packet).forwarded_to(router_core::Egress::Tun);
    }
}

#[test]
fn p08_a_reply_must_come_in_where_its_flow_went_out() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let sent = desk
            .alice_sends(udp(&at(net.alice, 5000), &at(net.lan, 53), b"?"))
            .forwarded_to(router_core::Egress::Tun);
        let mut stolen = desk.node.device().peer(desk.bob).unwrap().allowed_ips().collect::<Vec<_>>();
        stolen.push(crate::desk::net(net.lan));
        let bob = desk.bob;
        desk.node.device_mut().replace_allowed_ips(bob, stolen).unwrap();
        let answer = wire::udp(&ends_of(&sent).reversed(), b"!");
        assert_eq!(desk.bob_sends(answer).dropped(), DropReason::WrongIngress);
    }
}

#[test]
fn p33_overlay_addresses_do_not_exist_outside_their_tunnels() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let site = desk.site_side();
        let sent = desk.alice_sends(udp(&at(net.alice, 5000), &at(net.target, 53), b"?")).forwarded_to(site);
        let reply = wire::udp(&ends_of(&sent).reversed(), b"!");
        for packet in [
            ping(net.lan, net.router, 1),
            udp(&at(net.lan, 40_001), &at(net.router, ends_of(&sent).ports.source), b"!"),
            port_unreachable(net.lan, &sent),
        ] {
            assert_eq!(desk.tun_brings(packet).dropped(), DropReason::OverlayAddressOutsideTunnel);
        }
        assert_eq!(desk.tun_brings(reply).dropped(), DropReason::OverlayAddressOutsideTunnel);
    }
}

#[test]
fn a_foreign_gateways_clients_come_in_by_the_tun_and_get_their_answers_there() {
    use router_core::Egress;
    use router_core::rules::{IngressMatch, Rule, Subject};
    for (net, client) in [(V4, "10.88.0.5"), (V6, "fd88::5")] {
        let mut desk = Desk::with(NodeConfig {
            tun_clients: vec![crate::desk::net("10.88.0.0/24"), crate::desk::net("fd88::/64")],
            ..NodeConfig::default()
        });
        let subject = Subject { ingress: IngressMatch::Tun, source: crate::desk::net(client) };
        let allowed = vec![destination(net.connector, Some((Protocol::UDP, 53)))];
        let rule = Rule { subject, ..rule(1, desk.alice, net.alice, allowed) };
        desk.node.open_session(desk.now, &rule).unwrap();
        let site = desk.site_side();
        let (from, to) = (at(client, 5000), at(net.connector, 53));
        assert_ends(&desk.tun_brings(udp(&from, &to, b"?")).forwarded_to(site), &from, &to);
        assert_ends(&desk.site_sends(udp(&to, &from, b"!")).forwarded_to(Egress::Tun), &to, &from);
        assert_prohibited(&desk.tun_brings(udp(&from, &at(net.connector, 54), b"?")).answered());
    }
}

#[test]
fn flt_1_a_rule_for_any_ingress_does_not_open_the_tun_to_strangers() {
    use router_core::rules::{IngressMatch, Rule, Subject};
    let mut desk = Desk::new();
    let subject = Subject { ingress: IngressMatch::Any, source: net("0.0.0.0/0") };
    let allowed = vec![destination(V4.connector, None)];
    let rule = Rule { subject, ..rule(1, desk.alice, V4.alice, allowed) };
    desk.node.open_session(desk.now, &rule).unwrap();
    let packet = udp(&at(V4.lan, 5000), &at(V4.connector, 53), b"?");
    assert_eq!(desk.tun_brings(packet).dropped(), DropReason::NoFlow);
}

#[test]
fn explain_says_what_would_happen_and_changes_nothing() {
    use router_core::rules::SessionId;
    use router_core::{Explanation, Ingress};
    let mut desk = Desk::ready();
    let ingress = Ingress::Peer(desk.alice);
    let (site, now) = (desk.site_side(), desk.now);
    let packet = udp(&at(V4.alice, 5000), &at(V4.target, 53), b"?");
    let Explanation::Opens { session, destination, to, egress, .. } =
        desk.node.explain(now, ingress, &packet)
    else {
        panic!("opens a flow");
    };
    assert_eq!((session, destination, egress), (Some(SessionId(10)), 1, site));
    assert_eq!(to, ends(&at(V4.alice, 5000), &at(V4.connector, 40_001)));
    assert_eq!(desk.node.flows_used().0, 0);
    let sent = desk.alice_sends(packet.clone()).forwarded_to(site);
    let Explanation::Flow { session, is_reply, to, .. } = desk.node.explain(now, ingress, &packet) else {
        panic!("is part of a flow");
    };
    assert_eq!((session, is_reply, to), (Some(SessionId(10)), false, ends_of(&sent)));
    let counters = desk.node.counters().clone();
    let elsewhere = udp(&at(V4.alice, 5000), &at(V4.elsewhere, 53), b"?");
    let explanation = desk.node.explain(now, ingress, &elsewhere);
    assert!(
        matches!(explanation, Explanation::Refused { reason: DropReason::NotAllowed, .. }),
        "{explanation}"
    );
    let explanation = desk.node.explain(now, ingress, &ping(V4.alice, V4.router, 1));
    assert_eq!(explanation, Explanation::AnsweredHere);
    assert_eq!(*desk.node.counters(), counters);
}

#[test]
fn p01_a_prefix_that_moves_takes_its_source_with_it_at_once() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (alice, bob) = (desk.alice, desk.bob);
        let packet = udp(&at(net.alice, 5000), &at(net.plain, 53), b"?");
        for _ in 0..3 {
            desk.alice_sends(packet.clone()).forwarded_to(router_core::Egress::Tun);
        }
        let moves = crate::desk::net(net.alice);
        desk.node.device_mut().add_allowed_ip(bob, moves).unwrap();
        assert_eq!(desk.alice_sends(packet.clone()).dropped(), DropReason::SourceNotAssigned);
        assert_eq!(desk.bob_sends(packet.clone()).dropped(), DropReason::WrongIngress);
        desk.node.device_mut().add_allowed_ip(alice, moves).unwrap();
        desk.alice_sends(packet).forwarded_to(router_core::Egress::Tun);
    }
}

#[test]
fn looking_ahead_changes_no_verdict() {
    for net in BOTH {
        let packets: Vec<Vec<u8>> = (0..80_u16)
            .map(|number| match number % 5 {
                0 => ping(net.alice, net.plain, number),
                1 => udp(&at(net.alice, 5000 + number % 7), &at(net.target, 53), b"?"),
                2 => udp(&at(net.alice, 5000), &at(net.elsewhere, 53), b"?"),
                3 => vec![0x45; 12],
                _ => udp(&at(net.alice, 5000 + number % 3), &at(net.plain, 53), b"?"),
            })
            .collect();
        let (mut plain, mut ahead) = (Desk::ready(), Desk::ready());
        let mut seen = 0;
        for (number, packet) in packets.iter().enumerate() {
            if number == seen {
                seen += ahead.node.look_ahead(packets[number..].iter().map(Vec::as_slice));
            }
            let (one, other) = (plain.alice_sends(packet.clone()), ahead.alice_sends(packet.clone()));
            assert_eq!(
                (one.verdict, one.packet, one.own),
                (other.verdict, other.packet, other.own),
                "{number}"
            );
        }
        assert_eq!(plain.node.counters(), ahead.node.counters());
    }
}

#[test]
fn explain_knows_hop_limits_and_the_next_hops_mtu_before_and_in_a_flow() {
    use router_core::packet::build::Notice;
    use router_core::{Explanation, Heard, Ingress};
    for net in BOTH {
        let mut desk = Desk::ready();
        let ingress = Ingress::Peer(desk.alice);
        let (from, to) = (at(net.alice, 5000), at(net.target, 53));
        let last_hop = wire::with_hop_limit(&udp(&from, &to, b"?"), 1);
        let too_big = wire::with_dont_fragment(&udp(&from, &to, &[0; 1420]));
        let notice = |notice| Heard::Notice(notice);
        for is_in_flow in [false, true] {
            if is_in_flow {
                desk.alice_sends(udp(&from, &to, b"?")).forwarded_to(desk.site_side());
            }
            for (packet, reason, heard) in [
                (&last_hop, DropReason::HopLimitReached, notice(Notice::HopLimitExceeded)),
                (&too_big, DropReason::TooBig, notice(Notice::TooBig { mtu_bytes: 1420 })),
            ] {
                let explanation = desk.node.explain(desk.now, ingress, packet);
                assert_eq!(explanation, Explanation::Refused { reason, heard });
                let before = desk.dropped(reason);
                desk.alice_sends(packet.clone()).answered();
                assert_eq!(desk.dropped(reason) - before, 1, "and so it is");
            }
        }
    }
}
