//! What a packet says about being a piece of a larger datagram. Read first: RFC 791 section 3.2, RFC 8200
//! section 4.5. The memory of pieces seen is [`crate::fragments`].

use super::address::Addresses;
use super::error::ParseError;

/// Longest datagram there is, its headers included: no piece ends behind it.
const END_MAX: usize = 65_535;

/// Identity of a fragmented datagram, as its receiver sees it.
///
/// IPv6 identifies by addresses and identification only (RFC 8200 section 4.5), so the protocol is 0 there: a
/// sender who varies the next-header field of later pieces still speaks about the same datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Datagram {
    /// Source and destination, as received.
    pub addresses: Addresses,
    /// Identification; 16 bits of it for IPv4.
    pub identification: u32,
    /// Protocol number for IPv4, 0 for IPv6.
    pub protocol: u8,
}

/// One piece of a fragmented datagram. Never an atomic fragment: that one is a whole packet (FRG-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece {
    /// What it is a piece of.
    pub datagram: Datagram,
    /// The bytes it holds.
    pub span: Span,
}

impl Piece {
    /// Whether this is the piece that holds the upper-layer header.
    pub fn is_first(&self) -> bool {
        self.span.offset == 0
    }
}

/// The part of a datagram's payload that one piece holds. Only the parser makes one, so it is legal by birth:
/// not empty, a multiple of eight long unless it is the last, and inside the longest datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    offset: u16,
    len: u16,
    more: bool,
}

impl Span {
    /// `len` bytes at `offset`, behind `header_len` bytes of headers that a reassembled datagram repeats.
    pub(crate) fn new(offset: u16, len: usize, more: bool, header_len: usize) -> Result<Span, ParseError> {
        if usize::from(offset) + len + header_len > END_MAX {
            return Err(ParseError::FragmentBeyondLimit { offset });
        }
        let len = len as u16;
        if len == 0 || (more && !len.is_multiple_of(8)) {
            return Err(ParseError::FragmentLength(len));
        }
        Ok(Span { offset, len, more })
    }

    /// Where the piece starts, in bytes; a multiple of eight.
    pub fn offset(self) -> u16 {
        self.offset
    }

    /// How many bytes it holds; at least one.
    pub fn byte_len(self) -> u16 {
        self.len
    }

    /// Where it ends, in bytes.
    pub fn end(self) -> u16 {
        self.offset + self.len
    }

    /// Whether more pieces follow.
    pub fn more(self) -> bool {
        self.more
    }
}
