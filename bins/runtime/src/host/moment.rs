//! Now, on both clocks: a deadline is written in wall-clock time and enforced in boot time, which never steps.

use std::time::Duration;

use wg_proto::{Instant, UnixTime};

use crate::clock;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// On the clock that counts through suspend and never steps.
    pub boot: Instant,
    /// On the wall.
    pub unix: UnixTime,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self { boot: clock::now(), unix: clock::unix_time() }
    }

    /// When it will be `unix_secs` on the wall if the clock is not set meanwhile; `None` if that is past.
    pub fn deadline(self, unix_secs: i64) -> Option<Instant> {
        let secs = u64::try_from(unix_secs).ok()?.checked_sub(self.unix.secs).filter(|secs| *secs > 0)?;
        Some(self.boot.saturating_add(Duration::from_secs(secs)))
    }

    /// Whole seconds until `deadline`; 0 if it is past.
    pub fn secs_until(self, deadline: Instant) -> u64 {
        deadline.saturating_duration_since(self.boot).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_as_far_on_one_clock_as_on_the_other() {
        let moment = Moment { boot: Instant::from_nanos(5_000_000_000), unix: UnixTime::new(1000, 0) };
        for (unix_secs, boot_secs) in [(1060, Some(65)), (1001, Some(6)), (1000, None), (0, None), (-1, None)]
        {
            let expected = boot_secs.map(|secs: u64| Instant::from_nanos(secs * 1_000_000_000));
            assert_eq!(moment.deadline(unix_secs), expected, "{unix_secs}");
        }
    }
}
