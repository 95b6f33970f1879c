//! The Internet checksum, the plain way. Read first: RFC 1071.

use core::net::IpAddr;

use super::edit::header_len;
use crate::packet::{Addresses, Protocol};

/// The checksum of a message whose own checksum field is 0, or 0 for one whose field is right.
pub(super) fn checksum(pseudo: Option<(&Addresses, Protocol)>, message: &[u8]) -> u16 {
    let mut total = add(message);
    if let Some((addresses, protocol)) = pseudo {
        total += address(addresses.source()) + address(addresses.destination());
        total += u64::from(protocol.0) + message.len() as u64;
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

fn address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => add(&address.octets()),
        IpAddr::V6(address) => add(&address.octets()),
    }
}

fn add(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
    bytes.chunks(2).map(word).sum()
}

/// Whether all checksums of a whole packet are right: the IPv4 header's, and TCP's, UDP's or ICMP's directly behind the
/// IP header. A UDP checksum of 0 is right over IPv4 alone. Pieces have only their header looked at.
pub fn checksums_are_right(packet: &[u8]) -> bool {
    let at = header_len(packet);
    let (Some(header), Some(upper)) = (packet.get(..at), packet.get(at..)) else { return false };
    if at == 0 || (header[0] >> 4 == 4 && checksum(None, header) != 0) {
        return false;
    }
    let Some((addresses, protocol, is_piece)) = read(header) else { return false };
    let pseudo = Some((&addresses, protocol));
    match protocol {
        _ if is_piece => true,
        Protocol::UDP if upper.len() < 8 => false,
        Protocol::UDP if upper[6..8] == [0, 0] => matches!(addresses, Addresses::V4 { .. }),
        Protocol::UDP | Protocol::TCP | Protocol::ICMPV6 => checksum(pseudo, upper) == 0,
        Protocol::ICMP => checksum(None, upper) == 0,
        _ => true,
    }
}

/// Addresses, protocol, and whether the packet is a piece.
fn read(header: &[u8]) -> Option<(Addresses, Protocol, bool)> {
    if header[0] >> 4 == 4 {
        let source: [u8; 4] = header[12..16].try_into().ok()?;
        let destination: [u8; 4] = header[16..20].try_into().ok()?;
        let is_piece = header[6] & 0x3f != 0 || header[7] != 0;
        let addresses = Addresses::V4 { source: source.into(), destination: destination.into() };
        return Some((addresses, Protocol(header[9]), is_piece));
    }
    let source: [u8; 16] = header[8..24].try_into().ok()?;
    let destination: [u8; 16] = header[24..40].try_into().ok()?;
    let addresses = Addresses::V6 { source: source.into(), destination: destination.into() };
    Some((addresses, Protocol(header[6]), false))
}
