//! How much a path takes: the congestion window, after CUBIC. Read first: RFC 9438, RFC 5681. Called by sender.

use std::time::Duration;

use wg_proto::Instant;

// Of the specifications.
/// RFC 9438 section 4.6: what is left of the window after a loss.
const BETA: f64 = 0.7;
/// RFC 9438 section 5.1: segments a second cubed.
const C: f64 = 0.4;
/// RFC 9438 section 4.3: what Reno with our BETA would grow by, in segments a round trip.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// RFC 6928: ten segments, and no more bytes than this.
const INITIAL_WINDOW_BYTES: u64 = 14_600;
const INITIAL_WINDOW_SEGMENTS: u64 = 10;

/// The window of one connection, in bytes.
#[derive(Debug)]
pub(super) struct Congestion {
    segment: f64,
    window: f64,
    /// Below it the window doubles in a round trip.
    threshold: f64,
    /// Where it was before the last loss.
    before_loss: f64,
    /// What Reno would have.
    reno: f64,
    /// Since when it follows the curve.
    curve_since: Option<Instant>,
}

impl Congestion {
    /// For a path of which nothing is known.
    pub(super) fn new(segment_bytes: u64) -> Congestion {
        let window =
            (INITIAL_WINDOW_SEGMENTS * segment_bytes).min(INITIAL_WINDOW_BYTES.max(2 * segment_bytes));
        Congestion {
            segment: segment_bytes as f64,
            window: window as f64,
            threshold: f64::MAX,
            before_loss: 0.0,
            reno: 0.0,
            curve_since: None,
        }
    }

    /// Bytes that may be under way.
    pub(super) fn window(&self) -> u64 {
        self.window as u64
    }

    /// No segment carries more from now on.
    pub(super) fn set_segment_bytes(&mut self, segment_bytes: u64) {
        self.segment = segment_bytes as f64;
    }

    /// So much was acknowledged, and the window was in use.
    pub(super) fn grow(&mut self, now: Instant, acknowledged: u64, round_trip: Duration) {
        let acknowledged = acknowledged as f64;
        if self.window < self.threshold {
            // Bytes are counted, not acknowledgments, which may cover many segments (RFC 3465).
            self.window = (self.window + acknowledged).min(self.threshold.max(self.window + self.segment));
            return;
        }
        let since = *self.curve_since.get_or_insert_with(|| {
            (self.before_loss, self.reno) = (self.before_loss.max(self.window), self.window);
            now
        });
        let part = acknowledged / self.window;
        let steps = if self.reno < self.before_loss { ALPHA } else { 1.0 };
        self.reno += steps * self.segment * part;
        let ahead = now.saturating_duration_since(since) + round_trip;
        let target = self.curve(ahead.as_secs_f64()).clamp(self.window, 1.5 * self.window);
        self.window = (self.window + (target - self.window) * part).max(self.reno);
    }

    /// Something was lost while so much was not acknowledged.
    pub(super) fn note_loss(&mut self, outstanding: u64) {
        self.lower_threshold(outstanding);
        self.window = self.threshold;
    }

    /// Nothing was heard for too long while so much was not acknowledged.
    pub(super) fn note_silence(&mut self, outstanding: u64) {
        self.lower_threshold(outstanding);
        self.start_over();
    }

    /// From one segment on.
    pub(super) fn start_over(&mut self) {
        self.window = self.segment;
    }

    fn lower_threshold(&mut self, outstanding: u64) {
        // RFC 9438 section 4.7: who lost before it was where it was gives way to others.
        let gives_way = self.window < self.before_loss;
        self.before_loss = if gives_way { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.threshold = (self.window.min(outstanding as f64) * BETA).max(2.0 * self.segment);
        self.curve_since = None;
    }

    /// RFC 9438 section 4.2: the window after so many seconds.
    fn curve(&self, seconds: f64) -> f64 {
        let back = ((self.before_loss - self.threshold).max(0.0) / (C * self.segment)).cbrt();
        C * self.segment * (seconds - back).powi(3) + self.before_loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1000;
    const ROUND_TRIP: Duration = Duration::from_millis(20);
    const START: Instant = Instant::from_nanos(1_000_000_000);

    /// A window that was in use for so many round trips, each acknowledged segment by segment.
    fn use_for(congestion: &mut Congestion, now: &mut Instant, round_trips: u32) {
        for _ in 0..round_trips {
            *now = now.saturating_add(ROUND_TRIP);
            for _ in 0..congestion.window() / SEGMENT {
                congestion.grow(*now, SEGMENT, ROUND_TRIP);
            }
        }
    }

    #[test]
    fn a_window_begins_with_ten_segments_and_doubles_until_something_is_lost() {
        let (mut congestion, mut now) = (Congestion::new(SEGMENT), START);
        assert_eq!(congestion.window(), 10 * SEGMENT);
        use_for(&mut congestion, &mut now, 4);
        assert_eq!(congestion.window(), 160 * SEGMENT);
        congestion.note_loss(200 * SEGMENT);
        assert_eq!(congestion.window(), 112 * SEGMENT);
        assert_eq!(Congestion::new(9000).window(), 18_000);
        assert_eq!(Congestion::new(1380).window(), 13_800);
    }

    #[test]
    fn after_a_loss_it_is_back_where_it_was_after_the_time_that_cubic_has_for_it() {
        let (mut congestion, mut now) = (Congestion::new(SEGMENT), START);
        use_for(&mut congestion, &mut now, 7);
        let before = congestion.window();
        congestion.note_loss(before);
        let back = (before as f64 / SEGMENT as f64 * 0.3 / 0.4).cbrt();
        let since = now;
        while congestion.window() < before * 99 / 100 {
            use_for(&mut congestion, &mut now, 1);
        }
        let took = now.saturating_duration_since(since).as_secs_f64();
        assert!((back * 0.6..=back * 1.1).contains(&took), "{took} s, {back} s expected");
        // And goes on slowly at first.
        use_for(&mut congestion, &mut now, 10);
        assert!(congestion.window() < before * 105 / 100);
    }

    #[test]
    fn silence_makes_it_begin_anew_up_to_where_it_was_safe() {
        let (mut congestion, mut now) = (Congestion::new(SEGMENT), START);
        use_for(&mut congestion, &mut now, 4);
        congestion.note_silence(100 * SEGMENT);
        assert_eq!(congestion.window(), SEGMENT);
        use_for(&mut congestion, &mut now, 6);
        assert_eq!(congestion.window(), 64 * SEGMENT);
        use_for(&mut congestion, &mut now, 1);
        assert!((70 * SEGMENT..75 * SEGMENT).contains(&congestion.window()), "{}", congestion.window());
    }

    #[test]
    fn a_small_window_grows_at_least_as_reno_would() {
        let (mut congestion, mut now) = (Congestion::new(SEGMENT), START);
        congestion.note_loss(10 * SEGMENT);
        let before = congestion.window();
        use_for(&mut congestion, &mut now, 10);
        assert!(congestion.window() >= before + 5 * SEGMENT, "{} from {before}", congestion.window());
    }
}
