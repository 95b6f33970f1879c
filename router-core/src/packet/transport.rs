//! What a packet is to the layers above IP.

use super::address::{Protocol, Version};
use super::error::ParseError;
use super::field::u16_at;
use super::icmp::{self, Echo, IcmpError, Message};
use super::network::Network;
use super::tcp::{self, TcpSegment};
use super::udp;

/// What a packet is to the layers above IP. Ports and identifiers are read from the packet itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment, or the first piece of one.
    Tcp(TcpSegment),
    /// A UDP datagram, or the first piece of one.
    Udp,
    /// An echo request or reply, or the first piece of one.
    IcmpEcho {
        /// Which of the two.
        echo: Echo,
        /// Its sequence number.
        sequence: u16,
    },
    /// An ICMP error about another packet, or a redirect.
    IcmpError(IcmpError),
    /// Any other ICMP message, neighbour discovery included.
    IcmpOther {
        /// The type as sent.
        kind: u8,
        /// The code as sent.
        code: u8,
    },
    /// A protocol without ports that we read: ESP, GRE, SCTP, anything unknown [ANY].
    Other,
    /// A piece without the upper-layer header: follows the verdict of its first piece (FRG-1).
    LaterPiece,
}

/// Reads the upper-layer header of `packet`, which is cut to its exact length.
#[inline]
pub(super) fn parse(network: &Network, packet: &[u8]) -> Result<Transport, ParseError> {
    if network.is_later_piece() {
        return Ok(Transport::LaterPiece);
    }
    let payload = &packet[network.transport_at..];
    parse_header(network, payload).map_err(|error| poison_if_first_piece(network, error))
}

#[inline]
fn parse_header(network: &Network, payload: &[u8]) -> Result<Transport, ParseError> {
    match (network.protocol, network.version) {
        (Protocol::TCP, _) => tcp::parse(payload).map(Transport::Tcp),
        (Protocol::UDP, version) => {
            udp::check(version, payload, network.fragment.is_some()).map(|()| Transport::Udp)
        }
        (Protocol::ICMP, Version::V4) => parse_icmp(Version::V4, payload),
        (Protocol::ICMPV6, Version::V6) => parse_icmp(Version::V6, payload),
        _ => Ok(Transport::Other),
    }
}

fn parse_icmp(version: Version, payload: &[u8]) -> Result<Transport, ParseError> {
    Ok(match icmp::parse(version, payload)? {
        Message::Echo(echo) => Transport::IcmpEcho { echo, sequence: u16_at(payload, 6) },
        Message::Error(error) => Transport::IcmpError(error),
        Message::Other => Transport::IcmpOther { kind: payload[0], code: payload[1] },
    })
}

/// A header cut short by fragmentation condemns the whole datagram (FRG-2), not just this piece.
#[cold]
fn poison_if_first_piece(network: &Network, error: ParseError) -> ParseError {
    match (error, network.fragment) {
        (ParseError::TooShort { .. }, Some(fragment)) => ParseError::TinyFirstFragment(fragment.datagram),
        (error, _) => error,
    }
}
