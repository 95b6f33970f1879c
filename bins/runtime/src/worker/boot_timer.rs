//! A timer that counts through suspend. Read first: timerfd_create(2). Called by worker.
//!
//! The clock of poll(2)'s timeout stands still while the machine sleeps. What became due meanwhile, such as wiping old keys,
//! would be late after waking by as much as was left of the wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use wg_proto::Instant;

/// A descriptor that becomes readable at a moment of boot time.
#[derive(Debug)]
pub(super) struct BootTimer {
    fd: OwnedFd,
    armed: Option<Instant>,
}

impl BootTimer {
    pub(super) fn new() -> io::Result<BootTimer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(BootTimer { fd: timerfd_create(TimerfdClockId::Boottime, flags)?, armed: None })
    }

    /// The descriptor will be readable at `deadline` at the latest. If it is armed for an earlier moment it stays so and wakes
    /// its owner once in vain: deadlines move on with every batch, and a system call for each would cost more.
    pub(super) fn arm(&mut self, deadline: Instant) -> io::Result<()> {
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return Ok(());
        }
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once_at(deadline))?;
        self.armed = Some(deadline);
        Ok(())
    }

    /// It was readable: now it is not, and must be armed anew.
    pub(super) fn silence(&mut self) {
        self.armed = None;
        // It fails only when it was not readable.
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
    }
}

impl AsFd for BootTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Zero would disarm it, so the first nanosecond after boot stands in for that.
fn once_at(deadline: Instant) -> Itimerspec {
    let nanos = deadline.as_nanos().max(1);
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    let at = Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as _ };
    Itimerspec { it_interval: zero, it_value: at }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;
    use crate::clock;

    /// Whether it fires before a minute is over.
    fn fires(timer: &BootTimer) -> bool {
        let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
        poll(&mut [PollFd::new(timer, PollFlags::IN)], Some(&minute)).expect("poll") == 1
    }

    fn is_readable(timer: &BootTimer) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(timer, PollFlags::IN)], Some(&now)).expect("poll") == 1
    }

    #[test]
    fn it_fires_at_its_moment_not_before_and_once() {
        let mut timer = BootTimer::new().expect("timerfd");
        let deadline = clock::now().saturating_add(Duration::from_millis(20));
        timer.arm(deadline).expect("settime");
        assert!(fires(&timer) && clock::now() >= deadline);
        timer.silence();
        assert!(!is_readable(&timer));
    }

    #[test]
    fn a_moment_that_is_past_fires_at_once() {
        let mut timer = BootTimer::new().expect("timerfd");
        timer.arm(Instant::from_nanos(0)).expect("settime");
        assert!(fires(&timer));
    }

    #[test]
    fn an_earlier_moment_replaces_a_later_one_and_not_the_other_way_round() {
        let mut timer = BootTimer::new().expect("timerfd");
        let (soon, late) = (Duration::from_millis(20), Duration::from_secs(3600));
        for wait in [late, soon, late] {
            timer.arm(clock::now().saturating_add(wait)).expect("settime");
        }
        assert!(fires(&timer));
        timer.silence();
        timer.arm(clock::now().saturating_add(late)).expect("settime");
        assert!(!is_readable(&timer));
    }
}
