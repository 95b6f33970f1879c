//! How long the other end takes to answer, and how long an answer may be waited for. Read first: RFC 6298. Called by sender.

use std::time::Duration;

// Of the specification.
/// Section 2.1: as long as nothing was measured.
const TIMEOUT_INITIAL: Duration = Duration::from_secs(1);
/// Section 2.5: at least a minute.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

// Our own choice.
/// The time-out is at least so much longer than a round trip: other ends take up to 200 ms before they acknowledge a lone
/// segment. Section 2.4 would have a second in all; as most systems do we wait less.
const MARGIN_MIN: Duration = Duration::from_millis(200);

/// Measured round trips.
#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    measured: Option<Measured>,
    /// Times that nothing was heard.
    silences: u32,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    smoothed: Duration,
    variation: Duration,
}

impl RoundTrip {
    /// One took so long.
    pub(super) fn measure(&mut self, took: Duration) {
        self.measured = Some(match self.measured {
            None => Measured { smoothed: took, variation: took / 2 },
            Some(Measured { smoothed, variation }) => Measured {
                variation: (variation * 3 + smoothed.abs_diff(took)) / 4,
                smoothed: (smoothed * 7 + took) / 8,
            },
        });
    }

    /// How long one takes; nothing if none was measured.
    pub(super) fn smoothed(&self) -> Duration {
        self.measured.map_or(Duration::ZERO, |measured| measured.smoothed)
    }

    /// How long to wait.
    pub(super) fn timeout(&self) -> Duration {
        let timeout = self.measured.map_or(TIMEOUT_INITIAL, |Measured { smoothed, variation }| {
            smoothed + (variation * 4).max(MARGIN_MIN)
        });
        timeout.saturating_mul(1 << self.silences.min(6)).min(TIMEOUT_MAX)
    }

    /// Nothing was heard for that long; the next wait is twice as long (section 5.5). Says whether it was so before.
    pub(super) fn note_silence(&mut self) -> bool {
        let was_silent = self.silences > 0;
        self.silences = self.silences.saturating_add(1);
        was_silent
    }

    /// The other end has acknowledged something new.
    pub(super) fn note_progress(&mut self) {
        self.silences = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_steady_path_is_waited_for_little_longer_than_it_takes_and_a_silent_one_ever_longer() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.timeout(), TIMEOUT_INITIAL);
        for _ in 0..50 {
            round_trip.measure(40 * MS);
        }
        assert_eq!((round_trip.smoothed(), round_trip.timeout()), (40 * MS, 240 * MS));
        for expected in [480, 960, 1920] {
            assert_eq!(round_trip.note_silence(), expected > 480);
            assert_eq!(round_trip.timeout(), expected * MS);
        }
        (0..100).for_each(|_| assert!(round_trip.note_silence()));
        assert!(round_trip.timeout() <= TIMEOUT_MAX && round_trip.timeout() > 10_000 * MS);
        round_trip.note_progress();
        assert_eq!(round_trip.timeout(), 240 * MS);
    }

    #[test]
    fn a_path_that_varies_is_waited_for_longer_than_it_ever_took() {
        let mut round_trip = RoundTrip::default();
        (0..100).for_each(|number| round_trip.measure(if number % 2 == 0 { 20 * MS } else { 420 * MS }));
        assert!(round_trip.timeout() > 420 * MS, "{round_trip:?}");
    }
}
