//! Rewriting a packet in place: addresses, ports, identifiers, hop limit, each with its checksums (CSM-1, CSM-2).
//! Read first: RFC 1624, RFC 3022 section 4.

use super::address::{Addresses, Ends, Ports, VersionMismatch};
use super::checksum::Delta;
use super::field::{PARSED, put, put_u16, put_u32, u16_at, u32_at, u128_at, update_u16};
use super::icmp::{self, Echo, Message};
use super::transport::Upper;
use super::{PacketMut, Version, ipv4, ipv6, tcp, udp};

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The packet's hop limit does not allow another hop: answer "time exceeded" instead (TTL-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("hop limit reached")]
pub struct HopLimitReached;

impl PacketMut<'_> {
    /// Gives the packet the addresses and ports of `to`, and updates every checksum that covers them.
    ///
    /// An echo takes the asking side's port as its identifier; protocols without ports, and later pieces, take the
    /// addresses only, and protocols we do not know keep their own checksum as it is (ANY).
    #[inline(always)]
    pub fn translate(&mut self, to: &Ends) -> Result<(), VersionMismatch> {
        let pseudo_header = match (to.addresses, self.network.version) {
            (Addresses::V4 { source, destination }, Version::V4) => put_v4(self.bytes, source, destination),
            (Addresses::V6 { source, destination }, Version::V6) => put_v6(self.bytes, source, destination),
            (Addresses::V4 { .. }, Version::V6) | (Addresses::V6 { .. }, Version::V4) => {
                return Err(VersionMismatch);
            }
        };
        self.translate_upper(pseudo_header, to.ports);
        Ok(())
    }

    /// Replaces the source address.
    pub fn set_source(&mut self, source: IpAddr) -> Result<(), VersionMismatch> {
        let addresses = Addresses::new(source, self.addresses().destination())?;
        self.translate(&Ends { addresses, ports: self.ports() })
    }

    /// Replaces the destination address.
    pub fn set_destination(&mut self, destination: IpAddr) -> Result<(), VersionMismatch> {
        let addresses = Addresses::new(self.addresses().source(), destination)?;
        self.translate(&Ends { addresses, ports: self.ports() })
    }

    /// Replaces ports, or the echo identifier.
    pub fn set_ports(&mut self, ports: Ports) {
        self.translate_upper(Delta::default(), ports);
    }

    /// Takes one off the hop limit; refuses when that leaves none, and then changes nothing (TTL-1).
    #[inline(always)]
    pub fn decrement_hop_limit(&mut self) -> Result<(), HopLimitReached> {
        let hop_limit = self.hop_limit();
        if hop_limit <= 1 {
            return Err(HopLimitReached);
        }
        match self.network.version {
            Version::V4 => put_ipv4_word(self.bytes, ipv4::TTL_AT, |word| word - 0x0100),
            Version::V6 => self.bytes[ipv6::HOP_LIMIT_AT] = hop_limit - 1,
        }
        Ok(())
    }

    /// Replaces the identification of an IPv4 packet (MAP-11, RFC 6864), or of an IPv6 piece (all 32 bits).
    /// Whole IPv6 packets have none.
    pub fn set_identification(&mut self, identification: u32) {
        match (self.network.version, self.network.fragment) {
            (Version::V4, _) => {
                put_ipv4_word(self.bytes, ipv4::IDENTIFICATION_AT, |_| identification as u16);
            }
            (Version::V6, Some(fragment)) => {
                put_u32(self.bytes, usize::from(fragment.identification_at), identification)
            }
            (Version::V6, None) => {}
        }
    }

    /// Whether the datagram may be fragmented or is a piece already, so that its IPv4 identification matters.
    /// RFC 6864 calls the others atomic.
    pub fn needs_identification(&self) -> bool {
        self.network.fragment.is_some() || !self.dont_fragment()
    }

    #[inline(always)]
    fn translate_upper(&mut self, pseudo_header: Delta, ports: Ports) {
        let (upper, version) = (self.upper, self.network.version);
        let bytes = self.upper_bytes_mut();
        match upper {
            Upper::Tcp => translate_tcp(bytes.first_chunk_mut().expect(PARSED), pseudo_header, ports),
            Upper::Udp => translate_udp(bytes.first_chunk_mut().expect(PARSED), pseudo_header, ports),
            Upper::Icmp => translate_icmp(bytes, version, pseudo_header, ports),
            Upper::Other | Upper::LaterPiece => {}
        }
    }
}

#[inline(always)]
fn translate_tcp(header: &mut [u8; tcp::HEADER_BYTES], pseudo_header: Delta, ports: Ports) {
    let delta = pseudo_header.and(put_ports(header, ports));
    update_u16(header, tcp::CHECKSUM_AT, |sum| delta.apply(sum));
}

#[inline(always)]
fn translate_udp(header: &mut [u8; udp::HEADER_BYTES], pseudo_header: Delta, ports: Ports) {
    let delta = pseudo_header.and(put_ports(header, ports));
    update_u16(header, udp::CHECKSUM_AT, |sum| delta.apply_udp(sum));
}

fn translate_icmp(icmp: &mut [u8], version: Version, pseudo_header: Delta, ports: Ports) {
    let identifier = match icmp::read(version, icmp) {
        Message::Echo(echo) => put_identifier(icmp, echo, ports),
        Message::Error(_) | Message::Other => Delta::default(),
    };
    let delta = covered(version, pseudo_header).and(identifier);
    update_u16(icmp, icmp::CHECKSUM_AT, |sum| delta.apply(sum));
    // The one message whose sum is not just a multiple of 0xFFFF but nothing: an echo reply of zeros, over IPv4.
    if icmp.iter().all(|byte| *byte == 0) {
        put_u16(icmp, icmp::CHECKSUM_AT, 0xffff);
    }
}

impl Echo {
    /// An identifier as ports: it belongs to the side that asks.
    #[inline]
    pub(super) fn ports(self, identifier: u16) -> Ports {
        match self {
            Echo::Request => Ports { source: identifier, destination: 0 },
            Echo::Reply => Ports { source: 0, destination: identifier },
        }
    }

    /// Ports as an identifier.
    #[inline]
    pub(super) fn identifier(self, ports: Ports) -> u16 {
        match self {
            Echo::Request => ports.source,
            Echo::Reply => ports.destination,
        }
    }
}

/// What ICMP's checksum sees of a pseudo-header: nothing over IPv4, all of it over IPv6.
#[inline]
pub(super) fn covered(version: Version, pseudo_header: Delta) -> Delta {
    match version {
        Version::V4 => Delta::default(),
        Version::V6 => pseudo_header,
    }
}

/// Writes IPv4 addresses and the header checksum.
#[inline(always)]
pub(super) fn put_v4(packet: &mut [u8], source: Ipv4Addr, destination: Ipv4Addr) -> Delta {
    let header: &mut [u8; ipv4::HEADER_BYTES] = packet.first_chunk_mut().expect(PARSED);
    let mut delta = Delta::default();
    delta.replace_u32(u32_at(header, ipv4::SOURCE_AT), source.to_bits());
    delta.replace_u32(u32_at(header, ipv4::DESTINATION_AT), destination.to_bits());
    put(header, ipv4::SOURCE_AT, source.octets());
    put(header, ipv4::DESTINATION_AT, destination.octets());
    update_u16(header, ipv4::CHECKSUM_AT, |sum| delta.apply(sum));
    delta
}

/// Writes IPv6 addresses; the header has no checksum.
#[inline]
pub(super) fn put_v6(packet: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr) -> Delta {
    let header: &mut [u8; ipv6::HEADER_BYTES] = packet.first_chunk_mut().expect(PARSED);
    let mut delta = Delta::default();
    delta.replace_u128(u128_at(header, ipv6::SOURCE_AT), source.to_bits());
    delta.replace_u128(u128_at(header, ipv6::DESTINATION_AT), destination.to_bits());
    put(header, ipv6::SOURCE_AT, source.octets());
    put(header, ipv6::DESTINATION_AT, destination.octets());
    delta
}

/// Writes both ports of a TCP or UDP header, not its checksum.
#[inline(always)]
pub(super) fn put_ports(upper: &mut [u8], ports: Ports) -> Delta {
    let new = u32::from(ports.source) << 16 | u32::from(ports.destination);
    let mut delta = Delta::default();
    delta.replace_u32(u32_at(upper, 0), new);
    put_u32(upper, 0, new);
    delta
}

/// Writes an echo's identifier, not its checksum.
#[inline]
pub(super) fn put_identifier(icmp: &mut [u8], echo: Echo, ports: Ports) -> Delta {
    let new = echo.identifier(ports);
    let mut delta = Delta::default();
    delta.replace_u16(u16_at(icmp, icmp::IDENTIFIER_AT), new);
    put_u16(icmp, icmp::IDENTIFIER_AT, new);
    delta
}

/// Rewrites one word of an IPv4 header and the header checksum.
#[inline(always)]
fn put_ipv4_word(header: &mut [u8], at: usize, rewrite: impl FnOnce(u16) -> u16) {
    let old = u16_at(header, at);
    let new = rewrite(old);
    let mut delta = Delta::default();
    delta.replace_u16(old, new);
    put_u16(header, at, new);
    update_u16(header, ipv4::CHECKSUM_AT, |sum| delta.apply(sum));
}
