//! What is a packet and what is not.

use alloc::vec;
use alloc::vec::Vec;

use etherparse::SlicedPacket;
use proptest::prelude::*;

use super::samples::any_packet;
use crate::packet::made::{ends, fix_ipv4_checksum, piece_v4, piece_v6, with_options};
use crate::packet::{
    Echo, IcmpError, Layer, PacketMut, ParseError, Ports, Protocol, SynOptions, TcpFlags, Transport, Version,
    made,
};

const V4: (&str, &str) = ("10.0.0.1:1000", "10.0.0.2:80");
const V6: (&str, &str) = ("[fd00::1]:1000", "[fd00::2]:80");

fn parse(mut bytes: Vec<u8>) -> Result<Transport, ParseError> {
    PacketMut::parse(&mut bytes).map(|packet| packet.transport())
}

#[test]
fn len_trailing_bytes_are_cut() {
    for (source, destination) in [V4, V6] {
        let mut bytes = made::udp(&ends(source, destination), b"payload");
        let exact = bytes.len();
        bytes.extend_from_slice(b"smuggled");
        let packet = PacketMut::parse(&mut bytes).unwrap();
        assert_eq!(packet.total_len(), exact);
        assert!(packet.bytes().ends_with(b"payload"));
    }
}

#[test]
fn len_a_claim_beyond_the_bytes_is_refused() {
    for ((source, destination), layer) in [(V4, Layer::Ipv4), (V6, Layer::Ipv6)] {
        let mut bytes = made::udp(&ends(source, destination), b"payload");
        let need = bytes.len();
        bytes.pop();
        assert_eq!(parse(bytes), Err(ParseError::TooShort { layer, need, have: need - 1 }));
    }
}

#[test]
fn ipv4_lengths_below_the_header_are_refused() {
    let whole = made::udp(&ends(V4.0, V4.1), b"");
    for (at, value) in [(0, 0x44), (0, 0x40), (3, 19), (3, 0)] {
        let mut bytes = whole.clone();
        bytes[at] = value;
        fix_ipv4_checksum(&mut bytes);
        assert!(
            matches!(parse(bytes), Err(ParseError::HeaderLength { layer: Layer::Ipv4, .. })),
            "{at} {value}"
        );
    }
}

#[test]
fn neither_nothing_nor_another_version_is_a_packet() {
    assert!(matches!(parse(vec![]), Err(ParseError::TooShort { .. })));
    assert_eq!(parse(vec![0x55; 40]), Err(ParseError::UnknownVersion(5)));
}

#[test]
fn csm1_a_corrupt_ipv4_header_is_refused_not_repaired() {
    let whole = made::udp(&ends(V4.0, V4.1), b"");
    for at in 1..20 {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        assert!(parse(bytes).is_err(), "byte {at}");
    }
}

#[test]
fn ipv4_options_are_walked_and_source_routes_refused() {
    let whole = made::udp(&ends(V4.0, V4.1), b"");
    let router_alert = [148, 4, 0, 0];
    assert_eq!(parse(with_options(&whole, &router_alert)), Ok(Transport::Udp));
    for kind in [131, 137] {
        let route = [1, kind, 7, 4, 10, 9, 9, 9];
        assert_eq!(parse(with_options(&whole, &route)), Err(ParseError::SourceRoute));
        let behind_the_end = [0, kind, 7, 4, 10, 9, 9, 9];
        assert_eq!(parse(with_options(&whole, &behind_the_end)), Ok(Transport::Udp));
    }
    for malformed in [[7, 1, 0, 0], [7, 5, 0, 0], [7, 0, 0, 0], [1, 1, 1, 7]] {
        assert_eq!(
            parse(with_options(&whole, &malformed)),
            Err(ParseError::MalformedOption),
            "{malformed:?}"
        );
    }
}

#[test]
fn csm2_udp_without_a_checksum_passes_over_v4_only() {
    for ((source, destination), at, outcome) in
        [(V4, 26, Ok(Transport::Udp)), (V6, 46, Err(ParseError::UdpChecksumMissing))]
    {
        let mut bytes = made::udp(&ends(source, destination), b"data");
        bytes[at..at + 2].fill(0);
        assert_eq!(parse(bytes), outcome);
    }
}

#[test]
fn len_a_udp_length_stays_inside_its_packet() {
    for (claimed, accepted) in [(0, false), (7, false), (8, true), (11, true), (12, true), (13, false)] {
        let mut bytes = made::udp(&ends(V4.0, V4.1), b"data");
        bytes[25] = claimed;
        assert_eq!(parse(bytes).is_ok(), accepted, "{claimed}");
    }
}

#[test]
fn len_a_tcp_data_offset_stays_inside_its_packet() {
    for (words, accepted) in [(4, false), (5, true), (6, true), (7, false), (15, false)] {
        let mut bytes = made::tcp(&ends(V4.0, V4.1), TcpFlags::ACK, 1, &[], b"data");
        bytes[32] = words << 4;
        assert_eq!(parse(bytes).is_ok(), accepted, "{words}");
    }
}

#[test]
fn a_header_cut_short_is_refused_at_every_layer() {
    for (protocol, layer, need) in [(6, Layer::Tcp, 20), (17, Layer::Udp, 8), (1, Layer::Icmp, 8)] {
        for have in [0, need - 1] {
            let bytes = made::ip(&ends(V4.0, V4.1).addresses, protocol, &vec![0; have]);
            assert_eq!(parse(bytes), Err(ParseError::TooShort { layer, need, have }));
        }
    }
}

#[test]
fn tcp_options_of_a_syn_are_read_and_of_others_not() {
    let options = [2, 4, 0x05, 0xb4, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    let read = |flags| match parse(made::tcp(&ends(V4.0, V4.1), flags, 1, &options, b"")) {
        Ok(Transport::Tcp(segment)) => segment.options,
        other => panic!("{other:?}"),
    };
    let all = SynOptions { mss: Some(1460), window_scale: Some(7), sack_permitted: true };
    assert_eq!(read(TcpFlags::SYN), all);
    assert_eq!(read(TcpFlags::SYN.with(TcpFlags::ACK)), all);
    assert_eq!(read(TcpFlags::ACK), SynOptions::default());
}

#[test]
fn tcp2_the_highest_sack_edge_is_found_across_the_wrap() {
    let sack = |edges: &[u32]| {
        let blocks = edges.iter().flat_map(|edge| [edge.wrapping_sub(4).to_be_bytes(), edge.to_be_bytes()]);
        let len = u8::try_from(2 + 8 * edges.len()).unwrap();
        let options: Vec<u8> = [1, 1, 5, len].into_iter().chain(blocks.flatten()).collect();
        let mut bytes = made::tcp(&ends(V4.0, V4.1), TcpFlags::ACK, 1, &options, b"");
        PacketMut::parse(&mut bytes).unwrap().sack_edge()
    };
    assert_eq!(sack(&[200, 900, 400]), Some(900));
    assert_eq!(sack(&[0x7000_0000, 100]), Some(0x7000_0000));
    assert_eq!(sack(&[60, 4_294_967_290]), Some(60), "below what is acknowledged");
    assert_eq!(sack(&[]), None);
    let mut udp = made::udp(&ends(V4.0, V4.1), b"");
    assert_eq!(PacketMut::parse(&mut udp).unwrap().sack_edge(), None);
}

#[test]
fn malformed_tcp_options_end_the_reading_and_nothing_else() {
    for (options, expected) in [
        ([2, 4, 5, 180, 3, 0, 7, 0], SynOptions { mss: Some(1460), ..SynOptions::default() }),
        ([3, 3, 7, 2, 40, 5, 180, 0], SynOptions { window_scale: Some(7), ..SynOptions::default() }),
        ([0, 2, 4, 5, 180, 0, 0, 0], SynOptions::default()),
        ([2, 3, 5, 4, 2, 1, 1, 2], SynOptions { sack_permitted: true, ..SynOptions::default() }),
    ] {
        match parse(made::tcp(&ends(V4.0, V4.1), TcpFlags::SYN, 1, &options, b"")) {
            Ok(Transport::Tcp(segment)) => assert_eq!(segment.options, expected, "{options:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_segment_tells_its_numbers_and_lengths() {
    let flags = TcpFlags::SYN.with(TcpFlags::FIN).with(TcpFlags::ACK);
    let mut bytes = made::tcp(&ends(V6.0, V6.1), flags, 0xffff_fff0, &[1; 4], b"12345");
    let packet = PacketMut::parse(&mut bytes).unwrap();
    let Transport::Tcp(segment) = packet.transport() else { panic!("not TCP") };
    assert_eq!((segment.sequence, segment.acknowledgment, segment.window), (0xffff_fff0, 77, 4096));
    assert_eq!((segment.payload_len, segment.sequence_len()), (5, 7));
    assert_eq!(packet.headers_len(), 40 + 24);
    assert_eq!(packet.ends(), ends(V6.0, V6.1));
}

#[test]
fn icq1_an_echo_identifier_is_the_port_of_the_side_that_asks() {
    for (source, destination) in [("10.0.0.1:7", "10.0.0.2:0"), ("[fd00::1]:7", "[fd00::2]:0")] {
        let ends = ends(source, destination);
        let mut request = made::echo_request(&ends, b"ping");
        let mut reply = made::echo_reply(&ends.reversed(), b"ping");
        let request = PacketMut::parse(&mut request).unwrap();
        let reply = PacketMut::parse(&mut reply).unwrap();
        assert_eq!(request.transport(), Transport::IcmpEcho { echo: Echo::Request, sequence: 9 });
        assert_eq!(reply.transport(), Transport::IcmpEcho { echo: Echo::Reply, sequence: 9 });
        assert_eq!(request.ends(), reply.ends().reversed());
    }
}

#[test]
fn icmp_messages_are_told_apart_by_version() {
    let v4 = ends(V4.0, V4.1).addresses;
    let v6 = ends(V6.0, V6.1).addresses;
    for (addresses, kind, code, expected) in [
        (v4, 3, 1, Transport::IcmpError(IcmpError::Unreachable { code: 1 })),
        (v4, 3, 4, Transport::IcmpError(IcmpError::TooBig { mtu_bytes: 1280 })),
        (v4, 4, 0, Transport::IcmpError(IcmpError::SourceQuench)),
        (v4, 5, 1, Transport::IcmpError(IcmpError::Redirect)),
        (v4, 11, 0, Transport::IcmpError(IcmpError::TimeExceeded { code: 0 })),
        (v4, 12, 0, Transport::IcmpError(IcmpError::ParameterProblem { code: 0 })),
        (v4, 13, 0, Transport::IcmpOther { kind: 13, code: 0 }),
        (v4, 128, 0, Transport::IcmpOther { kind: 128, code: 0 }),
        (v6, 1, 4, Transport::IcmpError(IcmpError::Unreachable { code: 4 })),
        (v6, 2, 0, Transport::IcmpError(IcmpError::TooBig { mtu_bytes: 1280 })),
        (v6, 3, 0, Transport::IcmpError(IcmpError::TimeExceeded { code: 0 })),
        (v6, 4, 1, Transport::IcmpError(IcmpError::ParameterProblem { code: 1 })),
        (v6, 8, 0, Transport::IcmpError(IcmpError::Unassigned { kind: 8 })),
        (v6, 135, 0, Transport::IcmpOther { kind: 135, code: 0 }),
        (v6, 137, 0, Transport::IcmpError(IcmpError::Redirect)),
    ] {
        assert_eq!(parse(made::icmp(&addresses, kind, code, [0, 0, 5, 0], b"")), Ok(expected));
    }
}

#[test]
fn any_the_icmp_of_the_other_version_has_no_ports() {
    for (addresses, protocol) in [(ends(V4.0, V4.1).addresses, 58), (ends(V6.0, V6.1).addresses, 1)] {
        assert_eq!(parse(made::ip(&addresses, protocol, &[8; 16])), Ok(Transport::Other));
    }
}

#[test]
fn frg1_pieces_are_recognised_and_later_ones_have_no_ports() {
    let (v4, v6) = (made::udp(&ends(V4.0, V4.1), &[1; 92]), made::udp(&ends(V6.0, V6.1), &[1; 92]));
    let cases: [(Vec<u8>, u16, bool, Transport); 6] = [
        (piece_v4(&v4, 0, 48, true), 0, true, Transport::Udp),
        (piece_v4(&v4, 48, 96, true), 48, true, Transport::LaterPiece),
        (piece_v4(&v4, 96, 100, false), 96, false, Transport::LaterPiece),
        (piece_v6(&v6, 0, 48, true), 0, true, Transport::Udp),
        (piece_v6(&v6, 48, 96, true), 48, true, Transport::LaterPiece),
        (piece_v6(&v6, 96, 100, false), 96, false, Transport::LaterPiece),
    ];
    for (mut bytes, offset, more, transport) in cases {
        let packet = PacketMut::parse(&mut bytes).unwrap();
        let piece = packet.piece().unwrap();
        assert_eq!((piece.span.offset(), piece.span.more(), packet.transport()), (offset, more, transport));
        assert_eq!(packet.ports() == Ports::NONE, transport == Transport::LaterPiece);
        assert_eq!(piece.datagram.addresses, packet.addresses());
    }
}

#[test]
fn frg2_a_first_piece_without_its_whole_header_poisons() {
    let v4 = ends(V4.0, V4.1);
    let tcp = made::tcp(&v4, TcpFlags::SYN, 1, &[1; 20], b"0123456789");
    for (end, accepted) in [(8, false), (16, false), (32, false), (40, true), (48, true)] {
        let outcome = parse(piece_v4(&tcp, 0, end, true));
        assert_eq!(outcome.is_ok(), accepted, "{end}");
        assert_eq!(matches!(outcome, Err(ParseError::TinyFirstFragment(_))), !accepted, "{end}");
    }
    assert_eq!(parse(piece_v4(&made::udp(&v4, b"01234567"), 0, 8, true)), Ok(Transport::Udp));
}

#[test]
fn frg2_an_offset_inside_the_tcp_header_poisons() {
    let v4 = made::tcp(&ends(V4.0, V4.1), TcpFlags::SYN, 1, &[], &[0; 60]);
    let v6 = made::tcp(&ends(V6.0, V6.1), TcpFlags::SYN, 1, &[], &[0; 60]);
    for (offset, accepted) in [(8, false), (16, false), (24, true)] {
        for outcome in [parse(piece_v4(&v4, offset, 80, false)), parse(piece_v6(&v6, offset, 80, false))] {
            assert_eq!(outcome.is_ok(), accepted, "{offset}");
            assert_eq!(matches!(outcome, Err(ParseError::OffsetInsideHeader(_))), !accepted, "{offset}");
        }
    }
    let udp = made::udp(&ends(V4.0, V4.1), &[0; 60]);
    assert_eq!(parse(piece_v4(&udp, 8, 68, false)), Ok(Transport::LaterPiece));
}

#[test]
fn frg2_pieces_end_inside_the_longest_datagram_and_are_whole_words() {
    let v4 = made::udp(&ends(V4.0, V4.1), &[0; 92]);
    let mut ping_of_death = piece_v4(&v4, 96, 100, false);
    ping_of_death[6..8].copy_from_slice(&0x1fff_u16.to_be_bytes());
    fix_ipv4_checksum(&mut ping_of_death);
    assert_eq!(parse(ping_of_death), Err(ParseError::FragmentBeyondLimit { offset: 65_528 }));
    assert_eq!(parse(piece_v4(&v4, 48, 60, true)), Err(ParseError::FragmentLength(12)));
    assert_eq!(parse(piece_v4(&v4, 48, 48, false)), Err(ParseError::FragmentLength(0)));
    let v6 = made::udp(&ends(V6.0, V6.1), &[0; 92]);
    assert_eq!(parse(piece_v6(&v6, 48, 60, true)), Err(ParseError::FragmentLength(12)));
}

#[test]
fn the_longest_super_packets_parse() {
    let v4 = made::tcp(&ends(V4.0, V4.1), TcpFlags::ACK, 1, &[], &vec![7; 65_535 - 40]);
    let v6 = made::tcp(&ends(V6.0, V6.1), TcpFlags::ACK, 1, &[], &vec![7; 65_535 - 20]);
    for (mut bytes, payload_len) in [(v4, 65_495), (v6, 65_515)] {
        let packet = PacketMut::parse(&mut bytes).unwrap();
        assert!(matches!(packet.transport(), Transport::Tcp(segment) if segment.payload_len == payload_len));
    }
}

#[test]
fn header_fields_are_told() {
    let mut bytes = made::udp(&ends(V4.0, V4.1), b"");
    (bytes[1], bytes[6]) = (0xb9, 0x40);
    fix_ipv4_checksum(&mut bytes);
    let packet = PacketMut::parse(&mut bytes).unwrap();
    assert_eq!((packet.traffic_class(), packet.hop_limit()), (0xb9, made::HOP_LIMIT));
    assert!(packet.dont_fragment() && !packet.needs_identification());

    let mut bytes = made::udp(&ends(V6.0, V6.1), b"");
    (bytes[0], bytes[1]) = (0x6b, 0x9f);
    let packet = PacketMut::parse(&mut bytes).unwrap();
    assert_eq!((packet.traffic_class(), packet.hop_limit()), (0xb9, made::HOP_LIMIT));
    assert_eq!((packet.protocol(), packet.dont_fragment()), (Protocol::UDP, true));
}

/// Bytes that look enough like packets to get past the first checks: a made packet with some bytes overwritten, its
/// IPv4 header checksum set right again.
fn almost_a_packet() -> impl Strategy<Value = Vec<u8>> {
    let edits = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..12);
    (any_packet(), edits, any::<bool>()).prop_map(|((_, _, mut bytes), edits, near)| {
        for (at, value) in edits {
            let range = if near { bytes.len().min(64) } else { bytes.len() };
            bytes[at.index(range)] = value;
        }
        if bytes[0] >> 4 == 4 && bytes.len() >= 4 * usize::from(bytes[0] & 15) && bytes[0] & 15 >= 5 {
            fix_ipv4_checksum(&mut bytes);
        }
        bytes
    })
}

/// What etherparse reads, where it reads the packet to its upper layer. It differs on purpose in two places: it takes
/// an IPv6 payload length of 0 for "all that is there", and it walks an authentication header over IPv4, too.
fn agrees_with_etherparse(packet: &PacketMut<'_>, bytes: &[u8]) -> Result<(), TestCaseError> {
    let claims_no_payload = packet.version() == Version::V6 && packet.total_len() == 40;
    let is_v4_authentication = packet.version() == Version::V4 && packet.protocol().0 == 51;
    if claims_no_payload || is_v4_authentication {
        return Ok(());
    }
    let Ok(sliced) = SlicedPacket::from_ip(bytes) else { return Ok(()) };
    let payload = sliced.ip_payload().expect("an IP packet has a payload");
    prop_assert_eq!(packet.protocol().0, payload.ip_number.0);
    prop_assert_eq!(packet.total_len() - payload.payload.len(), packet.network.upper_at());
    if let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport {
        let ports = Ports { source: tcp.source_port(), destination: tcp.destination_port() };
        prop_assert_eq!(packet.ports(), ports);
    }
    Ok(())
}

proptest! {
    #[test]
    fn p03_no_bytes_make_the_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), v6: bool) {
        if let Some(first) = bytes.first_mut() {
            *first = if v6 { 0x60 } else { 0x40 | (*first & 15) };
        }
        let _ = PacketMut::parse(&mut bytes);
    }

    #[test]
    fn p03_what_the_parser_accepts_etherparse_reads_the_same(bytes in almost_a_packet()) {
        let mut copy = bytes.clone();
        if let Ok(mut packet) = PacketMut::parse(&mut copy) {
            agrees_with_etherparse(&packet, &bytes)?;
            let _ = (packet.ends(), packet.headers_len(), packet.piece(), packet.traffic_class());
            let _ = packet.quote().map(|quote| quote.ends());
        }
    }

    #[test]
    fn every_made_packet_parses_to_its_ends((kind, ends, mut bytes) in any_packet()) {
        use super::samples::Kind;
        let len = bytes.len();
        let packet = PacketMut::parse(&mut bytes).unwrap();
        prop_assert_eq!(packet.addresses(), ends.addresses);
        prop_assert_eq!(packet.total_len(), len);
        let expected = match kind {
            Kind::Tcp | Kind::Udp => ends.ports,
            Kind::EchoRequest => Ports { destination: 0, ..ends.ports },
            Kind::EchoReply => Ports { source: 0, ..ends.ports },
            Kind::Gre => Ports::NONE,
        };
        prop_assert_eq!(packet.ports(), expected);
    }
}
