//! IPv4 header. Read first: RFC 791 section 3.1, RFC 1812 section 5.2.2, RFC 7126 (options), RFC 6864 (ID).

use core::net::Ipv4Addr;

use super::address::{Addresses, Protocol, Version};
use super::checksum::Sum;
use super::error::{Layer, ParseError};
use super::field::{array_at, u16_at};
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
/// A wrong header checksum is refused: we are a router, and RFC 1812 section 5.2.2 has routers verify it.
#[inline]
pub(super) fn parse(bytes: &[u8]) -> Result<Network, ParseError> {
    let too_short = |need| ParseError::TooShort { layer: Layer::Ipv4, need, have: bytes.len() };
    let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(too_short(HEADER_BYTES))?;
    let header_len = header_len(fixed);
    let len = usize::from(u16_at(fixed, TOTAL_LENGTH_AT));
    if header_len < HEADER_BYTES || len < header_len {
        return Err(ParseError::HeaderLength { layer: Layer::Ipv4, claimed: header_len });
    }
    if bytes.len() < len {
        return Err(too_short(len));
    }
    if !header_checksum_is_valid(fixed, &bytes[HEADER_BYTES..header_len]) {
        return Err(ParseError::HeaderChecksum);
    }
    check_options(&bytes[HEADER_BYTES..header_len])?;
    Ok(Network {
        version: Version::V4,
        protocol: Protocol(fixed[PROTOCOL_AT]),
        len,
        transport_at: header_len,
        fragment: fragment(fixed, header_len, len)?,
    })
}

/// The header's length in bytes, as it claims.
#[inline]
pub(super) fn header_len(header: &[u8]) -> usize {
    usize::from(header[0] & 0x0f) * 4
}

/// The addresses in a header.
#[inline]
pub(super) fn addresses(header: &[u8]) -> Addresses {
    Addresses::V4 {
        source: Ipv4Addr::from(array_at::<4>(header, SOURCE_AT)),
        destination: Ipv4Addr::from(array_at::<4>(header, DESTINATION_AT)),
    }
}

/// Whether the checksum over the fixed header and its options is right.
#[inline]
pub(super) fn header_checksum_is_valid(fixed: &[u8; HEADER_BYTES], options: &[u8]) -> bool {
    Sum::default().bytes(fixed).bytes(options).is_valid()
}

/// Walks the options. Source routes are refused: the destination that the rules are asked about would not be the
/// one the packet ends at.
#[inline]
fn check_options(options: &[u8]) -> Result<(), ParseError> {
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

#[inline]
fn fragment(
    fixed: &[u8; HEADER_BYTES],
    header_len: usize,
    len: usize,
) -> Result<Option<Fragment>, ParseError> {
    let word = u16_at(fixed, FRAGMENT_AT);
    if word & (MORE_FRAGMENTS | OFFSET_MASK) == 0 {
        return Ok(None);
    }
    let (offset, more) = ((word & OFFSET_MASK) << 3, word & MORE_FRAGMENTS != 0);
    let span = Span::new(offset, len - header_len, more, header_len)?;
    let datagram = Datagram {
        addresses: addresses(fixed),
        identification: u32::from(u16_at(fixed, IDENTIFICATION_AT)),
        protocol: fixed[PROTOCOL_AT],
    };
    check_offset(Protocol(fixed[PROTOCOL_AT]), span, datagram)?;
    Ok(Some(Fragment { identification_at: IDENTIFICATION_AT, datagram, span }))
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
