//! Checksums of our own packets, left to whoever cuts them into segments. Read first: virtio 1.2 section 5.1.6.2, on
//! `VIRTIO_NET_HDR_F_NEEDS_CSUM`. Called by stack.

use super::header::{self, Layout, TCP};
use crate::tun::{Gso, PartialChecksum, Segmentation, VirtioHeader};

/// Puts the pseudo-header's part of the checksum into a TCP packet without IP options or extension headers, and says what
/// is left to do: the rest of the checksum, and segments of `segment_bytes` if there is more payload than that. `None` if
/// it is no such packet.
pub(crate) fn leave_checksum(packet: &mut [u8], segment_bytes: Option<u16>) -> Option<VirtioHeader> {
    let transport_at = header::plain_ip_header_bytes(packet)?;
    if header::protocol(packet)? != TCP {
        return None;
    }
    let layout = Layout::new(packet, TCP, transport_at)?;
    let transport_bytes = u16::try_from(packet.len() - transport_at).ok()?;
    let sum = layout.pseudo_sum(packet).add_field(transport_bytes).folded();
    let at = transport_at + layout.checksum_offset();
    packet[at..at + 2].copy_from_slice(&sum);
    let start = u16::try_from(transport_at).ok()?;
    let payload_bytes = packet.len() - layout.payload_at;
    let gso = segment_bytes.filter(|bytes| payload_bytes > usize::from(*bytes)).map(|segment_bytes| Gso {
        kind: if layout.ipv6 { Segmentation::Tcp6 } else { Segmentation::Tcp4 },
        segment_bytes,
        header_bytes: layout.payload_at as u16,
    });
    let checksum = Some(PartialChecksum { start, offset: layout.checksum_offset() as u16 });
    Some(VirtioHeader { checksum, gso })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::{SuperPacket, complete_checksum};
    use etherparse::PacketBuilder;

    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(80, 5000, 7, 1000).ack(9);
        builder.write(&mut packet, payload).unwrap();
        packet
    }

    #[test]
    fn what_is_left_out_is_what_completing_puts_in() {
        let right = packet(b"hello");
        let mut left = right.clone();
        let header = leave_checksum(&mut left, None).unwrap();
        assert_ne!(left, right);
        assert_eq!(header.gso, None);
        complete_checksum(&mut left, header.checksum.unwrap()).unwrap();
        assert_eq!(left, right);
    }

    #[test]
    fn more_payload_than_a_segment_is_a_super_packet_of_right_segments() {
        let mut whole = packet(&[7; 2500]);
        let header = leave_checksum(&mut whole, Some(1000)).unwrap();
        let parts = SuperPacket::parse(&whole, header.gso.unwrap(), header.checksum).unwrap();
        assert_eq!(parts.segments(), 3);
        let mut segment = vec![0; 2000];
        let len = parts.write_segment(0, &mut segment);
        let first = &segment[..len];
        let sliced = etherparse::SlicedPacket::from_ip(first).unwrap();
        let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
        assert_eq!(tcp.calc_checksum_ipv6([1; 16], [2; 16]).unwrap(), tcp.checksum());
        assert_eq!(leave_checksum(&mut packet(&[7; 1000]), Some(1000)).unwrap().gso, None);
    }

    #[test]
    fn what_is_no_plain_tcp_packet_is_not_touched() {
        let mut udp = Vec::new();
        PacketBuilder::ipv4([1; 4], [2; 4], 64).udp(1, 2).write(&mut udp, b"x").unwrap();
        assert_eq!(leave_checksum(&mut udp.clone(), None), None);
        for len in 0..40 {
            assert_eq!(leave_checksum(&mut packet(b"x")[..len].to_vec(), None), None, "{len}");
        }
    }
}
