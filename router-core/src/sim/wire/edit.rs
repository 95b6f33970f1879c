//! Changes to packets that are written already: other header fields, options, pieces.

use alloc::vec::Vec;

use super::sum::checksum;

/// Length of the IP header, options included; 0 for what is no IP packet.
pub fn header_len(packet: &[u8]) -> usize {
    match packet.first().map(|first| (first >> 4, first & 0x0f)) {
        Some((4, words)) => usize::from(words) * 4,
        Some((6, _)) => 40,
        Some(_) | None => 0,
    }
}

/// The packet with this time to live or hop limit.
pub fn with_hop_limit(packet: &[u8], hop_limit: u8) -> Vec<u8> {
    changed(packet, |packet, is_v4| packet[if is_v4 { 8 } else { 7 }] = hop_limit)
}

/// The packet with "don't fragment" set, if it is IPv4.
pub fn with_dont_fragment(packet: &[u8]) -> Vec<u8> {
    changed(packet, |packet, is_v4| packet[6] |= if is_v4 { 0x40 } else { 0 })
}

/// The packet with this identification, if it is IPv4.
pub fn with_identification(packet: &[u8], identification: u16) -> Vec<u8> {
    changed(packet, |packet, is_v4| {
        if is_v4 {
            packet[4..6].copy_from_slice(&identification.to_be_bytes());
        }
    })
}

/// The IPv4 packet with these header options, a multiple of four bytes; IPv6 stays as it is.
pub fn with_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    if packet[0] >> 4 != 4 {
        return packet.to_vec();
    }
    let mut longer = Vec::from(&packet[..20]);
    longer.extend_from_slice(options);
    longer.extend_from_slice(&packet[20..]);
    longer[0] += (options.len() / 4) as u8;
    let len = (longer.len() as u16).to_be_bytes();
    longer[2..4].copy_from_slice(&len);
    fix_header(&mut longer);
    longer
}

/// The IPv6 packet with extension headers between IP and what it carries: the kind of each, and what follows its first two
/// bytes, which is six bytes long or a multiple of eight longer.
pub fn with_extensions(packet: &[u8], headers: &[(u8, &[u8])]) -> Vec<u8> {
    let mut longer = packet[..40].to_vec();
    let mut next_at = 6;
    for (kind, body) in headers {
        longer[next_at] = *kind;
        next_at = longer.len();
        longer.extend([0, (body.len() / 8) as u8]);
        longer.extend_from_slice(body);
    }
    longer[next_at] = packet[6];
    longer.extend_from_slice(&packet[40..]);
    let len = (longer.len() as u16 - 40).to_be_bytes();
    longer[4..6].copy_from_slice(&len);
    longer
}

/// The UDP datagram over IPv4 with a checksum of 0: "none".
pub fn without_udp_checksum(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let at = header_len(&packet);
    packet[at + 6..at + 8].fill(0);
    packet
}

/// The packet with one bit of its last byte turned: its upper-layer checksum is wrong.
pub fn corrupted(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if let Some(last) = packet.last_mut() {
        *last ^= 0x10;
    }
    packet
}

/// Which bytes of a packet's payload a piece carries; `start` is a multiple of eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceRange {
    /// The first byte.
    pub start: u16,
    /// Behind the last byte.
    pub end: u16,
    /// Whether no piece follows.
    pub is_last: bool,
}

/// A piece of a packet that has neither options nor extension headers.
pub fn piece(packet: &[u8], range: PieceRange, identification: u16) -> Vec<u8> {
    let (header, payload) = packet.split_at(header_len(packet));
    let payload = &payload[usize::from(range.start)..usize::from(range.end)];
    if header[0] >> 4 == 4 {
        piece_v4(header, payload, range, identification)
    } else {
        piece_v6(header, payload, range, identification)
    }
}

fn piece_v4(header: &[u8], payload: &[u8], range: PieceRange, identification: u16) -> Vec<u8> {
    let mut piece = [header, payload].concat();
    let len = (piece.len() as u16).to_be_bytes();
    let place = (range.start / 8) | (u16::from(!range.is_last) << 13);
    piece[2..4].copy_from_slice(&len);
    piece[4..6].copy_from_slice(&identification.to_be_bytes());
    piece[6..8].copy_from_slice(&place.to_be_bytes());
    fix_header(&mut piece);
    piece
}

fn piece_v6(header: &[u8], payload: &[u8], range: PieceRange, identification: u16) -> Vec<u8> {
    let mut extension = [header[6], 0, 0, 0, 0, 0, 0, 0];
    extension[2..4].copy_from_slice(&(range.start | u16::from(!range.is_last)).to_be_bytes());
    extension[6..8].copy_from_slice(&identification.to_be_bytes());
    let mut piece = [header, &extension, payload].concat();
    let len = (piece.len() as u16 - 40).to_be_bytes();
    piece[4..6].copy_from_slice(&len);
    piece[6] = 44;
    piece
}

fn changed(packet: &[u8], change: impl FnOnce(&mut [u8], bool)) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let is_v4 = packet[0] >> 4 == 4;
    change(&mut packet, is_v4);
    if is_v4 {
        fix_header(&mut packet);
    }
    packet
}

/// Sets the IPv4 header checksum right.
pub(super) fn fix_header(packet: &mut [u8]) {
    let len = header_len(packet);
    packet[10..12].fill(0);
    let sum = checksum(None, &packet[..len]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}
