//! Datagrams in pieces: put together on the way in, cut on the way out. Read first: RFC 791 section 3.2, RFC 8200 section 4.5.
//! The node has checked every piece before: none overlaps another, and its first one was allowed. Called by receive, send.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use etherparse::defrag::IpDefragBuf;
use etherparse::{IpFragOffset, IpNumber, IpSlice, Ipv6FragmentHeader};
use router_core::packet::{Datagram, Piece};
use wg_proto::Instant;

// Our own choices.
/// Datagrams that wait for pieces; one more ends the oldest.
const DATAGRAMS_MAX: usize = 64;
/// What they take at most: each as much as IP can say.
pub(super) const BYTES_MAX: usize = DATAGRAMS_MAX * 65_536;
/// RFC 8200 section 4.5 gives 60 s; the node forgets them sooner.
const AGE_MAX: Duration = Duration::from_secs(30);

const IPV4_HEADER_BYTES: usize = 20;
const IPV6_HEADER_BYTES: usize = 40;
const FRAGMENT_HEADER_BYTES: usize = 8;
const NEXT_HEADER_FRAGMENT: u8 = 44;

/// Datagrams that are not whole yet, 4 MiB at most.
#[derive(Default)]
pub(super) struct Pieces {
    waiting: HashMap<Datagram, (IpDefragBuf, Instant)>,
}

impl Pieces {
    /// Takes a piece, and gives the whole packet back once it is there.
    pub(super) fn put(&mut self, now: Instant, piece: &Piece, packet: &[u8]) -> Option<Vec<u8>> {
        let slice = IpSlice::from_slice(packet).ok()?;
        let payload = slice.payload();
        self.waiting.retain(|_, (_, since)| now.saturating_duration_since(*since) < AGE_MAX);
        self.make_room(&piece.datagram);
        let mut waiting = match self.waiting.entry(piece.datagram) {
            Entry::Occupied(occupied) => occupied,
            Entry::Vacant(vacant) => {
                let buffer = IpDefragBuf::new(payload.ip_number, Vec::new(), Vec::new());
                vacant.insert_entry((buffer, now))
            }
        };
        let offset = IpFragOffset::try_new(piece.span.offset() / 8).ok()?;
        let buffer = &mut waiting.get_mut().0;
        if buffer.add(offset, piece.span.more(), payload.payload).is_err() {
            waiting.remove();
            return None;
        }
        if !buffer.is_complete() {
            return None;
        }
        let (buffer, _) = waiting.remove();
        let protocol = buffer.ip_number();
        whole(packet, protocol, &buffer.take_bufs().0)
    }

    fn make_room(&mut self, datagram: &Datagram) {
        if self.waiting.len() < DATAGRAMS_MAX || self.waiting.contains_key(datagram) {
            return;
        }
        let oldest = self.waiting.iter().min_by_key(|(_, (_, since))| *since).map(|(oldest, _)| *oldest);
        oldest.and_then(|oldest| self.waiting.remove(&oldest));
    }
}

/// The packet whose pieces are like `piece`, without options.
fn whole(piece: &[u8], protocol: IpNumber, payload: &[u8]) -> Option<Vec<u8>> {
    let is_v4 = piece.first()? >> 4 == 4;
    let mut packet = piece.get(..if is_v4 { IPV4_HEADER_BYTES } else { IPV6_HEADER_BYTES })?.to_vec();
    packet.extend_from_slice(payload);
    if is_v4 {
        let total = u16::try_from(packet.len()).ok()?;
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[6..8].fill(0);
        packet[10..12].fill(0);
        let checksum =
            router_core::packet::checksum::Sum::default().bytes(&packet[..IPV4_HEADER_BYTES]).checksum();
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        let len = u16::try_from(payload.len()).ok()?;
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        packet[6] = protocol.0;
    }
    Some(packet)
}

/// Has an IPv4 packet cut on its way: by the node, which knows how. It needs an identification of its own for that.
pub(super) fn allow_cutting(packet: &mut [u8], identification: u16) {
    packet[4..6].copy_from_slice(&identification.to_be_bytes());
    packet[6..8].fill(0);
    packet[10..12].fill(0);
    let checksum =
        router_core::packet::checksum::Sum::default().bytes(&packet[..IPV4_HEADER_BYTES]).checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Cuts an IPv6 packet without extension headers, as only its sender may.
pub(super) fn cut_v6(
    packet: &[u8],
    mtu_bytes: u16,
    identification: u32,
) -> impl Iterator<Item = Vec<u8>> + '_ {
    let (header, payload) = packet.split_at(IPV6_HEADER_BYTES.min(packet.len()));
    let room =
        usize::from(mtu_bytes).saturating_sub(IPV6_HEADER_BYTES + FRAGMENT_HEADER_BYTES).max(8) / 8 * 8;
    let pieces = payload.chunks(room).enumerate();
    pieces.filter_map(move |(number, bytes)| {
        let offset = number * room;
        let fragment = Ipv6FragmentHeader {
            next_header: IpNumber(*header.get(6)?),
            fragment_offset: IpFragOffset::try_new(u16::try_from(offset / 8).ok()?).ok()?,
            more_fragments: offset + bytes.len() < payload.len(),
            identification,
        };
        let mut piece = [header, &fragment.to_bytes(), bytes].concat();
        let len = u16::try_from(FRAGMENT_HEADER_BYTES + bytes.len()).ok()?;
        piece[4..6].copy_from_slice(&len.to_be_bytes());
        piece[6] = NEXT_HEADER_FRAGMENT;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::packet;
    use router_core::packet::PacketMut;
    use router_core::packet::split::Split;

    const NOW: Instant = Instant::from_nanos(1_000_000_000);

    fn v4() -> Vec<u8> {
        let mut whole =
            packet::udp("10.0.0.1:5".parse().unwrap(), "10.0.0.2:6".parse().unwrap(), &[7; 5000]).unwrap();
        allow_cutting(&mut whole, 9);
        whole
    }

    fn pieces_of_v4(whole: &[u8]) -> Vec<Vec<u8>> {
        let mut split = Split::new(whole, 1420).unwrap();
        let mut pieces = Vec::new();
        let mut room = vec![0; 1420];
        while let Some(len) = split.next_into(&mut room) {
            pieces.push(room[..len].to_vec());
        }
        pieces
    }

    fn put(pieces: &mut Pieces, now: Instant, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut copy = bytes.to_vec();
        let piece = PacketMut::parse(&mut copy).unwrap().piece().unwrap();
        pieces.put(now, &piece, bytes)
    }

    #[test]
    fn pieces_in_any_order_become_the_packet_again() {
        let whole = v4();
        let v6 =
            packet::udp("[fd00::1]:5".parse().unwrap(), "[fd00::2]:6".parse().unwrap(), &[7; 5000]).unwrap();
        let cut: Vec<_> = cut_v6(&v6, 1420, 77).collect();
        assert!(cut.len() == 4 && cut.iter().all(|piece| piece.len() <= 1420));
        for (pieces, is_v4) in [(pieces_of_v4(&whole), true), (cut, false)] {
            let mut waiting = Pieces::default();
            let mut last = None;
            for piece in pieces.iter().rev() {
                assert_eq!(last, None);
                last = put(&mut waiting, NOW, piece);
            }
            let mut again = last.unwrap();
            assert!(packet::is_intact(&PacketMut::parse(&mut again).unwrap()));
            if is_v4 {
                assert_eq!(again[20..], whole[20..]);
            } else {
                assert_eq!(again, v6);
            }
            assert!(waiting.waiting.is_empty());
        }
    }

    #[test]
    fn what_never_becomes_whole_is_bounded_by_number_and_age() {
        let mut waiting = Pieces::default();
        for number in 0..200 {
            let mut whole = v4();
            allow_cutting(&mut whole, number);
            put(&mut waiting, NOW, &pieces_of_v4(&whole)[0]);
        }
        assert_eq!(waiting.waiting.len(), DATAGRAMS_MAX);
        let later = NOW.saturating_add(AGE_MAX);
        put(&mut waiting, later, &pieces_of_v4(&v4())[1]);
        assert_eq!(waiting.waiting.len(), 1);
    }
}
