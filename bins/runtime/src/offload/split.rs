//! A super-packet from the TUN becomes segments, written where the caller wants them: between a WireGuard
//! header and a tag in the UDP send buffer. Read first: RFC 9293, segmentation-offloads in the kernel's
//! documentation, RFC 6864 (IPv4 ID), RFC 3168 §6.1 (CWR). Called by worker.

use super::checksum::Sum;
use super::header::{self, Layout, TCP, UDP, flag, put_u16, u16_at, u32_at};
use crate::tun::{Gso, PartialChecksum, Segmentation};

/// Why a super-packet from the TUN makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSuperPacket {
    /// Its headers are cut short or are not those its virtio header names.
    #[error("the packet's headers are not those its virtio header names")]
    Headers,
    /// Its segment size is zero.
    #[error("the segment size is zero")]
    NoSegmentSize,
    /// Its checksum field lies outside the packet.
    #[error("the checksum field lies outside the packet")]
    Checksum,
}

/// A super-packet with its layout checked, ready to be cut.
#[derive(Clone, Copy, Debug)]
pub struct SuperPacket<'a> {
    packet: &'a [u8],
    layout: Layout,
    segment_bytes: usize,
    pseudo: Sum,
}

impl<'a> SuperPacket<'a> {
    /// Checks that the packet is what `gso` says. `checksum` tells where the transport header is behind
    /// IPv6 extension headers.
    pub fn parse(
        packet: &'a [u8],
        gso: Gso,
        checksum: Option<PartialChecksum>,
    ) -> Result<SuperPacket<'a>, BadSuperPacket> {
        let ip_header = header::plain_ip_header_bytes(packet).ok_or(BadSuperPacket::Headers)?;
        let version = packet[0] >> 4;
        let (protocol, versions) = match gso.kind {
            Segmentation::Tcp4 => (TCP, 4..=4),
            Segmentation::Tcp6 => (TCP, 6..=6),
            Segmentation::Udp => (UDP, 4..=6),
        };
        let transport_at = match checksum {
            Some(checksum) if version == 6 => usize::from(checksum.start).max(ip_header),
            _ => ip_header,
        };
        let layout = Layout::new(packet, protocol, transport_at).ok_or(BadSuperPacket::Headers)?;
        if !versions.contains(&version) || (version == 4 && header::protocol(packet) != Some(protocol)) {
            return Err(BadSuperPacket::Headers);
        }
        if gso.segment_bytes == 0 {
            return Err(BadSuperPacket::NoSegmentSize);
        }
        let pseudo = layout.pseudo_sum(packet);
        Ok(SuperPacket { packet, layout, segment_bytes: usize::from(gso.segment_bytes), pseudo })
    }

    /// How many segments it makes: at least one.
    pub fn segments(&self) -> u32 {
        self.payload().len().div_ceil(self.segment_bytes).max(1) as u32
    }

    /// Bytes of the longest segment, headers included.
    pub fn longest(&self) -> usize {
        self.layout.payload_at + self.segment_bytes.min(self.payload().len())
    }

    /// Bytes of all segments together, headers included.
    pub fn total_bytes(&self) -> u64 {
        self.payload().len() as u64 + u64::from(self.segments()) * self.layout.payload_at as u64
    }

    /// Writes segment number `index` to the front of `out` and returns its length. Lengths, IPv4 ID,
    /// sequence number, flags and checksums are final. `out` has room for [`SuperPacket::longest`].
    pub fn write_segment(&self, index: u32, out: &mut [u8]) -> usize {
        let payload = self.payload();
        let start = payload.len().min(index as usize * self.segment_bytes);
        let end = payload.len().min(start + self.segment_bytes);
        let headers = self.layout.payload_at;
        let len = headers + end - start;
        out[..headers].copy_from_slice(&self.packet[..headers]);
        out[headers..len].copy_from_slice(&payload[start..end]);
        let segment = &mut out[..len];
        self.set_ip(segment, index);
        match self.layout.protocol {
            TCP => self.set_tcp(segment, start, index == 0, end == payload.len()),
            _ => put_u16(segment, self.layout.transport_at + 4, (len - self.layout.transport_at) as u16),
        }
        self.set_checksum(segment);
        len
    }

    fn payload(&self) -> &'a [u8] {
        &self.packet[self.layout.payload_at..]
    }

    fn set_ip(&self, segment: &mut [u8], index: u32) {
        if !self.layout.ipv6 {
            put_u16(segment, 4, u16_at(self.packet, 4).wrapping_add(index as u16));
        }
        header::set_ip_length(segment, segment.len());
    }

    /// FIN and PSH belong to the last segment, CWR to the first.
    fn set_tcp(&self, segment: &mut [u8], payload_offset: usize, first: bool, last: bool) {
        let tcp = &mut segment[self.layout.transport_at..];
        let sequence = u32_at(tcp, 4).wrapping_add(payload_offset as u32);
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        if !first {
            tcp[13] &= !flag::CWR;
        }
        if !last {
            tcp[13] &= !(flag::FIN | flag::PSH);
        }
    }

    fn set_checksum(&self, segment: &mut [u8]) {
        let transport = &mut segment[self.layout.transport_at..];
        let at = self.layout.checksum_offset();
        transport[at..at + 2].fill(0);
        let sum = self.pseudo.add_field(transport.len() as u16).add(transport);
        let checksum = if self.layout.protocol == UDP { sum.checksum_not_zero() } else { sum.checksum() };
        transport[at..at + 2].copy_from_slice(&checksum);
    }
}

/// Completes a checksum that the kernel left to the device, in a packet that is not a super-packet.
pub fn complete_checksum(packet: &mut [u8], partial: PartialChecksum) -> Result<(), BadSuperPacket> {
    let start = usize::from(partial.start);
    let at = start + usize::from(partial.offset);
    if at + 2 > packet.len() {
        return Err(BadSuperPacket::Checksum);
    }
    let checksum = Sum::default().add(&packet[start..]).checksum_not_zero();
    packet[at..at + 2].copy_from_slice(&checksum);
    Ok(())
}

/// Puts the pseudo-header's part back into the checksum field of a super-packet that goes out as one, after
/// a translation changed its addresses or ports.
pub fn restore_partial_checksum(packet: &mut [u8], partial: PartialChecksum) -> Result<(), BadSuperPacket> {
    let protocol = if usize::from(partial.offset) == 16 { TCP } else { UDP };
    let start = usize::from(partial.start);
    let layout = Layout::new(packet, protocol, start).ok_or(BadSuperPacket::Headers)?;
    if header::plain_ip_header_bytes(packet).is_none_or(|bytes| bytes > start) {
        return Err(BadSuperPacket::Headers);
    }
    let pseudo = layout.pseudo_sum(packet).add_field((packet.len() - start) as u16).folded();
    let at = start + layout.checksum_offset();
    packet[at..at + 2].copy_from_slice(&pseudo);
    Ok(())
}
