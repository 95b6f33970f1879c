//! Packets as hosts write them, with plain code of their own: nothing here is shared with the code under test but names.
//! Read first: RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792, RFC 4443.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::packet::{Addresses, Ends, Ports, Protocol, TcpFlags};

mod edit;
mod sum;

pub use edit::{
    PieceRange, corrupted, header_len, piece, with_dont_fragment, with_extensions, with_hop_limit,
    with_identification, with_options, without_udp_checksum,
};
pub use sum::checksums_are_right;

use sum::checksum;

/// Hop limit of every packet written here.
pub const HOP_LIMIT: u8 = 64;

/// Both ends of a packet. Panics if they are of two IP versions: that is a mistake in a test.
pub fn ends(source: SocketAddr, destination: SocketAddr) -> Ends {
    Ends {
        addresses: addresses(source.ip(), destination.ip()),
        ports: Ports { source: source.port(), destination: destination.port() },
    }
}

/// Both addresses of a packet. Panics if they are of two IP versions: that is a mistake in a test.
pub fn addresses(source: IpAddr, destination: IpAddr) -> Addresses {
    Addresses::new(source, destination).expect("one IP version in a packet")
}

/// An IP packet around `payload`. Over IPv4 it may be fragmented.
pub fn ip(addresses: &Addresses, protocol: Protocol, payload: &[u8]) -> Vec<u8> {
    let mut packet = match addresses {
        Addresses::V4 { source, destination } => {
            let len = (20 + payload.len()) as u16;
            let mut header = Vec::from([0x45, 0]);
            header.extend(len.to_be_bytes());
            header.extend([0x12, 0x34, 0, 0, HOP_LIMIT, protocol.0, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            edit::fix_header(&mut header);
            header
        }
        Addresses::V6 { source, destination } => {
            let mut header = Vec::from([0x60, 0, 0, 0]);
            header.extend((payload.len() as u16).to_be_bytes());
            header.extend([protocol.0, HOP_LIMIT]);
            header.extend(source.octets());
            header.extend(destination.octets());
            header
        }
    };
    packet.extend_from_slice(payload);
    packet
}

/// A UDP datagram.
pub fn udp(ends: &Ends, payload: &[u8]) -> Vec<u8> {
    let mut datagram = ports(ends);
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend_from_slice(payload);
    // A computed 0 is sent as its other form (RFC 768): 0 means "none".
    let sum = match checksum(Some((&ends.addresses, Protocol::UDP)), &datagram) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    ip(&ends.addresses, Protocol::UDP, &datagram)
}

/// What a TCP header says beside its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Flags.
    pub flags: TcpFlags,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// Window, unscaled.
    pub window: u16,
    /// Maximum segment size option, for a SYN.
    pub mss: Option<u16>,
}

/// A TCP segment.
pub fn tcp(ends: &Ends, header: &Segment, payload: &[u8]) -> Vec<u8> {
    let mut segment = ports(ends);
    segment.extend(header.sequence.to_be_bytes());
    segment.extend(header.acknowledgment.to_be_bytes());
    let words = if header.mss.is_some() { 6 } else { 5 };
    segment.extend([words << 4, header.flags.0]);
    segment.extend(header.window.to_be_bytes());
    segment.extend([0; 4]);
    if let Some(mss) = header.mss {
        segment.extend([2, 4]);
        segment.extend(mss.to_be_bytes());
    }
    segment.extend_from_slice(payload);
    let sum = checksum(Some((&ends.addresses, Protocol::TCP)), &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    ip(&ends.addresses, Protocol::TCP, &segment)
}

/// An echo request from identifier `id`.
pub fn ping(addresses: &Addresses, id: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let kind = if matches!(addresses, Addresses::V4 { .. }) { 8 } else { 128 };
    icmp(addresses, kind, 0, word(id, sequence), payload)
}

/// The reply to [`ping`], `addresses` being those of the reply.
pub fn pong(addresses: &Addresses, id: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let kind = if matches!(addresses, Addresses::V4 { .. }) { 0 } else { 129 };
    icmp(addresses, kind, 0, word(id, sequence), payload)
}

/// An ICMP message of any type. `word` are the four bytes behind the checksum.
pub fn icmp(addresses: &Addresses, kind: u8, code: u8, word: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut message = Vec::from([kind, code, 0, 0]);
    message.extend(word);
    message.extend_from_slice(body);
    let (protocol, pseudo) = match addresses {
        Addresses::V4 { .. } => (Protocol::ICMP, None),
        Addresses::V6 { .. } => (Protocol::ICMPV6, Some((addresses, Protocol::ICMPV6))),
    };
    let sum = checksum(pseudo, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip(addresses, protocol, &message)
}

fn ports(ends: &Ends) -> Vec<u8> {
    let mut header = Vec::from(ends.ports.source.to_be_bytes());
    header.extend(ends.ports.destination.to_be_bytes());
    header
}

fn word(high: u16, low: u16) -> [u8; 4] {
    (u32::from(high) << 16 | u32::from(low)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use core::net::SocketAddr;

    use super::*;
    use crate::packet::made;

    fn both_versions() -> [Ends; 2] {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        [
            ends(address("10.0.0.1:1000"), address("10.9.8.7:53")),
            ends(address("[fd00::1]:1000"), address("[fd00:9::8]:53")),
        ]
    }

    #[test]
    fn packets_have_right_checksums_by_other_peoples_sums() {
        let header =
            Segment { flags: TcpFlags::SYN, sequence: 7, acknowledgment: 9, window: 4096, mss: Some(1400) };
        for ends in both_versions() {
            let icmp_protocol = if ends.addresses.source().is_ipv4() { 1 } else { 58 };
            for len in 0..5 {
                let payload = vec![0xa5; len];
                for (protocol, packet) in [
                    (17, udp(&ends, &payload)),
                    (6, tcp(&ends, &header, &payload)),
                    (icmp_protocol, ping(&ends.addresses, 1, 2, &payload)),
                    (icmp_protocol, pong(&ends.addresses, 1, 2, &payload)),
                ] {
                    let upper_at = header_len(&packet);
                    assert!(made::checksums_are_right(&packet, protocol, upper_at), "{protocol} {len}");
                    assert!(checksums_are_right(&packet), "{protocol} {len}");
                    let wrong = corrupted(&packet);
                    assert!(!made::checksums_are_right(&wrong, protocol, upper_at), "{protocol} {len}");
                    assert!(!checksums_are_right(&wrong), "{protocol} {len}");
                }
            }
        }
    }

    #[test]
    fn edited_headers_stay_right() {
        for ends in both_versions() {
            let packet = udp(&ends, &[1; 64]);
            let edited = [
                with_hop_limit(&packet, 3),
                with_dont_fragment(&packet),
                with_identification(&packet, 99),
                with_options(&packet, &[7, 4, 4, 0]),
                without_udp_checksum(&udp(&both_versions()[0], &[1; 64])),
            ];
            assert!(edited.iter().all(|packet| checksums_are_right(packet)));
            let first = piece(&packet, PieceRange { start: 0, end: 32, is_last: false }, 5);
            let mut bytes = first.clone();
            let parsed = crate::packet::PacketMut::parse(&mut bytes).unwrap();
            assert!(parsed.piece().is_some(), "{first:?}");
        }
    }
}
