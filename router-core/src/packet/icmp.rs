//! ICMP of both versions: which messages are queries, which are errors about another packet. Read first: RFC 792,
//! RFC 4443, RFC 1191 section 4.

use super::address::Version;
use super::error::{Layer, ParseError};
use super::field::{u16_at, u32_at};

/// Length of the ICMP header that every message here has.
pub(super) const HEADER_BYTES: usize = 8;
/// Where the checksum is.
pub(super) const CHECKSUM_AT: usize = 2;
/// Where an echo's identifier is.
pub(super) const IDENTIFIER_AT: usize = 4;

/// ICMPv4 type numbers. <https://www.iana.org/assignments/icmp-parameters>.
pub(super) mod v4 {
    pub(in crate::packet) const ECHO_REPLY: u8 = 0;
    pub(in crate::packet) const UNREACHABLE: u8 = 3;
    pub(in crate::packet) const SOURCE_QUENCH: u8 = 4;
    pub(in crate::packet) const REDIRECT: u8 = 5;
    pub(in crate::packet) const ECHO_REQUEST: u8 = 8;
    pub(in crate::packet) const TIME_EXCEEDED: u8 = 11;
    pub(in crate::packet) const PARAMETER_PROBLEM: u8 = 12;
    /// Code of `UNREACHABLE`.
    pub(in crate::packet) const FRAGMENTATION_NEEDED: u8 = 4;
}

/// ICMPv6 type numbers. <https://www.iana.org/assignments/icmpv6-parameters>.
pub(super) mod v6 {
    pub(in crate::packet) const UNREACHABLE: u8 = 1;
    pub(in crate::packet) const PACKET_TOO_BIG: u8 = 2;
    pub(in crate::packet) const TIME_EXCEEDED: u8 = 3;
    pub(in crate::packet) const PARAMETER_PROBLEM: u8 = 4;
    pub(in crate::packet) const LAST_ERROR: u8 = 127;
    pub(in crate::packet) const ECHO_REQUEST: u8 = 128;
    pub(in crate::packet) const ECHO_REPLY: u8 = 129;
    pub(in crate::packet) const REDIRECT: u8 = 137;
}

/// Which half of an echo a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Echo {
    /// Asks.
    Request,
    /// Answers.
    Reply,
}

/// What an ICMP error says about the packet it quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IcmpError {
    /// Destination unreachable, all codes but "fragmentation needed".
    Unreachable {
        /// The code as sent.
        code: u8,
    },
    /// Fragmentation needed (v4) or packet too big (v6).
    TooBig {
        /// The next hop's MTU; 0 from a v4 router older than RFC 1191.
        mtu_bytes: u32,
    },
    /// Hop limit or reassembly time exceeded.
    TimeExceeded {
        /// The code as sent.
        code: u8,
    },
    /// A header field nobody understood.
    ParameterProblem {
        /// The code as sent.
        code: u8,
    },
    /// Source quench, deprecated by RFC 6633 (ICE-11).
    SourceQuench,
    /// Redirect of either version (ICE-11).
    Redirect,
    /// An ICMPv6 error type (below 128) without a meaning yet.
    Unassigned {
        /// The type as sent.
        kind: u8,
    },
}

/// What an ICMP packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Echo(Echo),
    Error(IcmpError),
    Other,
}

/// Checks that the header at the start of `icmp` is whole.
#[inline]
pub(super) fn check(icmp: &[u8]) -> Result<(), ParseError> {
    if icmp.len() < HEADER_BYTES {
        return Err(ParseError::TooShort { layer: Layer::Icmp, need: HEADER_BYTES, have: icmp.len() });
    }
    Ok(())
}

/// Reads the header at the start of `icmp`, which has been checked.
#[inline]
pub(super) fn read(version: Version, icmp: &[u8]) -> Message {
    match version {
        Version::V4 => message_v4(icmp),
        Version::V6 => message_v6(icmp),
    }
}

fn message_v4(icmp: &[u8]) -> Message {
    let (kind, code) = (icmp[0], icmp[1]);
    match kind {
        v4::ECHO_REPLY => Message::Echo(Echo::Reply),
        v4::ECHO_REQUEST => Message::Echo(Echo::Request),
        v4::UNREACHABLE if code == v4::FRAGMENTATION_NEEDED => {
            Message::Error(IcmpError::TooBig { mtu_bytes: u32::from(u16_at(icmp, 6)) })
        }
        v4::UNREACHABLE => Message::Error(IcmpError::Unreachable { code }),
        v4::SOURCE_QUENCH => Message::Error(IcmpError::SourceQuench),
        v4::REDIRECT => Message::Error(IcmpError::Redirect),
        v4::TIME_EXCEEDED => Message::Error(IcmpError::TimeExceeded { code }),
        v4::PARAMETER_PROBLEM => Message::Error(IcmpError::ParameterProblem { code }),
        _ => Message::Other,
    }
}

fn message_v6(icmp: &[u8]) -> Message {
    let (kind, code) = (icmp[0], icmp[1]);
    match kind {
        v6::UNREACHABLE => Message::Error(IcmpError::Unreachable { code }),
        v6::PACKET_TOO_BIG => Message::Error(IcmpError::TooBig { mtu_bytes: u32_at(icmp, 4) }),
        v6::TIME_EXCEEDED => Message::Error(IcmpError::TimeExceeded { code }),
        v6::PARAMETER_PROBLEM => Message::Error(IcmpError::ParameterProblem { code }),
        0..=v6::LAST_ERROR => Message::Error(IcmpError::Unassigned { kind }),
        v6::ECHO_REQUEST => Message::Echo(Echo::Request),
        v6::ECHO_REPLY => Message::Echo(Echo::Reply),
        v6::REDIRECT => Message::Error(IcmpError::Redirect),
        _ => Message::Other,
    }
}
