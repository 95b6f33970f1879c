//! Fragmentation of IPv4 packets on their way, in order (MTU-2). Read first: RFC 791 section 3.2 "an example
//! fragmentation procedure" and "option type" (the copied flag). Called by the runtime, after translation.

use super::checksum::Sum;
use super::error::ParseError;
use super::field::{put_u16, u16_at};
use super::ipv4::{
    self, CHECKSUM_AT, DONT_FRAGMENT, FRAGMENT_AT, HEADER_BYTES, MORE_FRAGMENTS, OFFSET_MASK, TOTAL_LENGTH_AT,
};

/// Longest IPv4 header.
const HEADER_MAX: usize = 60;
/// Set in an option's type when every fragment carries it.
const OPTION_COPIED: u8 = 0x80;

/// Why a packet cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Not an IPv4 packet that parses.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The packet says "don't fragment": its sender gets "fragmentation needed" instead.
    #[error("packet must not be fragmented")]
    DontFragment,
    /// Not even eight bytes of payload fit behind the header.
    #[error("MTU of {mtu_bytes} bytes")]
    MtuTooSmall {
        /// The MTU asked for.
        mtu_bytes: u16,
    },
}

/// Pieces of one IPv4 packet, written one after another into buffers of the caller.
///
/// The packet may itself be a piece. A packet that fits comes out as it is.
#[derive(Debug)]
pub struct Split<'a> {
    packet: &'a [u8],
    mtu: usize,
    /// The first piece has all options, the later ones those with the copied flag.
    later_header: Header,
    header_len: usize,
    /// Bytes of payload already written.
    done: usize,
    /// Whether the last piece is written. An empty packet is one piece, too.
    is_finished: bool,
}

impl<'a> Split<'a> {
    /// Splits `packet`, whose bytes end where it does, for a link of `mtu_bytes`.
    pub fn new(packet: &'a [u8], mtu_bytes: u16) -> Result<Split<'a>, SplitError> {
        let version = packet.first().map_or(0, |first| first >> 4);
        if version != 4 {
            return Err(SplitError::Parse(ParseError::UnknownVersion(version)));
        }
        let (network, len) = ipv4::parse(packet)?;
        let (header_len, mtu) = (network.upper_at(), usize::from(mtu_bytes));
        if len > mtu && u16_at(packet, FRAGMENT_AT) & DONT_FRAGMENT != 0 {
            return Err(SplitError::DontFragment);
        }
        if len > mtu && mtu < header_len + 8 {
            return Err(SplitError::MtuTooSmall { mtu_bytes });
        }
        let later_header = Header::of_later_pieces(&packet[..header_len]);
        Ok(Split { packet: &packet[..len], mtu, later_header, header_len, done: 0, is_finished: false })
    }

    /// Writes the next piece to the start of `out`, which has room for the MTU (or for the packet, if that is
    /// shorter), and returns its length; `None` when all is written.
    pub fn next_into(&mut self, out: &mut [u8]) -> Option<usize> {
        if self.is_finished {
            return None;
        }
        let payload = &self.packet[self.header_len + self.done..];
        let header_len = self.write_header(out);
        let taken = piece_len(payload.len(), self.mtu - header_len);
        out[header_len..header_len + taken].copy_from_slice(&payload[..taken]);
        self.finish_header(&mut out[..header_len], taken, taken < payload.len());
        self.done += taken;
        self.is_finished = taken == payload.len();
        Some(header_len + taken)
    }

    fn write_header(&self, out: &mut [u8]) -> usize {
        let header = match self.done {
            0 => &self.packet[..self.header_len],
            _ => self.later_header.bytes(),
        };
        out[..header.len()].copy_from_slice(header);
        header.len()
    }

    fn finish_header(&self, header: &mut [u8], taken: usize, more_here: bool) {
        let word = u16_at(self.packet, FRAGMENT_AT);
        let offset = (word & OFFSET_MASK) + (self.done / 8) as u16;
        let more = if more_here { MORE_FRAGMENTS } else { word & MORE_FRAGMENTS };
        put_u16(header, TOTAL_LENGTH_AT, (header.len() + taken) as u16);
        put_u16(header, FRAGMENT_AT, (word & !(MORE_FRAGMENTS | OFFSET_MASK)) | more | offset);
        put_u16(header, CHECKSUM_AT, 0);
        put_u16(header, CHECKSUM_AT, Sum::default().bytes(header).checksum());
    }
}

/// How much of `left` bytes goes into a piece with `room`: a multiple of eight unless it is all.
fn piece_len(left: usize, room: usize) -> usize {
    if left <= room { left } else { room / 8 * 8 }
}

/// An IPv4 header by value.
#[derive(Debug)]
struct Header {
    bytes: [u8; HEADER_MAX],
    len: usize,
}

impl Header {
    /// The fixed header and the options that every piece carries, padded to whole words.
    fn of_later_pieces(header: &[u8]) -> Header {
        let mut later = Header { bytes: [ipv4::OPTION_END; HEADER_MAX], len: HEADER_BYTES };
        later.bytes[..HEADER_BYTES].copy_from_slice(&header[..HEADER_BYTES]);
        let mut options = &header[HEADER_BYTES..];
        while let Ok(len @ 1..) = ipv4::option_len(options) {
            let (option, rest) = options.split_at(len);
            if option[0] & OPTION_COPIED != 0 {
                later.push(option);
            }
            options = rest;
        }
        later.len = later.len.next_multiple_of(4);
        later.bytes[0] = 0x40 | (later.len / 4) as u8;
        later
    }

    fn push(&mut self, option: &[u8]) {
        self.bytes[self.len..self.len + option.len()].copy_from_slice(option);
        self.len += option.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
