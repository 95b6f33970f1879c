//! Why bytes are not a packet we handle. Each is a drop with its own counter, never an answer (P3).

use super::fragment::Datagram;

/// A layer of a packet, for messages about what was too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// The IPv4 header, or what its length field promises.
    Ipv4,
    /// The IPv6 header, or what its length field promises.
    Ipv6,
    /// An IPv6 extension header.
    Extension,
    /// The TCP header.
    Tcp,
    /// The UDP header.
    Udp,
    /// The ICMP header, of either version.
    Icmp,
}

/// Why bytes are not a packet we handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A header, or the length a header claims, does not fit into the bytes that are there.
    #[error("{layer:?} needs {need} bytes, {have} are there")]
    TooShort {
        /// Whose header it is.
        layer: Layer,
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// The first four bits are neither 4 nor 6.
    #[error("IP version {0}")]
    UnknownVersion(u8),
    /// A header length below its protocol's minimum, or above what the packet's own length allows.
    #[error("{layer:?} header of {claimed} bytes")]
    HeaderLength {
        /// Whose header it is.
        layer: Layer,
        /// The length it claims, in bytes.
        claimed: usize,
    },
    /// The IPv4 header's checksum is wrong. RFC 1812 section 5.2.2: such packets are discarded silently.
    #[error("IPv4 header checksum")]
    HeaderChecksum,
    /// An IPv4 option whose length does not fit into the header.
    #[error("malformed IPv4 option")]
    MalformedOption,
    /// Loose or strict source route. It names further destinations than the one the rules are asked about.
    #[error("IPv4 source route")]
    SourceRoute,
    /// Routing header type 0 (RFC 5095), or one of any type with segments left, whose final destination is not
    /// the one the rules are asked about (EXT-1).
    #[error("routing header type {kind} with {segments_left} segments left")]
    RoutingHeader {
        /// Routing type.
        kind: u8,
        /// Segments left.
        segments_left: u8,
    },
    /// More than eight extension headers (EXT-1).
    #[error("more than eight extension headers")]
    TooManyHeaders,
    /// Hop-by-hop options anywhere but right behind the IPv6 header. RFC 8200 section 4.1.
    #[error("hop-by-hop options out of place")]
    HopByHopMisplaced,
    /// More than one fragment header (FRG-4).
    #[error("second fragment header")]
    SecondFragmentHeader,
    /// A piece other than the last whose length is no multiple of eight, or any piece without bytes.
    #[error("fragment of {0} bytes")]
    FragmentLength(u16),
    /// A piece that would end behind the longest possible datagram.
    #[error("fragment at {offset} ends behind the longest datagram")]
    FragmentBeyondLimit {
        /// Where the piece starts, in bytes.
        offset: u16,
    },
    /// A first piece that does not hold its whole chain of headers (FRG-2, FRG-4). Poison the datagram.
    #[error("first fragment without its headers")]
    TinyFirstFragment(Datagram),
    /// A later piece that starts inside the header its first piece must hold (FRG-2). Poison the datagram.
    #[error("fragment inside the inspected header")]
    OffsetInsideHeader(Datagram),
    /// A UDP length below eight or beyond the packet.
    #[error("UDP length {claimed} in a payload of {have} bytes")]
    UdpLength {
        /// What the UDP header claims.
        claimed: u16,
        /// Bytes in the IP payload.
        have: usize,
    },
    /// UDP over IPv6 without a checksum (CSM-2).
    #[error("UDP over IPv6 without a checksum")]
    UdpChecksumMissing,
}
