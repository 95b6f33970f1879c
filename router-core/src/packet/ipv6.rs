//! IPv6 header. Read first: RFC 8200 sections 3 and 4.5. The chain behind it is walked by `chain`.

use core::net::Ipv6Addr;

use super::address::{Addresses, Protocol, Version};
use super::chain::{self, FragmentHeader};
use super::error::{Layer, ParseError};
use super::field::{PARSED, array_at, u16_at};
use super::fragment::{Datagram, Span};
use super::ipv4::check_offset;
use super::network::{Fragment, Network};

/// Length of the fixed header.
pub(super) const HEADER_BYTES: usize = 40;
/// Where the payload length is.
pub(super) const PAYLOAD_LENGTH_AT: usize = 4;
/// Where the next header's number is.
pub(super) const NEXT_HEADER_AT: usize = 6;
/// Where the hop limit is.
pub(super) const HOP_LIMIT_AT: usize = 7;
/// Where the source address is.
pub(super) const SOURCE_AT: usize = 8;
/// Where the destination address is.
pub(super) const DESTINATION_AT: usize = 24;

/// Reads the header at the start of `bytes` and the chain behind it. Besides what they say, their packet's exact length
/// comes back; what lies behind is not part of it (LEN). Jumbograms (RFC 2675) are too short for us.
#[inline(always)]
pub(super) fn parse(bytes: &[u8]) -> Result<(Network, usize), ParseError> {
    let Some(fixed) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(too_short(HEADER_BYTES, bytes));
    };
    let len = HEADER_BYTES + usize::from(u16_at(fixed, PAYLOAD_LENGTH_AT));
    let Some(packet) = bytes.get(..len) else { return Err(too_short(len, bytes)) };
    let chain = chain::walk(packet)?;
    let fragment = match &chain.fragment {
        None => None,
        Some(header) => read_fragment(packet, header)?,
    };
    let upper_at = chain.upper_at as u16;
    Ok((Network { version: Version::V6, protocol: chain.protocol, upper_at, fragment }, len))
}

/// The addresses in a header.
#[inline]
pub(super) fn addresses(packet: &[u8]) -> Addresses {
    let header: &[u8; HEADER_BYTES] = packet.first_chunk().expect(PARSED);
    Addresses::V6 {
        source: Ipv6Addr::from(array_at::<16>(header, SOURCE_AT)),
        destination: Ipv6Addr::from(array_at::<16>(header, DESTINATION_AT)),
    }
}

/// The datagram that a packet with fragment `identification` is a piece of.
pub(super) fn datagram(header: &[u8], identification: u32) -> Datagram {
    Datagram { addresses: addresses(header), identification, protocol: 0 }
}

#[cold]
fn too_short(need: usize, bytes: &[u8]) -> ParseError {
    ParseError::TooShort { layer: Layer::Ipv6, need, have: bytes.len() }
}

/// The fragment fields; `None` for an atomic fragment, which is a whole packet (FRG-4, RFC 6946).
#[cold]
fn read_fragment(packet: &[u8], header: &FragmentHeader) -> Result<Option<Fragment>, ParseError> {
    if header.is_atomic() {
        return Ok(None);
    }
    let payload_at = header.at + chain::FRAGMENT_HEADER_BYTES;
    let len = packet.len() - payload_at;
    let span = Span::new(header.offset, len, header.more, header.at - HEADER_BYTES)?;
    check_offset(Protocol(header.next), span, datagram(packet, header.identification))?;
    let identification_at = (header.at + chain::FRAGMENT_IDENTIFICATION_AT) as u16;
    Ok(Some(Fragment { identification_at, span }))
}
