//! The IP header of packets we send ourselves.

use crate::packet::address::{Addresses, Protocol, Version};
use crate::packet::checksum::Sum;
use crate::packet::field::{put, put_u16};
use crate::packet::{ipv4, ipv6};

use super::BuildError;

/// Hop limit of our own packets. RFC 1700 recommended 64; every common stack uses it.
const HOP_LIMIT: u8 = 64;

/// Length of the IP header that [`write()`] writes.
pub(super) fn len(version: Version) -> usize {
    match version {
        Version::V4 => ipv4::HEADER_BYTES,
        Version::V6 => ipv6::HEADER_BYTES,
    }
}

/// Writes an IP header for `payload_len` bytes of `protocol` to the start of `out`; what comes back is the packet, cut to
/// its length. Atomic over IPv4 (RFC 6864): "don't fragment", identification 0.
pub(super) fn write<'o>(
    addresses: &Addresses,
    protocol: Protocol,
    traffic_class: u8,
    payload_len: usize,
    out: &'o mut [u8],
) -> Result<&'o mut [u8], BuildError> {
    let header_len = len(addresses.version());
    let (need, have) = (header_len + payload_len, out.len());
    let packet = out.get_mut(..need).ok_or(BuildError::NoRoom { need, have })?;
    match *addresses {
        Addresses::V4 { source, destination } => {
            packet[..header_len].fill(0);
            (packet[0], packet[1]) = (0x45, traffic_class);
            put_u16(packet, ipv4::TOTAL_LENGTH_AT, need as u16);
            put_u16(packet, ipv4::FRAGMENT_AT, ipv4::DONT_FRAGMENT);
            (packet[ipv4::TTL_AT], packet[ipv4::PROTOCOL_AT]) = (HOP_LIMIT, protocol.0);
            put(packet, ipv4::SOURCE_AT, source.octets());
            put(packet, ipv4::DESTINATION_AT, destination.octets());
            let checksum = Sum::default().bytes(&packet[..header_len]).checksum();
            put_u16(packet, ipv4::CHECKSUM_AT, checksum);
        }
        Addresses::V6 { source, destination } => {
            packet[..header_len].fill(0);
            put_u16(packet, 0, 0x6000 | u16::from(traffic_class) << 4);
            put_u16(packet, ipv6::PAYLOAD_LENGTH_AT, payload_len as u16);
            (packet[ipv6::NEXT_HEADER_AT], packet[ipv6::HOP_LIMIT_AT]) = (protocol.0, HOP_LIMIT);
            put(packet, ipv6::SOURCE_AT, source.octets());
            put(packet, ipv6::DESTINATION_AT, destination.octets());
        }
    }
    Ok(packet)
}

/// Computes the checksum of the message behind the IP header and stores it at `at` of the message, which holds 0
/// there so far.
pub(super) fn finish(addresses: &Addresses, protocol: Protocol, at: usize, message: &mut [u8]) {
    let pseudo_header = match protocol {
        Protocol::ICMP => Sum::default(),
        _ => Sum::pseudo_header(addresses, protocol, message.len()),
    };
    put_u16(message, at, pseudo_header.bytes(message).checksum());
}
