//! Pieces of datagrams follow their first piece: FRG-1 to FRG-4, P4.

use std::time::Duration;

use router_core::flow::Phase;
use router_core::flow::tcp_state::TcpState;
use router_core::packet::TcpFlags;
use router_core::rules::SessionId;
use router_core::sim::wire::{self, PieceRange};
use router_core::{DropReason, Egress, Verdict};

use crate::desk::*;

const FIRST: PieceRange = PieceRange { start: 0, end: 64, is_last: false };
const MIDDLE: PieceRange = PieceRange { start: 64, end: 128, is_last: false };
const LAST: PieceRange = PieceRange { start: 128, end: 208, is_last: true };

fn datagram(net: Net) -> Vec<u8> {
    let payload: Vec<u8> = (0..200).collect();
    udp(&at(net.alice, 5000), &at(net.target, 53), &payload)
}

fn pieces(packet: &[u8], identification: u16) -> [Vec<u8>; 3] {
    [FIRST, MIDDLE, LAST].map(|range| wire::piece(packet, range, identification))
}

/// The payload bytes of a piece, and its identification.
fn content(packet: &[u8]) -> (Vec<u8>, Vec<u8>) {
    if packet[0] >> 4 == 4 {
        (packet[4..6].to_vec(), packet[20..].to_vec())
    } else {
        (packet[44..48].to_vec(), packet[48..].to_vec())
    }
}

/// All pieces as one packet again, to have its checksum looked at.
fn reassembled(pieces: &[Vec<u8>]) -> Vec<u8> {
    let payload: Vec<u8> = pieces.iter().flat_map(|piece| content(piece).1).collect();
    let addresses = addresses_of(&pieces[0]);
    wire::ip(&addresses, router_core::packet::Protocol::UDP, &payload)
}

#[test]
fn frg_1_pieces_in_order_follow_their_first_through_both_translations() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let site = desk.site_side();
        let sent = pieces(&datagram(net), 9).map(|piece| desk.alice_sends(piece).forwarded_to(site));
        let identifications: Vec<_> = sent.iter().map(|piece| content(piece).0).collect();
        assert!(identifications.iter().all(|it| *it == identifications[0]), "MAP-11: the same for all");
        let whole = reassembled(&sent);
        assert_ends(&whole, &at(net.router, 5000), &at(net.connector, 40_001));
    }
}

#[test]
fn frg_1_pieces_in_reverse_order_wait_for_their_first() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let site = desk.site_side();
        let [first, middle, last] = pieces(&datagram(net), 9);
        for early in [last, middle] {
            let outcome = desk.alice_sends(early);
            assert_eq!((outcome.verdict, outcome.own), (Verdict::Parked, vec![]));
        }
        let outcome = desk.alice_sends(first);
        let mut sent = vec![outcome.packet];
        assert!(matches!(outcome.verdict, Verdict::Forward(_)), "{:?}", outcome.verdict);
        for (egress, packet) in outcome.own {
            assert_eq!(egress, site);
            sent.push(packet);
        }
        assert_eq!(sent.len(), 3);
        assert_ends(&reassembled(&sent), &at(net.router, 5000), &at(net.connector, 40_001));
        assert_eq!(desk.node.counters().fragments_released, 2);
    }
}

#[test]
fn frg_1_pieces_that_have_waited_leave_without_what_lay_behind_them() {
    let mut desk = Desk::ready();
    let [first, middle, last] = pieces(&datagram(V4), 9);
    for early in [&last, &middle] {
        assert_eq!(desk.alice_sends([&early[..], b"padding"].concat()).verdict, Verdict::Parked);
    }
    let outcome = desk.alice_sends(first);
    let lens: Vec<usize> = outcome.own.iter().map(|(_, packet)| packet.len()).collect();
    assert_eq!(lens, [middle.len(), last.len()]);
}

#[test]
fn frg_1_pieces_without_their_first_are_forgotten_and_counted_after_fifteen_seconds() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let [first, middle, _] = pieces(&datagram(net), 9);
        assert_eq!(desk.alice_sends(middle).verdict, Verdict::Parked);
        assert_eq!(desk.wait(Duration::from_secs(16)), []);
        assert_eq!(desk.dropped(DropReason::FragmentGivenUp), 1);
        let outcome = desk.alice_sends(first);
        assert_eq!(outcome.own, []);
        outcome.forwarded_to(desk.site_side());
    }
}

#[test]
fn frg_1_pieces_of_a_refused_first_are_dropped() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let refused = udp(&at(net.alice, 5000), &at(net.elsewhere, 53), &[0; 200]);
        let [first, middle, last] = pieces(&refused, 9);
        assert_eq!(desk.alice_sends(middle).verdict, Verdict::Parked);
        assert_prohibited(&desk.alice_sends(first).answered());
        assert_eq!(desk.alice_sends(last).dropped(), DropReason::FragmentPoisoned);
        assert_eq!(desk.wait(Duration::from_secs(20)), []);
        assert_eq!(desk.dropped(DropReason::FragmentGivenUp), 1);
    }
}

#[test]
fn frg_1_parked_bytes_are_bounded_per_sender() {
    let mut desk = Desk::ready();
    let packet = udp(&at(V4.alice, 5000), &at(V4.target, 53), &[0; 1400]);
    let range = PieceRange { start: 64, end: 1408, is_last: true };
    let mut park = |identification| desk.alice_sends(wire::piece(&packet, range, identification)).verdict;
    let parked = (0..100).filter(|identification| park(*identification) == Verdict::Parked).count();
    assert_eq!(parked, 65_536 / 1364);
    assert_eq!(desk.dropped(DropReason::FragmentParkingFull), 100 - parked as u64);
    let packet = udp(&at(V4.bob, 5000), &at(V4.target, 53), &[0; 1400]);
    assert_eq!(desk.bob_sends(wire::piece(&packet, range, 1)).verdict, Verdict::Parked);
}

#[test]
fn frg_2_a_first_piece_without_its_header_poisons_the_datagram() {
    let mut desk = Desk::ready();
    let whole =
        tcp(&at(V4.alice, 5000), &at(V4.target, 22), router_core::packet::TcpFlags::SYN, 1, 0, &[0; 80]);
    let tiny = wire::piece(&whole, PieceRange { start: 0, end: 8, is_last: false }, 9);
    assert_eq!(desk.alice_sends(tiny).dropped(), DropReason::FragmentTiny);
    let rest = wire::piece(&whole, PieceRange { start: 64, end: 100, is_last: true }, 9);
    assert_eq!(desk.alice_sends(rest).dropped(), DropReason::FragmentPoisoned);
}

#[test]
fn frg_3_an_overlap_drops_the_whole_datagram() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let packet = datagram(net);
        desk.alice_sends(wire::piece(&packet, FIRST, 9)).forwarded_to(desk.site_side());
        let overlapping = PieceRange { start: 56, end: 128, is_last: false };
        let overlapping = wire::piece(&packet, overlapping, 9);
        assert_eq!(desk.alice_sends(overlapping).dropped(), DropReason::FragmentOverlap);
        let last = wire::piece(&packet, LAST, 9);
        assert_eq!(desk.alice_sends(last).dropped(), DropReason::FragmentPoisoned);
    }
}

#[test]
fn frg_4_an_atomic_fragment_is_a_whole_packet() {
    let mut desk = Desk::ready();
    let whole = PieceRange { start: 0, end: 208, is_last: true };
    let sent = desk.alice_sends(wire::piece(&datagram(V6), whole, 9)).forwarded_to(desk.site_side());
    assert_ends(&reassembled(&[sent]), &at(V6.router, 5000), &at(V6.connector, 40_001));
}

#[test]
fn frg_4_more_than_one_fragment_header_is_dropped() {
    let mut desk = Desk::ready();
    let whole = PieceRange { start: 0, end: 208, is_last: true };
    let once = wire::piece(&datagram(V6), whole, 9);
    let twice = wire::piece(&once, PieceRange { start: 0, end: 216, is_last: true }, 9);
    assert_eq!(desk.alice_sends(twice).dropped(), DropReason::SecondFragmentHeader);
}

#[test]
fn p04_another_peers_pieces_never_join() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let [first, middle, _] = pieces(&datagram(net), 9);
        desk.alice_sends(first).forwarded_to(desk.site_side());
        assert_eq!(desk.bob_sends(middle).dropped(), DropReason::SourceNotAssigned);
    }
}

#[test]
fn flt_7_pieces_of_a_closed_session_are_dropped_parked_or_not() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let number = if ip(net.alice).is_ipv4() { 10 } else { 20 };
        let [first, middle, last] = pieces(&datagram(net), 9);
        desk.alice_sends(first.clone()).forwarded_to(desk.site_side());
        let [second_first, second_middle, _] = pieces(&datagram(net), 10);
        assert_eq!(desk.alice_sends(second_middle).verdict, Verdict::Parked);
        assert!(desk.node.close_session(desk.now, SessionId(number)));
        for late in [middle, last] {
            assert_eq!(desk.alice_sends(late).dropped(), DropReason::SessionClosed);
        }
        assert_prohibited(&desk.alice_sends(second_first).answered());
        assert_eq!(desk.wait(Duration::from_secs(20)), []);
    }
}

#[test]
fn pieces_of_answers_go_back_as_well() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let sent =
            desk.alice_sends(udp(&at(net.alice, 5000), &at(net.lan, 53), b"?")).forwarded_to(Egress::Tun);
        let answer = wire::udp(&ends_of(&sent).reversed(), &[3; 200]);
        let back = pieces(&answer, 77).map(|piece| desk.tun_brings(piece).forwarded_to(desk.alice_side()));
        assert_ends(&reassembled(&back), &at(net.lan, 53), &at(net.alice, 5000));
    }
}

/// A TCP segment in three pieces, the first of which holds the header.
fn segment_in_pieces(packet: &[u8], is_reversed: bool) -> Vec<Vec<u8>> {
    let len = (packet.len() - wire::header_len(packet)) as u16;
    let range = |start, end| PieceRange { start, end, is_last: end == len };
    let ranges = [range(0, 200), range(200, 400), range(400, len)];
    let mut pieces: Vec<_> = ranges.iter().map(|range| wire::piece(packet, *range, 9)).collect();
    if is_reversed {
        pieces.reverse();
    }
    pieces
}

/// Sends the pieces, all of which must pass, at once or when their first has come.
#[track_caller]
fn send_all(desk: &mut Desk, pieces: Vec<Vec<u8>>) {
    let mut passed = 0;
    let sent = pieces.len();
    for piece in pieces {
        let outcome = desk.alice_sends(piece);
        passed += usize::from(matches!(outcome.verdict, Verdict::Forward(_))) + outcome.own.len();
    }
    assert_eq!(passed, sent);
}

#[test]
fn tcp_2_all_of_a_fragmented_segment_may_be_acknowledged_and_not_a_byte_more() {
    for (net, is_reversed) in BOTH.into_iter().flat_map(|net| [(net, false), (net, true)]) {
        let mut desk = Desk::ready();
        let (from, to) = (at(net.alice, 5000), at(net.target, 22));
        let ends = desk.connect(&from, &to);
        let data = tcp(&from, &to, TcpFlags::ACK, 1001, 5001, &[7; 600]);
        send_all(&mut desk, segment_in_pieces(&data, is_reversed));
        let acknowledgment = |number| segment(&ends.reversed(), TcpFlags::ACK, 5001, number, b"");
        assert_eq!(desk.site_sends(acknowledgment(1602)).dropped(), DropReason::TcpOutsideWindow);
        desk.site_sends(acknowledgment(1601)).forwarded_to(desk.alice_side());
        let next = tcp(&from, &to, TcpFlags::ACK, 1601, 5001, b"next");
        desk.alice_sends(next).forwarded_to(desk.site_side());
    }
}

#[test]
fn tcp_1_a_fragmented_segment_may_finish_a_connection() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (from, to) = (at(net.alice, 5000), at(net.target, 22));
        let ends = desk.connect(&from, &to);
        let fin = TcpFlags::FIN.with(TcpFlags::ACK);
        let last_words = tcp(&from, &to, fin, 1001, 5001, &[7; 600]);
        send_all(&mut desk, segment_in_pieces(&last_words, false));
        desk.site_sends(segment(&ends.reversed(), fin, 5001, 1602, b"")).forwarded_to(desk.alice_side());
        let last = tcp(&from, &to, TcpFlags::ACK, 1602, 5002, b"");
        desk.alice_sends(last).forwarded_to(desk.site_side());
        let phase = desk.node.flows(desk.now).next().unwrap().phase;
        assert_eq!(phase, Phase::Tcp(TcpState::TimeWait));
    }
}

#[test]
fn p09_pieces_of_a_reset_that_is_not_exact_move_no_numbers() {
    for net in BOTH {
        let mut desk = Desk::ready();
        let (from, to) = (at(net.alice, 5000), at(net.target, 22));
        let ends = desk.connect(&from, &to);
        let reset = tcp(&from, &to, TcpFlags::RST, 1500, 0, &[7; 600]);
        send_all(&mut desk, segment_in_pieces(&reset, false));
        let beyond = segment(&ends.reversed(), TcpFlags::ACK, 5001, 1700, b"");
        assert_eq!(desk.site_sends(beyond).dropped(), DropReason::TcpOutsideWindow);
        let data = tcp(&from, &to, TcpFlags::ACK, 1001, 5001, b"still here");
        desk.alice_sends(data).forwarded_to(desk.site_side());
    }
}
