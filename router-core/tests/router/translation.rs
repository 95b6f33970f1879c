//! What packets are translated to: MAP-1 to MAP-11, DNAT, ANY, NAT-IFF, CSM.

use std::collections::BTreeSet;

use router_core::flow::Caps;
use router_core::nat::Snat;
use router_core::packet::{Protocol, TcpFlags};
use router_core::rules::{Destination, Dnat, Rule, RuleSnapshot, SnatPool};
use router_core::selector::{IpRange, PortRange};
use router_core::sim::wire;
use router_core::{DropReason, Egress, NodeConfig};

use crate::desk::*;

#[test]
fn dnat_and_snat_go_there_and_back() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (alice, site) = (desk.alice_side(), desk.site_side());
        let (from, to) = (at(net.alice, 5000), at(net.target, 22));
        let sent = desk.alice_sends(tcp(&from, &to, TcpFlags::SYN, 1, 0, b"")).forwarded_to(site);
        assert_ends(&sent, &at(net.router, 5000), &at(net.connector, 40_000));
        let syn_ack = segment(&ends_of(&sent).reversed(), TcpFlags::SYN.with(TcpFlags::ACK), 9, 2, b"");
        assert_ends(&desk.site_sends(syn_ack).forwarded_to(alice), &to, &from);
    }
}

#[test]
fn without_snat_the_source_stays_and_only_the_flows_replies_come_back() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let alice = desk.alice_side();
        let (from, to) = (at(net.alice, 5000), at(net.plain, 80));
        assert_ends(&desk.alice_sends(udp(&from, &to, b"?")).forwarded_to(Egress::Tun), &from, &to);
        assert_ends(&desk.tun_brings(udp(&to, &from, b"!")).forwarded_to(alice), &to, &from);
        let stray = udp(&at(net.plain, 81), &from, b"!");
        assert_eq!(desk.tun_brings(stray).dropped(), DropReason::NoFlow);
    }
}

#[test]
fn dnat_of_ranges_goes_offset_by_offset_and_is_restored_exactly() {
    let mut desk = Desk::new();
    let selector = router_core::selector::Selector::new(
        IpRange::new(ip("10.30.0.1"), ip("10.30.0.9")).unwrap(),
        Some(Protocol::UDP),
        Some(PortRange::new(100, 109).unwrap()),
    );
    let addr = IpRange::new(ip("192.168.8.11"), ip("192.168.8.19")).unwrap();
    let dnat = Some(Dnat { addr, ports: Some(PortRange::new(200, 209).unwrap()) });
    let ranged = Destination { selector: selector.unwrap(), dnat, ..destination(V4.plain, None) };
    desk.node.open_session(desk.now, &rule(1, desk.alice, V4.alice, vec![ranged])).unwrap();
    let alice = desk.alice_side();
    for (to, translated) in [
        ("10.30.0.1:100", "192.168.8.11:200"),
        ("10.30.0.5:104", "192.168.8.15:204"),
        ("10.30.0.9:109", "192.168.8.19:209"),
    ] {
        let from = at(V4.alice, 5000);
        assert_ends(&desk.alice_sends(udp(&from, to, b"?")).forwarded_to(Egress::Tun), &from, translated);
        assert_ends(&desk.tun_brings(udp(translated, &from, b"!")).forwarded_to(alice), to, &from);
    }
    for outside in ["10.30.0.10:100", "10.30.0.1:110"] {
        desk.alice_sends(udp(&at(V4.alice, 5000), outside, b"?")).answered();
    }
}

#[test]
fn nat_iff_one_source_port_towards_one_far_end_becomes_two() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (alice, bob, site) = (desk.alice_side(), desk.bob_side(), desk.site_side());
        let to = at(net.target, 53);
        let first = desk.alice_sends(udp(&at(net.alice, 5000), &to, b"a")).forwarded_to(site);
        let second = desk.bob_sends(udp(&at(net.bob, 5000), &to, b"b")).forwarded_to(site);
        let (first, second) = (ends_of(&first), ends_of(&second));
        assert_eq!(first.ports.source, 5000, "MAP-5: kept while free");
        assert_ne!(first.ports.source, second.ports.source);
        let answer = desk.site_sends(wire::udp(&second.reversed(), b"B")).forwarded_to(bob);
        assert_ends(&answer, &to, &at(net.bob, 5000));
        let answer = desk.site_sends(wire::udp(&first.reversed(), b"A")).forwarded_to(alice);
        assert_ends(&answer, &to, &at(net.alice, 5000));
    }
}

#[test]
fn nat_iff_two_targets_that_collapse_into_one_destination_stay_two_flows() {
    let mut desk = Desk::new();
    let collapse = Some(Dnat { addr: IpRange::single(ip(V4.plain)), ports: None });
    let both = Destination { dnat: collapse, ..destination("10.30.0.1-10.30.0.2", None) };
    desk.node.open_session(desk.now, &rule(1, desk.alice, V4.alice, vec![both])).unwrap();
    let alice = desk.alice_side();
    let from = at(V4.alice, 5000);
    let first = desk.alice_sends(udp(&from, "10.30.0.1:9", b"?")).forwarded_to(Egress::Tun);
    let second = desk.alice_sends(udp(&from, "10.30.0.2:9", b"?")).forwarded_to(Egress::Tun);
    let answer = wire::udp(&ends_of(&second).reversed(), b"!");
    assert_ends(&desk.tun_brings(answer).forwarded_to(alice), "10.30.0.2:9", &from);
    let answer = wire::udp(&ends_of(&first).reversed(), b"!");
    assert_ends(&desk.tun_brings(answer).forwarded_to(alice), "10.30.0.1:9", &from);
}

#[test]
fn map_4_ports_keep_their_class() {
    let mut desk = Desk::ready();
    for client in 0..40 {
        for (port, low) in [(900, true), (5000, false)] {
            let packet = udp(&at(V4.alice, port + client), &at(V4.lan, 53), b"?");
            let mine = ends_of(&desk.alice_sends(packet).forwarded_to(Egress::Tun)).ports.source;
            let packet = udp(&at(V4.bob, port + client), &at(V4.lan, 53), b"?");
            let other = ends_of(&desk.bob_sends(packet).forwarded_to(Egress::Tun)).ports.source;
            assert_eq!((mine < 1024, other < 1024), (low, low), "{mine} {other}");
        }
    }
}

#[test]
fn map_7_exhausted_ports_refuse_and_overwrite_nothing() {
    let mut desk = Desk::with(NodeConfig::default());
    let caps =
        Caps { flows_max: 100_000, ports_max: 100_000, new_flows_per_sec: 1_000_000, ..Caps::default() };
    let to = destination(V4.lan, Some((Protocol::UDP, 53)));
    let rule =
        |id, peer, source| Rule { caps, snat: Snat::Pool(LAN_POOL), ..rule(id, peer, source, vec![to]) };
    let rules = vec![rule(1, desk.alice, V4.alice), rule(2, desk.bob, V4.bob)];
    desk.node.apply(desk.now, &RuleSnapshot { pools: pools(), rules }).unwrap();
    let alice_sends =
        |desk: &mut Desk, port| desk.alice_sends(udp(&at(V4.alice, port), &at(V4.lan, 53), b"?"));
    for port in 1..1024 {
        alice_sends(&mut desk, port).forwarded_to(Egress::Tun);
    }
    let refused = desk.bob_sends(udp(&at(V4.bob, 1), &at(V4.lan, 53), b"?"));
    assert_prohibited(&refused.answered());
    assert_eq!(desk.dropped(DropReason::NatPortsExhausted), 1);
    let alice = desk.alice_side();
    let answer = udp(&at(V4.lan, 53), &at(V4.egress, 1), b"!");
    assert_ends(&desk.tun_brings(answer).forwarded_to(alice), &at(V4.lan, 53), &at(V4.alice, 1));
}

#[test]
fn map_8_one_sessions_caps_leave_another_its_share() {
    let mut desk = Desk::new();
    let caps = Caps { flows_max: 5, half_open_max: 2, ports_max: 4, new_flows_per_sec: 1000 };
    let open = |desk: &mut Desk, id, peer, source| {
        let rule = Rule { caps, ..rule(id, peer, source, vec![destination(V4.plain, None)]) };
        desk.node.open_session(desk.now, &rule).unwrap();
    };
    let (alice, bob) = (desk.alice, desk.bob);
    open(&mut desk, 1, alice, V4.alice);
    open(&mut desk, 2, bob, V4.bob);
    let syn = |client: &str, port| tcp(&at(client, port), &at(V4.plain, 80), TcpFlags::SYN, 1, 0, b"");
    desk.alice_sends(syn(V4.alice, 1)).forwarded_to(Egress::Tun);
    desk.alice_sends(syn(V4.alice, 2)).forwarded_to(Egress::Tun);
    assert_prohibited(&desk.alice_sends(syn(V4.alice, 3)).answered());
    assert_eq!(desk.dropped(DropReason::CapHalfOpen), 1);
    let datagram = |client: &str, port| udp(&at(client, port), &at(V4.plain, 53), b"?");
    for port in 1..=3 {
        desk.alice_sends(datagram(V4.alice, port)).forwarded_to(Egress::Tun);
    }
    desk.alice_sends(datagram(V4.alice, 4)).answered();
    assert_eq!(desk.dropped(DropReason::CapFlows), 1);
    for port in 1..=2 {
        desk.bob_sends(syn(V4.bob, port)).forwarded_to(Egress::Tun);
    }
}

#[test]
fn map_8_new_flows_per_second_are_capped() {
    let mut desk = Desk::new();
    let caps = Caps { new_flows_per_sec: 10, ..Caps::default() };
    let rule = Rule { caps, ..rule(1, desk.alice, V4.alice, vec![destination(V4.plain, None)]) };
    desk.node.open_session(desk.now, &rule).unwrap();
    let passed = |desk: &mut Desk, ports: std::ops::Range<u16>| {
        let one = |port| desk.alice_sends(udp(&at(V4.alice, port), &at(V4.plain, 53), b"?"));
        ports.map(one).filter(|it| matches!(it.verdict, router_core::Verdict::Forward(_))).count()
    };
    assert_eq!(passed(&mut desk, 1..100), 10);
    desk.wait(std::time::Duration::from_secs(2));
    assert_eq!(passed(&mut desk, 100..200), 10);
    assert!(desk.dropped(DropReason::CapNewFlows) > 100);
}

#[test]
fn map_9_hairpin_works_with_the_external_source() {
    for (net, external) in [(V4, "198.51.100.1"), (V6, "fd51::1")] {
        let mut desk = Desk::new();
        let rule = |id, peer, source| Rule {
            snat: Snat::Pool(PEER_TO_PEER_POOL),
            ..rule(id, peer, source, vec![destination(net.lan, None), destination(external, None)])
        };
        let rules = vec![rule(1, desk.alice, net.alice), rule(2, desk.bob, net.bob)];
        desk.node.apply(desk.now, &RuleSnapshot { pools: pools(), rules }).unwrap();
        let (alice, bob) = (desk.alice_side(), desk.bob_side());
        let server = at(net.lan, 3478);
        let mapped = |packet: Vec<u8>| at(external, ends_of(&packet).ports.source);
        let first = desk.alice_sends(udp(&at(net.alice, 5000), &server, b"?")).forwarded_to(Egress::Tun);
        let alice_outside = mapped(first);
        let second = desk.bob_sends(udp(&at(net.bob, 5000), &server, b"?")).forwarded_to(Egress::Tun);
        let bob_outside = mapped(second);
        let sent = desk.alice_sends(udp(&at(net.alice, 5000), &bob_outside, b"hi")).forwarded_to(bob);
        assert_ends(&sent, &alice_outside, &at(net.bob, 5000));
        let answer = desk.bob_sends(udp(&at(net.bob, 5000), &alice_outside, b"ho")).forwarded_to(alice);
        assert_ends(&answer, &bob_outside, &at(net.alice, 5000));
    }
}

#[test]
fn map_11_datagrams_behind_a_shared_address_get_identifications_of_their_own() {
    let mut desk = Desk::ready();
    let packet =
        |client: &str, port| wire::with_identification(&udp(&at(client, port), &at(V4.lan, 53), b"?"), 7);
    let identification = |packet: Vec<u8>| u16::from_be_bytes([packet[4], packet[5]]);
    let mut seen = BTreeSet::new();
    for port in 1..=50 {
        seen.insert(identification(desk.alice_sends(packet(V4.alice, port)).forwarded_to(Egress::Tun)));
        seen.insert(identification(desk.bob_sends(packet(V4.bob, port)).forwarded_to(Egress::Tun)));
    }
    assert_eq!(seen.len(), 100);
    let atomic = wire::with_dont_fragment(&packet(V4.alice, 99));
    assert_eq!(identification(desk.alice_sends(atomic).forwarded_to(Egress::Tun)), 7);
}

#[test]
fn any_protocols_without_ports_are_told_apart_by_addresses_only() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let alice = desk.alice_side();
        for protocol in [Protocol::GRE, Protocol::ESP, Protocol::SCTP, Protocol(99)] {
            let sent =
                desk.alice_sends(other(protocol, net.alice, net.lan, b"inside")).forwarded_to(Egress::Tun);
            assert_eq!(addresses_of(&sent), wire::addresses(ip(net.egress), ip(net.lan)));
            assert!(sent.ends_with(b"inside"), "its own checksum is left alone");
            assert_prohibited(&desk.bob_sends(other(protocol, net.bob, net.lan, b"inside")).answered());
            let answer = other(protocol, net.lan, net.egress, b"back");
            let answer = desk.tun_brings(answer).forwarded_to(alice);
            assert_eq!(addresses_of(&answer), wire::addresses(ip(net.lan), ip(net.alice)));
        }
        assert_eq!(desk.dropped(DropReason::NatPairTaken), 4);
    }
}

#[test]
fn ext_1_protocols_without_ports_never_match_a_rule_with_ports() {
    for net in BOTH {
        let mut desk = Desk::new();
        let ports = destination(net.plain, Some((Protocol::UDP, 0)));
        desk.node.open_session(desk.now, &rule(1, desk.alice, net.alice, vec![ports])).unwrap();
        assert_prohibited(&desk.alice_sends(other(Protocol::ESP, net.alice, net.plain, &[0; 16])).answered());
    }
}

#[test]
fn csm_1_a_corrupt_packet_stays_corrupt() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let site = desk.site_side();
        let good = udp(&at(net.alice, 5000), &at(net.target, 53), b"?");
        let sent = desk.alice_sends(wire::corrupted(&good)).forwarded_to(site);
        assert!(!wire::checksums_are_right(&sent));
        assert!(wire::checksums_are_right(&wire::corrupted(&sent)), "by exactly the same bit");
    }
}

#[test]
fn csm_2_no_udp_checksum_stays_none_over_v4_and_is_refused_over_v6() {
    let mut desk = Desk::ready();
    let site = desk.site_side();
    let without =
        |net: Net| wire::without_udp_checksum(&udp(&at(net.alice, 5000), &at(net.target, 53), b"?"));
    let sent = desk.alice_sends(without(V4)).forwarded_to(site);
    assert_eq!(sent[26..28], [0, 0]);
    assert_eq!(desk.alice_sends(without(V6)).dropped(), DropReason::UdpChecksumMissing);
}

#[test]
fn no_payload_changes_translation() {
    let mut desk = Desk::ready();
    let ends = desk.connect(&at(V4.alice, 5000), &at(V4.target, 22));
    let port = TcpFlags::PSH.with(TcpFlags::ACK);
    let text = b"PORT 10,77,0,2,200,10\r\n";
    let sent = desk
        .alice_sends(tcp(&at(V4.alice, 5000), &at(V4.target, 22), port, 1001, 5001, text))
        .forwarded_to(desk.site_side());
    assert!(sent.ends_with(text));
    let active = router_core::packet::Ends {
        ports: router_core::packet::Ports { source: 20, destination: 51_210 },
        ..ends.reversed()
    };
    assert_eq!(desk.site_sends(segment(&active, TcpFlags::SYN, 1, 0, b"")).dropped(), DropReason::NoFlow);
}

#[test]
fn a_changed_pool_leaves_flows_their_translation() {
    let mut desk = Desk::ready();
    let alice = desk.alice_side();
    let sent = desk.alice_sends(udp(&at(V4.alice, 5000), &at(V4.lan, 53), b"?")).forwarded_to(Egress::Tun);
    let mut pools = pools();
    pools[1] = SnatPool { addresses: vec![ip("192.168.7.201")], ..pools[1].clone() };
    desk.node.set_pools(&pools).unwrap();
    let answer = wire::udp(&ends_of(&sent).reversed(), b"!");
    desk.tun_brings(answer).forwarded_to(alice);
    let sent = desk.alice_sends(udp(&at(V4.alice, 5001), &at(V4.lan, 53), b"?")).forwarded_to(Egress::Tun);
    assert_eq!(addresses_of(&sent).source(), ip("192.168.7.201"));
}
