//! The two clocks the protocol reads. Neither is read here: callers pass both.

use core::time::Duration;

/// A moment of boot time, in nanoseconds since an origin the caller chose. Runs on during suspend
/// (`CLOCK_BOOTTIME`), never steps; every timer of the protocol lives on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Later than every moment that happens; a timer set to it is not armed.
    pub(crate) const NEVER: Instant = Instant(u64::MAX);

    /// The moment `nanos` nanoseconds after the clock's origin.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the clock's origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `duration` later, or `None` past the end of the clock (584 years).
    pub fn checked_add(self, duration: Duration) -> Option<Instant> {
        u64::try_from(duration.as_nanos()).ok().and_then(|nanos| self.0.checked_add(nanos)).map(Instant)
    }

    /// The moment `duration` later, at most the end of the clock.
    pub const fn saturating_add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(saturating_nanos(duration)))
    }

    /// The moment `duration` earlier, at least the clock's origin.
    pub const fn saturating_sub(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_sub(saturating_nanos(duration)))
    }

    /// Time since `earlier`; zero when `earlier` is not earlier.
    pub const fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in nanoseconds, at most `u64::MAX` of them. Multiplies 64-bit halves only: this runs per batch.
const fn saturating_nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

/// Wall-clock time since the Unix epoch. It may step; the protocol uses it for handshake time stamps and
/// for what `wg show` prints, never for a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub secs: u64,
    /// Nanoseconds within the second, below 1 000 000 000.
    pub nanos: u32,
}

impl UnixTime {
    /// `secs` seconds and `nanos` nanoseconds after the epoch; nanoseconds past a second are cut to its end.
    pub const fn new(secs: u64, nanos: u32) -> UnixTime {
        UnixTime { secs, nanos: if nanos > 999_999_999 { 999_999_999 } else { nanos } }
    }

    /// The time `duration` later.
    pub fn saturating_add(self, duration: Duration) -> UnixTime {
        let nanos = self.nanos.saturating_add(duration.subsec_nanos());
        let carry = u64::from(nanos / 1_000_000_000);
        let secs = self.secs.saturating_add(duration.as_secs()).saturating_add(carry);
        UnixTime { secs, nanos: nanos % 1_000_000_000 }
    }
}

/// Ties the two clocks together at the last moment the caller passed both, so that data-path calls,
/// which pass only boot time, can still note when a handshake completed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    at: Instant,
    unix: UnixTime,
}

impl WallClock {
    pub(crate) const UNSET: WallClock = WallClock { at: Instant(0), unix: UnixTime { secs: 0, nanos: 0 } };

    pub(crate) fn set(&mut self, at: Instant, unix: UnixTime) {
        *self = WallClock { at, unix };
    }

    /// Wall-clock time at `now`; the epoch plus uptime as long as no wall-clock time was ever passed.
    pub(crate) fn at(&self, now: Instant) -> UnixTime {
        self.unix.saturating_add(now.saturating_duration_since(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_saturate_at_both_ends() {
        let end = Instant::from_nanos(u64::MAX);
        assert_eq!(end.saturating_add(Duration::MAX), end);
        assert_eq!(end.checked_add(Duration::from_nanos(1)), None);
        assert_eq!(Instant::from_nanos(5).saturating_sub(Duration::from_secs(1)), Instant::from_nanos(0));
        assert_eq!(Instant::from_nanos(5).saturating_duration_since(end), Duration::ZERO);
    }

    #[test]
    fn unix_time_carries_nanoseconds_into_seconds() {
        let time = UnixTime::new(1, 900_000_000).saturating_add(Duration::from_millis(250));
        assert_eq!(time, UnixTime::new(2, 150_000_000));
        assert_eq!(UnixTime::new(0, u32::MAX).nanos, 999_999_999);
    }

    #[test]
    fn a_moment_past_the_end_of_the_clock_is_none() {
        let start = Instant::from_nanos(5);
        assert_eq!(start.checked_add(Duration::from_nanos(7)), Some(Instant::from_nanos(12)));
        let rest = Duration::from_nanos(u64::MAX - 5);
        assert_eq!(start.checked_add(rest), Some(Instant::from_nanos(u64::MAX)));
        for past in [rest + Duration::from_nanos(1), Duration::MAX] {
            assert_eq!(start.checked_add(past), None);
        }
    }
}
