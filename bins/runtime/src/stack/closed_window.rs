//! What a segment says while our window is closed. Smoltcp 0.14 takes no segment then unless it is empty and begins right at
//! the window (RFC 9293 section 3.10.7.4 wants valid acknowledgements and resets taken all the same): where both ends send
//! more than they read, each would wait for the other for ever, and a client that has probed the window could not break
//! off. Called by connection.

use router_core::packet::{PacketMut, Transport};

/// Where a TCP header has its fields. RFC 9293 section 3.1.
const SEQUENCE: usize = 4;
const ACKNOWLEDGMENT: usize = 8;
const DATA_OFFSET: usize = 12;
const FLAGS: usize = 13;
const ACK: u8 = 0x10;
const RST: u8 = 0x04;

/// Windows are told in units of at most so many bytes, a buffer of 2 MiB needs a shift of 6: a sender may be as far beyond a
/// window that was rounded down.
pub(super) const WINDOW_UNIT_MAX: u32 = 64;

/// The same segment without what it carries, as if it began at `sequence`: only what it acknowledges and its window, or that
/// it resets. `None` if it opens, or acknowledges nothing, or resets from elsewhere (RFC 5961).
pub(super) fn bare(segment: &[u8], sequence: u32) -> Option<Vec<u8>> {
    let mut bytes = segment.to_vec();
    let packet = PacketMut::parse(&mut bytes).ok()?;
    let Transport::Tcp(tcp) = packet.transport() else { return None };
    let (is_opening, is_reset, acknowledges) = (tcp.flags.syn(), tcp.flags.rst(), tcp.flags.ack());
    let headers = packet.headers_len();
    let own = sequence_of(&bytes)?;
    if is_opening || !acknowledges || is_reset && own.wrapping_sub(sequence) > WINDOW_UNIT_MAX {
        return None;
    }
    let is_v4 = bytes.first()? >> 4 == 4;
    bytes.truncate(headers);
    let tcp_at = tcp_at(&bytes)?;
    bytes.get_mut(tcp_at + SEQUENCE..tcp_at + ACKNOWLEDGMENT)?.copy_from_slice(&sequence.to_be_bytes());
    bytes[tcp_at + FLAGS] = if is_reset { RST | ACK } else { ACK };
    // Checksums were verified, and are not looked at again.
    let (at, len) = if is_v4 { (2, headers) } else { (4, headers - 40) };
    bytes[at..at + 2].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
    Some(bytes)
}

/// What a segment of ours acknowledges: where the other end goes on.
pub(super) fn acknowledged(segment: &[u8]) -> Option<u32> {
    let tcp_at = tcp_at(segment)?;
    let is_acknowledgment = segment.get(tcp_at + FLAGS)? & ACK != 0;
    let number = segment.get(tcp_at + ACKNOWLEDGMENT..tcp_at + DATA_OFFSET)?;
    is_acknowledgment.then(|| u32::from_be_bytes([number[0], number[1], number[2], number[3]]))
}

fn sequence_of(segment: &[u8]) -> Option<u32> {
    let tcp_at = tcp_at(segment)?;
    let number = segment.get(tcp_at + SEQUENCE..tcp_at + ACKNOWLEDGMENT)?;
    Some(u32::from_be_bytes([number[0], number[1], number[2], number[3]]))
}

/// Where the TCP header begins if no extension header stands before it.
fn tcp_at(packet: &[u8]) -> Option<usize> {
    match packet.first()? >> 4 {
        4 => Some(usize::from(packet[0] & 0x0f) * 4),
        6 => (*packet.get(6)? == 6).then_some(40),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

    #[test]
    fn what_is_left_of_a_segment_acknowledges_as_much_and_carries_nothing() {
        for (segment, is_v4) in [(v4(b"data"), true), (v6(b"data"), false), (v4(b""), true)] {
            let bare = bare(&segment, 7).unwrap();
            let sliced = SlicedPacket::from_ip(&bare).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
            assert_eq!(
                (tcp.sequence_number(), tcp.acknowledgment_number(), tcp.window_size()),
                (7, 99, 1000)
            );
            assert!(tcp.ack() && !tcp.psh() && !tcp.fin() && tcp.payload().is_empty());
            assert_eq!(acknowledged(&segment), Some(99));
            assert_eq!(bare.len(), if is_v4 { 40 } else { 60 });
        }
    }

    #[test]
    fn what_opens_or_resets_from_elsewhere_is_left_alone() {
        let mut segment = v4(b"");
        for flags in [0x02, 0x12, 0x04, 0x00] {
            segment[20 + FLAGS] = flags;
            assert_eq!(bare(&segment, 7), None, "{flags:#x}");
        }
        assert_eq!(acknowledged(&segment), None);
        segment[20 + FLAGS] = RST | ACK;
        for (sequence, taken) in [(19, true), (7, true), (20, false), (19 - WINDOW_UNIT_MAX.min(19), true)] {
            assert_eq!(bare(&segment, sequence).is_some_and(|bare| bare[20 + FLAGS] & RST != 0), taken);
        }
    }

    fn v4(payload: &[u8]) -> Vec<u8> {
        let mut segment = Vec::new();
        let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(80, 5000, 19, 1000);
        builder.ack(99).psh().fin().write(&mut segment, payload).unwrap();
        segment
    }

    fn v6(payload: &[u8]) -> Vec<u8> {
        let mut segment = Vec::new();
        let builder = PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(80, 5000, 19, 1000);
        builder.ack(99).psh().write(&mut segment, payload).unwrap();
        segment
    }
}
