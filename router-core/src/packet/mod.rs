//! Views of IP packets, in place and without allocation (P3). Parse once, then trust: every accessor of
//! [`PacketMut`] relies on what [`PacketMut::parse`] checked.
//!
//! Read first: RFC 791, RFC 8200, RFC 1812 section 5.2. Called by `datapath`; calls nothing outside.
//!
//! `inline(always)` stands where the result is a large value that is taken apart at once: out of line it travels through
//! memory in small stores and wide loads, which doubled the time of the whole road through this module.
//!
//! ```text
//! network (ipv4 | ipv6 -> chain) -> transport (tcp | udp | icmp) -> PacketMut
//!     translate: addresses, ports, identifiers, checksums       quote: the packet inside an ICMP error
//!     build: ICMP errors, echo replies, resets                  split, mss: fitting a path's MTU
//! ```

mod address;
pub mod build;
mod chain;
pub mod checksum;
mod error;
mod field;
mod fragment;
mod icmp;
mod ipv4;
mod ipv6;
#[cfg(test)]
pub(crate) mod made;
mod mss;
mod network;
mod quote;
pub mod split;
mod tcp;
#[cfg(test)]
mod tests;
mod translate;
mod transport;
mod udp;

pub use address::{Addresses, Ends, Ports, Protocol, Version, VersionMismatch};
pub use error::{Layer, ParseError};
pub use fragment::{Datagram, Piece, Span};
pub use icmp::{Echo, IcmpError};
pub use mss::mss_for_mtu;
pub use quote::{QuoteError, QuoteMut, QuotedTransport};
pub use tcp::{SynOptions, TcpFlags, TcpSegment};
pub use translate::HopLimitReached;
pub use transport::Transport;

use field::u16_at;
use icmp::Message;
use network::Network;
use transport::Upper;

/// A whole, well-formed IP packet (or piece of one) that may be rewritten in place.
#[derive(Debug, PartialEq, Eq)]
pub struct PacketMut<'a> {
    /// Cut to the exact length the IP header claims.
    bytes: &'a mut [u8],
    network: Network,
    upper: Upper,
}

impl<'a> PacketMut<'a> {
    /// Reads the packet at the start of `bytes`; bytes behind its exact length are cut off (LEN).
    ///
    /// Total: any bytes give a packet or an error. Linear in the header's length, which is bounded by eight
    /// extension headers or 40 bytes of options.
    #[inline(always)]
    pub fn parse(bytes: &'a mut [u8]) -> Result<PacketMut<'a>, ParseError> {
        match Version::of(bytes)? {
            Version::V4 => PacketMut::parse_v4(bytes),
            Version::V6 => PacketMut::parse_v6(bytes),
        }
    }

    /// As [`parse`](PacketMut::parse), of what claims to be IPv4. The compiler then knows the version in all that follows.
    #[inline(always)]
    pub(crate) fn parse_v4(bytes: &'a mut [u8]) -> Result<PacketMut<'a>, ParseError> {
        ipv4::parse(bytes).and_then(|(network, len)| PacketMut::check(bytes, network, len))
    }

    /// As [`parse`](PacketMut::parse), of what claims to be IPv6.
    #[inline(always)]
    pub(crate) fn parse_v6(bytes: &'a mut [u8]) -> Result<PacketMut<'a>, ParseError> {
        ipv6::parse(bytes).and_then(|(network, len)| PacketMut::check(bytes, network, len))
    }

    /// Checks the upper layer of a packet of `len` bytes.
    #[inline(always)]
    fn check(bytes: &'a mut [u8], network: Network, len: usize) -> Result<PacketMut<'a>, ParseError> {
        let bytes = &mut bytes[..len];
        let upper = transport::check(network, bytes)?;
        Ok(PacketMut { bytes, network, upper })
    }

    /// The same packet, for somebody who takes it by value.
    #[inline(always)]
    pub(crate) fn reborrow(&mut self) -> PacketMut<'_> {
        PacketMut { bytes: self.bytes, network: self.network, upper: self.upper }
    }

    /// The version of the Internet protocol.
    #[inline]
    pub fn version(&self) -> Version {
        self.network.version
    }

    /// Source and destination address, as they stand now.
    #[inline(always)]
    pub fn addresses(&self) -> Addresses {
        match self.network.version {
            Version::V4 => ipv4::addresses(self.bytes),
            Version::V6 => ipv6::addresses(self.bytes),
        }
    }

    /// The upper-layer protocol. Of a later piece over IPv6 it is only a claim.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.network.protocol
    }

    /// What the packet is to the layers above IP.
    #[inline(always)]
    pub fn transport(&self) -> Transport {
        self.upper.read(self.network.version, self.upper_bytes())
    }

    /// Ports, or the echo identifier as the asking side's port; [`Ports::NONE`] where there are none.
    #[inline(always)]
    pub fn ports(&self) -> Ports {
        let bytes = self.upper_bytes();
        match self.upper {
            Upper::Tcp | Upper::Udp => Ports { source: u16_at(bytes, 0), destination: u16_at(bytes, 2) },
            Upper::Icmp => match icmp::read(self.network.version, bytes) {
                Message::Echo(echo) => echo.ports(u16_at(bytes, icmp::IDENTIFIER_AT)),
                Message::Error(_) | Message::Other => Ports::NONE,
            },
            Upper::Other | Upper::LaterPiece => Ports::NONE,
        }
    }

    /// Addresses and ports.
    #[inline(always)]
    pub fn ends(&self) -> Ends {
        Ends { addresses: self.addresses(), ports: self.ports() }
    }

    /// The highest right edge among the SACK blocks of a TCP segment, for window tracking (TCP-2).
    pub fn sack_edge(&self) -> Option<u32> {
        match self.upper {
            Upper::Tcp => tcp::sack_edge(self.upper_bytes()),
            Upper::Udp | Upper::Icmp | Upper::Other | Upper::LaterPiece => None,
        }
    }

    /// Exact length in bytes; up to 65 575 for a GSO super-packet over IPv6.
    #[inline]
    pub fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of IP headers and of the TCP or UDP header: what every segment of a GSO super-packet repeats.
    #[inline]
    pub fn headers_len(&self) -> usize {
        let upper_header = match self.upper {
            Upper::Tcp => tcp::header_len(self.upper_bytes()),
            Upper::Udp => udp::HEADER_BYTES,
            Upper::Icmp => icmp::HEADER_BYTES,
            Upper::Other | Upper::LaterPiece => 0,
        };
        self.network.upper_at() + upper_header
    }

    /// Which piece of which datagram this is; `None` for a whole packet, atomic fragments included. The datagram is
    /// named by the addresses as they stand now: [`crate::fragments`] wants those from before translation.
    #[inline]
    pub fn piece(&self) -> Option<Piece> {
        let datagram = |fragment: network::Fragment| fragment.datagram(self.network.version, self.bytes);
        self.network.fragment.map(|fragment| Piece { datagram: datagram(fragment), span: fragment.span })
    }

    /// Whether the packet must not be fragmented on its way: "don't fragment" over v4, always over v6.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        match self.network.version {
            Version::V4 => u16_at(self.bytes, ipv4::FRAGMENT_AT) & ipv4::DONT_FRAGMENT != 0,
            Version::V6 => true,
        }
    }

    /// Time to live, or hop limit.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        match self.network.version {
            Version::V4 => self.bytes[ipv4::TTL_AT],
            Version::V6 => self.bytes[ipv6::HOP_LIMIT_AT],
        }
    }

    /// DSCP and ECN: type of service, or traffic class.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        match self.network.version {
            Version::V4 => self.bytes[1],
            Version::V6 => (u16_at(self.bytes, 0) >> 4) as u8,
        }
    }

    /// The packet's bytes, exactly.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// The packet's bytes, exactly, for as long as the buffer lives.
    #[inline]
    pub fn into_bytes(self) -> &'a mut [u8] {
        self.bytes
    }

    /// From the upper-layer header on.
    #[inline]
    fn upper_bytes(&self) -> &[u8] {
        &self.bytes[self.network.upper_at()..]
    }

    /// From the upper-layer header on.
    #[inline]
    fn upper_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.network.upper_at()..]
    }
}
