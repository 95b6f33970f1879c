//! IPv6 extension headers, walked to the upper-layer header (EXT-1, P5). Read first: RFC 8200 section 4, RFC 5095,
//! RFC 7112, RFC 4302. Called by `ipv6` and, over quoted packets, by `quote`.

use super::address::Protocol;
use super::error::{Layer, ParseError};
use super::field::{u16_at, u32_at};
use super::ipv6;

/// At most this many extension headers; a longer chain is refused (EXT-1).
const HEADERS_MAX: usize = 8;

/// Length of a fragment header.
pub(super) const FRAGMENT_HEADER_BYTES: usize = 8;
/// Where its identification is, counted from its start.
pub(super) const FRAGMENT_IDENTIFICATION_AT: usize = 4;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Where a chain ends, and the fragment header on the way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    /// What the last header says comes next.
    pub(super) protocol: Protocol,
    /// Where that is.
    pub(super) upper_at: usize,
    pub(super) fragment: Option<FragmentHeader>,
}

/// A fragment header's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FragmentHeader {
    /// Where it starts.
    pub(super) at: usize,
    pub(super) identification: u32,
    /// In bytes.
    pub(super) offset: u16,
    pub(super) more: bool,
    /// What its fragmentable part starts with.
    pub(super) next: u8,
}

impl FragmentHeader {
    /// Reads the header at `at` of `packet`, which holds it whole.
    fn read(packet: &[u8], at: usize) -> FragmentHeader {
        let word = u16_at(packet, at + 2);
        FragmentHeader {
            at,
            identification: u32_at(packet, at + FRAGMENT_IDENTIFICATION_AT),
            offset: word & 0xfff8,
            more: word & 1 != 0,
            next: packet[at],
        }
    }

    /// Whether the packet is whole although it has a fragment header.
    pub(super) fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// Walks the chain of `packet`, which starts with a whole IPv6 header and ends where the packet does.
#[inline]
pub(super) fn walk(packet: &[u8]) -> Result<Chain, ParseError> {
    let (next, at) = (packet[ipv6::NEXT_HEADER_AT], ipv6::HEADER_BYTES);
    if !is_extension(next) {
        return Ok(Chain { protocol: Protocol(next), upper_at: at, fragment: None });
    }
    walk_extensions(Walk { packet, next, at, fragment: None })
}

/// Whether a header with this number is one that we walk.
#[inline]
fn is_extension(number: u8) -> bool {
    matches!(number, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// Apart from `walk`, because hardly any packet has extension headers.
#[cold]
fn walk_extensions(mut walk: Walk<'_>) -> Result<Chain, ParseError> {
    for walked in 0..=HEADERS_MAX {
        if !walk.is_at_extension() {
            return Ok(walk.into_chain());
        }
        if walked == HEADERS_MAX {
            break;
        }
        walk.step(walked == 0)?;
    }
    Err(ParseError::TooManyHeaders)
}

/// A position in a chain.
struct Walk<'a> {
    packet: &'a [u8],
    next: u8,
    at: usize,
    fragment: Option<FragmentHeader>,
}

impl<'a> Walk<'a> {
    /// Whether a header that we walk comes next. Behind a later piece's fragment header nothing does.
    fn is_at_extension(&self) -> bool {
        is_extension(self.next) && self.fragment.is_none_or(|fragment| fragment.offset == 0)
    }

    /// Goes over one header, having checked it.
    fn step(&mut self, is_first: bool) -> Result<(), ParseError> {
        let header = self.header()?;
        match self.next {
            HOP_BY_HOP if !is_first => return Err(ParseError::HopByHopMisplaced),
            ROUTING => check_routing(header)?,
            FRAGMENT if self.fragment.is_some() => return Err(ParseError::SecondFragmentHeader),
            FRAGMENT => self.fragment = Some(FragmentHeader::read(self.packet, self.at)),
            _ => {}
        }
        let (next, len) = (header[0], header.len());
        self.next = next;
        self.at += len;
        Ok(())
    }

    /// The whole header at the current position; at least eight bytes.
    fn header(&self) -> Result<&'a [u8], ParseError> {
        let packet: &'a [u8] = self.packet;
        let rest = &packet[self.at..];
        let &[_, length, ..] = rest else { return Err(self.too_short(2)) };
        let len = match self.next {
            FRAGMENT => FRAGMENT_HEADER_BYTES,
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        rest.get(..len).ok_or_else(|| self.too_short(len))
    }

    /// The chain ends in the middle of a header: in a first piece that poisons the datagram (FRG-4).
    fn too_short(&self, need: usize) -> ParseError {
        match self.fragment {
            Some(first) if !first.is_atomic() => {
                ParseError::TinyFirstFragment(ipv6::datagram(self.packet, first.identification))
            }
            Some(_) | None => {
                ParseError::TooShort { layer: Layer::Extension, need, have: self.packet.len() - self.at }
            }
        }
    }

    fn into_chain(self) -> Chain {
        Chain { protocol: Protocol(self.next), upper_at: self.at, fragment: self.fragment }
    }
}

/// Type 0 is refused whatever it holds (RFC 5095); the others only while they name a further destination, because
/// the rules are asked about the one in the IPv6 header.
fn check_routing(header: &[u8]) -> Result<(), ParseError> {
    let (kind, segments_left) = (header[2], header[3]);
    if kind == 0 || segments_left != 0 {
        return Err(ParseError::RoutingHeader { kind, segments_left });
    }
    Ok(())
}
