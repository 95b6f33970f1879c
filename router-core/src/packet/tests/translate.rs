//! Rewriting in place: incremental checksums equal recomputed ones, and corrupt packets stay corrupt.

use alloc::vec;

use proptest::prelude::*;

use super::samples::{Kind, any_kind, any_translation, packet};
use crate::packet::made::{checksums_are_right, ends, fragment_header, piece_v4, piece_v6, with_extensions};
use crate::packet::{Ends, HopLimitReached, PacketMut, Ports, TcpFlags, Transport, VersionMismatch, made};

const V4: (&str, &str) = ("10.0.0.1:1000", "10.0.0.2:80");
const V6: (&str, &str) = ("[fd00::1]:1000", "[fd00::2]:80");

/// Ends as the packet tells them: an echo has one identifier, GRE no ports.
fn visible(kind: Kind, ends: Ends) -> Ends {
    let ports = match kind {
        Kind::Tcp | Kind::Udp => ends.ports,
        Kind::EchoRequest => Ports { destination: 0, ..ends.ports },
        Kind::EchoReply => Ports { source: 0, ..ends.ports },
        Kind::Gre => Ports::NONE,
    };
    Ends { ports, ..ends }
}

proptest! {
    #[test]
    fn csm1_translation_equals_a_full_recomputation(
        kind in any_kind(),
        (from, to) in any_translation(),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = packet(kind, &from, &payload);
        let mut view = PacketMut::parse(&mut bytes).unwrap();
        view.translate(&to).unwrap();
        prop_assert_eq!(view.ends(), visible(kind, to));
        let (protocol, at) = (view.protocol().0, view.network.upper_at());
        let mut expected = packet(kind, &to, &payload);
        // etherparse sets "don't fragment" on echoes, `made::ip` does not; the bytes are the oracle.
        let mut again = PacketMut::parse(&mut expected).unwrap();
        again.translate(&to).unwrap();
        prop_assert_eq!(&bytes, &expected);
        prop_assert!(checksums_are_right(&bytes, protocol, at));
    }

    #[test]
    fn csm1_a_corrupt_packet_stays_corrupt(
        kind in prop_oneof![Just(Kind::Tcp), Just(Kind::Udp), Just(Kind::EchoRequest), Just(Kind::EchoReply)],
        (from, to) in any_translation(),
        payload in proptest::collection::vec(any::<u8>(), 2..300),
        flipped in any::<proptest::sample::Index>(), bit in 0u8..8,
    ) {
        let mut bytes = packet(kind, &from, &payload);
        let len = bytes.len();
        bytes[len - payload.len() + flipped.index(payload.len())] ^= 1 << bit;
        let mut view = PacketMut::parse(&mut bytes).unwrap();
        view.translate(&to).unwrap();
        let (protocol, at) = (view.protocol().0, view.network.upper_at());
        prop_assert!(!checksums_are_right(&bytes, protocol, at));
    }

    #[test]
    fn translation_and_back_is_nothing(
        kind in any_kind(),
        (from, to) in any_translation(),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let original = packet(kind, &from, &payload);
        let mut bytes = original.clone();
        let mut view = PacketMut::parse(&mut bytes).unwrap();
        view.translate(&to).unwrap();
        view.translate(&from).unwrap();
        prop_assert_eq!(bytes, original);
    }

    #[test]
    fn mixed_edits_keep_every_checksum_right(
        kind in any_kind(),
        (from, to) in any_translation(),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        identification: u32,
    ) {
        let mut bytes = packet(kind, &from, &payload);
        let mut view = PacketMut::parse(&mut bytes).unwrap();
        view.decrement_hop_limit().unwrap();
        view.set_identification(identification);
        view.set_source(to.addresses.source()).unwrap();
        view.set_ports(to.ports);
        view.set_destination(to.addresses.destination()).unwrap();
        prop_assert_eq!(view.ends(), visible(kind, to));
        let (protocol, at) = (view.protocol().0, view.network.upper_at());
        prop_assert!(checksums_are_right(&bytes, protocol, at));
    }
}

#[test]
fn csm2_udp_over_v4_without_a_checksum_keeps_none() {
    let mut bytes = made::udp(&ends(V4.0, V4.1), b"data");
    bytes[26..28].fill(0);
    PacketMut::parse(&mut bytes).unwrap().translate(&ends("192.0.2.1:9", "192.0.2.2:10")).unwrap();
    assert_eq!(bytes[26..28], [0, 0]);
}

#[test]
fn csm2_a_udp_checksum_that_computes_to_zero_becomes_all_ones() {
    for (from, to, at) in [(V4, ("10.0.0.1:0", "10.0.0.2:80"), 26), (V6, ("[fd00::1]:0", "[fd00::2]:80"), 46)]
    {
        let mut bytes = made::udp(&ends(from.0, from.1), b"data");
        // With source port 0, the port that takes the old checksum's place makes the new one zero.
        let mut view = PacketMut::parse(&mut bytes).unwrap();
        let mut target = ends(to.0, to.1);
        view.translate(&target).unwrap();
        target.ports.source = u16::from_be_bytes([view.bytes()[at], view.bytes()[at + 1]]);
        view.translate(&target).unwrap();
        assert_eq!(bytes[at..at + 2], [0xff, 0xff]);
        assert!(checksums_are_right(&bytes, 17, at - 6));
    }
}

#[test]
fn csm1_tcp_may_have_a_checksum_of_zero() {
    let mut bytes = made::tcp(&ends(V4.0, V4.1), TcpFlags::ACK, 1, &[], b"data");
    let mut view = PacketMut::parse(&mut bytes).unwrap();
    let mut target = ends("10.0.0.1:0", "10.0.0.2:80");
    view.translate(&target).unwrap();
    target.ports.source = u16::from_be_bytes([view.bytes()[36], view.bytes()[37]]);
    view.translate(&target).unwrap();
    assert_eq!(bytes[36..38], [0, 0]);
}

/// Found by the fuzzer. The sum of nothing but zeros is 0, and its checksum all ones; in any other message 0 means the same.
#[test]
fn csm1_an_echo_reply_of_zeros_keeps_a_right_checksum() {
    for (old, new) in [(5, 0), (0, 0), (0, 5), (5, 6)] {
        let reply = |id: u16| ends("10.0.0.1:0", &alloc::format!("10.0.0.2:{id}"));
        let mut bytes = made::echo_reply(&reply(old), &[0; 8]);
        // The sequence number.
        bytes[26..28].fill(0);
        bytes[22..24].copy_from_slice(&(!old).to_be_bytes());
        assert!(checksums_are_right(&bytes, 1, 20), "identifier {old}");
        PacketMut::parse(&mut bytes).unwrap().translate(&reply(new)).unwrap();
        assert!(checksums_are_right(&bytes, 1, 20), "identifier {old} to {new}");
    }
}

#[test]
fn ttl1_the_hop_limit_goes_down_to_one_and_no_further() {
    for (source, destination) in [V4, V6] {
        let mut bytes = made::udp(&ends(source, destination), b"");
        let mut view = PacketMut::parse(&mut bytes).unwrap();
        for left in (1..made::HOP_LIMIT).rev() {
            assert_eq!(view.decrement_hop_limit(), Ok(()));
            assert_eq!(view.hop_limit(), left);
        }
        assert_eq!(view.decrement_hop_limit(), Err(HopLimitReached));
        assert_eq!(view.hop_limit(), 1);
        assert!(PacketMut::parse(&mut bytes).is_ok());
    }
}

#[test]
fn any_other_protocols_get_new_addresses_and_keep_their_bytes() {
    for protocol in [47, 50, 132, 136] {
        let payload = [0xaa; 24];
        let mut bytes = made::ip(&ends(V4.0, V4.1).addresses, protocol, &payload);
        let to = ends("192.0.2.1:9", "192.0.2.2:10");
        PacketMut::parse(&mut bytes).unwrap().translate(&to).unwrap();
        assert_eq!(bytes, made::ip(&to.addresses, protocol, &payload));
    }
}

#[test]
fn frg1_later_pieces_get_new_addresses_only() {
    for (piece, to) in [
        (
            piece_v4(&made::udp(&ends(V4.0, V4.1), &[5; 64]), 32, 72, false),
            ends("192.0.2.1:9", "192.0.2.2:10"),
        ),
        (
            piece_v6(&made::udp(&ends(V6.0, V6.1), &[5; 64]), 32, 72, false),
            ends("[fd01::1]:9", "[fd01::2]:10"),
        ),
    ] {
        let mut bytes = piece.clone();
        let mut view = PacketMut::parse(&mut bytes).unwrap();
        view.translate(&to).unwrap();
        assert_eq!(view.addresses(), to.addresses);
        let at = view.network.upper_at();
        assert_eq!(bytes[at..], piece[at..]);
        assert_eq!(PacketMut::parse(&mut bytes).unwrap().transport(), Transport::LaterPiece);
    }
}

#[test]
fn map11_the_identification_of_packets_and_pieces_is_replaced() {
    let mut v4 = made::udp(&ends(V4.0, V4.1), &[5; 64]);
    let mut view = PacketMut::parse(&mut v4).unwrap();
    assert!(view.needs_identification());
    view.set_identification(0xabcd);
    assert_eq!(v4[4..6], [0xab, 0xcd]);
    assert!(PacketMut::parse(&mut v4).is_ok());

    let whole = with_extensions(&made::udp(&ends(V6.0, V6.1), &[5; 64]), &[fragment_header(0, true, 7)]);
    let mut v6 = whole;
    PacketMut::parse(&mut v6).unwrap().set_identification(0xabcd_ef01);
    let piece = PacketMut::parse(&mut v6).unwrap().piece().unwrap();
    assert_eq!(piece.datagram.identification, 0xabcd_ef01);
}

#[test]
fn a_packet_never_changes_its_version() {
    let original = made::udp(&ends(V4.0, V4.1), b"");
    let mut bytes = original.clone();
    let mut view = PacketMut::parse(&mut bytes).unwrap();
    assert_eq!(view.translate(&ends(V6.0, V6.1)), Err(VersionMismatch));
    assert_eq!(view.set_source("::1".parse().unwrap()), Err(VersionMismatch));
    assert_eq!(bytes, original);
}

#[test]
fn ext1_the_checksum_behind_extension_headers_is_updated() {
    let mut chain = vec![0; 24];
    chain[1] = 2;
    let mut bytes = with_extensions(&made::udp(&ends(V6.0, V6.1), b"data"), &[(60, chain)]);
    PacketMut::parse(&mut bytes).unwrap().translate(&ends("[fd01::1]:9", "[fd01::2]:10")).unwrap();
    assert!(checksums_are_right(&bytes, 17, 64));
}

#[test]
fn translation_of_a_super_packet_is_that_of_its_header() {
    let mut bytes = made::tcp(&ends(V4.0, V4.1), TcpFlags::ACK, 1, &[], &vec![7; 65_000]);
    PacketMut::parse(&mut bytes).unwrap().translate(&ends("192.0.2.1:9", "192.0.2.2:10")).unwrap();
    assert!(checksums_are_right(&bytes, 6, 20));
}
