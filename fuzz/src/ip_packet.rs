//! Any bytes as an IP packet: parsed or refused; what is parsed can be rewritten, clamped, split and answered, and stays
//! a packet (P3, P5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use router_core::packet::build::{self, Notice, Unreachable};
use router_core::packet::split::{Split, SplitError};
use router_core::packet::{Addresses, Ends, PacketMut, Ports, Transport, Version};

use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "ip_packet",
    run: ip_packet,
    outcomes: &[
        "FragmentBeyondLimit",
        "FragmentLength",
        "HeaderChecksum",
        "HeaderLength",
        "HopByHopMisplaced",
        "IcmpEcho",
        "IcmpError ParameterProblem",
        "IcmpError Redirect",
        "IcmpError SourceQuench",
        "IcmpError TimeExceeded",
        "IcmpError TooBig",
        "IcmpError Unassigned",
        "IcmpError Unreachable",
        "IcmpOther",
        "LaterPiece",
        "MalformedOption",
        "OffsetInsideHeader Datagram",
        "Other",
        "RoutingHeader",
        "SecondFragmentHeader",
        "SourceRoute",
        "Tcp TcpSegment",
        "TinyFirstFragment Datagram",
        "TooManyHeaders",
        "TooShort",
        "Udp",
        "UdpChecksumMissing",
        "UdpLength",
        "UnknownVersion",
        "answered with a reset",
        "answered with an echo",
        "answered with an error",
        "not split: MTU too small",
        "not split: don't fragment",
        "not split: not IPv4",
        "small enough",
        "split",
    ],
};

/// The first twelve bytes choose a translation, the rest is the packet.
fn ip_packet(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let (choice, ports, mtu_bytes) = (input.array::<6>(), [input.u16(), input.u16()], input.u16());
    let mut bytes = input.rest().to_vec();
    let received = bytes.len();
    let packet = match PacketMut::parse(&mut bytes) {
        Ok(packet) => packet,
        Err(why) => return tally.variant(&why),
    };
    tally.variant(&packet.transport());
    let (len, version) = (packet.total_len(), packet.version());
    assert!(len <= received && packet.headers_len() <= len, "lengths are exact");
    let ends = Ends {
        addresses: addresses(version, choice),
        ports: Ports { source: ports[0], destination: ports[1] },
    };
    answer(&packet, tally);
    rewrite(packet, &ends, mtu_bytes);
    assert_eq!(bytes.len(), received);
    split(&bytes[..len], version, mtu_bytes, tally);
}

/// Addresses of the packet's version from a few bytes.
pub(crate) fn addresses(version: Version, choice: [u8; 6]) -> Addresses {
    let [a, b, c, d, e, f] = choice;
    match version {
        Version::V4 => {
            Addresses::V4 { source: Ipv4Addr::new(10, a, b, c), destination: Ipv4Addr::new(192, d, e, f) }
        }
        Version::V6 => Addresses::V6 {
            source: Ipv6Addr::from([0xfd, a, b, c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            destination: Ipv6Addr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, d, e, f]),
        },
    }
}

/// Rewrites the packet in every way there is; what comes out must parse to what was asked for.
fn rewrite(mut packet: PacketMut<'_>, to: &Ends, mtu_bytes: u16) {
    let (before, piece) = (packet.transport(), packet.piece().map(|piece| piece.span));
    packet.clamp_mss(mtu_bytes);
    packet.set_identification(u32::from(mtu_bytes));
    let hops = packet.hop_limit();
    assert_eq!(packet.decrement_hop_limit().is_ok(), hops > 1);
    packet.translate(to).expect("the addresses are of the packet's version");
    let (after, ends) = (packet.transport(), packet.ends());
    assert_eq!(ends.addresses, to.addresses);
    let again = PacketMut::parse(packet.into_bytes()).expect("a rewritten packet is a packet");
    assert_eq!((again.transport(), again.ends()), (after, ends));
    assert_eq!(again.piece().map(|piece| piece.span), piece);
    if !matches!(before, Transport::Tcp(_)) {
        assert_eq!(before, after, "only ports, identifiers and the MSS change");
    }
}

/// Whatever may be answered is answered with packets.
fn answer(packet: &PacketMut<'_>, tally: &mut Tally) {
    let mut out = [0; build::BUILT_BYTES_MAX];
    let from = match packet.version() {
        Version::V4 => IpAddr::V4(Ipv4Addr::new(10, 0, 0, 254)),
        Version::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 254)),
    };
    for notice in [
        Notice::HopLimitExceeded,
        Notice::TooBig { mtu_bytes: 1280 },
        Notice::Unreachable(Unreachable::AdminProhibited),
    ] {
        let built = build::icmp_error(packet, from, notice, &mut out);
        assert_eq!(built.is_ok(), build::may_answer(packet));
        if let Ok(len) = built {
            check_error(packet, &mut out[..len]);
            tally.count("answered with an error");
        }
    }
    if let Ok(len) = build::reset_answering(packet, &mut out) {
        let reset = PacketMut::parse(&mut out[..len]).expect("a reset is a packet");
        assert_eq!(reset.ends(), packet.ends().reversed());
        tally.count("answered with a reset");
    }
    let mut out = vec![0; packet.total_len() + 40];
    if let Ok(len) = build::echo_reply(packet, &mut out) {
        let reply = PacketMut::parse(&mut out[..len]).expect("a reply is a packet");
        assert_eq!(reply.ends(), packet.ends().reversed());
        tally.count("answered with an echo");
    }
}

/// An error of ours quotes the packet: whoever reads the quote finds its ends, if the quote shows them.
fn check_error(about: &PacketMut<'_>, error: &mut [u8]) {
    let mut error = PacketMut::parse(error).expect("an error is a packet");
    if let Ok(quote) = error.quote() {
        assert_eq!(quote.ends(), about.ends());
    }
}

/// Pieces are packets that fit, and hold all of the payload.
fn split(packet: &[u8], version: Version, mtu_bytes: u16, tally: &mut Tally) {
    let mut split = match Split::new(packet, mtu_bytes) {
        Ok(split) => split,
        Err(why) => return tally.count(&format!("not split: {}", reason(&why))),
    };
    assert_eq!(version, Version::V4);
    let mut out = vec![0; packet.len().max(usize::from(mtu_bytes))];
    let (mut payload, mut pieces) = (0, 0);
    while let Some(len) = split.next_into(&mut out) {
        assert!(len <= usize::from(mtu_bytes));
        assert_eq!(offset(&out), offset(packet) + payload, "in order, without gap or overlap");
        payload += len - usize::from(out[0] & 15) * 4;
        pieces += 1;
    }
    tally.count(if pieces > 1 { "split" } else { "small enough" });
    assert_eq!(payload, packet.len() - usize::from(packet[0] & 15) * 4);
}

fn reason(why: &SplitError) -> &'static str {
    match why {
        SplitError::Parse(_) => "not IPv4",
        SplitError::DontFragment => "don't fragment",
        SplitError::MtuTooSmall { .. } => "MTU too small",
    }
}

/// Where a piece starts in its datagram, in bytes.
fn offset(packet: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff) * 8
}
