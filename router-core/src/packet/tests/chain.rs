//! IPv6 extension headers (EXT-1, FRG-4, P5).

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use crate::packet::made::{ends, fragment_header, with_extensions};
use crate::packet::{Ends, Layer, PacketMut, ParseError, Ports, Protocol, TcpFlags, Transport, made};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const ESP: u8 = 50;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

fn v6() -> Ends {
    ends("[fd00::1]:1000", "[fd00::2]:80")
}

fn options(number: u8, len: usize) -> (u8, Vec<u8>) {
    let mut header = vec![0; len];
    header[1] = u8::try_from(len / 8 - 1).unwrap();
    (number, header)
}

fn authentication(len: usize) -> (u8, Vec<u8>) {
    let mut header = vec![0; len];
    header[1] = u8::try_from(len / 4 - 2).unwrap();
    (AUTHENTICATION, header)
}

fn routing(kind: u8, segments_left: u8) -> (u8, Vec<u8>) {
    let (number, mut header) = options(ROUTING, 24);
    (header[2], header[3]) = (kind, segments_left);
    (number, header)
}

fn parse(mut bytes: Vec<u8>) -> Result<(Protocol, Ports), ParseError> {
    PacketMut::parse(&mut bytes).map(|packet| (packet.protocol(), packet.ports()))
}

fn udp_behind(headers: &[(u8, Vec<u8>)]) -> Result<(Protocol, Ports), ParseError> {
    parse(with_extensions(&made::udp(&v6(), b"data"), headers))
}

#[test]
fn ext1_every_known_header_is_walked() {
    let headers = [
        options(HOP_BY_HOP, 16),
        options(DESTINATION_OPTIONS, 8),
        routing(2, 0),
        fragment_header(0, false, 7),
        authentication(24),
        options(DESTINATION_OPTIONS, 2048),
    ];
    for header in &headers {
        assert_eq!(
            udp_behind(core::slice::from_ref(header)),
            Ok((Protocol::UDP, v6().ports)),
            "{}",
            header.0
        );
    }
    assert_eq!(udp_behind(&headers), Ok((Protocol::UDP, v6().ports)));
}

#[test]
fn ext1_a_header_that_is_cut_says_what_is_missing() {
    let mut bytes = made::ip(&v6().addresses, HOP_BY_HOP, &options(17, 8).1);
    bytes[41] = 1;
    let refused = PacketMut::parse(&mut bytes).map(|_| ());
    assert_eq!(refused, Err(ParseError::TooShort { layer: Layer::Extension, need: 16, have: 8 }));
}

#[test]
fn frg4_a_fragment_header_is_eight_bytes_long_whatever_its_reserved_byte_says() {
    let (number, mut header) = fragment_header(0, false, 7);
    header[1] = 3;
    let mut bytes = with_extensions(&made::udp(&v6(), &[0; 64]), &[(number, header)]);
    let packet = PacketMut::parse(&mut bytes).unwrap();
    assert_eq!((packet.transport(), packet.ports()), (Transport::Udp, v6().ports));
}

#[test]
fn ext1_at_most_eight_headers_are_walked() {
    let chain = |len| vec![options(DESTINATION_OPTIONS, 8); len];
    assert!(udp_behind(&chain(8)).is_ok());
    assert_eq!(udp_behind(&chain(9)), Err(ParseError::TooManyHeaders));
    assert_eq!(udp_behind(&chain(200)), Err(ParseError::TooManyHeaders));
}

#[test]
fn ext1_routing_headers_that_change_the_destination_are_dropped() {
    for (kind, segments_left, accepted) in
        [(0, 0, false), (0, 1, false), (2, 0, true), (2, 1, false), (4, 0, true), (4, 3, false)]
    {
        let outcome = udp_behind(&[routing(kind, segments_left)]);
        assert_eq!(outcome.is_ok(), accepted, "type {kind} with {segments_left} left");
        if !accepted {
            assert_eq!(outcome, Err(ParseError::RoutingHeader { kind, segments_left }));
        }
    }
}

#[test]
fn ext1_hop_by_hop_options_stand_first_or_not_at_all() {
    assert!(udp_behind(&[options(HOP_BY_HOP, 8), options(DESTINATION_OPTIONS, 8)]).is_ok());
    let second = [options(DESTINATION_OPTIONS, 8), options(HOP_BY_HOP, 8)];
    assert_eq!(udp_behind(&second), Err(ParseError::HopByHopMisplaced));
    let twice = [options(HOP_BY_HOP, 8), options(HOP_BY_HOP, 8)];
    assert_eq!(udp_behind(&twice), Err(ParseError::HopByHopMisplaced));
}

#[test]
fn ext1_esp_and_unknown_protocols_get_no_ports() {
    for protocol in [ESP, 59, 47, 132, 135, 253] {
        let bytes = made::ip(&v6().addresses, protocol, &[0x11; 32]);
        let chained = with_extensions(&bytes, &[options(DESTINATION_OPTIONS, 8)]);
        assert_eq!(parse(bytes), Ok((Protocol(protocol), Ports::NONE)));
        assert_eq!(parse(chained), Ok((Protocol(protocol), Ports::NONE)));
    }
}

#[test]
fn ext1_a_chain_that_ends_early_is_refused() {
    let whole =
        with_extensions(&made::udp(&v6(), b""), &[options(DESTINATION_OPTIONS, 16), authentication(24)]);
    for cut in 40..whole.len() {
        let mut bytes = whole[..cut].to_vec();
        let len = u16::try_from(cut - 40).unwrap();
        bytes[4..6].copy_from_slice(&len.to_be_bytes());
        assert!(matches!(parse(bytes), Err(ParseError::TooShort { .. })), "{cut}");
    }
}

#[test]
fn frg4_an_atomic_fragment_is_a_whole_packet() {
    let mut bytes = with_extensions(&made::udp(&v6(), b"data"), &[fragment_header(0, false, 7)]);
    let packet = PacketMut::parse(&mut bytes).unwrap();
    assert_eq!((packet.piece(), packet.transport(), packet.ports()), (None, Transport::Udp, v6().ports));
}

#[test]
fn frg4_a_chain_that_ends_early_in_an_atomic_fragment_condemns_no_datagram() {
    let headers = [fragment_header(0, false, 7), options(DESTINATION_OPTIONS, 32)];
    let mut bytes = with_extensions(&made::udp(&v6(), b""), &headers);
    bytes.truncate(40 + 8 + 16);
    bytes[4..6].copy_from_slice(&24u16.to_be_bytes());
    assert!(matches!(parse(bytes), Err(ParseError::TooShort { .. })));
}

#[test]
fn frg4_a_second_fragment_header_is_refused() {
    for second in [fragment_header(0, false, 8), fragment_header(0, true, 8), fragment_header(64, false, 8)] {
        let headers = [fragment_header(0, false, 7), second];
        assert_eq!(udp_behind(&headers), Err(ParseError::SecondFragmentHeader));
    }
}

#[test]
fn frg4_a_first_piece_holds_the_whole_chain() {
    let packet = made::tcp(&v6(), TcpFlags::SYN, 1, &[], &[0; 32]);
    let headers = [fragment_header(0, true, 7), options(DESTINATION_OPTIONS, 32)];
    let whole = with_extensions(&packet, &headers);
    for (payload, accepted) in [(8, false), (32, false), (40, false), (48, false), (56, true), (64, true)] {
        let mut bytes = whole[..48 + payload].to_vec();
        let len = u16::try_from(bytes.len() - 40).unwrap();
        bytes[4..6].copy_from_slice(&len.to_be_bytes());
        let outcome = parse(bytes);
        assert_eq!(outcome.is_ok(), accepted, "{payload}");
        assert_eq!(matches!(outcome, Err(ParseError::TinyFirstFragment(_))), !accepted, "{payload}");
    }
}

#[test]
fn frg4_a_later_piece_speaks_about_its_datagram_whatever_its_next_header_says() {
    let datagram = |protocol| {
        let bytes = made::ip(&v6().addresses, protocol, &[0; 64]);
        let mut piece = with_extensions(&bytes, &[fragment_header(64, false, 7)]);
        PacketMut::parse(&mut piece).unwrap().piece().unwrap().datagram
    };
    assert_eq!(datagram(17), datagram(6));
    assert_eq!(datagram(17), datagram(HOP_BY_HOP));
}

#[test]
fn frg4_a_datagram_with_the_headers_that_its_pieces_repeat_has_at_most_64_kib() {
    // Eight bytes of options are repeated; 65520 bytes lie before this piece.
    for (len, is_legal) in [(7, true), (8, false)] {
        let bytes = made::ip(&v6().addresses, 17, &vec![0; len]);
        let mut piece = with_extensions(&bytes, &[options(HOP_BY_HOP, 8), fragment_header(65_520, false, 7)]);
        let parsed = PacketMut::parse(&mut piece).map(|_| ());
        let refused = Err(ParseError::FragmentBeyondLimit { offset: 65_520 });
        assert_eq!(parsed, if is_legal { Ok(()) } else { refused });
    }
}

proptest! {
    /// P5: whatever the chain, a packet with ports has them where the walk says, and the walk ends.
    #[test]
    fn p05_random_chains_are_walked_or_refused(
        numbers in proptest::collection::vec(
            prop_oneof![Just(HOP_BY_HOP), Just(ROUTING), Just(44), Just(AUTHENTICATION), Just(DESTINATION_OPTIONS)], 0..12),
        bytes in proptest::collection::vec(any::<u8>(), 200),
        len in 0usize..160,
    ) {
        let mut chain = bytes.clone();
        for (slot, number) in chain.chunks_mut(8).zip(numbers.iter().skip(1).chain([&17])) {
            (slot[0], slot[1]) = (*number, 0);
        }
        let first = numbers.first().copied().unwrap_or(17);
        let mut packet = made::ip(&v6().addresses, first, &chain[..len]);
        if let Ok(packet) = PacketMut::parse(&mut packet) {
            prop_assert!(packet.network.upper_at() <= packet.total_len());
        }
    }
}
