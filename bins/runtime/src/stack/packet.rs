//! Packets that the stack makes beside TCP's, and the checksums of those it gets. Read first: RFC 768, RFC 792, RFC 4443.
//! Called by receive, udp, echo.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder};
use router_core::packet::checksum::Sum;
use router_core::packet::{Echo, PacketMut, Protocol, Version};

/// As most hosts send it.
const HOP_LIMIT: u8 = 64;
const UDP_CHECKSUM_AT: usize = 6;

/// A UDP datagram; `None` if it is too long, or of two versions.
pub(super) fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let builder = PacketBuilder::ip(headers(from.ip(), to.ip())?).udp(from.port(), to.port());
    let mut packet = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut packet, payload).ok()?;
    Some(packet)
}

/// An echo request or reply; `None` if it is too long, or of two versions.
pub(super) fn echo(
    kind: Echo,
    from: IpAddr,
    to: IpAddr,
    (identifier, sequence): (u16, u16),
    payload: &[u8],
) -> Option<Vec<u8>> {
    let builder = PacketBuilder::ip(headers(from, to)?);
    let mut packet = Vec::new();
    match (kind, from.is_ipv4()) {
        (Echo::Request, true) => {
            builder.icmpv4_echo_request(identifier, sequence).write(&mut packet, payload)
        }
        (Echo::Request, false) => {
            builder.icmpv6_echo_request(identifier, sequence).write(&mut packet, payload)
        }
        (Echo::Reply, true) => builder.icmpv4_echo_reply(identifier, sequence).write(&mut packet, payload),
        (Echo::Reply, false) => builder.icmpv6_echo_reply(identifier, sequence).write(&mut packet, payload),
    }
    .ok()?;
    Some(packet)
}

/// The builder sets protocol and length.
fn headers(from: IpAddr, to: IpAddr) -> Option<IpHeaders> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = Ipv4Header::new(0, HOP_LIMIT, IpNumber::UDP, from.octets(), to.octets()).ok()?;
            Some(IpHeaders::Ipv4(header, Default::default()))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let (source, destination) = (from.octets(), to.octets());
            let header = Ipv6Header { hop_limit: HOP_LIMIT, source, destination, ..Ipv6Header::default() };
            Some(IpHeaders::Ipv6(header, Default::default()))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// Whether the upper layer's checksum is right. That of IPv4 was checked by the parser.
pub(super) fn is_intact(packet: &PacketMut<'_>) -> bool {
    let upper_at = packet.headers_len() - upper_header_len(packet);
    let message = &packet.bytes()[upper_at..];
    let protocol = packet.protocol();
    let has_none = protocol == Protocol::UDP
        && packet.version() == Version::V4
        && message[UDP_CHECKSUM_AT..UDP_CHECKSUM_AT + 2] == [0, 0];
    let sum = match protocol == Protocol::ICMP {
        true => Sum::default(),
        false => Sum::pseudo_header(&packet.addresses(), protocol, message.len()),
    };
    has_none || sum.bytes(message).is_valid()
}

/// Bytes of the TCP, UDP or ICMP header.
fn upper_header_len(packet: &PacketMut<'_>) -> usize {
    const ICMP_OR_UDP: usize = 8;
    const TCP_DATA_OFFSET_FROM_END: usize = 4;
    match packet.protocol() == Protocol::TCP {
        true => tcp_header_len(packet).unwrap_or(5 * TCP_DATA_OFFSET_FROM_END),
        false => ICMP_OR_UDP,
    }
}

/// The header's length stands in it, at a place that has to be looked for: behind IPv4's own header, or IPv6's chain.
fn tcp_header_len(packet: &PacketMut<'_>) -> Option<usize> {
    let slice = etherparse::IpSlice::from_slice(packet.bytes()).ok()?;
    Some(usize::from(*slice.payload().payload.get(12)? >> 4) * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_we_make_is_intact_and_a_flipped_bit_is_noticed() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let packets = [
            udp(at("10.0.0.1:5"), at("10.0.0.2:6"), b"hello"),
            udp(at("[fd00::1]:5"), at("[fd00::2]:6"), b"odd"),
            echo(Echo::Request, ip("10.0.0.1"), ip("10.0.0.2"), (7, 8), b"ping"),
            echo(Echo::Reply, ip("fd00::1"), ip("fd00::2"), (7, 8), b"ping"),
        ];
        for packet in packets {
            let mut packet = packet.unwrap();
            assert!(is_intact(&PacketMut::parse(&mut packet).unwrap()), "{packet:?}");
            let last = packet.len() - 1;
            packet[last] ^= 0x10;
            assert!(!is_intact(&PacketMut::parse(&mut packet).unwrap()), "{packet:?}");
        }
    }

    #[test]
    fn tcp_is_checked_behind_options_too() {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1, 2, 3, 4);
        let builder = builder.options_raw(&[2, 4, 5, 180, 1, 1, 1, 0]).unwrap();
        builder.write(&mut packet, b"data").unwrap();
        assert!(is_intact(&PacketMut::parse(&mut packet).unwrap()));
        packet[33] ^= 1;
        assert!(!is_intact(&PacketMut::parse(&mut packet).unwrap()));
    }

    #[test]
    fn nothing_is_made_of_two_versions_or_too_much() {
        assert_eq!(udp(at("10.0.0.1:5"), at("[fd00::2]:6"), b""), None);
        assert_eq!(udp(at("10.0.0.1:5"), at("10.0.0.2:6"), &[0; 65_536]), None);
    }
}
