//! The few fields of a TCP segment's header that decide about its connection. Read first: RFC 9293 section 3.1. Called by
//! receive, connection, wire.

use router_core::packet::{PacketMut, TcpFlags, Transport};

const IPV6_HEADER_BYTES: usize = 40;
const TCP_HEADER_BYTES: usize = 20;
const PROTOCOL_TCP: u8 = 6;
/// Both headers with all options they can have.
const HEADERS_BYTES_MAX: usize = 120;

/// A segment without IPv6 extension headers: smoltcp would not take it with any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where it begins in the packet.
    at: usize,
    /// Where the data begins in the packet.
    pub(super) payload_at: usize,
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    pub(super) flags: TcpFlags,
    /// As sent, before scaling.
    pub(super) window: u16,
    pub(super) payload_bytes: usize,
}

/// What a SYN says of its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) mss: Option<u16>,
    pub(super) window_shift: u8,
}

impl Header {
    /// Reads the header of a packet that was parsed before; `None` for anything but a plain segment.
    pub(super) fn read(packet: &[u8]) -> Option<Header> {
        let (at, protocol) = match packet.first()? >> 4 {
            4 => (usize::from(packet[0] & 0x0f) * 4, *packet.get(9)?),
            _ => (IPV6_HEADER_BYTES, *packet.get(6)?),
        };
        let fixed: &[u8; TCP_HEADER_BYTES] = packet.get(at..)?.first_chunk()?;
        let payload_at = at + usize::from(fixed[12] >> 4) * 4;
        let payload_bytes = packet.len().checked_sub(payload_at)?;
        let [s0, s1, s2, s3, a0, a1, a2, a3] = fixed[4..12] else { return None };
        (protocol == PROTOCOL_TCP).then_some(Header {
            at,
            payload_at,
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
            acknowledgment: u32::from_be_bytes([a0, a1, a2, a3]),
            flags: TcpFlags(fixed[13]),
            window: u16::from_be_bytes([fixed[14], fixed[15]]),
            payload_bytes,
        })
    }

    /// Whether it asks for a new connection.
    pub(super) fn is_opening(&self) -> bool {
        self.flags.syn() && !self.flags.ack() && !self.flags.rst()
    }

    /// Whether it does nothing but acknowledge.
    pub(super) fn is_bare_acknowledgment(&self) -> bool {
        self.payload_bytes == 0 && self.flags == TcpFlags::ACK
    }

    /// The sequence number behind it.
    pub(super) fn end(&self) -> u32 {
        let control = u32::from(self.flags.syn()) + u32::from(self.flags.fin());
        self.sequence.wrapping_add(self.payload_bytes as u32).wrapping_add(control)
    }

    /// The same segment without what it carries, as if it began at `sequence`: only `acknowledgment`, and its window. The
    /// checksums are right no longer. `None` if its headers are longer than they can be.
    pub(super) fn bare(&self, packet: &[u8], sequence: u32, acknowledgment: u32) -> Option<Bare> {
        let mut bare = Bare { bytes: [0; HEADERS_BYTES_MAX], len: self.payload_at };
        let bytes = bare.bytes.get_mut(..self.payload_at)?;
        bytes.copy_from_slice(&packet[..self.payload_at]);
        let is_v4 = bytes[0] >> 4 == 4;
        let (length_at, len) =
            if is_v4 { (2, self.payload_at) } else { (4, self.payload_at - IPV6_HEADER_BYTES) };
        bytes[length_at..length_at + 2].copy_from_slice(&(len as u16).to_be_bytes());
        self.put_sequence(bytes, sequence);
        bytes[self.at + 8..self.at + 12].copy_from_slice(&acknowledgment.to_be_bytes());
        bytes[self.at + 13] = TcpFlags::ACK.0;
        Some(bare)
    }

    /// Begins somewhere else. The checksum is right no longer.
    pub(super) fn put_sequence(&self, packet: &mut [u8], sequence: u32) {
        packet[self.at + 4..self.at + 8].copy_from_slice(&sequence.to_be_bytes());
    }

    /// Says another window. The checksum is right no longer.
    pub(super) fn put_window(&self, packet: &mut [u8], window: u16) {
        packet[self.at + 14..self.at + 16].copy_from_slice(&window.to_be_bytes());
    }
}

/// A segment that carries nothing.
pub(super) struct Bare {
    bytes: [u8; HEADERS_BYTES_MAX],
    len: usize,
}

impl Bare {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Lowers the MSS option of a SYN or SYN-ACK, and says what it offered before.
pub(super) fn limit_offer(syn: &mut [u8], mss_max: u16) -> Offer {
    let Ok(mut packet) = PacketMut::parse(syn) else { return Offer::default() };
    let Transport::Tcp(segment) = packet.transport() else { return Offer::default() };
    packet.clamp_mss(mss_max);
    Offer { mss: segment.options.mss, window_shift: segment.options.window_scale.unwrap_or(0).min(14) }
}

/// Where in sequence space `a` is, seen from `b`: negative before it.
pub(super) fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, TcpOptionElement};

    fn segment(version: u8) -> Vec<u8> {
        let builder = match version {
            4 => PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1, 2, 70, 900),
            _ => PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(1, 2, 70, 900),
        };
        let options = [TcpOptionElement::MaximumSegmentSize(1460), TcpOptionElement::WindowScale(7)];
        let builder = builder.ack(80).fin().options(&options).unwrap();
        let mut packet = Vec::new();
        builder.write(&mut packet, b"data").unwrap();
        packet
    }

    #[test]
    fn fields_are_read_behind_either_ip_header() {
        for version in [4, 6] {
            let packet = segment(version);
            let header = Header::read(&packet).unwrap();
            assert_eq!((header.sequence, header.acknowledgment, header.window), (70, 80, 900));
            assert_eq!((header.payload_bytes, header.end()), (4, 75));
            assert_eq!(&packet[header.payload_at..], b"data");
            assert!(header.flags.fin() && !header.is_opening() && !header.is_bare_acknowledgment());
        }
    }

    #[test]
    fn what_is_left_of_a_segment_acknowledges_and_carries_nothing() {
        for version in [4, 6] {
            let mut packet = segment(version);
            let header = Header::read(&packet).unwrap();
            header.put_window(&mut packet, 5);
            let bare = header.bare(&packet, 7, 0xffff_fff0).unwrap();
            let sliced = etherparse::SlicedPacket::from_ip(bare.bytes()).unwrap();
            let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
            assert!(tcp.payload().is_empty() && !tcp.fin() && tcp.ack());
            assert_eq!((tcp.sequence_number(), tcp.window_size()), (7, 5));
            let again = Header::read(bare.bytes()).unwrap();
            assert!(again.is_bare_acknowledgment());
            assert_eq!((again.acknowledgment, again.payload_at), (0xffff_fff0, header.payload_at));
        }
    }

    #[test]
    fn a_cut_packet_is_no_segment() {
        let packet = segment(4);
        let len = packet.len() - 4;
        assert!((0..len).all(|len| Header::read(&packet[..len]).is_none()));
        assert!(Header::read(&packet[..len]).is_some());
    }

    #[test]
    fn an_offer_is_read_as_it_was_and_lowered() {
        let mut packet = segment(4);
        packet[33] = 0x02;
        let offer = limit_offer(&mut packet, 1380);
        assert_eq!(offer, Offer { mss: Some(1460), window_shift: 7 });
        assert_eq!(limit_offer(&mut packet, 1380).mss, Some(1380));
    }

    #[test]
    fn distances_wrap() {
        assert_eq!(distance(2, u32::MAX), 3);
        assert_eq!(distance(u32::MAX, 2), -3);
    }
}
