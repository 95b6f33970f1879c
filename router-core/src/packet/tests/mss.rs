//! MSS clamp (MTU-4).

use proptest::prelude::*;

use crate::packet::made::{checksums_are_right, ends};
use crate::packet::{PacketMut, TcpFlags, Transport, Version, made, mss_for_mtu};

const V4: (&str, &str) = ("10.0.0.1:1000", "10.0.0.2:80");

#[test]
fn mtu4_the_largest_segment_leaves_room_for_the_headers() {
    assert_eq!(mss_for_mtu(Version::V4, 1420), 1380);
    assert_eq!(mss_for_mtu(Version::V6, 1420), 1360);
    assert_eq!(mss_for_mtu(Version::V6, 50), 0);
}

#[test]
fn mtu4_only_syns_are_clamped_and_only_downwards() {
    let (syn, syn_ack) = (TcpFlags::SYN, TcpFlags::SYN.with(TcpFlags::ACK));
    for (flags, mss, max, clamped) in [
        (syn, 1460, 1380, true),
        (syn_ack, 1460, 1380, true),
        (syn, 1380, 1380, false),
        (syn, 536, 1380, false),
        (TcpFlags::ACK, 1460, 1380, false),
    ] {
        let [high, low] = u16::to_be_bytes(mss);
        let original = made::tcp(&ends(V4.0, V4.1), flags, 1, &[2, 4, high, low], b"");
        let mut bytes = original.clone();
        assert_eq!(PacketMut::parse(&mut bytes).unwrap().clamp_mss(max), clamped, "{flags:?} {mss}");
        assert_eq!(bytes != original, clamped);
        assert!(checksums_are_right(&bytes, 6, 20));
    }
}

#[test]
fn mtu4_an_option_of_another_kind_or_length_is_no_segment_size() {
    for options in [[253, 4, 0x05, 0xb4], [2, 3, 0x05, 1]] {
        let mut bytes = made::tcp(&ends(V4.0, V4.1), TcpFlags::SYN, 1, &options, b"");
        assert!(!PacketMut::parse(&mut bytes).unwrap().clamp_mss(100), "{options:?}");
    }
}

#[test]
fn flags_that_are_there_already_stay() {
    let syn_ack = TcpFlags::SYN.with(TcpFlags::ACK);
    assert_eq!(syn_ack.with(TcpFlags::ACK), syn_ack);
}

#[test]
fn mtu4_a_syn_without_the_option_gets_none() {
    let mut bytes = made::tcp(&ends(V4.0, V4.1), TcpFlags::SYN, 1, &[4, 2, 1, 1], b"");
    assert!(!PacketMut::parse(&mut bytes).unwrap().clamp_mss(100));
}

proptest! {
    #[test]
    fn mtu4_the_option_is_found_and_summed_wherever_it_lies(padding in 0usize..9, mss: u16, max: u16) {
        let mut options = [1; 20];
        let [high, low] = mss.to_be_bytes();
        options[padding..padding + 4].copy_from_slice(&[2, 4, high, low]);
        let mut bytes = made::tcp(&ends(V4.0, V4.1), TcpFlags::SYN, 1, &options, b"data");
        prop_assert_eq!(PacketMut::parse(&mut bytes).unwrap().clamp_mss(max), mss > max);
        prop_assert!(checksums_are_right(&bytes, 6, 20));
        let view = PacketMut::parse(&mut bytes).unwrap();
        let Transport::Tcp(segment) = view.transport() else { panic!("not TCP") };
        prop_assert_eq!(segment.options.mss, Some(mss.min(max)));
    }
}
