//! Packets of our own (GEN-1, FLT-5, MTU-1, TTL-1).

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::packet::build::{
    BuildError, Notice, Unreachable, echo_reply, icmp_error, may_answer, reset, reset_answering,
};
use crate::packet::made::{checksums_are_right, ends, piece_v4};
use crate::packet::{Ends, IcmpError, PacketMut, Protocol, QuotedTransport, TcpFlags, Transport, made};

const V4: (&str, &str) = ("10.0.0.1:1000", "10.0.0.2:80");
const V6: (&str, &str) = ("[fd00::1]:1000", "[fd00::2]:80");
const NOTICES: [Notice; 6] = [
    Notice::HopLimitExceeded,
    Notice::TooBig { mtu_bytes: 1360 },
    Notice::Unreachable(Unreachable::NoRoute),
    Notice::Unreachable(Unreachable::Host),
    Notice::Unreachable(Unreachable::Port),
    Notice::Unreachable(Unreachable::AdminProhibited),
];

/// The router's own address in the version of `ends`.
fn router(ends: &Ends) -> IpAddr {
    if ends.addresses.source().is_ipv4() {
        "10.0.0.254".parse().unwrap()
    } else {
        "fd00::254".parse().unwrap()
    }
}

fn built(
    mut about: Vec<u8>,
    build: impl FnOnce(&PacketMut<'_>, &mut [u8]) -> Result<usize, BuildError>,
) -> Result<Vec<u8>, BuildError> {
    let mut out = [0xee; 2000];
    let len = build(&PacketMut::parse(&mut about).unwrap(), &mut out)?;
    Ok(out[..len].to_vec())
}

fn answerable(mut about: Vec<u8>) -> bool {
    may_answer(&PacketMut::parse(&mut about).unwrap())
}

#[test]
fn gen1_errors_quote_as_much_as_their_version_allows() {
    for (from, header, protocol, len_max) in
        [(ends(V4.0, V4.1), 20, 1, 576), (ends(V6.0, V6.1), 40, 58, 1280)]
    {
        for payload in [0, 100, 1300] {
            let about = made::udp(&from, &alloc::vec![5; payload]);
            for notice in NOTICES {
                let error =
                    built(about.clone(), |packet, out| icmp_error(packet, router(&from), notice, out))
                        .unwrap();
                assert_eq!(error.len(), (about.len() + header + 8).min(len_max));
                assert!(checksums_are_right(&error, protocol, header));
                assert_eq!(error[header + 8..], about[..error.len() - header - 8]);
            }
        }
    }
}

#[test]
fn errors_say_what_happened_in_the_words_of_their_version() {
    let says = |from: &Ends, notice| {
        let about = made::udp(from, b"data");
        let mut error = built(about, |packet, out| icmp_error(packet, router(from), notice, out)).unwrap();
        let mut packet = PacketMut::parse(&mut error).unwrap();
        assert_eq!(packet.addresses().source(), router(from));
        assert_eq!(packet.addresses().destination(), from.addresses.source());
        let Transport::IcmpError(error) = packet.transport() else { panic!("no error") };
        let quote = packet.quote().unwrap();
        assert_eq!((quote.ends(), quote.transport()), (*from, QuotedTransport::Udp));
        error
    };
    let (v4, v6) = (ends(V4.0, V4.1), ends(V6.0, V6.1));
    let unreachable = |code| IcmpError::Unreachable { code };
    for (notice, over_v4, over_v6) in [
        (NOTICES[0], IcmpError::TimeExceeded { code: 0 }, IcmpError::TimeExceeded { code: 0 }),
        (NOTICES[1], IcmpError::TooBig { mtu_bytes: 1360 }, IcmpError::TooBig { mtu_bytes: 1360 }),
        (NOTICES[2], unreachable(0), unreachable(0)),
        (NOTICES[3], unreachable(1), unreachable(3)),
        (NOTICES[4], unreachable(3), unreachable(4)),
        (NOTICES[5], unreachable(13), unreachable(1)),
    ] {
        assert_eq!((says(&v4, notice), says(&v6, notice)), (over_v4, over_v6), "{notice:?}");
    }
}

#[test]
fn flt5_no_error_about_errors_redirects_and_later_pieces() {
    let (v4, v6) = (ends(V4.0, V4.1), ends(V6.0, V6.1));
    let udp = made::udp(&v4, &[0; 64]);
    assert!(answerable(udp.clone()));
    assert!(answerable(piece_v4(&udp, 0, 32, true)));
    assert!(!answerable(piece_v4(&udp, 32, 72, false)));
    for kind in [3, 4, 5, 11, 12] {
        assert!(!answerable(made::icmp(&v4.addresses, kind, 0, [0; 4], &udp)), "v4 {kind}");
    }
    for kind in [1, 2, 3, 4, 100, 127, 137] {
        assert!(!answerable(made::icmp(&v6.addresses, kind, 0, [0; 4], &udp)), "v6 {kind}");
    }
    assert!(answerable(made::echo_request(&v4, b"")) && answerable(made::echo_request(&v6, b"")));
}

#[test]
fn flt5_no_error_to_or_about_what_is_not_one_host() {
    for (source, destination) in [
        ("0.0.0.0:1", "10.0.0.2:2"),
        ("127.0.0.1:1", "10.0.0.2:2"),
        ("224.0.0.1:1", "10.0.0.2:2"),
        ("255.255.255.255:1", "10.0.0.2:2"),
        ("240.0.0.1:1", "10.0.0.2:2"),
        ("10.0.0.1:1", "239.1.1.1:2"),
        ("10.0.0.1:1", "255.255.255.255:2"),
        ("[::]:1", "[fd00::2]:2"),
        ("[::1]:1", "[fd00::2]:2"),
        ("[ff02::1]:1", "[fd00::2]:2"),
        ("[fd00::1]:1", "[ff02::1]:2"),
    ] {
        let ends = ends(source, destination);
        let refused = built(made::udp(&ends, b""), |packet, out| {
            icmp_error(packet, router(&ends), Notice::HopLimitExceeded, out)
        });
        assert_eq!(refused, Err(BuildError::Unanswerable), "{source} -> {destination}");
    }
}

#[test]
fn pings_of_our_own_addresses_are_answered() {
    for (ends, protocol, at) in [(ends(V4.0, V4.1), 1, 20), (ends(V6.0, V6.1), 58, 40)] {
        let mut reply = built(made::echo_request(&ends, b"ping me"), echo_reply).unwrap();
        assert!(checksums_are_right(&reply, protocol, at));
        let echoed = [&ends.ports.source.to_be_bytes()[..], &[0, 9], b"ping me"].concat();
        assert_eq!(reply[at + 4..], echoed);
        let packet = PacketMut::parse(&mut reply).unwrap();
        assert_eq!(packet.addresses(), ends.addresses.reversed());
    }
}

#[test]
fn a_ping_is_answered_in_its_own_class_of_traffic_and_without_a_mark_of_congestion() {
    for (source, destination) in [V4, V6] {
        let mut ping = made::echo_request(&ends(source, destination), b"hello");
        let is_v4 = ping[0] >> 4 == 4;
        if is_v4 {
            ping[1] = 0xb8 | 1;
            made::fix_ipv4_checksum(&mut ping);
        } else {
            (ping[0], ping[1]) = (0x6b, 0x90);
        }
        let reply = built(ping, echo_reply).unwrap();
        let class = if is_v4 { reply[1] } else { reply[0] << 4 | reply[1] >> 4 };
        assert_eq!(class, 0xb8);
    }
}

#[test]
fn what_is_no_whole_and_right_echo_request_gets_no_reply() {
    let v4 = ends(V4.0, V4.1);
    let request = made::echo_request(&v4, &[7; 64]);
    let mut corrupt = request.clone();
    corrupt[40] ^= 1;
    for about in [corrupt, piece_v4(&request, 0, 40, true), made::echo_reply(&v4, b""), made::udp(&v4, b"")] {
        assert_eq!(built(about, echo_reply), Err(BuildError::Unanswerable));
    }
}

fn segment(mut bytes: Vec<u8>) -> (Ends, TcpFlags, u32, u32) {
    let at = if bytes[0] >> 4 == 4 { 20 } else { 40 };
    assert!(checksums_are_right(&bytes, 6, at));
    let packet = PacketMut::parse(&mut bytes).unwrap();
    let Transport::Tcp(segment) = packet.transport() else { panic!("not TCP") };
    (packet.ends(), segment.flags, segment.sequence, segment.acknowledgment)
}

#[test]
fn a_reset_answers_a_segment_as_rfc_9293_says() {
    for ends in [ends(V4.0, V4.1), ends(V6.0, V6.1)] {
        let (rst, rst_ack) = (TcpFlags::RST, TcpFlags::RST.with(TcpFlags::ACK));
        let answer = |flags, payload| {
            segment(built(made::tcp(&ends, flags, u32::MAX - 1, &[], payload), reset_answering).unwrap())
        };
        let back = ends.reversed();
        assert_eq!(answer(TcpFlags::SYN, b""), (back, rst_ack, 0, u32::MAX));
        assert_eq!(answer(TcpFlags::SYN.with(TcpFlags::FIN), b"data"), (back, rst_ack, 0, 4));
        assert_eq!(answer(TcpFlags::ACK, b"data"), (back, rst, 77, 0));
        assert_eq!(answer(TcpFlags::SYN.with(TcpFlags::ACK), b""), (back, rst, 77, 0));
    }
}

#[test]
fn a_reset_never_answers_a_reset_or_half_a_segment() {
    let v4 = ends(V4.0, V4.1);
    let half = piece_v4(&made::tcp(&v4, TcpFlags::ACK, 1, &[], &[0; 60]), 0, 40, true);
    for about in [made::tcp(&v4, TcpFlags::RST, 1, &[], b""), half, made::udp(&v4, b"")] {
        assert_eq!(built(about, reset_answering), Err(BuildError::Unanswerable));
    }
}

#[test]
fn flt7_a_closed_session_resets_at_the_exact_number() {
    for ends in [ends(V4.0, V4.1), ends(V6.0, V6.1)] {
        let mut out = [0xee; 64];
        let len = reset(&ends, 1000, 2000, &mut out).unwrap();
        let flags = TcpFlags::RST.with(TcpFlags::ACK);
        assert_eq!(segment(out[..len].to_vec()), (ends, flags, 1000, 2000));
    }
}

#[test]
fn a_buffer_too_short_and_a_foreign_version_build_nothing() {
    let v4 = ends(V4.0, V4.1);
    let mut out = [0; 39];
    assert_eq!(reset(&v4, 1, 2, &mut out), Err(BuildError::NoRoom { need: 40, have: 39 }));
    let foreign = built(made::udp(&v4, b""), |packet, out| {
        icmp_error(packet, "::1".parse().unwrap(), Notice::HopLimitExceeded, out)
    });
    assert!(matches!(foreign, Err(BuildError::VersionMismatch(_))));
}

#[test]
fn our_own_packets_are_atomic() {
    let v4 = ends(V4.0, V4.1);
    let mut error =
        built(made::udp(&v4, b""), |packet, out| icmp_error(packet, router(&v4), NOTICES[0], out)).unwrap();
    let packet = PacketMut::parse(&mut error).unwrap();
    assert!(packet.dont_fragment() && !packet.needs_identification());
    assert_eq!((packet.protocol(), packet.hop_limit(), packet.traffic_class()), (Protocol::ICMP, 64, 0xc0));
}
