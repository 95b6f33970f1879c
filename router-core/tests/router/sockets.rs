//! Our own stack as a way in and out: services at our addresses, devices that the host's sockets reach.

use std::time::Duration;

use router_core::nat::Snat;
use router_core::packet::{PacketMut, Protocol, TcpFlags, Transport, build};
use router_core::rules::{
    Destination, Dnat, EgressChoice, IngressMatch, Rule, RuleSnapshot, SessionId, Subject,
};
use router_core::selector::{IpRange, PortRange};
use router_core::{DropReason, Egress, Ingress, NodeConfig, NodeTransmit, Offload, Verdict};
use wg_proto::UnixTime;

use crate::desk::*;

const SESSION: u128 = 1;

/// A desk without a TUN whose node has a stack, and one session of alice: to a device, sources translated to ours.
fn desk(net: Net, destinations: Vec<Destination>) -> Desk {
    let mut desk = Desk::with_stack();
    let rule = Rule { snat: Snat::Pool(OVERLAY_POOL), ..rule(SESSION, desk.alice, net.alice, destinations) };
    desk.node.apply(desk.now, &RuleSnapshot { pools: pools(), rules: vec![rule] }).unwrap();
    desk
}

fn to_stack(to: &str, port: Option<(Protocol, u16)>) -> Destination {
    Destination { egress: EgressChoice::Sockets, ..destination(to, port) }
}

#[test]
fn a_device_behind_sockets_is_spoken_to_by_us_and_answers_to_the_client() {
    for net in BOTH {
        let mut desk = desk(net, vec![to_stack(net.lan, None)]);
        let ends = desk.connect(&at(net.alice, 5000), &at(net.lan, 22));
        assert_eq!(ends.addresses.source(), ip(net.router));
        assert_eq!((ends.addresses.destination(), ends.ports.destination), (ip(net.lan), 22));
        let alice = desk.alice_side();
        let data = segment(&ends.reversed(), TcpFlags::ACK, 5001, 1001, b"hello");
        let heard = desk.take(Ingress::Sockets, data).forwarded_to(alice);
        assert_ends(&heard, &at(net.lan, 22), &at(net.alice, 5000));
    }
}

#[test]
fn two_ways_to_one_device_do_not_meet_in_one_tuple() {
    for net in BOTH {
        let device = Dnat { addr: IpRange::single(ip(net.plain)), ports: Some(PortRange::single(22)) };
        let way = |to| Destination { dnat: Some(device), ..to_stack(to, Some((Protocol::TCP, 22))) };
        let mut desk = desk(net, vec![way(net.target), way(net.machine)]);
        let one = desk.connect(&at(net.alice, 5000), &at(net.target, 22));
        let other = desk.connect(&at(net.alice, 5000), &at(net.machine, 22));
        assert_eq!(one.addresses.destination(), other.addresses.destination());
        assert_ne!(one.ports.source, other.ports.source);
    }
}

#[test]
fn a_device_may_be_this_very_host_where_a_rule_says_so() {
    for (net, loopback) in [(V4, "127.0.0.1"), (V6, "::1")] {
        let device = Dnat { addr: IpRange::single(ip(loopback)), ports: None };
        let mut desk = desk(
            net,
            vec![Destination { dnat: Some(device), ..to_stack(net.target, Some((Protocol::TCP, 80))) }],
        );
        let ends = desk.connect(&at(net.alice, 5000), &at(net.target, 80));
        assert_eq!(ends.addresses.destination(), ip(loopback));
        let told = desk.alice_sends(tcp(&at(net.alice, 5001), &at(loopback, 80), TcpFlags::SYN, 1, 0, b""));
        assert_eq!(told.dropped(), DropReason::MartianDestination, "nobody asks for it by that name");
    }
}

#[test]
fn a_service_at_our_address_is_reached_by_rule_and_by_nothing_else() {
    for net in BOTH {
        let mut desk = desk(net, vec![to_stack(net.router, Some((Protocol::TCP, 80)))]);
        let ends = desk.connect(&at(net.alice, 5000), &at(net.router, 80));
        assert_eq!(ends.addresses.destination(), ip(net.router));
        let (alice, bob) = (desk.alice_side(), desk.bob);
        let other_port = tcp(&at(net.alice, 5001), &at(net.router, 81), TcpFlags::SYN, 1, 0, b"");
        assert!(!matches!(desk.alice_sends(other_port).verdict, Verdict::Forward(_)));
        let bobs = tcp(&at(net.bob, 5000), &at(net.router, 80), TcpFlags::SYN, 1, 0, b"");
        assert_eq!(desk.take(Ingress::Peer(bob), bobs).dropped(), DropReason::NoFlow);
        desk.alice_sends(ping(net.alice, net.router, 1)).answered();
        let answer = segment(&ends.reversed(), TcpFlags::ACK, 5001, 1001, b"page");
        desk.take(Ingress::Sockets, answer).forwarded_to(alice);
    }
}

#[test]
fn p33_our_addresses_are_not_served_to_the_hosts_network() {
    for net in BOTH {
        let mut desk = desk(net, vec![to_stack(net.router, Some((Protocol::TCP, 80)))]);
        let from_lan = tcp(&at(net.plain, 5000), &at(net.router, 80), TcpFlags::SYN, 1, 0, b"");
        assert_eq!(desk.tun_brings(from_lan).dropped(), DropReason::OverlayAddressOutsideTunnel);
    }
}

#[test]
fn the_stack_opens_flows_from_our_addresses_only_and_by_rule() {
    for net in BOTH {
        let mut desk = Desk::with_stack();
        let syn = |from: &str| tcp(&at(from, 5000), &at(net.connector, 443), TcpFlags::SYN, 1, 0, b"");
        assert!(!matches!(desk.take(Ingress::Sockets, syn(net.router)).verdict, Verdict::Forward(_)));
        let subject = Subject { ingress: IngressMatch::Sockets, source: self::net(net.router) };
        let control =
            Rule { subject, ..rule(2, desk.alice, net.router, vec![destination(net.connector, None)]) };
        desk.node.open_session(desk.now, &control).unwrap();
        let site = desk.site_side();
        desk.take(Ingress::Sockets, syn(net.router)).forwarded_to(site);
        assert_eq!(desk.take(Ingress::Sockets, syn(net.plain)).dropped(), DropReason::NoFlow);
        let forged = desk.alice_sends(syn(net.router));
        assert_eq!(forged.dropped(), DropReason::SourceIsOurs);
    }
}

#[test]
fn p16_what_the_process_opens_itself_does_not_end_with_the_nodes_lease() {
    for net in BOTH {
        let mut desk = Desk::with_stack();
        let subject = Subject { ingress: IngressMatch::Sockets, source: self::net(net.router) };
        let control =
            Rule { subject, ..rule(2, desk.alice, net.router, vec![destination(net.connector, None)]) };
        desk.node.open_session(desk.now, &control).unwrap();
        let site = desk.site_side();
        let datagram = || udp(&at(net.router, 5000), &at(net.connector, 443), b"?");
        let answer = || udp(&at(net.connector, 443), &at(net.router, 5000), b"!");
        desk.take(Ingress::Sockets, datagram()).forwarded_to(site);
        desk.node.set_node_lease(desk.now, Some(desk.now));
        desk.take(Ingress::Sockets, datagram()).forwarded_to(site);
        desk.node.set_node_lease(desk.now, Some(desk.now.saturating_add(Duration::from_secs(15))));
        desk.site_sends(answer()).forwarded_to(Egress::Sockets);
        desk.node.renew_lease(desk.now, SessionId(2), Some(desk.now));
        assert!(!matches!(desk.take(Ingress::Sockets, datagram()).verdict, Verdict::Forward(_)));
    }
}

#[test]
fn where_there_is_neither_peer_nor_tun_a_route_leads_to_the_sockets() {
    for net in BOTH {
        let mut desk = desk(net, vec![destination(net.lan, None)]);
        let datagram = udp(&at(net.alice, 5000), &at(net.lan, 53), b"?");
        desk.alice_sends(datagram).forwarded_to(Egress::Sockets);
        let mut desk = self::without_stack(net);
        let stop = desk.alice_sends(udp(&at(net.alice, 5000), &at(net.lan, 53), b"?"));
        assert!(!matches!(stop.verdict, Verdict::Forward(_)));
        assert_eq!(desk.dropped(DropReason::NoRoute), 1);
    }
}

fn without_stack(net: Net) -> Desk {
    let mut desk = Desk::without_tun();
    let rule = rule(SESSION, desk.alice, net.alice, vec![to_stack(net.lan, None)]);
    desk.node.apply(desk.now, &RuleSnapshot { pools: pools(), rules: vec![rule] }).unwrap();
    desk
}

#[test]
fn flt_7_closing_a_session_resets_the_stacks_end_too() {
    for net in BOTH {
        let mut desk = desk(net, vec![to_stack(net.lan, None)]);
        let ends = desk.connect(&at(net.alice, 5000), &at(net.lan, 22));
        desk.node.close_session(desk.now, SessionId(SESSION));
        let told = desk.wait(Duration::ZERO);
        let to_stack: Vec<_> = told.iter().filter(|(egress, _)| *egress == Egress::Sockets).collect();
        assert!(!to_stack.is_empty());
        for (_, packet) in to_stack {
            let mut packet = packet.clone();
            assert_eq!(ends_of(&packet), ends);
            let packet = PacketMut::parse(&mut packet).unwrap();
            assert!(matches!(packet.transport(), Transport::Tcp(tcp) if tcp.flags.rst()));
        }
    }
}

#[test]
fn what_the_node_tells_the_stack_comes_as_a_packet_of_its_own_kind() {
    let mut desk = desk(V4, vec![to_stack(V4.lan, None)]);
    desk.connect(&at(V4.alice, 5000), &at(V4.lan, 22));
    desk.node.close_session(desk.now, SessionId(SESSION));
    desk.node.handle_timeout(desk.now);
    let mut buffer = vec![0; 2000];
    let mut lengths = Vec::new();
    while let Some(sent) = desk.node.poll_transmit(desk.now, UnixTime::new(0, 0), &mut buffer) {
        if let NodeTransmit::Sockets { len } = sent {
            lengths.push(len);
        }
    }
    assert!(lengths.iter().all(|len| *len == 40) && !lengths.is_empty(), "{lengths:?}");
}

#[test]
fn errors_from_behind_the_sockets_reach_the_client_in_its_own_words() {
    for net in BOTH {
        let mut desk = desk(net, vec![to_stack(net.lan, None)]);
        let asked = desk.alice_sends(udp(&at(net.alice, 5000), &at(net.lan, 53), b"?"));
        let mut sent = asked.forwarded_to(Egress::Sockets);
        let mut error = [0; build::BUILT_BYTES_MAX];
        let notice = build::Notice::Unreachable(build::Unreachable::Port);
        let len = build::icmp_error(&PacketMut::parse(&mut sent).unwrap(), ip(net.lan), notice, &mut error);
        let alice = desk.alice_side();
        let told = desk.take(Ingress::Sockets, error[..len.unwrap()].to_vec()).forwarded_to(alice);
        assert_ends(quote_of(&told), &at(net.alice, 5000), &at(net.lan, 53));
    }
}

#[test]
fn nothing_is_too_long_for_the_stack_and_what_it_sends_is_cut_to_the_tunnel() {
    let mut desk = desk(V4, vec![to_stack(V4.lan, None)]);
    let ends = desk.connect(&at(V4.alice, 5000), &at(V4.lan, 22));
    let long = segment(&ends.reversed(), TcpFlags::ACK, 5001, 1001, &[7; 3000]);
    let whole = desk.take(Ingress::Sockets, long.clone());
    assert!(matches!(whole.verdict, Verdict::Forward(forward) if forward.fragment_to == Some(1420)));
    let cut = desk.take_offloaded(Ingress::Sockets, long, Offload::Segments { payload_bytes: 1000 });
    assert!(matches!(cut.verdict, Verdict::Forward(forward) if forward.egress == desk.alice_side()));
    let alice = ends_of(&cut.packet);
    let up = segment(&alice.reversed(), TcpFlags::ACK, 1001, 5001, &[7; 9000]);
    desk.alice_sends(up).forwarded_to(Egress::Sockets);
}

#[test]
fn an_interface_without_a_tun_hands_its_packets_to_the_stack() {
    for net in BOTH {
        let config = NodeConfig { has_sockets: true, ..NodeConfig::interface() };
        let mut desk = Desk::bare(config);
        let packet = udp(&at(net.alice, 5000), &at(net.router, 53), b"?");
        desk.alice_sends(packet).forwarded_to(Egress::Sockets);
        let back = udp(&at(net.router, 53), &at(net.alice, 5000), b"!");
        let alice = desk.alice_side();
        desk.take(Ingress::Sockets, back).forwarded_to(alice);
    }
}
