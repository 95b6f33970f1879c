//! Congestion marks across the tunnel: copied out when a packet is encapsulated, combined when it is decapsulated.
//! Read first: RFC 6040 §4 (normal mode), RFC 1624. Called by device and by the runtime's batch loop.

/// The two bits of a TOS or traffic class byte that carry the mark.
const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// A packet that must be dropped: the network marked congestion on a flow that cannot tell its sender
/// (RFC 6040 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("congestion experienced outside, but the inner packet is not ECN-capable")]
pub struct Drop;

/// The TOS (IPv4) or traffic class (IPv6) byte of the outer packet: the inner packet's mark, and DSCP 0, so that the
/// outside does not learn what kind of traffic is inside.
pub fn outer(inner_packet: &[u8]) -> u8 {
    match inner_packet {
        [first, second, ..] => match first >> 4 {
            4 => second & ECN,
            6 => (second >> 4) & ECN,
            _ => NOT_ECT,
        },
        _ => NOT_ECT,
    }
}

/// Combines the outer packet's mark into the inner packet (RFC 6040 figure 4), with the IPv4 header checksum
/// patched. What is no IP packet is left alone.
pub fn combine(outer_tos: u8, inner: &mut [u8]) -> Result<(), Drop> {
    let mark = match (outer_tos & ECN, outer(inner)) {
        (CE, NOT_ECT) => return Err(Drop),
        (CE, ECT_0 | ECT_1) => CE,
        (ECT_1, ECT_0) => ECT_1,
        _ => return Ok(()),
    };
    match inner.first().map(|first| first >> 4) {
        Some(4) => mark_v4(inner, mark),
        Some(6) => mark_v6(inner, mark),
        _ => {}
    }
    Ok(())
}

fn mark_v4(packet: &mut [u8], mark: u8) {
    if let Some(header) = packet.first_chunk_mut::<20>() {
        let old = u16::from_be_bytes([header[0], header[1]]);
        header[1] = (header[1] & !ECN) | mark;
        let new = u16::from_be_bytes([header[0], header[1]]);
        let checksum = u16::from_be_bytes([header[10], header[11]]);
        let patched = updated(checksum, old, new).to_be_bytes();
        header[10..12].copy_from_slice(&patched);
    }
}

fn mark_v6(packet: &mut [u8], mark: u8) {
    if let Some(second) = packet.get_mut(1) {
        *second = (*second & !(ECN << 4)) | (mark << 4);
    }
}

/// The checksum after a word changed from `old` to `new` (RFC 1624 equation 3).
fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(tos: u8) -> [u8; 20] {
        let mut header = [0x45, tos, 0, 20, 0x12, 0x34, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let checksum = checksum_of(&header).to_be_bytes();
        header[10..12].copy_from_slice(&checksum);
        header
    }

    fn v6(class: u8) -> [u8; 40] {
        let mut header = [0u8; 40];
        (header[0], header[1]) = (0x60 | class >> 4, class << 4 | 0x0a);
        header
    }

    fn checksum_of(header: &[u8; 20]) -> u16 {
        let sum: u32 =
            header.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        !((sum & 0xffff) + (sum >> 16)) as u16
    }

    #[test]
    fn the_outer_byte_has_the_inner_mark_and_no_dscp() {
        for mark in 0..4 {
            assert_eq!(outer(&v4(0xb8 | mark)), mark);
            assert_eq!(outer(&v6(0xb8 | mark)), mark);
        }
        for packet in [&[][..], &[0x45], &[0x55, 0xff], &[0, 0xff]] {
            assert_eq!(outer(packet), 0);
        }
    }

    /// RFC 6040 figure 4: the inner mark by row, the outer mark by column; `None` drops.
    const FIGURE_4: [(u8, [Option<u8>; 4]); 4] = [
        (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
        (ECT_0, [Some(ECT_0), Some(ECT_1), Some(ECT_0), Some(CE)]),
        (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ];

    #[test]
    fn marks_combine_as_rfc_6040_figure_4_says() {
        for (inner, row) in FIGURE_4 {
            for (outer_mark, expected) in [NOT_ECT, ECT_1, ECT_0, CE].into_iter().zip(row) {
                let (mut four, mut six) = (v4(0xb8 | inner), v6(0xb8 | inner));
                assert_eq!(combine(0x88 | outer_mark, &mut four).is_ok(), expected.is_some());
                assert_eq!(combine(0x88 | outer_mark, &mut six).is_ok(), expected.is_some());
                assert_eq!(
                    (four, six),
                    (v4(0xb8 | expected.unwrap_or(inner)), v6(0xb8 | expected.unwrap_or(inner)))
                );
            }
        }
    }

    #[test]
    fn truncated_packets_do_not_panic() {
        for len in 0..40 {
            let _ = combine(CE, &mut v4(ECT_0)[..len.min(20)]);
            let _ = combine(CE, &mut v6(ECT_0)[..len]);
        }
    }

    #[test]
    fn a_marked_header_adds_up_whatever_its_checksum_was() {
        for id in 0..=u16::MAX {
            let with = |tos: u8| {
                let mut header = v4(tos);
                header[4..6].copy_from_slice(&id.to_be_bytes());
                header[10..12].fill(0);
                let checksum = checksum_of(&header).to_be_bytes();
                header[10..12].copy_from_slice(&checksum);
                header
            };
            let mut marked = with(ECT_0);
            assert_eq!(combine(CE, &mut marked), Ok(()));
            assert_eq!(marked, with(CE), "{id}");
        }
    }
}
