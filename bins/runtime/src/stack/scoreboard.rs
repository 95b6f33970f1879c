//! What the other end of a connection has said it holds, beyond what it has acknowledged. Read first: RFC 2018, RFC 6675
//! section 4. Called by sender.

use std::iter;
use std::ops::Range;

// Our own choice.
/// The other end may have so many gaps. Of more, what lies highest is forgotten, and sent again in the worst case.
const RANGES_MAX: usize = 64;

/// Ranges of the stream that the other end holds: ascending, with gaps between them.
#[derive(Debug, Default)]
pub(super) struct Scoreboard(Vec<Range<u64>>);

impl Scoreboard {
    /// What it takes at most, beside itself.
    #[cfg(test)]
    pub(super) const BYTES_MAX: usize = RANGES_MAX * size_of::<Range<u64>>();

    /// The other end holds this.
    pub(super) fn add(&mut self, range: Range<u64>) {
        let first = self.0.partition_point(|held| held.end < range.start);
        let behind = self.0.partition_point(|held| held.start <= range.end);
        let touched = first..behind;
        if touched.is_empty() && self.0.len() == RANGES_MAX {
            if first == RANGES_MAX {
                return;
            }
            self.0.pop();
        }
        let merged = self.0[touched.clone()]
            .iter()
            .fold(range, |merged, held| merged.start.min(held.start)..merged.end.max(held.end));
        self.0.splice(touched, [merged]);
    }

    /// Everything before `place` is acknowledged.
    pub(super) fn forget_before(&mut self, place: u64) {
        let gone = self.0.partition_point(|held| held.end <= place);
        self.0.drain(..gone);
        if self.0.is_empty() {
            self.clear();
        }
    }

    /// Nothing is known any more, and no memory kept.
    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// What of `range` the other end has not said to hold, in parts.
    pub(super) fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let mut from = range.start;
        self.0.iter().cloned().chain(iter::once(range.end..range.end)).filter_map(move |held| {
            let gap = from..held.start.min(range.end);
            from = from.max(held.end);
            (gap.start < gap.end).then_some(gap)
        })
    }

    /// Bytes of `range` that the other end has not said to hold.
    pub(super) fn missing(&self, range: Range<u64>) -> u64 {
        self.gaps(range).map(|gap| gap.end - gap.start).sum()
    }

    /// Bytes it holds from `place` on.
    pub(super) fn held_from(&self, place: u64) -> u64 {
        self.0.iter().map(|held| held.end.saturating_sub(held.start.max(place))).sum()
    }

    /// All gaps before this have at least so many bytes behind them that the other end holds.
    pub(super) fn overtaken(&self, bytes: u64) -> Option<u64> {
        let mut behind = 0;
        let enough = self.0.iter().rev().find(|held| {
            behind += held.end - held.start;
            behind >= bytes
        });
        enough.map(|held| held.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn board(ranges: &[Range<u64>]) -> Scoreboard {
        let mut board = Scoreboard::default();
        ranges.iter().cloned().for_each(|range| board.add(range));
        board
    }

    #[test]
    fn losses_are_what_enough_has_overtaken() {
        let board = board(&[30..40, 10..12, 20..25]);
        for (bytes, overtaken) in [(1, 30), (10, 30), (11, 20), (15, 20), (16, 10), (17, 10)] {
            assert_eq!(board.overtaken(bytes), Some(overtaken), "{bytes}");
        }
        assert_eq!(board.overtaken(18), None);
    }

    #[test]
    fn there_are_never_too_many_ranges() {
        let mut board = Scoreboard::default();
        for number in (0..1000).rev() {
            board.add(number * 10..number * 10 + 5);
            assert!(board.0.capacity() <= RANGES_MAX);
        }
        board.add(20_000..20_001);
        assert_eq!(board.held_from(0), 5 * RANGES_MAX as u64, "the lowest are kept");
    }

    proptest! {
        #[test]
        fn ranges_are_what_a_set_of_bytes_would_be(
            steps in prop::collection::vec((0..120_u64, 1..30_u64, any::<bool>()), 0..40),
            window in (0..120_u64, 0..60_u64),
        ) {
            let (mut board, mut bytes) = (Scoreboard::default(), std::collections::BTreeSet::new());
            for (start, len, forgets) in steps {
                if forgets {
                    board.forget_before(start);
                    // A range is forgotten as a whole.
                    bytes.retain(|byte| *byte >= start || board.held_from(*byte) > board.held_from(*byte + 1));
                } else {
                    board.add(start..start + len);
                    bytes.extend(start..start + len);
                }
                prop_assert!(board.0.windows(2).all(|pair| pair[0].end < pair[1].start), "{board:?}");
            }
            let range = window.0..window.0 + window.1;
            let missing: Vec<_> = board.gaps(range.clone()).flatten().collect();
            let expected: Vec<_> = range.clone().filter(|byte| !bytes.contains(byte)).collect();
            prop_assert_eq!(board.missing(range.clone()), expected.len() as u64);
            prop_assert_eq!(missing, expected);
            prop_assert_eq!(board.held_from(range.start), bytes.range(range.start..).count() as u64);
        }
    }
}
