//! FRG-1 to FRG-3 and P4, one by one.

use alloc::vec;

use super::*;
use crate::packet::PacketMut;

const ALICE: u8 = 1;
const BOB: u8 = 2;

fn fragments() -> Fragments<u8, char> {
    Fragments::new(FragmentLimits::default())
}

fn tight(change: impl FnOnce(&mut FragmentLimits)) -> Fragments<u8, char> {
    let mut limits = FragmentLimits::default();
    change(&mut limits);
    Fragments::new(limits)
}

#[test]
fn frg1_pieces_in_order_follow_the_first_ones_verdict() {
    let mut fragments = fragments();
    assert_eq!(fragments.first(at(0), ALICE, piece(7, 0, 16, true), 'v'), Ok(()));
    assert_eq!(fragments.later(at(1), ALICE, piece(7, 16, 16, true), b"b"), Ok(Later::Follow('v')));
    assert_eq!(fragments.later(at(2), ALICE, piece(7, 32, 3, false), b"c"), Ok(Later::Follow('v')));
    assert_eq!(fragments.parked_bytes_used(), 0);
}

#[test]
fn frg1_early_pieces_wait_and_leave_in_order_behind_the_first() {
    let mut fragments = fragments();
    assert_eq!(fragments.later(at(0), ALICE, piece(7, 32, 3, false), b"third"), Ok(Later::Parked));
    assert_eq!(fragments.later(at(0), ALICE, piece(7, 16, 16, true), b"second"), Ok(Later::Parked));
    assert_eq!(fragments.parked_bytes_used(), 11);
    assert_eq!(released(&mut fragments), []);
    assert_eq!(fragments.first(at(1), ALICE, piece(7, 0, 16, true), 'v'), Ok(()));
    assert_eq!(released(&mut fragments), [('v', b"second".to_vec()), ('v', b"third".to_vec())]);
    assert_eq!((fragments.parked_bytes_used(), fragments.datagrams_used()), (0, 0));
}

#[test]
fn frg1_a_maximal_datagram_in_reverse_order_fits_a_subjects_share() {
    let mut fragments = fragments();
    let udp = made::udp(&made::ends("10.0.0.1:1", "10.0.0.2:2"), &vec![7; 65_507]);
    let cuts: Vec<u16> = (0..65_515).step_by(1400).chain([65_515]).collect();
    for cut in cuts.windows(2).rev() {
        let mut bytes = made::piece_v4(&udp, cut[0], cut[1], cut[1] != 65_515);
        let piece = PacketMut::parse(&mut bytes).unwrap().piece().unwrap();
        if piece.is_first() {
            assert_eq!(fragments.first(at(0), ALICE, piece, 'v'), Ok(()));
        } else {
            assert_eq!(fragments.later(at(0), ALICE, piece, &bytes), Ok(Later::Parked));
        }
    }
    assert_eq!(released(&mut fragments).len(), cuts.len() - 2);
}

#[test]
fn frg1_parked_pieces_are_forgotten_after_fifteen_seconds() {
    let mut fragments = fragments();
    fragments.later(at(10), ALICE, piece(7, 16, 16, true), b"early").unwrap();
    assert_eq!(fragments.poll_timeout(), Some(at(25)));
    fragments.handle_timeout(at(24));
    assert_eq!(fragments.parked_bytes_used(), 5);
    fragments.handle_timeout(at(25));
    assert_eq!((fragments.parked_bytes_used(), fragments.poll_timeout()), (0, None));
    fragments.first(at(25), ALICE, piece(7, 0, 16, true), 'v').unwrap();
    assert_eq!(released(&mut fragments), []);
}

#[test]
fn frg1_a_verdict_is_remembered_for_fifteen_seconds_from_the_first_piece() {
    let mut fragments = fragments();
    fragments.later(at(0), ALICE, piece(7, 32, 16, true), b"early").unwrap();
    fragments.first(at(14), ALICE, piece(7, 0, 16, true), 'v').unwrap();
    assert_eq!(fragments.later(at(28), ALICE, piece(7, 16, 16, true), b""), Ok(Later::Follow('v')));
    assert_eq!(fragments.later(at(29), ALICE, piece(7, 48, 16, false), b""), Ok(Later::Parked));
}

#[test]
fn frg1_parking_is_bounded_per_subject_and_in_all() {
    let mut fragments = tight(|limits| {
        (limits.parked_bytes_max, limits.parked_bytes_per_subject_max) = (25, 10);
    });
    let mut park =
        |subject, id, bytes: &[u8]| fragments.later(at(0), subject, piece(id, 16, 16, true), bytes);
    assert_eq!(park(1, 1, &[0; 10]), Ok(Later::Parked));
    assert_eq!(park(1, 2, &[0; 1]), Err(Refused::ParkingFull));
    assert_eq!(park(2, 3, &[0; 10]), Ok(Later::Parked));
    assert_eq!(park(3, 4, &[0; 6]), Err(Refused::ParkingFull));
    assert_eq!(park(3, 4, &[0; 5]), Ok(Later::Parked));
    // A refused piece leaves nothing behind, not even a trace of its bytes.
    assert_eq!(fragments.datagrams_used(), 3);
}

#[test]
fn frg1_released_pieces_count_until_they_are_taken() {
    let mut fragments = tight(|limits| limits.parked_bytes_per_subject_max = 10);
    fragments.later(at(0), ALICE, piece(1, 16, 16, true), &[0; 10]).unwrap();
    fragments.first(at(0), ALICE, piece(1, 0, 16, true), 'v').unwrap();
    let refused = fragments.later(at(0), ALICE, piece(2, 16, 16, true), &[0; 1]);
    assert_eq!(refused, Err(Refused::ParkingFull));
    assert_eq!(released(&mut fragments).len(), 1);
    assert_eq!(fragments.later(at(0), ALICE, piece(2, 16, 16, true), &[0; 1]), Ok(Later::Parked));
}

#[test]
fn frg1_pieces_of_another_subject_never_meet() {
    let mut fragments = fragments();
    fragments.first(at(0), ALICE, piece(7, 0, 16, true), 'a').unwrap();
    assert_eq!(fragments.later(at(0), BOB, piece(7, 16, 16, false), b"bob"), Ok(Later::Parked));
    assert_eq!(fragments.later(at(0), ALICE, piece(7, 16, 16, false), b""), Ok(Later::Follow('a')));
}

#[test]
fn frg2_a_poisoned_datagram_lets_nothing_pass() {
    let mut fragments = fragments();
    fragments.later(at(0), ALICE, piece(7, 16, 16, true), b"early").unwrap();
    fragments.poison(at(0), ALICE, piece(7, 0, 8, true).datagram);
    assert_eq!(fragments.parked_bytes_used(), 0);
    assert_eq!(fragments.first(at(1), ALICE, piece(7, 0, 16, true), 'v'), Err(Refused::Poisoned));
    assert_eq!(fragments.later(at(1), ALICE, piece(7, 16, 16, true), b""), Err(Refused::Poisoned));
    assert_eq!(fragments.first(at(15), ALICE, piece(7, 0, 16, true), 'v'), Ok(()));
}

#[test]
fn frg3_overlap_drops_the_whole_datagram() {
    for (offset, len) in [(0, 24), (8, 16), (16, 8), (16, 24), (24, 8), (24, 16), (8, 40), (40, 8)] {
        let mut fragments = fragments();
        fragments.first(at(0), ALICE, piece(7, 0, 16, true), 'v').unwrap();
        fragments.later(at(0), ALICE, piece(7, 16, 16, true), b"").unwrap();
        fragments.later(at(0), ALICE, piece(7, 32, 16, true), b"").unwrap();
        let outcome = fragments.later(at(0), ALICE, piece(7, offset, len, true), b"");
        assert_eq!(outcome, Err(Refused::Overlap), "{offset} {len}");
        let outcome = fragments.later(at(0), ALICE, piece(7, 48, 16, false), b"");
        assert_eq!(outcome, Err(Refused::Poisoned), "{offset} {len}");
    }
}

#[test]
fn frg3_an_early_piece_that_overlaps_the_first_is_never_released() {
    let mut fragments = fragments();
    fragments.later(at(0), ALICE, piece(7, 8, 24, false), b"evil").unwrap();
    assert_eq!(fragments.first(at(0), ALICE, piece(7, 0, 16, true), 'v'), Err(Refused::Overlap));
    assert_eq!((released(&mut fragments).len(), fragments.parked_bytes_used()), (0, 0));
}

#[test]
fn frg3_pieces_that_disagree_on_the_end_drop_the_datagram() {
    for (offset, len, more) in [(48, 16, false), (48, 8, true), (16, 16, false), (32, 16, true)] {
        let mut fragments = fragments();
        fragments.first(at(0), ALICE, piece(7, 0, 16, true), 'v').unwrap();
        fragments.later(at(0), ALICE, piece(7, 32, 16, false), b"").unwrap();
        let outcome = fragments.later(at(0), ALICE, piece(7, offset, len, more), b"");
        assert_eq!(outcome, Err(Refused::Overlap), "{offset} {len} {more}");
    }
}

#[test]
fn duplicates_are_dropped_and_harm_nothing() {
    let mut fragments = fragments();
    fragments.later(at(0), ALICE, piece(7, 32, 16, true), b"once").unwrap();
    assert_eq!(fragments.later(at(0), ALICE, piece(7, 32, 16, true), b"twice"), Err(Refused::Duplicate));
    fragments.first(at(0), ALICE, piece(7, 0, 16, true), 'v').unwrap();
    assert_eq!(fragments.first(at(0), ALICE, piece(7, 0, 16, true), 'w'), Err(Refused::Duplicate));
    assert_eq!(fragments.later(at(0), ALICE, piece(7, 32, 16, true), b""), Err(Refused::Duplicate));
    assert_eq!(released(&mut fragments), [('v', b"once".to_vec())]);
    assert_eq!(fragments.later(at(0), ALICE, piece(7, 16, 16, true), b""), Ok(Later::Follow('v')));
}

#[test]
fn a_complete_datagram_gives_its_identification_back() {
    let mut fragments = fragments();
    for verdict in ['v', 'w'] {
        fragments.first(at(0), ALICE, piece(7, 0, 16, true), verdict).unwrap();
        let last = fragments.later(at(0), ALICE, piece(7, 16, 16, false), b"");
        assert_eq!(last, Ok(Later::Follow(verdict)));
        assert_eq!((fragments.datagrams_used(), fragments.poll_timeout()), (0, None));
    }
}

#[test]
fn too_many_pieces_condemn_a_datagram() {
    let mut fragments = fragments();
    fragments.first(at(0), ALICE, piece(7, 0, 8, true), 'v').unwrap();
    for nth in 1..128 {
        fragments.later(at(0), ALICE, piece(7, nth * 8, 8, true), b"").unwrap();
    }
    let outcome = fragments.later(at(0), ALICE, piece(7, 128 * 8, 8, true), b"");
    assert_eq!(outcome, Err(Refused::TooManyPieces));
    assert_eq!(fragments.later(at(0), ALICE, piece(7, 129 * 8, 8, true), b""), Err(Refused::Poisoned));
}

#[test]
fn p27_datagrams_are_bounded_per_subject_and_in_all() {
    let mut fragments = tight(|limits| (limits.datagrams_max, limits.datagrams_per_subject_max) = (3, 2));
    let mut first = |subject, id| fragments.first(at(0), subject, piece(id, 0, 16, true), 'v');
    assert_eq!((first(ALICE, 1), first(ALICE, 2)), (Ok(()), Ok(())));
    assert_eq!(first(ALICE, 3), Err(Refused::TooManyDatagrams));
    assert_eq!(first(BOB, 1), Ok(()));
    assert_eq!(first(BOB, 2), Err(Refused::TooManyDatagrams));
}

#[test]
fn p27_when_full_a_first_piece_displaces_the_oldest_that_waits() {
    let mut fragments = tight(|limits| limits.datagrams_max = 2);
    fragments.later(at(0), ALICE, piece(1, 16, 16, true), b"oldest").unwrap();
    fragments.later(at(1), ALICE, piece(2, 16, 16, true), b"younger").unwrap();
    let refused = fragments.later(at(2), BOB, piece(3, 16, 16, true), b"");
    assert_eq!(refused, Err(Refused::TooManyDatagrams));
    assert_eq!(fragments.first(at(2), BOB, piece(3, 0, 16, true), 'v'), Ok(()));
    assert_eq!(fragments.parked_bytes_used(), "younger".len());
}

#[test]
fn flt7_a_closed_sessions_datagrams_are_forgotten() {
    let mut fragments = fragments();
    fragments.later(at(0), ALICE, piece(1, 16, 16, true), b"early").unwrap();
    fragments.first(at(0), ALICE, piece(1, 0, 16, true), 'a').unwrap();
    fragments.first(at(0), ALICE, piece(2, 0, 16, true), 'b').unwrap();
    fragments.later(at(0), BOB, piece(3, 16, 16, true), b"waits").unwrap();
    fragments.forget(|_, verdict| verdict == Some(&'a'));
    assert_eq!((released(&mut fragments).len(), fragments.parked_bytes_used()), (0, "waits".len()));
    assert_eq!(fragments.later(at(0), ALICE, piece(1, 32, 16, true), b""), Ok(Later::Parked));
    assert_eq!(fragments.later(at(0), ALICE, piece(2, 32, 16, true), b""), Ok(Later::Follow('b')));
    fragments.forget(|subject, _| *subject == BOB);
    assert_eq!(fragments.datagrams_used(), 2);
}

#[test]
fn p04_a_datagram_that_cannot_be_condemned_for_want_of_room_does_not_pass_either() {
    let mut fragments = tight(|limits| limits.datagrams_per_subject_max = 1);
    assert_eq!(fragments.first(at(0), ALICE, piece(1, 0, 8, true), 'v'), Ok(()));
    fragments.poison(at(1), ALICE, piece(7, 0, 8, true).datagram);
    // There is room again, but nobody knows any more which datagram was condemned.
    assert_eq!(fragments.later(at(2), ALICE, piece(1, 8, 8, false), b"end"), Ok(Later::Follow('v')));
    assert_eq!(fragments.datagrams_used(), 0);
    for id in [7, 8] {
        let refused = Err(Refused::TooManyDatagrams);
        assert_eq!(fragments.first(at(3), ALICE, piece(id, 0, 8, true), 'v'), refused);
        assert_eq!(
            fragments.later(at(3), ALICE, piece(id, 8, 8, false), b"end"),
            refused.map(|()| Later::Parked)
        );
    }
    assert_eq!(fragments.first(at(3), BOB, piece(7, 0, 8, true), 'v'), Ok(()), "others do not notice");
    assert_eq!(fragments.first(at(16), ALICE, piece(7, 0, 8, true), 'v'), Ok(()), "no longer than it takes");
}

#[test]
fn p15_pieces_of_who_is_forgotten_are_given_up_and_counted_released_or_not() {
    let mut fragments = fragments();
    for id in 1..=3 {
        fragments.later(at(0), ALICE, piece(id, 16, 16, false), b"early").unwrap();
        fragments.later(at(0), BOB, piece(id, 16, 16, false), b"early").unwrap();
    }
    for (subject, id) in [(ALICE, 1), (ALICE, 2), (BOB, 1)] {
        fragments.first(at(0), subject, piece(id, 0, 16, true), 'v').unwrap();
    }
    assert_eq!(fragments.take_given_up(), 0);
    fragments.forget(|subject, _| *subject == ALICE);
    assert_eq!((fragments.take_given_up(), fragments.take_given_up()), (3, 0));
    assert_eq!(fragments.parked_bytes_used(), 3 * 5);
    assert_eq!(released(&mut fragments).len(), 1);
}
