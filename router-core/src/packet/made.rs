//! Packets for tests, built and checked by other people's code: etherparse writes, smoltcp sums.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, PacketBuilder, TcpHeader, UdpHeader};
use smoltcp::wire;

use super::{Addresses, Ends, Ports, TcpFlags};

/// Hop limit of every packet made here.
pub(crate) const HOP_LIMIT: u8 = 61;

/// Both ends, written like `ends("10.0.0.1:7", "10.0.0.2:80")`.
pub(crate) fn ends(source: &str, destination: &str) -> Ends {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    Ends {
        addresses: Addresses::new(source.ip(), destination.ip()).unwrap(),
        ports: Ports { source: source.port(), destination: destination.port() },
    }
}

/// An IP packet with a right header around `payload`.
pub(crate) fn ip(addresses: &Addresses, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    match addresses {
        Addresses::V4 { source, destination } => {
            let len = u16::try_from(payload.len()).unwrap();
            let mut header =
                Ipv4Header::new(len, HOP_LIMIT, IpNumber(protocol), source.octets(), destination.octets())
                    .unwrap();
            header.dont_fragment = false;
            header.identification = 0x1234;
            header.header_checksum = header.calc_header_checksum();
            header.write(&mut packet).unwrap();
        }
        Addresses::V6 { source, destination } => {
            let header = Ipv6Header {
                traffic_class: 0,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: u16::try_from(payload.len()).unwrap(),
                next_header: IpNumber(protocol),
                hop_limit: HOP_LIMIT,
                source: source.octets(),
                destination: destination.octets(),
            };
            header.write(&mut packet).unwrap();
        }
    }
    packet.extend_from_slice(payload);
    packet
}

/// A TCP segment.
pub(crate) fn tcp(ends: &Ends, flags: TcpFlags, sequence: u32, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut header = TcpHeader::new(ends.ports.source, ends.ports.destination, sequence, 4096);
    (header.fin, header.syn, header.rst, header.ack) = (flags.fin(), flags.syn(), flags.rst(), flags.ack());
    header.acknowledgment_number = 77;
    header.set_options_raw(options).unwrap();
    let mut segment = Vec::new();
    header.checksum = match ends.addresses {
        Addresses::V4 { source, destination } => {
            header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), payload).unwrap()
        }
        Addresses::V6 { source, destination } => {
            header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), payload).unwrap()
        }
    };
    header.write(&mut segment).unwrap();
    segment.extend_from_slice(payload);
    ip(&ends.addresses, 6, &segment)
}

/// A UDP datagram.
pub(crate) fn udp(ends: &Ends, payload: &[u8]) -> Vec<u8> {
    let Ports { source: from, destination: to } = ends.ports;
    let header = match ends.addresses {
        Addresses::V4 { source, destination } => {
            let ip = Ipv4Header::new(0, 1, IpNumber::UDP, source.octets(), destination.octets()).unwrap();
            UdpHeader::with_ipv4_checksum(from, to, &ip, payload).unwrap()
        }
        Addresses::V6 { source, destination } => {
            let ip = Ipv6Header {
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            };
            UdpHeader::with_ipv6_checksum(from, to, &ip, payload).unwrap()
        }
    };
    let mut datagram = Vec::new();
    header.write(&mut datagram).unwrap();
    datagram.extend_from_slice(payload);
    ip(&ends.addresses, 17, &datagram)
}

/// An echo request; its identifier is the source port.
pub(crate) fn echo_request(ends: &Ends, payload: &[u8]) -> Vec<u8> {
    echo(ends, true, ends.ports.source, payload)
}

/// An echo reply; its identifier is the destination port.
pub(crate) fn echo_reply(ends: &Ends, payload: &[u8]) -> Vec<u8> {
    echo(ends, false, ends.ports.destination, payload)
}

fn echo(ends: &Ends, is_request: bool, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    match ends.addresses {
        Addresses::V4 { source, destination } => {
            let builder = PacketBuilder::ipv4(source.octets(), destination.octets(), HOP_LIMIT);
            let builder = if is_request {
                builder.icmpv4_echo_request(id, 9)
            } else {
                builder.icmpv4_echo_reply(id, 9)
            };
            builder.write(&mut packet, payload).unwrap();
        }
        Addresses::V6 { source, destination } => {
            let builder = PacketBuilder::ipv6(source.octets(), destination.octets(), HOP_LIMIT);
            let builder = if is_request {
                builder.icmpv6_echo_request(id, 9)
            } else {
                builder.icmpv6_echo_reply(id, 9)
            };
            builder.write(&mut packet, payload).unwrap();
        }
    }
    packet
}

/// An ICMP message of any type, its checksum right.
pub(crate) fn icmp(addresses: &Addresses, kind: u8, code: u8, word: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut message = [kind, code, 0, 0, word[0], word[1], word[2], word[3]].to_vec();
    message.extend_from_slice(body);
    let protocol = if matches!(addresses, Addresses::V4 { .. }) { 1 } else { 58 };
    let mut packet = ip(addresses, protocol, &message);
    let at = packet.len() - message.len();
    match addresses {
        Addresses::V4 { .. } => wire::Icmpv4Packet::new_unchecked(&mut packet[at..]).fill_checksum(),
        Addresses::V6 { source, destination } => {
            wire::Icmpv6Packet::new_unchecked(&mut packet[at..]).fill_checksum(source, destination);
        }
    }
    packet
}

/// An IPv6 packet with extension headers, each a number and its bytes (whose next-header byte is set here), put in
/// front of what it had.
pub(crate) fn with_extensions(packet: &[u8], headers: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let (fixed, rest) = packet.split_at(40);
    let mut packet = fixed.to_vec();
    let upper = packet[6];
    let numbers: Vec<u8> = headers.iter().map(|(number, _)| *number).chain([upper]).collect();
    packet[6] = numbers[0];
    for ((_, bytes), next) in headers.iter().zip(&numbers[1..]) {
        packet.push(*next);
        packet.extend_from_slice(&bytes[1..]);
    }
    packet.extend_from_slice(rest);
    let len = u16::try_from(packet.len() - 40).unwrap();
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    packet
}

/// A fragment header for [`with_extensions`].
pub(crate) fn fragment_header(offset: u16, more: bool, id: u32) -> (u8, Vec<u8>) {
    let mut header = [44, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&(offset | u16::from(more)).to_be_bytes());
    header[4..8].copy_from_slice(&id.to_be_bytes());
    (44, header.to_vec())
}

/// An IPv4 packet with these header options, a multiple of four long.
pub(crate) fn with_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    let mut changed = [&packet[..20], options, &packet[20..]].concat();
    changed[0] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    let len = u16::try_from(changed.len()).unwrap();
    changed[2..4].copy_from_slice(&len.to_be_bytes());
    fix_ipv4_checksum(&mut changed);
    changed
}

/// An IPv4 packet as a piece: its payload is cut to `offset..end`.
pub(crate) fn piece_v4(packet: &[u8], offset: u16, end: u16, more: bool) -> Vec<u8> {
    let payload = &packet[20..][usize::from(offset)..usize::from(end)];
    let mut piece = [&packet[..20], payload].concat();
    let len = u16::try_from(piece.len()).unwrap();
    piece[2..4].copy_from_slice(&len.to_be_bytes());
    piece[6..8].copy_from_slice(&((offset / 8) | u16::from(more) << 13).to_be_bytes());
    fix_ipv4_checksum(&mut piece);
    piece
}

/// An IPv6 packet without extension headers as a piece.
pub(crate) fn piece_v6(packet: &[u8], offset: u16, end: u16, more: bool) -> Vec<u8> {
    let piece = [&packet[..40], &packet[40..][usize::from(offset)..usize::from(end)]].concat();
    with_extensions(&piece, &[fragment_header(offset, more, 0x0102_0304)])
}

/// Sets the header checksum right.
pub(crate) fn fix_ipv4_checksum(packet: &mut [u8]) {
    wire::Ipv4Packet::new_unchecked(packet).fill_checksum();
}

/// Whether every checksum of a whole packet is right, by smoltcp's sums. `upper_at` is where TCP, UDP or ICMP starts.
pub(crate) fn checksums_are_right(packet: &[u8], protocol: u8, upper_at: usize) -> bool {
    if packet[0] >> 4 == 4 {
        let header = wire::Ipv4Packet::new_unchecked(packet);
        header.verify_checksum()
            && upper_is_right(
                IpAddr::V4(header.src_addr()),
                IpAddr::V4(header.dst_addr()),
                protocol,
                &packet[upper_at..],
            )
    } else {
        let header = wire::Ipv6Packet::new_unchecked(packet);
        let (source, destination) = (IpAddr::V6(header.src_addr()), IpAddr::V6(header.dst_addr()));
        upper_is_right(source, destination, protocol, &packet[upper_at..])
    }
}

fn upper_is_right(source: IpAddr, destination: IpAddr, protocol: u8, upper: &[u8]) -> bool {
    let addresses = (&wire::IpAddress::from(source), &wire::IpAddress::from(destination));
    match (protocol, source, destination) {
        (6, ..) => wire::TcpPacket::new_unchecked(upper).verify_checksum(addresses.0, addresses.1),
        (17, ..) => wire::UdpPacket::new_unchecked(upper).verify_checksum(addresses.0, addresses.1),
        (1, ..) => wire::Icmpv4Packet::new_unchecked(upper).verify_checksum(),
        (58, IpAddr::V6(source), IpAddr::V6(destination)) => {
            wire::Icmpv6Packet::new_unchecked(upper).verify_checksum(&source, &destination)
        }
        _ => true,
    }
}
