//! IPv6 extension headers on the road: EXT-1, FRG-4, P5.

use router_core::packet::Protocol;
use router_core::sim::wire::{self, PieceRange};
use router_core::{DropReason, Verdict};

use crate::desk::*;

const OPTIONS: (u8, &[u8]) = (60, &[1, 4, 0, 0, 0, 0]);
const HOP_BY_HOP: (u8, &[u8]) = (0, &[1, 4, 0, 0, 0, 0]);
const ROUTED: (u8, &[u8]) = (43, &[4, 0, 0, 0, 0, 0]);
/// Authentication: its length counts words, two fewer than there are.
const AUTHENTICATION: (u8, &[u8]) = (51, &[0, 0, 0, 0, 0, 1]);

fn question() -> Vec<u8> {
    udp(&at(V6.alice, 5000), &at(V6.target, 53), b"?")
}

#[test]
fn p05_ports_behind_headers_are_found_translated_and_restored() {
    for headers in [&[HOP_BY_HOP][..], &[OPTIONS, ROUTED], &[AUTHENTICATION], &[HOP_BY_HOP, OPTIONS, OPTIONS]]
    {
        let mut desk = Desk::ready();
        let sent = desk.alice_sends(wire::with_extensions(&question(), headers));
        let sent = sent.forwarded_to(desk.site_side());
        assert_eq!(ends_of(&sent), ends(&at(V6.router, 5000), &at(V6.connector, 40_001)));
        assert_eq!(sent[6], headers[0].0, "the headers stay where they are");
        let answer = wire::with_extensions(&wire::udp(&ends_of(&sent).reversed(), b"!"), headers);
        let heard = desk.site_sends(answer).forwarded_to(desk.alice_side());
        assert_eq!(ends_of(&heard), ends(&at(V6.target, 53), &at(V6.alice, 5000)));
        assert_eq!(desk.node.flows_used().0, 1, "one flow, with headers or without");
        desk.alice_sends(question()).forwarded_to(desk.site_side());
        assert_eq!(desk.node.flows_used().0, 1);
    }
}

#[test]
fn p05_what_hides_its_ports_matches_no_rule_that_asks_for_them_and_is_given_none() {
    for protocol in [50, 59, 89, 132, 135, 253] {
        let mut desk = Desk::ready();
        let whole = udp(&at(V6.alice, 5000), &at(V6.target, 53), b"?");
        let hidden = other(Protocol(protocol), V6.alice, V6.target, &whole[40..]);
        assert_prohibited(&desk.alice_sends(hidden).answered());
        let hidden = other(Protocol(protocol), V6.alice, V6.machine, &whole[40..]);
        let sent = desk.alice_sends(hidden).forwarded_to(desk.site_side());
        assert_eq!(addresses_of(&sent), wire::addresses(ip(V6.router), ip(V6.connector)));
        assert_eq!(sent[40..], whole[40..], "{protocol}: not a byte behind the addresses is touched");
    }
}

#[test]
fn p05_a_chain_that_does_not_end_in_the_first_piece_condemns_the_datagram() {
    let mut desk = Desk::ready();
    let whole = wire::with_extensions(&question(), &[OPTIONS; 4]);
    let len = (whole.len() - 40) as u16;
    let piece = |start, end, id| wire::piece(&whole, PieceRange { start, end, is_last: end == len }, id);
    assert_eq!(desk.alice_sends(piece(16, len, 1)).verdict, Verdict::Parked);
    assert_eq!(desk.alice_sends(piece(0, 16, 1)).dropped(), DropReason::FragmentTiny);
    assert_eq!(desk.alice_sends(piece(16, len, 1)).dropped(), DropReason::FragmentPoisoned);
    assert_eq!(desk.node.flows_used().0, 0);
}
