//! Who a packet is from and to. Both addresses of a packet are of one version, so the version is the variant.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Version of the Internet protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

/// Source and destination address of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Addresses {
    /// IPv4 addresses.
    V4 {
        /// Where the packet is from.
        source: Ipv4Addr,
        /// Where it goes.
        destination: Ipv4Addr,
    },
    /// IPv6 addresses.
    V6 {
        /// Where the packet is from.
        source: Ipv6Addr,
        /// Where it goes.
        destination: Ipv6Addr,
    },
}

impl Addresses {
    /// Pairs two addresses.
    pub fn new(source: IpAddr, destination: IpAddr) -> Result<Addresses, VersionMismatch> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Ok(Addresses::V4 { source, destination }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ok(Addresses::V6 { source, destination }),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Err(VersionMismatch),
        }
    }

    /// The version both addresses are of.
    pub fn version(&self) -> Version {
        match self {
            Addresses::V4 { .. } => Version::V4,
            Addresses::V6 { .. } => Version::V6,
        }
    }

    /// Where the packet is from.
    pub fn source(&self) -> IpAddr {
        match *self {
            Addresses::V4 { source, .. } => IpAddr::V4(source),
            Addresses::V6 { source, .. } => IpAddr::V6(source),
        }
    }

    /// Where the packet goes.
    pub fn destination(&self) -> IpAddr {
        match *self {
            Addresses::V4 { destination, .. } => IpAddr::V4(destination),
            Addresses::V6 { destination, .. } => IpAddr::V6(destination),
        }
    }

    /// The addresses of an answer.
    #[must_use]
    pub fn reversed(self) -> Addresses {
        match self {
            Addresses::V4 { source, destination } => {
                Addresses::V4 { source: destination, destination: source }
            }
            Addresses::V6 { source, destination } => {
                Addresses::V6 { source: destination, destination: source }
            }
        }
    }
}

/// Two addresses that should be of one version are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an IPv4 and an IPv6 address in one packet")]
pub struct VersionMismatch;

/// Source and destination port.
///
/// An echo identifier is the port of the side that asked: a request from identifier 7 has ports `7 -> 0`, its
/// reply `0 -> 7`, so that requests and replies reverse into each other like any other conversation (ICQ-1).
/// Protocols without ports have `0 -> 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ports {
    /// Port of the sender.
    pub source: u16,
    /// Port of the receiver.
    pub destination: u16,
}

impl Ports {
    /// What packets without ports have.
    pub const NONE: Ports = Ports { source: 0, destination: 0 };

    /// The ports of an answer.
    #[must_use]
    pub fn reversed(self) -> Ports {
        Ports { source: self.destination, destination: self.source }
    }
}

/// Both ends of a packet: what a translation replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ends {
    /// The addresses.
    pub addresses: Addresses,
    /// The ports, or the echo identifier.
    pub ports: Ports,
}

impl Ends {
    /// The ends of an answer.
    #[must_use]
    pub fn reversed(self) -> Ends {
        Ends { addresses: self.addresses.reversed(), ports: self.ports.reversed() }
    }
}

/// An upper-layer protocol number. <https://www.iana.org/assignments/protocol-numbers>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// Whether its packets have a source and a destination port. ICMP's identifiers are not meant.
    #[inline]
    pub const fn is_tcp_or_udp(self) -> bool {
        matches!(self, Protocol::TCP | Protocol::UDP)
    }

    /// ICMP for IPv4, RFC 792.
    pub const ICMP: Protocol = Protocol(1);
    /// TCP, RFC 9293.
    pub const TCP: Protocol = Protocol(6);
    /// UDP, RFC 768.
    pub const UDP: Protocol = Protocol(17);
    /// Generic routing encapsulation, RFC 2784.
    pub const GRE: Protocol = Protocol(47);
    /// Encapsulating security payload, RFC 4303.
    pub const ESP: Protocol = Protocol(50);
    /// ICMP for IPv6, RFC 4443.
    pub const ICMPV6: Protocol = Protocol(58);
    /// SCTP, RFC 9260.
    pub const SCTP: Protocol = Protocol(132);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Protocol::ICMP => f.write_str("icmp"),
            Protocol::TCP => f.write_str("tcp"),
            Protocol::UDP => f.write_str("udp"),
            Protocol::GRE => f.write_str("gre"),
            Protocol::ESP => f.write_str("esp"),
            Protocol::ICMPV6 => f.write_str("icmpv6"),
            Protocol::SCTP => f.write_str("sctp"),
            Protocol(number) => write!(f, "{number}"),
        }
    }
}
