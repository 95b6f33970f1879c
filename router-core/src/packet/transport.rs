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
    /// A protocol without ports that we read: ESP, GRE, SCTP, anything unknown (ANY).
    Other,
    /// A piece without the upper-layer header: follows the verdict of its first piece (FRG-1).
    LaterPiece,
}

/// Which upper-layer header the parser has checked. What it says is read when it is asked for: keeping it would cost
/// every packet more than reading it costs those that are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upper {
    Tcp,
    Udp,
    Icmp,
    Other,
    LaterPiece,
}

/// Checks that the upper-layer header of `packet`, which is cut to its exact length, is whole.
///
/// `network` comes by value, and goes on so: for what it holds to stay in registers, nobody may be given its address.
#[inline(always)]
pub(super) fn check(network: Network, packet: &[u8]) -> Result<Upper, ParseError> {
    if network.is_later_piece() {
        return Ok(Upper::LaterPiece);
    }
    let upper = Upper::of(network);
    match upper.check(network, &packet[network.upper_at()..]) {
        Ok(()) => Ok(upper),
        Err(error) => Err(poison_if_first_piece(network, packet, error)),
    }
}

impl Upper {
    #[inline]
    fn of(network: Network) -> Upper {
        match (network.protocol, network.version) {
            (Protocol::TCP, _) => Upper::Tcp,
            (Protocol::UDP, _) => Upper::Udp,
            (Protocol::ICMP, Version::V4) | (Protocol::ICMPV6, Version::V6) => Upper::Icmp,
            _ => Upper::Other,
        }
    }

    #[inline(always)]
    fn check(self, network: Network, bytes: &[u8]) -> Result<(), ParseError> {
        match self {
            Upper::Tcp => tcp::check(bytes),
            Upper::Udp => udp::check(network.version, bytes, network.fragment.is_some()),
            Upper::Icmp => icmp::check(bytes),
            Upper::Other | Upper::LaterPiece => Ok(()),
        }
    }

    /// Reads the header at the start of `bytes`, which [`check`] has found whole.
    #[inline(always)]
    pub(super) fn read(self, version: Version, bytes: &[u8]) -> Transport {
        match self {
            Upper::Tcp => Transport::Tcp(tcp::read(bytes)),
            Upper::Udp => Transport::Udp,
            Upper::Icmp => read_icmp(version, bytes),
            Upper::Other => Transport::Other,
            Upper::LaterPiece => Transport::LaterPiece,
        }
    }
}

fn read_icmp(version: Version, icmp: &[u8]) -> Transport {
    match icmp::read(version, icmp) {
        Message::Echo(echo) => Transport::IcmpEcho { echo, sequence: u16_at(icmp, 6) },
        Message::Error(error) => Transport::IcmpError(error),
        Message::Other => Transport::IcmpOther { kind: icmp[0], code: icmp[1] },
    }
}

/// A header cut short by fragmentation condemns the whole datagram (FRG-2), not just this piece.
#[cold]
fn poison_if_first_piece(network: Network, packet: &[u8], error: ParseError) -> ParseError {
    match (error, network.fragment) {
        (ParseError::TooShort { .. }, Some(fragment)) => {
            ParseError::TinyFirstFragment(fragment.datagram(network.version, packet))
        }
        (error, _) => error,
    }
}
