//! ICMP errors find their flow and go back through its translation: ICE-1 to ICE-12, TMO-5, TMO-6, P6.

use std::time::Duration;

use router_core::packet::{Ends, TcpFlags};
use router_core::sim::wire;
use router_core::{DropReason, Egress};

use crate::desk::*;

/// A flow of UDP through both translations, as the connector sees its packet.
fn asked(desk: &mut Desk, net: Net) -> Vec<u8> {
    let site = desk.site_side();
    desk.alice_sends(udp(&at(net.alice, 5000), &at(net.target, 53), b"a question")).forwarded_to(site)
}

#[test]
fn ice_5_the_client_sees_its_own_packet_quoted_and_the_target_speak() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let alice = desk.alice_side();
        let seen = asked(&mut desk, net);
        let error = desk.site_sends(port_unreachable(net.connector, &seen)).forwarded_to(alice);
        assert!(wire::checksums_are_right(&error));
        assert_eq!(addresses_of(&error), wire::addresses(ip(net.target), ip(net.alice)));
        assert_eq!(kind_of(&error), if ip(net.alice).is_ipv4() { (3, 3) } else { (1, 4) });
        let as_sent = udp(&at(net.alice, 5000), &at(net.target, 53), b"a question");
        let quote = wire::with_identification(quote_of(&error), 0);
        assert_eq!(quote, wire::with_identification(&wire::with_hop_limit(&as_sent, wire::HOP_LIMIT - 1), 0));
    }
}

#[test]
fn ice_5_a_hop_behind_no_translation_speaks_for_itself() {
    for (net, hop) in [(V4, "192.168.99.1"), (V6, "fd98::1")] {
        let mut desk = Desk::ready();
        let alice = desk.alice_side();
        let seen =
            desk.alice_sends(udp(&at(net.alice, 5000), &at(net.plain, 53), b"?")).forwarded_to(Egress::Tun);
        let error = desk.tun_brings(icmp_error(hop, &seen, (11, 0), (3, 0), 0)).forwarded_to(alice);
        assert_eq!(addresses_of(&error), wire::addresses(ip(hop), ip(net.alice)));
        let seen =
            desk.alice_sends(udp(&at(net.alice, 5000), &at(net.lan, 53), b"?")).forwarded_to(Egress::Tun);
        let error = desk.tun_brings(icmp_error(hop, &seen, (11, 0), (3, 0), 0)).forwarded_to(alice);
        assert_eq!(addresses_of(&error), wire::addresses(ip(hop), ip(net.alice)));
    }
}

#[test]
fn ice_5_an_error_from_the_client_leaves_from_the_public_mapping() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (alice, site) = (desk.alice_side(), desk.site_side());
        let seen = ends_of(&asked(&mut desk, net));
        let answer = desk.site_sends(wire::udp(&seen.reversed(), b"an answer")).forwarded_to(alice);
        let error = desk.alice_sends(port_unreachable(net.alice, &answer)).forwarded_to(site);
        assert_eq!(addresses_of(&error), wire::addresses(ip(net.router), ip(net.connector)));
        assert!(wire::checksums_are_right(&error));
        assert_ends(quote_of(&error), &at(net.connector, 40_001), &at(net.router, seen.ports.source));
    }
}

#[test]
fn ice_6_eight_bytes_of_the_upper_layer_are_enough() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (alice, site) = (desk.alice_side(), desk.site_side());
        let (from, to) = (at(net.alice, 5000), at(net.target, 22));
        let seen = desk.alice_sends(tcp(&from, &to, TcpFlags::SYN, 1000, 0, b"")).forwarded_to(site);
        let quote = &seen[..wire::header_len(&seen) + 8];
        let error = desk.site_sends(port_unreachable(net.connector, quote)).forwarded_to(alice);
        assert!(wire::checksums_are_right(&error));
        let quote = quote_of(&error);
        let at = wire::header_len(quote);
        assert_eq!(quote[at..at + 4], [5000_u16.to_be_bytes(), 22_u16.to_be_bytes()].concat());
        assert_eq!(quote.len(), at + 8);
    }
}

#[test]
fn ice_1_wrong_checksums_outside_or_in_the_quoted_header_are_dropped_in_silence() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let seen = asked(&mut desk, net);
        let corrupted = wire::corrupted(&port_unreachable(net.connector, &seen));
        assert_eq!(desk.site_sends(corrupted).dropped(), DropReason::IcmpErrorChecksum);
    }
    let mut desk = Desk::ready();
    let mut seen = asked(&mut desk, V4);
    seen[10] ^= 1;
    assert_eq!(
        desk.site_sends(port_unreachable(V4.connector, &seen)).dropped(),
        DropReason::IcmpErrorChecksum
    );
    // The quoted upper-layer checksum is not verified: hosts and hops change it.
    let mut seen = asked(&mut desk, V4);
    seen[26] ^= 1;
    desk.site_sends(port_unreachable(V4.connector, &seen)).forwarded_to(desk.alice_side());
}

#[test]
fn ice_7_the_error_must_be_addressed_to_the_quoted_packets_sender() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let seen = asked(&mut desk, net);
        let to = wire::addresses(ip(net.connector), ip(net.egress));
        let (kind, code) = if ip(net.alice).is_ipv4() { (3, 3) } else { (1, 4) };
        let error = wire::icmp(&to, kind, code, [0; 4], &seen);
        assert_eq!(desk.site_sends(error).dropped(), DropReason::IcmpErrorMisaddressed);
    }
}

#[test]
fn ice_8_a_quoted_sequence_number_outside_the_window_drops_the_error() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (from, to) = (at(net.alice, 5000), at(net.target, 22));
        let ends = desk.connect(&from, &to);
        let error =
            |sequence| port_unreachable(net.connector, &segment(&ends, TcpFlags::ACK, sequence, 5001, b"x"));
        assert_eq!(desk.site_sends(error(0x5000_0000)).dropped(), DropReason::IcmpErrorOutsideWindow);
        let data = tcp(&from, &to, TcpFlags::ACK, 1001, 5001, b"in flight");
        desk.alice_sends(data).forwarded_to(desk.site_side());
        desk.site_sends(error(1001)).forwarded_to(desk.alice_side());
    }
}

#[test]
fn ice_9_impossible_path_mtus_are_ignored() {
    for (net, mtus) in [
        (V4, [(67, false), (68, true), (1000, false), (999, true)]),
        (V6, [(1279, false), (1280, true), (1400, false), (1399, true)]),
    ] {
        let mut desk = Desk::ready();
        let (alice, site) = (desk.alice_side(), desk.site_side());
        let len = if ip(net.alice).is_ipv4() { 1000 } else { 1400 };
        let headers = if ip(net.alice).is_ipv4() { 28 } else { 48 };
        let sent = udp(&at(net.alice, 5000), &at(net.target, 53), &vec![0; len - headers]);
        let seen = desk.alice_sends(sent).forwarded_to(site);
        for (mtu, is_possible) in mtus {
            let about = &seen[..seen.len().min(500)];
            let outcome = desk.site_sends(icmp_error(net.connector, about, (3, 4), (2, 0), mtu));
            match is_possible {
                true => drop(outcome.forwarded_to(alice)),
                false => assert_eq!(outcome.dropped(), DropReason::IcmpErrorBadMtu, "{mtu}"),
            }
        }
    }
}

#[test]
fn ice_10_quotes_of_errors_and_of_later_fragments_are_dropped() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let seen = asked(&mut desk, net);
        let about_error = port_unreachable(net.router, &port_unreachable(net.connector, &seen));
        let about_error = {
            let (kind, code) = if ip(net.alice).is_ipv4() { (3, 3) } else { (1, 4) };
            let to = wire::addresses(ip(net.connector), ip(net.router));
            wire::icmp(&to, kind, code, [0; 4], &about_error)
        };
        assert_eq!(desk.site_sends(about_error).dropped(), DropReason::IcmpErrorQuotesError);
        let long = wire::udp(&ends_of(&seen), &[0; 64]);
        let piece = wire::piece(&long, wire::PieceRange { start: 32, end: 72, is_last: true }, 1);
        let about_piece = port_unreachable(net.connector, &piece);
        assert_eq!(desk.site_sends(about_piece).dropped(), DropReason::IcmpErrorQuotesFragment);
    }
}

#[test]
fn ice_11_source_quench_and_redirects_are_dropped() {
    let mut desk = Desk::ready();
    let seen = asked(&mut desk, V4);
    let quench = icmp_error(V4.connector, &seen, (4, 0), (4, 0), 0);
    assert_eq!(desk.site_sends(quench).dropped(), DropReason::IcmpSourceQuench);
    let redirect = icmp_error(V4.connector, &seen, (5, 1), (5, 1), 0x0a00_0001);
    assert_eq!(desk.site_sends(redirect).dropped(), DropReason::IcmpRedirect);
    let seen = asked(&mut desk, V6);
    let redirect = icmp_error(V6.connector, &seen, (137, 0), (137, 0), 0);
    assert_eq!(desk.site_sends(redirect).dropped(), DropReason::IcmpRedirect);
}

#[test]
fn ice_12_errors_need_no_rule_of_their_own_and_open_refresh_and_end_nothing() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let alice = desk.alice_side();
        let seen = asked(&mut desk, net);
        desk.wait(Duration::from_secs(200));
        desk.site_sends(port_unreachable(net.connector, &seen)).forwarded_to(alice);
        assert_eq!(desk.node.flows_used().0, 1, "TMO-5: no error ends a flow");
        desk.wait(Duration::from_secs(120));
        assert_eq!(desk.node.flows_used().0, 0, "TMO-6: no error refreshes a flow");
        let late = port_unreachable(net.connector, &seen);
        assert_eq!(desk.site_sends(late).dropped(), DropReason::IcmpErrorWithoutFlow);
        assert_eq!(desk.node.flows_used().0, 0);
    }
}

#[test]
fn p06_an_error_from_the_wrong_side_is_dropped() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let seen =
            desk.alice_sends(udp(&at(net.alice, 5000), &at(net.lan, 53), b"?")).forwarded_to(Egress::Tun);
        let error = port_unreachable(net.connector, &seen);
        assert_eq!(desk.site_sends(error).dropped(), DropReason::WrongIngress);
    }
}

#[test]
fn ice_2_quoted_options_are_skipped() {
    let mut desk = Desk::ready();
    let seen = wire::with_options(&asked(&mut desk, V4), &[7, 7, 4, 0, 0, 0, 0, 0]);
    let error = desk.site_sends(port_unreachable(V4.connector, &seen)).forwarded_to(desk.alice_side());
    assert!(wire::checksums_are_right(&error));
    let quote = quote_of(&error);
    assert_eq!(quote[16..20], [10, 20, 0, 5]);
    assert_eq!(quote[28..32], [5000_u16.to_be_bytes(), 53_u16.to_be_bytes()].concat());
}

#[test]
fn ice_4_extensions_pass_unchanged_behind_a_quote_of_the_stated_length() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let seen = asked(&mut desk, net);
        let mut body = seen.clone();
        body.resize(128, 0);
        let extension = [0x20, 0, 0, 0, 0, 8, 1, 1, 0xde, 0xad, 0xbe, 0xef];
        body.extend_from_slice(&extension);
        let word = if ip(net.alice).is_ipv4() { 32 << 16 } else { 16 << 24 };
        let to = wire::addresses(ip(net.connector), ip(net.router));
        let (kind, code) = if ip(net.alice).is_ipv4() { (11, 0) } else { (3, 0) };
        let error = wire::icmp(&to, kind, code, u32::to_be_bytes(word), &body);
        let error = desk.site_sends(error).forwarded_to(desk.alice_side());
        assert!(wire::checksums_are_right(&error));
        assert!(error.ends_with(&extension));
        let mut too_long = body.clone();
        too_long.truncate(64);
        let error = wire::icmp(&to, kind, code, u32::to_be_bytes(word), &too_long);
        assert_eq!(desk.site_sends(error).dropped(), DropReason::IcmpErrorMalformed);
    }
}

#[test]
fn ping_errors_come_back_with_the_clients_identifier() {
    for (net, hop) in [(V4, "192.168.99.1"), (V6, "fd98::1")] {
        let mut desk = Desk::ready();
        let seen = desk.alice_sends(ping(net.alice, net.lan, 7)).forwarded_to(Egress::Tun);
        let error =
            desk.tun_brings(icmp_error(hop, &seen, (3, 13), (1, 1), 0)).forwarded_to(desk.alice_side());
        assert!(wire::checksums_are_right(&error));
        let ends: Ends = ends_of(quote_of(&error));
        assert_eq!((ends.ports.source, ends.addresses.source()), (7, ip(net.alice)));
    }
}

#[test]
fn ice_6_a_quote_may_end_anywhere_behind_eight_bytes_of_the_upper_layer() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (alice, site) = (desk.alice_side(), desk.site_side());
        let sent = desk.alice_sends(tcp(&at(net.alice, 5000), &at(net.target, 22), TcpFlags::SYN, 1, 0, b""));
        let sent = sent.forwarded_to(site);
        for len in wire::header_len(&sent) + 8..=sent.len() {
            let error = port_unreachable(net.connector, &sent[..len]);
            let told = desk.site_sends(error).forwarded_to(alice);
            assert_eq!(quote_of(&told).len(), len, "{len}");
        }
    }
}
