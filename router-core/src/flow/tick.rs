//! Coarse time of the flow table: small enough to store per flow, fine enough for its timeouts.

use core::time::Duration;

use wg_proto::Instant;

/// 2^27 nanoseconds: a shift away from the clock, and 18 years in 32 bits.
const SHIFT: u32 = 27;

/// Boot time in units of about 134 ms, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub(crate) u32);

impl Tick {
    /// The tick in which `nanos` nanoseconds of boot time lie.
    #[allow(clippy::cast_possible_truncation, reason = "18 years of boot time")]
    pub const fn from_nanos(nanos: u64) -> Tick {
        Tick((nanos >> SHIFT) as u32)
    }

    /// Nanoseconds of boot time at which the tick begins.
    pub const fn as_nanos(self) -> u64 {
        (self.0 as u64) << SHIFT
    }

    /// The first tick that surely lies `timeout` ticks after any moment of this one.
    pub(crate) const fn after(self, timeout: u32) -> Tick {
        Tick(self.0.saturating_add(timeout).saturating_add(1))
    }

    /// Ticks since `earlier`, or 0 if it is later.
    pub(crate) const fn since(self, earlier: Tick) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<Instant> for Tick {
    fn from(instant: Instant) -> Tick {
        Tick::from_nanos(instant.as_nanos())
    }
}

impl From<Tick> for Instant {
    fn from(tick: Tick) -> Instant {
        Instant::from_nanos(tick.as_nanos())
    }
}

/// The duration in ticks, rounded up.
#[allow(clippy::cast_possible_truncation, reason = "timeouts are hours, ticks last years")]
pub(crate) const fn ticks(duration: Duration) -> u32 {
    duration.as_nanos().div_ceil(1 << SHIFT) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_at_most_two_ticks_late() {
        let timeout = Duration::from_secs(60);
        for nanos in [0, 1, (1 << SHIFT) - 1, 1 << SHIFT, 987_654_321_987] {
            let deadline = Tick::from_nanos(nanos).after(ticks(timeout)).as_nanos();
            let exact = nanos + 60_000_000_000;
            assert!((exact..exact + (2 << SHIFT)).contains(&deadline), "{nanos}: {deadline} for {exact}");
        }
    }
}
