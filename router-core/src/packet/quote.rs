//! The packet that an ICMP error quotes: read, and translated back together with the error around it.
//! Read first: RFC 5508 section 4, RFC 792, RFC 4443 section 2.4, RFC 4884. Called by datapath (ICMP association).
//!
//! Quotes are cut short, sometimes behind eight bytes of the upper-layer header, so only ports, identifiers and the
//! TCP sequence number are read, and only checksums that are there are fixed (ICE-6).

use super::address::{Addresses, Ends, Ports, Protocol, Version, VersionMismatch};
use super::chain;
use super::checksum::{Delta, Sum};
use super::error::{Layer, ParseError};
use super::field::{put_u16, put_u32, u16_at, u32_at, update_u16};
use super::icmp::{self, Echo, IcmpError, Message};
use super::ipv4::{self, FRAGMENT_AT, OFFSET_MASK, TOTAL_LENGTH_AT};
use super::ipv6::{self, PAYLOAD_LENGTH_AT};
use super::translate::{covered, put_identifier, put_ports, put_v4, put_v6};
use super::transport::Transport;
use super::{PacketMut, tcp, udp};

/// What every error quotes at least of the upper-layer header (RFC 792).
const UPPER_MIN: usize = 8;

/// Why an ICMP error is of no use to us; each is a silent drop with its own counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// Not a message that quotes a packet.
    #[error("no ICMP error with a quote")]
    NotAnError,
    /// The error is itself a piece of a datagram, so its checksum cannot be verified.
    #[error("fragmented ICMP error")]
    Fragmented,
    /// The ICMP checksum is wrong (ICE-1).
    #[error("ICMP checksum")]
    Checksum,
    /// The length of RFC 4884 reaches behind the message (ICE-4).
    #[error("quote of {claimed} bytes in {have}")]
    LengthBeyondMessage {
        /// Bytes the length field promises.
        claimed: usize,
        /// Bytes there.
        have: usize,
    },
    /// The quote is of the other IP version, or of none.
    #[error("quote of another IP version")]
    OtherVersion,
    /// The quoted headers do not parse, or their IPv4 checksum is wrong (ICE-1).
    #[error("quoted packet: {0}")]
    Malformed(ParseError),
    /// The quote is of an ICMP error (ICE-10).
    #[error("quote of an ICMP error")]
    QuotesError,
    /// The quote is of a piece without an upper-layer header (ICE-10).
    #[error("quote of a later fragment")]
    QuotesLaterPiece,
}

/// What a quote shows of the upper-layer header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotedTransport {
    /// A TCP segment.
    Tcp {
        /// Its sequence number (ICE-8).
        sequence: u32,
    },
    /// A UDP datagram.
    Udp,
    /// An echo.
    IcmpEcho(Echo),
    /// Another ICMP message that is no error.
    IcmpOther,
    /// A protocol whose header is not read.
    Other,
}

/// An ICMP error and the packet it quotes. Made by [`PacketMut::quote`], which has verified both (ICE-1).
#[derive(Debug)]
pub struct QuoteMut<'p, 'a> {
    error: &'p mut PacketMut<'a>,
    place: Place,
    quoted: Quoted,
}

/// Where the quote lies in the error's packet.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    /// Behind the last byte that is of the quoted packet: no extension, no padding.
    end: usize,
}

/// What the quoted headers say; positions count from the quote's start.
#[derive(Debug, Clone, Copy)]
struct Quoted {
    protocol: Protocol,
    transport: QuotedTransport,
    upper_at: usize,
    /// Length of the whole packet that is quoted in part.
    packet_len: usize,
}

impl<'a> PacketMut<'a> {
    /// Verifies this ICMP error and reads the packet it quotes.
    pub fn quote(&mut self) -> Result<QuoteMut<'_, 'a>, QuoteError> {
        let Transport::IcmpError(error) = self.transport() else { return Err(QuoteError::NotAnError) };
        if self.network.fragment.is_some() {
            return Err(QuoteError::Fragmented);
        }
        if !self.icmp_checksum_is_valid() {
            return Err(QuoteError::Checksum);
        }
        let (start, claimed) = self.find_quote(error)?;
        let quoted = read(self.version(), &self.bytes[start..start + claimed])?;
        let end = start + claimed.min(quoted.packet_len);
        Ok(QuoteMut { error: self, place: Place { start, end }, quoted })
    }

    /// Whether the checksum of this ICMP message is right. Only of use for a whole packet.
    pub(super) fn icmp_checksum_is_valid(&self) -> bool {
        let icmp = self.upper_bytes();
        let sum = match self.network.version {
            Version::V4 => Sum::default(),
            Version::V6 => Sum::pseudo_header(&self.addresses(), Protocol::ICMPV6, icmp.len()),
        };
        sum.bytes(icmp).is_valid()
    }

    /// Where the quote starts and how long it may be at most.
    fn find_quote(&self, error: IcmpError) -> Result<(usize, usize), QuoteError> {
        let have = self.upper_bytes().len() - icmp::HEADER_BYTES;
        let start = self.network.upper_at() + icmp::HEADER_BYTES;
        match self.claimed_quote_len(error)? {
            0 => Ok((start, have)),
            claimed if claimed <= have => Ok((start, claimed)),
            claimed => Err(QuoteError::LengthBeyondMessage { claimed, have }),
        }
    }

    /// The quote's length by RFC 4884 section 4, in bytes; 0 where the message has no such field or leaves it empty.
    fn claimed_quote_len(&self, error: IcmpError) -> Result<usize, QuoteError> {
        let icmp = self.upper_bytes();
        let (v4, v6) = (usize::from(icmp[5]) * 4, usize::from(icmp[4]) * 8);
        Ok(match (error, self.network.version) {
            (IcmpError::Unreachable { .. } | IcmpError::TimeExceeded { .. }, Version::V6) => v6,
            (
                IcmpError::Unreachable { .. }
                | IcmpError::TimeExceeded { .. }
                | IcmpError::TooBig { .. }
                | IcmpError::ParameterProblem { .. },
                Version::V4,
            ) => v4,
            (IcmpError::TooBig { .. } | IcmpError::ParameterProblem { .. }, Version::V6) => 0,
            (IcmpError::SourceQuench | IcmpError::Unassigned { .. }, _) => 0,
            (IcmpError::Redirect, Version::V4) => 0,
            (IcmpError::Redirect, Version::V6) => return Err(QuoteError::NotAnError),
        })
    }
}

impl QuoteMut<'_, '_> {
    /// Addresses of the quoted packet.
    pub fn addresses(&self) -> Addresses {
        match self.error.network.version {
            Version::V4 => ipv4::addresses(self.bytes()),
            Version::V6 => ipv6::addresses(self.bytes()),
        }
    }

    /// Ports of the quoted packet, as [`PacketMut::ports`] gives them.
    pub fn ports(&self) -> Ports {
        let upper = &self.bytes()[self.quoted.upper_at..];
        match self.quoted.transport {
            QuotedTransport::Tcp { .. } | QuotedTransport::Udp => {
                Ports { source: u16_at(upper, 0), destination: u16_at(upper, 2) }
            }
            QuotedTransport::IcmpEcho(echo) => echo.ports(u16_at(upper, icmp::IDENTIFIER_AT)),
            QuotedTransport::IcmpOther | QuotedTransport::Other => Ports::NONE,
        }
    }

    /// Addresses and ports of the quoted packet.
    pub fn ends(&self) -> Ends {
        Ends { addresses: self.addresses(), ports: self.ports() }
    }

    /// Upper-layer protocol of the quoted packet.
    pub fn protocol(&self) -> Protocol {
        self.quoted.protocol
    }

    /// What the quote shows of the upper-layer header.
    pub fn transport(&self) -> QuotedTransport {
        self.quoted.transport
    }

    /// Length in bytes of the whole packet that the error is about; a path MTU is below it (ICE-9).
    pub fn packet_len(&self) -> usize {
        self.quoted.packet_len
    }

    /// The error around the quote.
    pub fn error(&self) -> &PacketMut<'_> {
        self.error
    }

    /// Replaces the quoted packet's addresses and ports by those of `quoted` and the error's own addresses by
    /// `outer`. Fixes the quoted IPv4 header checksum, the quoted upper-layer checksum where it is there, and the
    /// error's checksum; type, code, extensions and padding stay (ICE-4, ICE-5).
    pub fn translate(&mut self, quoted: &Ends, outer: Addresses) -> Result<(), VersionMismatch> {
        let version = self.error.network.version;
        if quoted.addresses.version() != version || outer.version() != version {
            return Err(VersionMismatch);
        }
        let inside = self.translate_quote(quoted);
        let outside = put_addresses(self.error.bytes, outer);
        self.error.fix_icmp_checksum(inside.and(covered(version, outside)));
        Ok(())
    }

    /// Replaces the path MTU of a "fragmentation needed" or "packet too big"; leaves other errors alone.
    pub fn set_mtu(&mut self, mtu_bytes: u16) {
        if !matches!(self.error.transport(), Transport::IcmpError(IcmpError::TooBig { .. })) {
            return;
        }
        let delta = match self.error.network.version {
            Version::V4 => replace_u16(self.error.upper_bytes_mut(), 6, mtu_bytes),
            Version::V6 => replace_u32(self.error.upper_bytes_mut(), 4, u32::from(mtu_bytes)),
        };
        self.error.fix_icmp_checksum(delta);
    }

    /// Translates the quote; what comes back is the change of all its words, checksums included.
    fn translate_quote(&mut self, to: &Ends) -> Delta {
        let (version, quoted) = (self.error.network.version, self.quoted);
        let bytes = self.bytes_mut();
        let (old_checksum, pseudo_header) =
            (u16_at(bytes, ipv4::CHECKSUM_AT), put_addresses(bytes, to.addresses));
        let mut delta = pseudo_header;
        if version == Version::V4 {
            delta.replace_u16(old_checksum, u16_at(bytes, ipv4::CHECKSUM_AT));
        }
        let upper = &mut bytes[quoted.upper_at..];
        delta.and(translate_upper(upper, quoted.transport, version, pseudo_header, to.ports))
    }

    /// The quoted packet, as much as there is of it.
    fn bytes(&self) -> &[u8] {
        &self.error.bytes[self.place.start..self.place.end]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.error.bytes[self.place.start..self.place.end]
    }
}

impl PacketMut<'_> {
    fn fix_icmp_checksum(&mut self, delta: Delta) {
        let icmp = self.upper_bytes_mut();
        update_u16(icmp, icmp::CHECKSUM_AT, |sum| delta.apply(sum));
    }
}

/// Translates a quoted upper-layer header; what comes back is the change of its words.
fn translate_upper(
    upper: &mut [u8],
    transport: QuotedTransport,
    version: Version,
    pseudo_header: Delta,
    ports: Ports,
) -> Delta {
    match transport {
        QuotedTransport::Tcp { .. } => {
            let ports = put_ports(upper, ports);
            ports.and(fix(upper, tcp::CHECKSUM_AT, |sum| pseudo_header.and(ports).apply(sum)))
        }
        QuotedTransport::Udp => {
            let ports = put_ports(upper, ports);
            ports.and(fix(upper, udp::CHECKSUM_AT, |sum| pseudo_header.and(ports).apply_udp(sum)))
        }
        QuotedTransport::IcmpEcho(echo) => {
            let id = put_identifier(upper, echo, ports);
            let pseudo_header = covered(version, pseudo_header);
            id.and(fix(upper, icmp::CHECKSUM_AT, |sum| pseudo_header.and(id).apply(sum)))
        }
        QuotedTransport::IcmpOther => {
            let pseudo_header = covered(version, pseudo_header);
            fix(upper, icmp::CHECKSUM_AT, |sum| pseudo_header.apply(sum))
        }
        QuotedTransport::Other => Delta::default(),
    }
}

/// Updates the checksum at `at` if the quote reaches that far (ICE-6).
fn fix(upper: &mut [u8], at: usize, update: impl FnOnce(u16) -> u16) -> Delta {
    if upper.len() < at + 2 {
        return Delta::default();
    }
    let new = update(u16_at(upper, at));
    replace_u16(upper, at, new)
}

fn replace_u16(bytes: &mut [u8], at: usize, new: u16) -> Delta {
    let mut delta = Delta::default();
    delta.replace_u16(u16_at(bytes, at), new);
    put_u16(bytes, at, new);
    delta
}

fn replace_u32(bytes: &mut [u8], at: usize, new: u32) -> Delta {
    let mut delta = Delta::default();
    delta.replace_u32(u32_at(bytes, at), new);
    put_u32(bytes, at, new);
    delta
}

/// Writes addresses of the header's own version, and its checksum if it has one.
fn put_addresses(header: &mut [u8], addresses: Addresses) -> Delta {
    match addresses {
        Addresses::V4 { source, destination } => put_v4(header, source, destination),
        Addresses::V6 { source, destination } => put_v6(header, source, destination),
    }
}

/// Reads the quoted headers from `quote`, whose end may cut the packet anywhere.
fn read(version: Version, quote: &[u8]) -> Result<Quoted, QuoteError> {
    match (version, quote.first().map(|first| first >> 4)) {
        (Version::V4, Some(4)) => read_v4(quote),
        (Version::V6, Some(6)) => read_v6(quote),
        (Version::V4 | Version::V6, _) => Err(QuoteError::OtherVersion),
    }
}

fn read_v4(quote: &[u8]) -> Result<Quoted, QuoteError> {
    let fixed: &[u8; ipv4::HEADER_BYTES] =
        quote.first_chunk().ok_or_else(|| too_short(Layer::Ipv4, ipv4::HEADER_BYTES, quote))?;
    let header_len = ipv4::header_len(fixed);
    if header_len < ipv4::HEADER_BYTES {
        return Err(QuoteError::Malformed(ParseError::HeaderLength {
            layer: Layer::Ipv4,
            claimed: header_len,
        }));
    }
    let header = quote.get(..header_len).ok_or_else(|| too_short(Layer::Ipv4, header_len, quote))?;
    if !ipv4::header_checksum_is_valid(header) {
        return Err(QuoteError::Malformed(ParseError::HeaderChecksum));
    }
    if u16_at(fixed, FRAGMENT_AT) & OFFSET_MASK != 0 {
        return Err(QuoteError::QuotesLaterPiece);
    }
    let packet_len = usize::from(u16_at(fixed, TOTAL_LENGTH_AT));
    read_upper(Version::V4, Protocol(fixed[ipv4::PROTOCOL_AT]), header_len, packet_len, quote)
}

fn read_v6(quote: &[u8]) -> Result<Quoted, QuoteError> {
    let fixed: &[u8; ipv6::HEADER_BYTES] =
        quote.first_chunk().ok_or_else(|| too_short(Layer::Ipv6, ipv6::HEADER_BYTES, quote))?;
    let packet_len = ipv6::HEADER_BYTES + usize::from(u16_at(fixed, PAYLOAD_LENGTH_AT));
    let there = &quote[..quote.len().min(packet_len)];
    let chain = chain::walk(there).map_err(QuoteError::Malformed)?;
    if chain.fragment.is_some_and(|fragment| fragment.offset != 0) {
        return Err(QuoteError::QuotesLaterPiece);
    }
    read_upper(Version::V6, chain.protocol, chain.upper_at, packet_len, quote)
}

fn read_upper(
    version: Version,
    protocol: Protocol,
    upper_at: usize,
    packet_len: usize,
    quote: &[u8],
) -> Result<Quoted, QuoteError> {
    let there = &quote[..quote.len().min(packet_len)];
    let upper = there.get(upper_at..).ok_or_else(|| too_short(Layer::Ipv4, upper_at, there))?;
    let transport = match (protocol, version) {
        (Protocol::TCP, _) => {
            at_least(Layer::Tcp, upper).map(|()| QuotedTransport::Tcp { sequence: u32_at(upper, 4) })
        }
        (Protocol::UDP, _) => at_least(Layer::Udp, upper).map(|()| QuotedTransport::Udp),
        (Protocol::ICMP, Version::V4) | (Protocol::ICMPV6, Version::V6) => read_icmp(version, upper),
        _ => Ok(QuotedTransport::Other),
    }?;
    Ok(Quoted { protocol, transport, upper_at, packet_len })
}

fn read_icmp(version: Version, upper: &[u8]) -> Result<QuotedTransport, QuoteError> {
    icmp::check(upper).map_err(QuoteError::Malformed)?;
    match icmp::read(version, upper) {
        Message::Echo(echo) => Ok(QuotedTransport::IcmpEcho(echo)),
        Message::Error(_) => Err(QuoteError::QuotesError),
        Message::Other => Ok(QuotedTransport::IcmpOther),
    }
}

fn at_least(layer: Layer, upper: &[u8]) -> Result<(), QuoteError> {
    if upper.len() < UPPER_MIN { Err(too_short(layer, UPPER_MIN, upper)) } else { Ok(()) }
}

fn too_short(layer: Layer, need: usize, bytes: &[u8]) -> QuoteError {
    QuoteError::Malformed(ParseError::TooShort { layer, need, have: bytes.len() })
}
