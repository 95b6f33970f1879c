//! Fragmentation on the way (MTU-2), put together again by etherparse's reassembly rules written out here.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use crate::packet::made::{ends, fix_ipv4_checksum, piece_v4, with_options};
use crate::packet::split::{Split, SplitError};
use crate::packet::{PacketMut, ParseError, TcpFlags, Transport, made};

const V4: (&str, &str) = ("10.0.0.1:1000", "10.0.0.2:80");

fn pieces(packet: &[u8], mtu_bytes: u16) -> Vec<Vec<u8>> {
    let mut split = Split::new(packet, mtu_bytes).unwrap();
    let mut buffer = vec![0xee; usize::from(mtu_bytes).max(packet.len())];
    let mut pieces = Vec::new();
    while let Some(len) = split.next_into(&mut buffer) {
        pieces.push(buffer[..len].to_vec());
    }
    pieces
}

fn header_len(packet: &[u8]) -> usize {
    usize::from(packet[0] & 15) * 4
}

fn offset(packet: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff) * 8
}

fn more(packet: &[u8]) -> bool {
    packet[6] & 0x20 != 0
}

/// The payload that a receiver puts together, if the pieces fit.
fn reassembled(pieces: &[Vec<u8>], start: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    for piece in pieces {
        assert_eq!(offset(piece), start + payload.len(), "in order, without gap or overlap");
        payload.extend_from_slice(&piece[header_len(piece)..]);
    }
    payload
}

proptest! {
    #[test]
    fn mtu2_pieces_fit_are_in_order_and_hold_the_packet(len in 0usize..4000, mtu in 68u16..1600) {
        let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let packet = made::udp(&ends(V4.0, V4.1), &payload);
        let pieces = pieces(&packet, mtu);
        for (at, piece) in pieces.iter().enumerate() {
            let last = at + 1 == pieces.len();
            prop_assert!(piece.len() <= usize::from(mtu));
            prop_assert_eq!(more(piece), !last);
            prop_assert!(PacketMut::parse(&mut piece.clone()).is_ok());
            prop_assert_eq!(&piece[4..6], &packet[4..6]);
            prop_assert!(last || piece.len() + 8 > usize::from(mtu), "no smaller than need be");
        }
        prop_assert_eq!(reassembled(&pieces, 0), &packet[20..]);
    }
}

#[test]
fn mtu2_a_packet_that_fits_comes_out_as_it_is() {
    let mut packet = made::udp(&ends(V4.0, V4.1), &[3; 100]);
    packet[6] = 0x40;
    fix_ipv4_checksum(&mut packet);
    assert_eq!(pieces(&packet, 1280).concat(), packet);
    let empty = made::ip(&ends(V4.0, V4.1).addresses, 253, &[]);
    assert_eq!(pieces(&empty, 1280).concat(), empty);
}

#[test]
fn mtu1_dont_fragment_is_not_fragmented() {
    let mut packet = made::udp(&ends(V4.0, V4.1), &[3; 1400]);
    packet[6] = 0x40;
    fix_ipv4_checksum(&mut packet);
    assert_eq!(Split::new(&packet, 1280).unwrap_err(), SplitError::DontFragment);
}

#[test]
fn mtu2_options_are_copied_as_rfc_791_says() {
    let packet = made::udp(&ends(V4.0, V4.1), &[3; 200]);
    // Record route (not copied), router alert (copied), padding.
    let packet = with_options(&packet, &[7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0]);
    let pieces = pieces(&packet, 100);
    assert_eq!(pieces[0][20..32], packet[20..32]);
    for piece in &pieces[1..] {
        assert_eq!((header_len(piece), &piece[20..24]), (24, &[148, 4, 0, 0][..]));
        assert!(PacketMut::parse(&mut piece.clone()).is_ok());
    }
    assert_eq!(reassembled(&pieces, 0), packet[32..]);
}

#[test]
fn mtu2_a_piece_is_split_further() {
    let whole = made::udp(&ends(V4.0, V4.1), &[3; 1000]);
    for (end, last) in [(800, false), (1008, true)] {
        let piece = piece_v4(&whole, 200, end, !last);
        let pieces = pieces(&piece, 300);
        assert!(pieces.len() > 1);
        assert!(pieces[..pieces.len() - 1].iter().all(|piece| more(piece)));
        assert_eq!(more(pieces.last().unwrap()), !last);
        assert_eq!(reassembled(&pieces, 200), piece[20..]);
    }
}

#[test]
fn mtu2_the_first_piece_holds_the_ports() {
    let packet = made::tcp(&ends(V4.0, V4.1), TcpFlags::ACK, 1, &[], &[3; 1000]);
    let mut first = pieces(&packet, 300).remove(0);
    let view = PacketMut::parse(&mut first).unwrap();
    assert!(matches!(view.transport(), Transport::Tcp(_)));
    assert_eq!(view.ends(), ends(V4.0, V4.1));
}

#[test]
fn what_cannot_be_split_is_refused() {
    let packet = made::udp(&ends(V4.0, V4.1), &[3; 100]);
    assert_eq!(Split::new(&packet, 27).unwrap_err(), SplitError::MtuTooSmall { mtu_bytes: 27 });
    let v6 = made::udp(&ends("[fd00::1]:1", "[fd00::2]:2"), &[3; 100]);
    assert_eq!(Split::new(&v6, 68).unwrap_err(), SplitError::Parse(ParseError::UnknownVersion(6)));
}
