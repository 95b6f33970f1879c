//! A peer's five timers and what sets them. Nothing here sends: a timer that is due tells the device.
//! Read first: whitepaper §6; Linux timers.c, whose events the methods are named after. Called by device.

use core::time::Duration;

use crate::constants::{KEEPALIVE_TIMEOUT, REKEY_ATTEMPT_TIME, REKEY_TIMEOUT, ZERO_KEYS_AFTER};
use crate::time::Instant;

/// The timers a peer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// No response to our initiation yet: try again, or give up.
    Retransmit,
    /// Data was received and nothing sent since: answer by a keepalive.
    Keepalive,
    /// Data was sent and nothing received since: the session may be dead.
    NewHandshake,
    /// No new session for long: wipe all keys.
    ZeroKeys,
    /// Nothing authenticated passed for the configured interval: keep the path open.
    PersistentKeepalive,
}

impl Timer {
    /// All timers, in the order they fire when due together.
    pub(crate) const ALL: [Timer; 5] = [
        Timer::Retransmit,
        Timer::Keepalive,
        Timer::NewHandshake,
        Timer::ZeroKeys,
        Timer::PersistentKeepalive,
    ];
}

/// The timers of one peer: plain deadlines, so that setting one is a store.
pub(crate) struct Timers {
    deadlines: [Instant; 5],
    /// Since when the current series of handshake attempts has been asked for.
    attempts_since: Instant,
}

impl Timers {
    pub(crate) const fn new() -> Timers {
        Timers { deadlines: [Instant::NEVER; 5], attempts_since: Instant::from_nanos(0) }
    }

    /// The earliest deadline and its timer, if any timer runs.
    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        let earliest = Timer::ALL.into_iter().min_by_key(|timer| self.deadline(*timer))?;
        self.is_armed(earliest).then(|| (self.deadline(earliest), earliest))
    }

    /// Stops and returns the earliest timer that is due at `now`.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (deadline, timer) = self.next()?;
        (deadline <= now).then(|| {
            self.stop(timer);
            timer
        })
    }

    pub(crate) fn is_armed(&self, timer: Timer) -> bool {
        self.deadline(timer) != Instant::NEVER
    }

    /// Data was sent: something must come back within 15 s of the *first* such packet, plus jitter.
    pub(crate) fn data_sent(&mut self, now: Instant, jitter: impl FnOnce() -> Duration) {
        if !self.is_armed(Timer::NewHandshake) {
            let silence = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter();
            self.set(Timer::NewHandshake, now.saturating_add(silence));
        }
    }

    /// Data was received: it is answered within 10 s of the *first* such packet. One keepalive answers all data
    /// that came before it.
    pub(crate) fn data_received(&mut self, now: Instant) {
        if !self.is_armed(Timer::Keepalive) {
            self.set(Timer::Keepalive, now.saturating_add(KEEPALIVE_TIMEOUT));
        }
    }

    /// Anything authenticated was sent: received data is answered.
    pub(crate) fn authenticated_sent(&mut self) {
        self.stop(Timer::Keepalive);
    }

    /// Anything authenticated was received: the peer is there.
    pub(crate) fn authenticated_received(&mut self) {
        self.stop(Timer::NewHandshake);
    }

    /// Anything authenticated passed, either way: the path is open.
    pub(crate) fn traversed(&mut self, now: Instant, persistent_keepalive: Option<Duration>) {
        if let Some(interval) = persistent_keepalive {
            self.set(Timer::PersistentKeepalive, now.saturating_add(interval));
        }
    }

    /// Somebody asked for a handshake: the series of attempts starts (over).
    pub(crate) fn handshake_wanted(&mut self, now: Instant) {
        self.attempts_since = now;
    }

    /// An initiation was sent.
    pub(crate) fn initiation_sent(&mut self, now: Instant, jitter: Duration) {
        self.set(Timer::Retransmit, now.saturating_add(REKEY_TIMEOUT + jitter));
    }

    /// An initiation may not be sent before `at`: ask again then.
    pub(crate) fn initiation_deferred(&mut self, at: Instant) {
        if !self.is_armed(Timer::Retransmit) {
            self.set(Timer::Retransmit, at);
        }
    }

    /// Whether the series of attempts has lasted long enough.
    pub(crate) fn attempts_are_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.attempts_since) >= REKEY_ATTEMPT_TIME
    }

    /// The series of attempts was given up. Keys are wiped in due time, if they were not to be before; a session
    /// that is still valid stays.
    pub(crate) fn attempts_given_up(&mut self, now: Instant) {
        self.stop(Timer::Keepalive);
        if !self.is_armed(Timer::ZeroKeys) {
            self.set(Timer::ZeroKeys, now.saturating_add(ZERO_KEYS_AFTER));
        }
    }

    /// A session was derived.
    pub(crate) fn session_derived(&mut self, now: Instant) {
        self.set(Timer::ZeroKeys, now.saturating_add(ZERO_KEYS_AFTER));
    }

    /// A session can be used in both directions.
    pub(crate) fn handshake_completed(&mut self) {
        self.stop(Timer::Retransmit);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.deadlines[timer as usize] = Instant::NEVER;
    }

    fn set(&mut self, timer: Timer, at: Instant) {
        self.deadlines[timer as usize] = at;
    }

    fn deadline(&self, timer: Timer) -> Instant {
        self.deadlines[timer as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn giving_up_stops_the_answer_that_was_due_and_has_keys_wiped_in_time() {
        let mut timers = Timers::new();
        timers.data_received(at(1));
        timers.attempts_given_up(at(2));
        assert_eq!(timers.next(), Some((at(2 + 540), Timer::ZeroKeys)));
    }

    #[test]
    fn giving_up_puts_off_no_wiping_that_was_due_before() {
        let mut timers = Timers::new();
        timers.session_derived(at(1));
        timers.attempts_given_up(at(200));
        assert_eq!(timers.next(), Some((at(1 + 540), Timer::ZeroKeys)));
    }
}
