//! TCP header: what the state machine, the reset builder and the MSS clamp need. Read first: RFC 9293 section 3.1,
//! RFC 7323 section 2.2, RFC 2018.

use super::error::{Layer, ParseError};
use super::field::{PARSED, u16_at, u32_at};

/// Shortest TCP header.
pub(super) const HEADER_BYTES: usize = 20;
/// Where the checksum is.
pub(super) const CHECKSUM_AT: usize = 16;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_WINDOW_SCALE: u8 = 3;
const OPTION_SACK_PERMITTED: u8 = 4;
const OPTION_SACK: u8 = 5;

/// The control bits, without the two ECN ones' meaning: CWR and ECE pass through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgment field is significant.
    pub const ACK: TcpFlags = TcpFlags(0x10);
    /// The urgent pointer is significant.
    pub const URG: TcpFlags = TcpFlags(0x20);

    /// Whether FIN is set.
    pub fn fin(self) -> bool {
        self.contains(TcpFlags::FIN)
    }

    /// Whether SYN is set.
    pub fn syn(self) -> bool {
        self.contains(TcpFlags::SYN)
    }

    /// Whether RST is set.
    pub fn rst(self) -> bool {
        self.contains(TcpFlags::RST)
    }

    /// Whether ACK is set.
    pub fn ack(self) -> bool {
        self.contains(TcpFlags::ACK)
    }

    /// Whether all bits of `other` are set.
    pub fn contains(self, other: TcpFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[must_use]
    pub const fn with(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }
}

impl core::fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let set = NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        f.debug_set().entries(set.map(|(_, name)| name)).finish()
    }
}

/// A TCP segment's header, as far as anyone here reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSegment {
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number; meaningful when ACK is set.
    pub acknowledgment: u32,
    /// Window as sent, before scaling.
    pub window: u16,
    /// Bytes of data in this packet (of a first fragment: in this piece).
    pub payload_len: u16,
    /// Options of a segment with SYN; all absent without SYN.
    pub options: SynOptions,
}

impl TcpSegment {
    /// Length in sequence space: data plus one each for SYN and FIN. RFC 9293 calls it SEG.LEN.
    pub fn sequence_len(&self) -> u32 {
        u32::from(self.payload_len) + u32::from(self.flags.syn()) + u32::from(self.flags.fin())
    }
}

/// The options that only a segment with SYN may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SynOptions {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale shift as sent; RFC 7323 has receivers read more than 14 as 14.
    pub window_scale: Option<u8>,
    /// Whether selective acknowledgments are permitted.
    pub sack_permitted: bool,
}

impl SynOptions {
    /// Reads the options; a malformed one ends the reading, as in the hosts behind us.
    #[cold]
    fn read(options: &[u8]) -> SynOptions {
        let mut found = SynOptions::default();
        for TcpOption { kind, value, .. } in TcpOptions::new(options) {
            match (kind, value) {
                (OPTION_MSS, &[high, low]) => found.mss = Some(u16::from_be_bytes([high, low])),
                (OPTION_WINDOW_SCALE, &[shift]) => found.window_scale = Some(shift),
                (OPTION_SACK_PERMITTED, &[]) => found.sack_permitted = true,
                _ => {}
            }
        }
        found
    }
}

/// One TCP option with a value, end and padding left out.
struct TcpOption<'a> {
    kind: u8,
    /// Where the value starts, counted from the first option.
    value_at: usize,
    value: &'a [u8],
}

/// The options one after another, until the end or a malformed one.
struct TcpOptions<'a> {
    options: &'a [u8],
    at: usize,
}

impl<'a> TcpOptions<'a> {
    fn new(options: &'a [u8]) -> TcpOptions<'a> {
        TcpOptions { options, at: 0 }
    }
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        while self.options.get(self.at) == Some(&OPTION_NOP) {
            self.at += 1;
        }
        let kind = *self.options.get(self.at).filter(|&&kind| kind != OPTION_END)?;
        let len = usize::from(*self.options.get(self.at + 1)?);
        let value_at = self.at + 2;
        let value = self.options.get(value_at..self.at + len)?;
        self.at += len;
        Some(TcpOption { kind, value_at, value })
    }
}

/// Where the MSS value is, counted from the start of the TCP header, if `tcp` carries one.
pub(super) fn mss_at(tcp: &[u8]) -> Option<usize> {
    let options = tcp.get(HEADER_BYTES..header_len(tcp))?;
    let mss = TcpOptions::new(options).find(|option| option.kind == OPTION_MSS && option.value.len() == 2)?;
    Some(HEADER_BYTES + mss.value_at)
}

/// The highest right edge among the SACK blocks of `tcp`, counted from what it acknowledges. RFC 2018 section 3.
pub(super) fn sack_edge(tcp: &[u8]) -> Option<u32> {
    let acknowledgment = u32_at(tcp, 8);
    let options = tcp.get(HEADER_BYTES..header_len(tcp))?;
    let sack = TcpOptions::new(options).find(|option| option.kind == OPTION_SACK)?;
    let (blocks, _) = sack.value.as_chunks::<8>();
    let edges = blocks.iter().map(|block| u32_at(block, 4));
    edges.max_by_key(|edge| edge.wrapping_sub(acknowledgment) as i32)
}

/// Checks that the header at the start of `tcp`, which runs to the end of the packet, is whole.
#[inline]
pub(super) fn check(tcp: &[u8]) -> Result<(), ParseError> {
    if tcp.len() < HEADER_BYTES {
        return Err(too_short(HEADER_BYTES, tcp));
    }
    match header_len(tcp) {
        claimed if claimed < HEADER_BYTES => Err(ParseError::HeaderLength { layer: Layer::Tcp, claimed }),
        need if tcp.len() < need => Err(too_short(need, tcp)),
        _ => Ok(()),
    }
}

/// Reads the header at the start of `tcp`, which runs to the end of the packet and has been checked.
#[inline]
pub(super) fn read(tcp: &[u8]) -> TcpSegment {
    let fixed: &[u8; HEADER_BYTES] = tcp.first_chunk().expect(PARSED);
    let header_len = header_len(fixed);
    let flags = TcpFlags(fixed[13]);
    TcpSegment {
        flags,
        sequence: u32_at(fixed, 4),
        acknowledgment: u32_at(fixed, 8),
        window: u16_at(fixed, 14),
        payload_len: (tcp.len() - header_len) as u16,
        options: match flags.syn() {
            true => SynOptions::read(&tcp[HEADER_BYTES..header_len]),
            false => SynOptions::default(),
        },
    }
}

#[cold]
fn too_short(need: usize, tcp: &[u8]) -> ParseError {
    ParseError::TooShort { layer: Layer::Tcp, need, have: tcp.len() }
}

/// The data offset in bytes. `tcp` holds at least 13 bytes.
#[inline]
pub(super) fn header_len(tcp: &[u8]) -> usize {
    usize::from(tcp[12] >> 4) * 4
}
