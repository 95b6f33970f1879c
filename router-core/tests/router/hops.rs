//! We are a hop: TTL-1, MTU-1, MTU-2, MTU-4, LEN, GEN-1, P6.

use router_core::packet::{PacketMut, TcpFlags, Transport};
use router_core::sim::wire;
use router_core::{DropReason, Egress, Verdict};

use crate::desk::*;

#[test]
fn ttl_1_each_packet_loses_one_hop_in_both_directions() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let alice = desk.alice_side();
        let (from, to) = (at(net.alice, 5000), at(net.plain, 53));
        let sent = desk.alice_sends(udp(&from, &to, b"?")).forwarded_to(Egress::Tun);
        assert_eq!(sent, wire::with_hop_limit(&udp(&from, &to, b"?"), wire::HOP_LIMIT - 1));
        let answer = desk.tun_brings(udp(&to, &from, b"!")).forwarded_to(alice);
        assert_eq!(answer, wire::with_hop_limit(&udp(&to, &from, b"!"), wire::HOP_LIMIT - 1));
    }
}

#[test]
fn ttl_1_the_last_hop_is_told_from_our_overlay_address_and_opens_nothing() {
    for net in BOTH {
        let mut desk = Desk::ready();
        for to in [net.target, net.plain] {
            let sent = wire::with_hop_limit(&udp(&at(net.alice, 5000), &at(to, 53), b"?"), 1);
            let error = desk.alice_sends(sent.clone()).answered();
            assert_eq!(addresses_of(&error), wire::addresses(ip(net.router), ip(net.alice)));
            assert_eq!(kind_of(&error), if ip(to).is_ipv4() { (11, 0) } else { (3, 0) });
            assert_eq!(quote_of(&error), sent, "P6: quoted as the client sent it, nothing inside shows");
        }
        assert_eq!((desk.node.flows_used().0, desk.dropped(DropReason::HopLimitReached)), (0, 2));
        let denied = wire::with_hop_limit(&udp(&at(net.alice, 5000), &at(net.elsewhere, 53), b"?"), 1);
        assert_prohibited(&desk.alice_sends(denied).answered());
    }
}

#[test]
fn p06_a_server_behind_us_is_told_from_the_address_that_it_knows() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let sent =
            desk.alice_sends(udp(&at(net.alice, 5000), &at(net.lan, 53), b"?")).forwarded_to(Egress::Tun);
        let answer = wire::with_hop_limit(&wire::udp(&ends_of(&sent).reversed(), b"!"), 1);
        let error = desk.tun_brings(answer.clone()).answered();
        assert_eq!(addresses_of(&error), wire::addresses(ip(net.egress), ip(net.lan)));
        assert_eq!(quote_of(&error), answer);
    }
}

#[test]
fn mtu_1_what_is_too_big_for_the_tunnel_names_the_tunnels_mtu() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let alice = desk.alice_side();
        let sent =
            desk.alice_sends(udp(&at(net.alice, 5000), &at(net.lan, 53), b"?")).forwarded_to(Egress::Tun);
        let headers = wire::header_len(&sent) + 8;
        let answer = |len: usize| {
            let answer = wire::udp(&ends_of(&sent).reversed(), &vec![0; len - headers]);
            wire::with_dont_fragment(&answer)
        };
        desk.tun_brings(answer(1420)).forwarded_to(alice);
        let error = desk.tun_brings(answer(1421)).answered();
        assert_eq!(kind_of(&error), if ip(net.lan).is_ipv4() { (3, 4) } else { (2, 0) });
        let at = wire::header_len(&error);
        assert_eq!(error[at + 6..at + 8], 1420_u16.to_be_bytes());
        assert!(error.len() <= if ip(net.lan).is_ipv4() { 576 } else { 1280 }, "GEN-1");
    }
}

#[test]
fn mtu_2_v4_without_df_is_to_be_fragmented() {
    let mut desk = Desk::ready();
    let sent = desk.alice_sends(udp(&at(V4.alice, 5000), &at(V4.lan, 53), b"?")).forwarded_to(Egress::Tun);
    let answer = wire::udp(&ends_of(&sent).reversed(), &[0; 1453]);
    let outcome = desk.tun_brings(answer);
    let Verdict::Forward(forward) = outcome.verdict else { panic!("{outcome:?}") };
    assert_eq!((forward.egress, forward.len, forward.fragment_to), (desk.alice_side(), 1481, Some(1420)));
    let mut split = router_core::packet::split::Split::new(&outcome.packet, 1420).unwrap();
    let mut buffer = [0; 1500];
    let pieces = std::iter::from_fn(|| split.next_into(&mut buffer)).count();
    assert_eq!(pieces, 2);
}

#[test]
fn mtu_4_mss_is_clamped_to_the_narrower_side_in_both_directions_and_never_raised() {
    for (net, headers) in [(V4, 40), (V6, 60)] {
        let mut desk = Desk::ready();
        let alice = desk.alice_side();
        let (from, to) = (at(net.alice, 5000), at(net.lan, 80));
        let syn = desk.alice_sends(tcp(&from, &to, TcpFlags::SYN, 1, 0, b"")).forwarded_to(Egress::Tun);
        let mss = |packet: &[u8]| match PacketMut::parse(&mut packet.to_vec()).unwrap().transport() {
            Transport::Tcp(tcp) => tcp.options.mss,
            other => panic!("{other:?}"),
        };
        assert_eq!(mss(&syn), Some(1420 - headers));
        assert!(wire::checksums_are_right(&syn));
        let header = wire::Segment {
            flags: TcpFlags::SYN.with(TcpFlags::ACK),
            sequence: 9,
            acknowledgment: 2,
            window: 100,
            mss: Some(500),
        };
        let answer = wire::tcp(&ends_of(&syn).reversed(), &header, b"");
        assert_eq!(mss(&desk.tun_brings(answer).forwarded_to(alice)), Some(500));
    }
}

#[test]
fn len_bytes_behind_the_packet_are_cut_off() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let packet = udp(&at(net.alice, 5000), &at(net.plain, 53), b"inspected");
        let mut padded = packet.clone();
        padded.extend_from_slice(b"smuggled");
        let sent = desk.alice_sends(padded).forwarded_to(Egress::Tun);
        assert_eq!(sent, wire::with_hop_limit(&packet, wire::HOP_LIMIT - 1));
    }
}

#[test]
fn a_destination_that_leads_nowhere_is_unreachable() {
    for net in BOTH {
        let packet = udp(&at(net.alice, 5000), &at(net.elsewhere, 53), b"?");
        for (mut desk, is_routed) in [(Desk::new(), true), (Desk::without_tun(), false)] {
            let rule = rule(1, desk.alice, net.alice, vec![destination(net.elsewhere, None)]);
            desk.node.open_session(desk.now, &rule).unwrap();
            let outcome = desk.alice_sends(packet.clone());
            if is_routed {
                outcome.forwarded_to(Egress::Tun);
            } else {
                assert_eq!(
                    kind_of(&outcome.answered()),
                    if ip(net.alice).is_ipv4() { (3, 0) } else { (1, 0) }
                );
                assert_eq!(desk.dropped(DropReason::NoRoute), 1);
            }
        }
    }
}

fn contains(packet: &[u8], address: &str) -> bool {
    let needle: Vec<u8> = match ip(address) {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    packet.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn p06_errors_of_our_own_share_one_limit_and_name_no_address_from_inside() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let to = |address, port| udp(&at(net.alice, 5000), &at(address, port), b"?");
        let open = to(net.target, 53);
        desk.alice_sends(open.clone()).forwarded_to(desk.site_side());
        let provocations = [
            wire::with_hop_limit(&open, 1),
            wire::with_hop_limit(&to(net.machine, 9), 1),
            wire::with_dont_fragment(&udp(&at(net.alice, 5000), &at(net.target, 53), &[0; 1450])),
            to(net.target, 54),
            to(net.elsewhere, 53),
            tcp(&at(net.alice, 5000), &at(net.target, 22), TcpFlags::ACK, 1, 1, b""),
        ];
        let mut answers = Vec::new();
        for _ in 0..100 {
            for packet in &provocations {
                answers.extend(desk.alice_sends(packet.clone()).own);
            }
        }
        assert_eq!(answers.len(), 50, "GEN-1: one burst, whatever the reason");
        assert_eq!(desk.node.counters().answers_withheld, 550);
        for (egress, answer) in answers {
            assert_eq!(egress, desk.alice_side());
            assert_eq!(addresses_of(&answer), wire::addresses(ip(net.router), ip(net.alice)));
            for inside in [net.connector, net.egress, net.lan, net.bob] {
                assert!(!contains(&answer, inside), "{inside} in {answer:02x?}");
            }
        }
    }
}
