//! The few header fields that segmentation and merging read and write. Read first: RFC 791, RFC 8200,
//! RFC 9293, RFC 768. Called by split, coalesce.
//!
//! Packets here passed the data path, or come from this host's kernel; still nothing is assumed of them.

use super::checksum::Sum;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const IPV6_HEADER_BYTES: usize = 40;
pub(super) const UDP_HEADER_BYTES: usize = 8;
const IPV4_HEADER_BYTES: usize = 20;
const TCP_HEADER_BYTES: usize = 20;

/// TCP flag bits, in the second byte of the data offset word.
pub(super) mod flag {
    pub(in crate::offload) const FIN: u8 = 0x01;
    pub(in crate::offload) const PSH: u8 = 0x08;
    pub(in crate::offload) const ACK: u8 = 0x10;
    pub(in crate::offload) const CWR: u8 = 0x80;
}

/// Version, and where the transport header and the payload begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) ipv6: bool,
    pub(super) protocol: u8,
    pub(super) transport_at: usize,
    pub(super) payload_at: usize,
}

impl Layout {
    /// Layout of a TCP or UDP packet whose IP header has `transport_at` bytes. `None` if it is cut short or
    /// is neither.
    pub(super) fn new(packet: &[u8], protocol: u8, transport_at: usize) -> Option<Layout> {
        let ipv6 = packet.first()? >> 4 == 6;
        let header_bytes = match protocol {
            TCP => usize::from(packet.get(transport_at + 12)? >> 4) * 4,
            UDP => UDP_HEADER_BYTES,
            _ => return None,
        };
        let least = if protocol == TCP { TCP_HEADER_BYTES } else { UDP_HEADER_BYTES };
        let payload_at = transport_at + header_bytes;
        let fits = header_bytes >= least && payload_at <= packet.len();
        fits.then_some(Layout { ipv6, protocol, transport_at, payload_at })
    }

    /// Where the checksum is, from the start of the transport header.
    pub(super) fn checksum_offset(&self) -> usize {
        if self.protocol == TCP { 16 } else { 6 }
    }

    /// The pseudo-header's sum without the length: addresses and protocol.
    pub(super) fn pseudo_sum(&self, packet: &[u8]) -> Sum {
        let addresses = if self.ipv6 { &packet[8..40] } else { &packet[12..20] };
        Sum::default().add(addresses).add_field(u16::from(self.protocol))
    }
}

/// Bytes of the IP header in front of the transport header, if nothing else stands between: for IPv6 no
/// extension headers, for IPv4 a whole packet (no fragment).
pub(super) fn plain_ip_header_bytes(packet: &[u8]) -> Option<usize> {
    match packet.first()? >> 4 {
        4 => {
            let bytes = usize::from(packet[0] & 0x0f) * 4;
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
            (bytes >= IPV4_HEADER_BYTES && packet.len() >= bytes && fragment == 0).then_some(bytes)
        }
        6 => (packet.len() >= IPV6_HEADER_BYTES).then_some(IPV6_HEADER_BYTES),
        _ => None,
    }
}

/// The protocol field of the fixed header.
pub(super) fn protocol(packet: &[u8]) -> Option<u8> {
    match packet.first()? >> 4 {
        4 => packet.get(9).copied(),
        6 => packet.get(6).copied(),
        _ => None,
    }
}

pub(super) fn u16_at(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

pub(super) fn u32_at(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}

pub(super) fn put_u16(packet: &mut [u8], at: usize, value: u16) {
    packet[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Writes the IP length for a packet of `len` bytes, and the IPv4 header checksum.
pub(super) fn set_ip_length(packet: &mut [u8], len: usize) {
    if packet[0] >> 4 == 6 {
        put_u16(packet, 4, (len - IPV6_HEADER_BYTES) as u16);
    } else {
        put_u16(packet, 2, len as u16);
        set_ipv4_checksum(packet);
    }
}

/// Recomputes the IPv4 header checksum.
pub(super) fn set_ipv4_checksum(packet: &mut [u8]) {
    let header_bytes = usize::from(packet[0] & 0x0f) * 4;
    packet[10..12].fill(0);
    let checksum = Sum::default().add(&packet[..header_bytes]).checksum();
    packet[10..12].copy_from_slice(&checksum);
}
