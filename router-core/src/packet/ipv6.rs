//! IPv6 header. Read first: RFC 8200 sections 3 and 4.5. The chain behind it is walked by `chain`.

use core::net::Ipv6Addr;

use super::address::{Addresses, Protocol, Version};
use super::chain::{self, Chain};
use super::error::{Layer, ParseError};
use super::field::{array_at, u16_at};
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

/// Reads the header at the start of `bytes` and the chain behind it. Jumbograms (RFC 2675) are too short for us.
#[inline]
pub(super) fn parse(bytes: &[u8]) -> Result<Network, ParseError> {
    let too_short = |need| ParseError::TooShort { layer: Layer::Ipv6, need, have: bytes.len() };
    let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(too_short(HEADER_BYTES))?;
    let len = HEADER_BYTES + usize::from(u16_at(fixed, PAYLOAD_LENGTH_AT));
    let packet = bytes.get(..len).ok_or(too_short(len))?;
    let chain = chain::walk(packet)?;
    Ok(Network {
        version: Version::V6,
        protocol: chain.protocol,
        len,
        transport_at: chain.transport_at,
        fragment: fragment(packet, &chain)?,
    })
}

/// The addresses in a header.
#[inline]
pub(super) fn addresses(header: &[u8]) -> Addresses {
    Addresses::V6 {
        source: Ipv6Addr::from(array_at::<16>(header, SOURCE_AT)),
        destination: Ipv6Addr::from(array_at::<16>(header, DESTINATION_AT)),
    }
}

/// The datagram that a packet with fragment `identification` is a piece of.
pub(super) fn datagram(header: &[u8], identification: u32) -> Datagram {
    Datagram { addresses: addresses(header), identification, protocol: 0 }
}

/// The fragment fields; `None` for an atomic fragment, which is a whole packet (FRG-4, RFC 6946).
#[inline]
fn fragment(packet: &[u8], chain: &Chain) -> Result<Option<Fragment>, ParseError> {
    let Some(header) = chain.fragment.filter(|header| !header.is_atomic()) else {
        return Ok(None);
    };
    let payload_at = header.at + chain::FRAGMENT_HEADER_BYTES;
    let len = packet.len() - payload_at;
    let span = Span::new(header.offset, len, header.more, header.at - HEADER_BYTES)?;
    let datagram = datagram(packet, header.identification);
    check_offset(Protocol(header.next), span, datagram)?;
    let identification_at = header.at + chain::FRAGMENT_IDENTIFICATION_AT;
    Ok(Some(Fragment { identification_at, datagram, span }))
}
