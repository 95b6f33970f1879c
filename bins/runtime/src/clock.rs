//! The two clocks. Read first: clock_gettime(2). Called by worker, once per batch.

use rustix::time::{ClockId, Timespec, clock_gettime};
use wg_proto::{Instant, UnixTime};

/// Now, on the clock that counts through suspend and never steps.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    Instant::from_nanos(seconds(&time) * 1_000_000_000 + nanos(&time))
}

/// The wall clock, for time stamps that other machines see. A clock before 1970 reads as 1970.
pub fn unix_time() -> UnixTime {
    let time = clock_gettime(ClockId::Realtime);
    UnixTime::new(seconds(&time), nanos(&time) as u32)
}

fn seconds(time: &Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0)
}

fn nanos(time: &Timespec) -> u64 {
    u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_never_goes_back() {
        let first = now();
        assert!(now() >= first);
    }

    #[test]
    fn the_wall_clock_is_past_the_writing_of_this_test() {
        assert!(unix_time().secs > 1_790_000_000);
    }
}
