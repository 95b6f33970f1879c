//! IPv4 header. Read first: RFC 791 section 3.1, RFC 1812 section 5.2.2, RFC 7126 (options), RFC 6864 (ID).

use core::net::Ipv4Addr;

use super::address::{Addresses, Protocol, Version};
use super::checksum::Sum;
use super::error::{Layer, ParseError};
use super::field::{PARSED, array_at, u16_at};
use super::fragment::{Datagram, Span};
use super::network::{Fragment, Network};
use super::tcp;

/// Length of a header without options.
pub(super) const HEADER_BYTES: usize = 20;
/// Where the total length is.
pub(super) const TOTAL_LENGTH_AT: usize = 2;
/// Where the identification is.
pub(super) const IDENTIFICATION_AT: usize = 4;
/// Where flags and fragment offset are.
pub(super) const FRAGMENT_AT: usize = 6;
/// Where time to live is.
pub(super) const TTL_AT: usize = 8;
/// Where the protocol is.
pub(super) const PROTOCOL_AT: usize = 9;
/// Where the header checksum is.
pub(super) const CHECKSUM_AT: usize = 10;
/// Where the source address is.
pub(super) const SOURCE_AT: usize = 12;
/// Where the destination address is.
pub(super) const DESTINATION_AT: usize = 16;

/// "Don't fragment" in the flags word.
pub(super) const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" in the flags word.
pub(super) const MORE_FRAGMENTS: u16 = 0x2000;
/// The offset in the flags word, in units of eight bytes.
pub(super) const OFFSET_MASK: u16 = 0x1fff;

/// End of the option list.
pub(super) const OPTION_END: u8 = 0;
/// One byte of padding.
pub(super) const OPTION_NOP: u8 = 1;
const OPTION_LOOSE_SOURCE_ROUTE: u8 = 131;
const OPTION_STRICT_SOURCE_ROUTE: u8 = 137;

/// Reads the header at the start of `bytes`.
///
/// Besides what it says, its packet's exact length comes back; what lies behind is not part of it (LEN).
/// A wrong header checksum is refused: we are a router, and RFC 1812 section 5.2.2 has routers verify it.
#[inline(always)]
pub(super) fn parse(bytes: &[u8]) -> Result<(Network, usize), ParseError> {
    let Some(fixed) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(too_short(HEADER_BYTES, bytes));
    };
    let header_len = header_len(fixed);
    let len = usize::from(u16_at(fixed, TOTAL_LENGTH_AT));
    if header_len < HEADER_BYTES || len < header_len {
        return Err(ParseError::HeaderLength { layer: Layer::Ipv4, claimed: header_len });
    }
    if bytes.len() < len {
        return Err(too_short(len, bytes));
    }
    let sum = Sum::default().bytes(fixed);
    if header_len > HEADER_BYTES {
        check_options(sum, &bytes[HEADER_BYTES..header_len])?;
    } else if !sum.is_valid() {
        return Err(ParseError::HeaderChecksum);
    }
    let fragment = match u16_at(fixed, FRAGMENT_AT) {
        word if word & (MORE_FRAGMENTS | OFFSET_MASK) == 0 => None,
        word => Some(read_fragment(fixed, word, header_len, len)?),
    };
    let protocol = Protocol(fixed[PROTOCOL_AT]);
    Ok((Network { version: Version::V4, protocol, upper_at: header_len as u16, fragment }, len))
}

/// The header's length in bytes, as it claims.
#[inline]
pub(super) fn header_len(header: &[u8]) -> usize {
    usize::from(header[0] & 0x0f) * 4
}

/// The addresses in a header.
#[inline]
pub(super) fn addresses(packet: &[u8]) -> Addresses {
    let header: &[u8; HEADER_BYTES] = packet.first_chunk().expect(PARSED);
    Addresses::V4 {
        source: Ipv4Addr::from(array_at::<4>(header, SOURCE_AT)),
        destination: Ipv4Addr::from(array_at::<4>(header, DESTINATION_AT)),
    }
}

/// The datagram that a packet with this header is a piece of.
pub(super) fn datagram(header: &[u8], identification: u16) -> Datagram {
    Datagram {
        addresses: addresses(header),
        identification: u32::from(identification),
        protocol: header[PROTOCOL_AT],
    }
}

/// Whether the checksum of a header is right; `header` includes its options.
pub(super) fn header_checksum_is_valid(header: &[u8]) -> bool {
    Sum::default().bytes(header).is_valid()
}

#[cold]
fn too_short(need: usize, bytes: &[u8]) -> ParseError {
    ParseError::TooShort { layer: Layer::Ipv4, need, have: bytes.len() }
}

/// Checks the options and, with `sum` over the fixed header, the checksum. Source routes are refused: the destination that the rules are asked about would not be the
/// one the packet ends at.
#[cold]
fn check_options(sum: Sum, options: &[u8]) -> Result<(), ParseError> {
    if !sum.bytes(options).is_valid() {
        return Err(ParseError::HeaderChecksum);
    }
    let mut rest = options;
    while let len @ 1.. = option_len(rest)? {
        if matches!(rest[0], OPTION_LOOSE_SOURCE_ROUTE | OPTION_STRICT_SOURCE_ROUTE) {
            return Err(ParseError::SourceRoute);
        }
        rest = &rest[len..];
    }
    Ok(())
}

/// How many bytes the first option of `options` takes; all of them are there. 0 at the end of the list.
pub(super) fn option_len(options: &[u8]) -> Result<usize, ParseError> {
    match *options {
        [] | [OPTION_END, ..] => Ok(0),
        [OPTION_NOP, ..] => Ok(1),
        [_, len, ..] if len >= 2 && usize::from(len) <= options.len() => Ok(usize::from(len)),
        _ => Err(ParseError::MalformedOption),
    }
}

#[cold]
fn read_fragment(
    fixed: &[u8; HEADER_BYTES],
    word: u16,
    header_len: usize,
    len: usize,
) -> Result<Fragment, ParseError> {
    let (offset, more) = ((word & OFFSET_MASK) << 3, word & MORE_FRAGMENTS != 0);
    let span = Span::new(offset, len - header_len, more, header_len)?;
    let datagram = datagram(fixed, u16_at(fixed, IDENTIFICATION_AT));
    check_offset(Protocol(fixed[PROTOCOL_AT]), span, datagram)?;
    Ok(Fragment { identification_at: IDENTIFICATION_AT as u16, span })
}

/// FRG-2: of the protocols whose header we read, only TCP's is longer than the smallest offset.
#[inline]
pub(super) fn check_offset(protocol: Protocol, span: Span, datagram: Datagram) -> Result<(), ParseError> {
    let inside = 1..tcp::HEADER_BYTES as u16;
    match protocol {
        Protocol::TCP if inside.contains(&span.offset()) => Err(ParseError::OffsetInsideHeader(datagram)),
        _ => Ok(()),
    }
}
