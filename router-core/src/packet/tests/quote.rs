//! Quotes in ICMP errors (ICE-1, 2, 4, 5, 6, 10; P6). The oracle: an error about the packet before translation, built
//! from scratch, must equal the translated error about the packet after translation.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::samples::{Kind, any_translation, packet};
use crate::packet::made::{
    checksums_are_right, ends, fix_ipv4_checksum, fragment_header, piece_v4, piece_v6, with_extensions,
    with_options,
};
use crate::packet::{
    Addresses, Ends, IcmpError, PacketMut, ParseError, QuoteError, QuotedTransport, TcpFlags,
    VersionMismatch, made,
};

const V4: (&str, &str) = ("10.0.0.1:1000", "10.0.0.2:80");
const V6: (&str, &str) = ("[fd00::1]:1000", "[fd00::2]:80");

/// Addresses of an error: the third is where the client or router sits.
fn outer(like: &Ends) -> Addresses {
    match like.addresses {
        Addresses::V4 { .. } => ends("198.51.100.7:0", "203.0.113.9:0").addresses,
        Addresses::V6 { .. } => ends("[fd07::7]:0", "[fd09::9]:0").addresses,
    }
}

/// Time exceeded, which has a length of RFC 4884 in both versions, in the version's own words.
fn time_exceeded(addresses: &Addresses, quote: &[u8], quote_len: usize) -> Vec<u8> {
    match addresses {
        Addresses::V4 { .. } => {
            made::icmp(addresses, 11, 0, [0, u8::try_from(quote_len / 4).unwrap(), 0, 0], quote)
        }
        Addresses::V6 { .. } => {
            made::icmp(addresses, 3, 0, [u8::try_from(quote_len / 8).unwrap(), 0, 0, 0], quote)
        }
    }
}

fn quote_of(mut error: Vec<u8>) -> Result<(Ends, QuotedTransport), QuoteError> {
    let mut packet = PacketMut::parse(&mut error).unwrap();
    packet.quote().map(|quote| (quote.ends(), quote.transport()))
}

/// Translates a packet, cuts both to `shown`, wraps them in errors and compares as the file's head says.
fn check_round_trip(original: &[u8], from: &Ends, to: &Ends, shown: usize, tail: &[u8], quote_len: usize) {
    let mut translated = original.to_vec();
    PacketMut::parse(&mut translated).unwrap().translate(to).unwrap();
    let cut = |packet: &[u8]| [&packet[..packet.len().min(shown)], tail].concat();
    let hop = outer(from);
    let mut error = time_exceeded(&hop, &cut(&translated), quote_len);

    let mut view = PacketMut::parse(&mut error).unwrap();
    let mut quote = view.quote().unwrap();
    assert_eq!(quote.packet_len(), original.len());
    let back = hop.reversed();
    quote.translate(from, back).unwrap();
    assert_eq!(error, time_exceeded(&back, &cut(original), quote_len));
}

fn any_icmp_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Tcp),
        Just(Kind::Udp),
        Just(Kind::EchoRequest),
        Just(Kind::EchoReply),
        Just(Kind::Gre)
    ]
}

/// Length of the IP header of a packet without options or extension headers.
fn header_len(ends: &Ends) -> usize {
    match ends.addresses {
        Addresses::V4 { .. } => 20,
        Addresses::V6 { .. } => 40,
    }
}

proptest! {
    #[test]
    fn ice5_a_translated_error_is_the_error_about_the_untranslated_packet(
        kind in any_icmp_kind(),
        (from, to) in any_translation(),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        shown in 8usize..220,
    ) {
        // Half a checksum field is none.
        prop_assume!(kind != Kind::Tcp || shown != 17);
        let original = packet(kind, &from, &payload);
        check_round_trip(&original, &from, &to, header_len(&from) + shown, &[], 0);
    }

    #[test]
    fn ice4_extensions_are_not_part_of_the_quote_and_pass_unchanged(
        kind in any_icmp_kind(),
        (from, to) in any_translation(),
        payload in proptest::collection::vec(any::<u8>(), 200..300),
    ) {
        // An MPLS label stack (RFC 4950) behind 128 bytes of quote.
        let extension = [0x20, 0, 0xb1, 0xe0, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0x40];
        check_round_trip(&packet(kind, &from, &payload), &from, &to, 128, &extension, 128);
    }

    #[test]
    fn p06_a_flipped_bit_anywhere_in_the_error_drops_it(
        (from, _) in any_translation(),
        flipped in any::<proptest::sample::Index>(), bit in 0u8..8,
    ) {
        let mut error = time_exceeded(&outer(&from), &packet(Kind::Tcp, &from, b"data"), 0);
        let range = error.len() - header_len(&from);
        error[header_len(&from) + flipped.index(range)] ^= 1 << bit;
        if let Ok(mut packet) = PacketMut::parse(&mut error) {
            prop_assert!(packet.quote().is_err());
        }
    }

    #[test]
    fn p06_no_quote_makes_the_reader_panic(
        v6: bool, kind in 0u8..13, word: [u8; 4],
        mut body in proptest::collection::vec(any::<u8>(), 0..120),
        (from, to) in any_translation(),
    ) {
        if let Some(first) = body.first_mut() {
            *first = if v6 { 0x60 } else { 0x40 | (*first & 0x0f) };
        }
        let addresses = outer(&ends(if v6 { V6.0 } else { V4.0 }, if v6 { V6.1 } else { V4.1 }));
        if !v6 && body.len() >= 60 {
            let len = usize::from(body[0] & 15).max(5) * 4;
            body[0] = 0x40 | (len / 4) as u8;
            fix_ipv4_checksum(&mut body);
        }
        let mut error = made::icmp(&addresses, kind, 0, word, &body);
        let len = error.len();
        let Ok(mut packet) = PacketMut::parse(&mut error) else { return Ok(()) };
        if let Ok(mut quote) = packet.quote() {
            let _ = (quote.ends(), quote.protocol(), quote.packet_len());
            let _ = quote.translate(&from, from.addresses);
            let _ = quote.translate(&to, addresses);
            quote.set_mtu(1300);
        }
        prop_assert_eq!(packet.total_len(), len);
    }
}

#[test]
fn ice6_a_quote_of_the_header_and_eight_bytes_is_enough() {
    for (from, to) in [
        (ends(V4.0, V4.1), ends("192.0.2.1:9", "192.0.2.2:10")),
        (ends(V6.0, V6.1), ends("[fd01::1]:9", "[fd01::2]:10")),
    ] {
        for kind in [Kind::Tcp, Kind::Udp, Kind::EchoRequest, Kind::EchoReply] {
            let original = packet(kind, &from, &[9; 40]);
            check_round_trip(&original, &from, &to, header_len(&from) + 8, &[], 0);
        }
        let error =
            time_exceeded(&outer(&from), &packet(Kind::Tcp, &from, b"data")[..header_len(&from) + 8], 0);
        assert_eq!(quote_of(error), Ok((from, QuotedTransport::Tcp { sequence: 5 })));
    }
}

#[test]
fn ice6_less_than_eight_bytes_are_too_few() {
    for from in [ends(V4.0, V4.1), ends(V6.0, V6.1)] {
        let original = packet(Kind::Tcp, &from, b"data");
        for shown in 0..header_len(&from) + 8 {
            let outcome = quote_of(time_exceeded(&outer(&from), &original[..shown], 0));
            assert!(outcome.is_err(), "{shown}: {outcome:?}");
        }
    }
}

#[test]
fn ice6_a_quoted_udp_checksum_of_zero_stays_zero() {
    let (from, to) = (ends(V4.0, V4.1), ends("192.0.2.1:9", "192.0.2.2:10"));
    let mut original = made::udp(&from, b"data");
    original[26..28].fill(0);
    check_round_trip(&original, &from, &to, 28, &[], 0);
    check_round_trip(&original, &from, &to, 32, &[], 0);
}

#[test]
fn ice2_quoted_options_and_extension_headers_are_skipped() {
    let (from, to) = (ends(V4.0, V4.1), ends("192.0.2.1:9", "192.0.2.2:10"));
    for kind in [Kind::Tcp, Kind::Udp, Kind::EchoRequest] {
        let original = with_options(&packet(kind, &from, &[9; 40]), &[148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0]);
        check_round_trip(&original, &from, &to, 32 + 8, &[], 0);
        check_round_trip(&original, &from, &to, 500, &[], 0);
    }
    let (from, to) = (ends(V6.0, V6.1), ends("[fd01::1]:9", "[fd01::2]:10"));
    for kind in [Kind::Tcp, Kind::Udp, Kind::EchoRequest] {
        let headers = [(0, vec![0; 8]), (60, vec![0; 8]), fragment_header(0, false, 7)];
        let original = with_extensions(&packet(kind, &from, &[9; 40]), &headers);
        check_round_trip(&original, &from, &to, 64 + 8, &[], 0);
        check_round_trip(&original, &from, &to, 500, &[], 0);
    }
}

#[test]
fn ice4_a_length_behind_the_message_drops_the_error() {
    for from in [ends(V4.0, V4.1), ends(V6.0, V6.1)] {
        let quote = packet(Kind::Udp, &from, &[1; 100]);
        let quote = &quote[..120];
        assert!(quote_of(time_exceeded(&outer(&from), quote, 120)).is_ok());
        let too_long = quote_of(time_exceeded(&outer(&from), quote, 128));
        assert_eq!(too_long, Err(QuoteError::LengthBeyondMessage { claimed: 128, have: 120 }));
    }
}

#[test]
fn ice4_a_checksum_field_behind_the_quotes_end_is_not_one() {
    // The quote ends behind the TCP sequence number; the bytes where the checksum would be are an extension.
    let (from, to) = (ends(V4.0, V4.1), ends("192.0.2.1:9", "192.0.2.2:10"));
    let extension = [0x20, 0, 0xdf, 0xff, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0x40];
    check_round_trip(&packet(Kind::Tcp, &from, &[1; 64]), &from, &to, 28, &extension, 28);
}

#[test]
fn ice4_padding_behind_a_short_quoted_packet_passes_unchanged() {
    // A packet shorter than the 128 bytes that RFC 4884 wants before an extension is padded with zeros.
    for (from, to) in [
        (ends(V4.0, V4.1), ends("192.0.2.1:9", "192.0.2.2:10")),
        (ends(V6.0, V6.1), ends("[fd01::1]:9", "[fd01::2]:10")),
    ] {
        let original = packet(Kind::Tcp, &from, b"x");
        let mut tail = vec![0; 128 - original.len()];
        tail.extend_from_slice(&[0x20, 0, 0xdf, 0xff]);
        check_round_trip(&original, &from, &to, 500, &tail, 128);
    }
    // A packet that claims to end in the middle of its TCP header has no checksum, whatever lies behind.
    let from = ends(V4.0, V4.1);
    let mut quote = packet(Kind::Tcp, &from, b"data");
    quote[2..4].copy_from_slice(&28u16.to_be_bytes());
    fix_ipv4_checksum(&mut quote);
    let mut error = time_exceeded(&outer(&from), &quote, 0);
    let mut view = PacketMut::parse(&mut error).unwrap();
    let to = ends("192.0.2.1:9", "192.0.2.2:10");
    view.quote().unwrap().translate(&to, outer(&from)).unwrap();
    assert_eq!(error[28 + 28..], quote[28..]);
    assert!(checksums_are_right(&error, 1, 20));
}

#[test]
fn ice1_wrong_checksums_outside_or_in_the_quoted_header_drop_the_error() {
    let from = ends(V4.0, V4.1);
    let quote = packet(Kind::Udp, &from, &[1; 40]);
    let mut wrong_outside = time_exceeded(&outer(&from), &quote, 0);
    wrong_outside[22] ^= 1;
    assert_eq!(quote_of(wrong_outside), Err(QuoteError::Checksum));

    let mut wrong_header = quote.clone();
    wrong_header[10] ^= 1;
    let error = time_exceeded(&outer(&from), &wrong_header, 0);
    assert_eq!(quote_of(error), Err(QuoteError::Malformed(ParseError::HeaderChecksum)));

    let mut wrong_upper = quote.clone();
    wrong_upper[26] ^= 1;
    assert!(quote_of(time_exceeded(&outer(&from), &wrong_upper, 0)).is_ok(), "not ours to verify");
}

#[test]
fn ice10_no_port_is_read_from_quoted_errors_and_later_pieces() {
    for from in [ends(V4.0, V4.1), ends(V6.0, V6.1)] {
        let udp = packet(Kind::Udp, &from, &[1; 64]);
        let error = time_exceeded(&outer(&from), &udp, 0);
        assert_eq!(quote_of(time_exceeded(&outer(&from), &error, 0)), Err(QuoteError::QuotesError));
        let (first, later) = match from.addresses {
            Addresses::V4 { .. } => (piece_v4(&udp, 0, 32, true), piece_v4(&udp, 32, 72, false)),
            Addresses::V6 { .. } => (piece_v6(&udp, 0, 32, true), piece_v6(&udp, 32, 72, false)),
        };
        assert_eq!(quote_of(time_exceeded(&outer(&from), &first, 0)), Ok((from, QuotedTransport::Udp)));
        assert_eq!(quote_of(time_exceeded(&outer(&from), &later, 0)), Err(QuoteError::QuotesLaterPiece));
    }
}

#[test]
fn only_whole_errors_with_a_quote_of_their_own_version_have_one() {
    let (v4, v6) = (ends(V4.0, V4.1), ends(V6.0, V6.1));
    let quote = packet(Kind::Udp, &v4, &[1; 64]);
    assert_eq!(quote_of(made::echo_request(&v4, b"")), Err(QuoteError::NotAnError));
    assert_eq!(quote_of(made::icmp(&v6.addresses, 137, 0, [0; 4], &[0; 40])), Err(QuoteError::NotAnError));
    assert_eq!(quote_of(time_exceeded(&v6.addresses, &quote, 0)), Err(QuoteError::OtherVersion));
    assert_eq!(quote_of(time_exceeded(&v4.addresses, &[], 0)), Err(QuoteError::OtherVersion));
    let whole = time_exceeded(&v4.addresses, &quote, 0);
    assert_eq!(quote_of(piece_v4(&whole, 0, 80, true)), Err(QuoteError::Fragmented));
}

#[test]
fn a_quote_never_changes_its_version() {
    let mut error = time_exceeded(&outer(&ends(V4.0, V4.1)), &packet(Kind::Udp, &ends(V4.0, V4.1), b""), 0);
    let original = error.clone();
    let mut packet = PacketMut::parse(&mut error).unwrap();
    let mut quote = packet.quote().unwrap();
    let (v4, v6) = (ends(V4.0, V4.1), ends(V6.0, V6.1));
    assert_eq!(quote.translate(&v6, v4.addresses), Err(VersionMismatch));
    assert_eq!(quote.translate(&v4, v6.addresses), Err(VersionMismatch));
    assert_eq!(error, original);
}

#[test]
fn ice9_the_path_mtu_is_told_and_replaced() {
    for (from, kind, code, protocol, at) in
        [(ends(V4.0, V4.1), 3, 4, 1, 20), (ends(V6.0, V6.1), 2, 0, 58, 40)]
    {
        let quote = made::tcp(&from, TcpFlags::ACK, 1, &[], &[0; 1200]);
        let word = 1400u32.to_be_bytes();
        let mut error = made::icmp(&outer(&from), kind, code, word, &quote[..64]);
        let mut packet = PacketMut::parse(&mut error).unwrap();
        let mut view = packet.quote().unwrap();
        assert_eq!(view.packet_len(), quote.len());
        view.set_mtu(1320);
        assert!(checksums_are_right(packet.bytes(), protocol, at));
        let told = packet.transport();
        assert_eq!(told, PacketMut::parse(&mut error).unwrap().transport());
        assert_eq!(told, crate::packet::Transport::IcmpError(IcmpError::TooBig { mtu_bytes: 1320 }));
    }
}
