//! The time after a loss: how fast is sent meanwhile, and which of what was sent again is lost again. Read first: RFC 6937, RFC
//! 6675 section 5. Called by sender.

use std::collections::VecDeque;

// Our own choice.
/// So many stretches of what was sent again are told apart; later ones count as one.
const STRETCHES_MAX: usize = 32;

/// After a loss, until everything is acknowledged that was sent before.
#[derive(Debug)]
pub(super) struct Recovery {
    until: u64,
    is_slow: bool,
    /// Bytes that were not acknowledged when it began.
    outstanding: u64,
    /// Bytes that have arrived since, and that were sent.
    delivered: u64,
    out: u64,
    /// What was sent again, in the order of the stream.
    again: VecDeque<Stretch>,
}

/// What was sent again while the stream had been sent up to one place.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    end: u64,
    sent: u64,
}

impl Recovery {
    /// What it takes at most, beside itself.
    #[cfg(test)]
    pub(super) const BYTES_MAX: usize = STRETCHES_MAX * size_of::<Stretch>();

    /// Something is lost of what was sent from `acknowledged` to `sent`. `is_slow` if nothing was heard for too long: what
    /// limits then is the congestion window, which begins anew.
    pub(super) fn new(acknowledged: u64, sent: u64, is_slow: bool) -> Recovery {
        let outstanding = (sent - acknowledged).max(1);
        Recovery { until: sent, is_slow, outstanding, delivered: 0, out: 0, again: VecDeque::new() }
    }

    /// Everything before `place` is acknowledged. Says whether it is over.
    pub(super) fn advance(&mut self, place: u64) -> bool {
        let gone = self.again.partition_point(|stretch| stretch.end <= place);
        self.again.drain(..gone);
        place >= self.until
    }

    /// Whether it began with silence.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// So many bytes have arrived.
    pub(super) fn note_delivered(&mut self, bytes: u64) {
        self.delivered += bytes;
    }

    /// So many bytes were sent.
    pub(super) fn note_out(&mut self, bytes: u64) {
        self.out += bytes;
    }

    /// What was lost was sent again up to `end`, when the stream had been sent up to `sent`.
    pub(super) fn note_again(&mut self, end: u64, sent: u64) {
        let is_last = self.again.back().is_none_or(|last| last.end < end);
        if !is_last {
            // Once more.
            self.advance(end);
            self.again.push_front(Stretch { end, sent });
            return;
        }
        if self.again.len() >= STRETCHES_MAX || self.again.back().is_some_and(|last| last.sent == sent) {
            self.again.pop_back();
        }
        self.again.push_back(Stretch { end, sent });
    }

    /// Up to where it is lost again, if `is_overtaken` by what was sent after it.
    pub(super) fn lost_again(&self, is_overtaken: impl Fn(u64) -> bool) -> Option<u64> {
        self.again.iter().take_while(|stretch| is_overtaken(stretch.sent)).map(|stretch| stretch.end).last()
    }

    /// Bytes that may be sent now, of which `delivered` have just arrived: as large a part of what arrives as the window
    /// is of what was outstanding, and up to the window no faster than twice that.
    pub(super) fn allowance(&self, window: u64, in_flight: u64, delivered: u64, segment_bytes: u64) -> u64 {
        if self.is_slow {
            return window.saturating_sub(in_flight);
        }
        if in_flight > window {
            return (self.delivered * window / self.outstanding).saturating_sub(self.out);
        }
        let arrived = self.delivered.saturating_sub(self.out).max(delivered);
        (window - in_flight).min(arrived + segment_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1000;

    #[test]
    fn what_is_sent_again_is_lost_again_when_what_was_sent_after_it_has_overtaken_it() {
        let mut recovery = Recovery::new(0, 100, false);
        for (end, sent) in [(10, 100), (20, 100), (30, 110), (40, 120)] {
            recovery.note_again(end, sent);
        }
        let lost_again = |recovery: &Recovery, held_to| recovery.lost_again(|sent| sent < held_to);
        for (held_to, lost) in [(100, None), (101, Some(20)), (111, Some(30)), (200, Some(40))] {
            assert_eq!(lost_again(&recovery, held_to), lost, "{held_to}");
        }
        recovery.note_again(20, 130);
        assert_eq!(lost_again(&recovery, 121), None, "the first of them is under way once more");
        assert!(!recovery.advance(25));
        assert_eq!(lost_again(&recovery, 121), Some(40));
        assert!(recovery.advance(100));
        assert_eq!(lost_again(&recovery, 1000), None);
    }

    #[test]
    fn stretches_are_bounded_and_those_that_count_as_one_are_never_lost_too_early() {
        let mut recovery = Recovery::new(0, 10_000, false);
        (1..=1000).for_each(|number| recovery.note_again(number, 10_000 + number));
        assert!(recovery.again.len() <= STRETCHES_MAX);
        assert!(recovery.again.iter().all(|stretch| stretch.sent == 10_000 + stretch.end));
    }

    #[test]
    fn no_more_leaves_than_arrives_until_as_little_is_under_way_as_the_window_takes() {
        let mut recovery = Recovery::new(0, 100 * SEGMENT, false);
        recovery.note_delivered(10 * SEGMENT);
        assert_eq!(recovery.allowance(70 * SEGMENT, 90 * SEGMENT, SEGMENT, SEGMENT), 7 * SEGMENT);
        recovery.note_out(7 * SEGMENT);
        assert_eq!(recovery.allowance(70 * SEGMENT, 90 * SEGMENT, SEGMENT, SEGMENT), 0);
        // Half of it is lost, and known to be: still it does not leave at once.
        assert_eq!(recovery.allowance(70 * SEGMENT, 40 * SEGMENT, SEGMENT, SEGMENT), 4 * SEGMENT);
        assert_eq!(recovery.allowance(70 * SEGMENT, 69 * SEGMENT, SEGMENT, SEGMENT), SEGMENT);
        let slow = Recovery::new(0, 100 * SEGMENT, true);
        assert_eq!(slow.allowance(2 * SEGMENT, SEGMENT, 0, SEGMENT), SEGMENT);
    }
}
