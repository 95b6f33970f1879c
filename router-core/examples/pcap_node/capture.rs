//! The classic capture format, as much of it as is needed. Read first: draft-ietf-opsawg-pcap.

use std::io::{self, Error, ErrorKind, Read, Write};

/// Microseconds, in the writer's byte order.
const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
/// Nanoseconds, in the writer's byte order.
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
const LINK_ETHERNET: u32 = 1;
const LINK_RAW: u32 = 101;
/// Longest packet read: the longest there is over IP, and a link header.
const PACKET_BYTES_MAX: u32 = 65_575 + 18;

/// An IP packet and when it was seen.
pub(crate) struct Record {
    pub(crate) nanos: u64,
    pub(crate) packet: Vec<u8>,
}

/// Reads a capture.
pub(crate) struct Reader<R> {
    source: R,
    is_swapped: bool,
    nanos_per_unit: u64,
    link: u32,
}

impl<R: Read> Reader<R> {
    /// Reads the file's header.
    pub(crate) fn new(mut source: R) -> io::Result<Reader<R>> {
        let mut header = [0; 24];
        source.read_exact(&mut header)?;
        let magic = word(&header, 0);
        let (is_swapped, nanos_per_unit) = match (magic, magic.swap_bytes()) {
            (MAGIC_MICROS, _) => (false, 1000),
            (MAGIC_NANOS, _) => (false, 1),
            (_, MAGIC_MICROS) => (true, 1000),
            (_, MAGIC_NANOS) => (true, 1),
            _ => return Err(Error::new(ErrorKind::InvalidData, "no pcap file")),
        };
        let mut reader = Reader { source, is_swapped, nanos_per_unit, link: 0 };
        reader.link = reader.number(&header, 20) & 0x0fff_ffff;
        match reader.link {
            LINK_RAW | LINK_ETHERNET => Ok(reader),
            link => Err(Error::new(ErrorKind::Unsupported, format!("link type {link}"))),
        }
    }

    /// Reads all that follows; what is not IP is left out.
    pub(crate) fn read_all(mut self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut header = [0; 16];
        while read_or_end(&mut self.source, &mut header)? {
            let captured = self.number(&header, 8);
            if captured > PACKET_BYTES_MAX {
                return Err(Error::new(ErrorKind::InvalidData, format!("packet of {captured} bytes")));
            }
            let mut packet = vec![0; captured as usize];
            self.source.read_exact(&mut packet)?;
            let (secs, units) = (self.number(&header, 0), self.number(&header, 4));
            let nanos = u64::from(secs) * 1_000_000_000 + u64::from(units) * self.nanos_per_unit;
            records.extend(self.without_link(packet).map(|packet| Record { nanos, packet }));
        }
        Ok(records)
    }

    fn number(&self, bytes: &[u8], at: usize) -> u32 {
        let number = word(bytes, at);
        if self.is_swapped { number.swap_bytes() } else { number }
    }

    fn without_link(&self, mut packet: Vec<u8>) -> Option<Vec<u8>> {
        if self.link == LINK_RAW {
            return Some(packet);
        }
        let is_ip = matches!(packet.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd]));
        is_ip.then(|| packet.split_off(14))
    }
}

/// Writes a capture of raw IP.
pub(crate) struct Writer<W>(W);

impl<W: Write> Writer<W> {
    /// Writes the file's header.
    pub(crate) fn new(mut sink: W) -> io::Result<Writer<W>> {
        for number in [MAGIC_NANOS, 2 | 4 << 16, 0, 0, PACKET_BYTES_MAX, LINK_RAW] {
            sink.write_all(&number.to_ne_bytes())?;
        }
        Ok(Writer(sink))
    }

    /// Writes a packet.
    pub(crate) fn write(&mut self, nanos: u64, packet: &[u8]) -> io::Result<()> {
        let (secs, nanos) = ((nanos / 1_000_000_000) as u32, (nanos % 1_000_000_000) as u32);
        for number in [secs, nanos, packet.len() as u32, packet.len() as u32] {
            self.0.write_all(&number.to_ne_bytes())?;
        }
        self.0.write_all(packet)
    }

    /// What was written to.
    pub(crate) fn into_inner(self) -> W {
        self.0
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Whether the buffer was filled; false at the very end.
fn read_or_end(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match source.read(&mut buffer[..1])? {
        0 => Ok(false),
        _ => source.read_exact(&mut buffer[1..]).map(|()| true),
    }
}
