//! The few fields of a TCP segment's header that decide about its connection. Read first: RFC 9293 section 3.1. Called by
//! receive, connection, wire.

use std::ops::Range;

use router_core::packet::checksum::Sum;
use router_core::packet::{PacketMut, TcpFlags, Transport};

const IPV6_HEADER_BYTES: usize = 40;
const TCP_HEADER_BYTES: usize = 20;
const PROTOCOL_TCP: u8 = 6;
const IPV4_CHECKSUM_AT: usize = 10;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_SELECTIVE: u8 = 5;
/// RFC 2018 section 3: as many as options have room for.
const BLOCKS_MAX: usize = 4;
const BLOCK_BYTES: usize = 8;
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
    /// It takes and sends selective acknowledgments.
    pub(super) is_selective: bool,
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

    /// What its sender holds beyond what it acknowledges, from and to, as it says: RFC 2018 section 3.
    pub(super) fn held(&self, packet: &[u8]) -> impl Iterator<Item = (u32, u32)> + use<> {
        let options = packet.get(self.at + TCP_HEADER_BYTES..self.payload_at).unwrap_or_default();
        let mut blocks = [[0; BLOCK_BYTES]; BLOCKS_MAX];
        let (all, _) = selective(options).as_chunks::<BLOCK_BYTES>();
        let count = all.len().min(BLOCKS_MAX);
        blocks[..count].copy_from_slice(&all[..count]);
        blocks.into_iter().take(count).map(|[s0, s1, s2, s3, e0, e1, e2, e3]| {
            (u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes([e0, e1, e2, e3]))
        })
    }

    /// The same packet with only a part of what it carries, `part` in sequence space. The checksums are right no longer, but
    /// that of IPv4.
    pub(super) fn part(&self, packet: &[u8], part: Range<u32>) -> Option<Vec<u8>> {
        let (from, to) =
            (part.start.wrapping_sub(self.sequence) as usize, part.end.wrapping_sub(self.sequence) as usize);
        let payload = packet.get(self.payload_at + from..packet.len().min(self.payload_at + to))?;
        let mut bytes = [&packet[..self.payload_at], payload].concat();
        self.put_length(&mut bytes);
        self.put_sequence(&mut bytes, part.start);
        if part.end != self.end() {
            bytes[self.at + 13] &= !(TcpFlags::FIN.0 | TcpFlags::PSH.0);
        }
        Some(bytes)
    }

    /// The same segment without what it carries, as if it began at `sequence`: only `acknowledgment`, and its window. The
    /// checksums are right no longer. `None` if its headers are longer than they can be.
    pub(super) fn bare(&self, packet: &[u8], sequence: u32, acknowledgment: u32) -> Option<Bare> {
        let mut bare = Bare { bytes: [0; HEADERS_BYTES_MAX], len: self.payload_at };
        let bytes = bare.bytes.get_mut(..self.payload_at)?;
        bytes.copy_from_slice(&packet[..self.payload_at]);
        self.put_length(bytes);
        self.put_sequence(bytes, sequence);
        bytes[self.at + 8..self.at + 12].copy_from_slice(&acknowledgment.to_be_bytes());
        bytes[self.at + 13] = TcpFlags::ACK.0;
        Some(bare)
    }

    /// Says how long the packet is, in its IP header.
    fn put_length(&self, packet: &mut [u8]) {
        let is_v4 = packet[0] >> 4 == 4;
        let (at, len) = if is_v4 { (2, packet.len()) } else { (4, packet.len() - IPV6_HEADER_BYTES) };
        packet[at..at + 2].copy_from_slice(&(len as u16).to_be_bytes());
        if is_v4 {
            let checksum = IPV4_CHECKSUM_AT..IPV4_CHECKSUM_AT + 2;
            packet[checksum.clone()].fill(0);
            let sum = Sum::default().bytes(&packet[..self.at]).checksum();
            packet[checksum].copy_from_slice(&sum.to_be_bytes());
        }
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

/// The blocks of a segment's selective acknowledgment, one behind the other.
fn selective(mut options: &[u8]) -> &[u8] {
    while let [kind, rest @ ..] = options {
        let (len, body) = match (*kind, rest) {
            (OPTION_END, _) => return &[],
            (OPTION_NOP, _) => (1, rest),
            (_, [len, body @ ..]) => (usize::from(*len), body),
            (_, []) => return &[],
        };
        if *kind == OPTION_SELECTIVE {
            return len.checked_sub(2).and_then(|len| body.get(..len)).unwrap_or_default();
        }
        let Some(behind) = options.get(len.max(1)..) else { return &[] };
        options = behind;
    }
    &[]
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
    let options = segment.options;
    Offer {
        mss: options.mss,
        window_shift: options.window_scale.unwrap_or(0).min(14),
        is_selective: options.sack_permitted,
    }
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
    fn selective_acknowledgments_are_read_behind_any_other_option() {
        let block = |n: u8| [0, 0, 0, n, 0, 0, 1, n];
        for (options, held) in [
            ([&[1, 1, 5, 18][..], &block(1), &block(2)].concat(), vec![(1, 257), (2, 258)]),
            ([&[1, 1, 5, 10][..], &block(3)].concat(), vec![(3, 259)]),
            ([&[8, 10][..], &[9; 8], &[5, 10], &block(4)].concat(), vec![(4, 260)]),
            ([&[0, 0, 5, 10][..], &block(3)].concat(), vec![]),
            (vec![8, 0, 5, 10], vec![]),
            (vec![5, 1, 1, 1], vec![]),
            (vec![1, 1, 1, 5], vec![]),
            (vec![], vec![]),
        ] {
            let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1, 2, 70, 900);
            let mut packet = Vec::new();
            builder.ack(80).options_raw(&options).unwrap().write(&mut packet, &[]).unwrap();
            let header = Header::read(&packet).unwrap();
            assert_eq!(header.held(&packet).collect::<Vec<_>>(), held, "{options:?}");
        }
    }

    #[test]
    fn a_part_of_a_segment_is_where_it_was_and_only_the_last_one_ends_the_stream() {
        for version in [4, 6] {
            let packet = segment(version);
            let header = Header::read(&packet).unwrap();
            for (part, payload, has_fin) in [
                (70..72, "da", false),
                (72..74, "ta", false),
                (71..75, "ata", true),
                (74..75, "", true),
                (70..75, "data", true),
            ] {
                let bytes = header.part(&packet, part.clone()).unwrap();
                let sliced = etherparse::SlicedPacket::from_ip(&bytes).unwrap();
                let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
                assert_eq!((tcp.payload(), tcp.fin(), tcp.ack()), (payload.as_bytes(), has_fin, true));
                assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (part.start, 80));
                if let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net {
                    let sum = ip.header().to_header().calc_header_checksum();
                    assert_eq!(ip.header().header_checksum(), sum);
                }
            }
            assert_eq!(header.part(&packet, 75..80), None);
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
        assert_eq!(offer, Offer { mss: Some(1460), window_shift: 7, is_selective: false });
        assert_eq!(limit_offer(&mut packet, 1380).mss, Some(1380));
    }

    #[test]
    fn distances_wrap() {
        assert_eq!(distance(2, u32::MAX), 3);
        assert_eq!(distance(u32::MAX, 2), -3);
    }
}
