//! Slows down who guesses passwords (P22). Counted in the store, so that all servers count together and a restart forgets
//! nothing: per account, against many sources, and per source, against many accounts.
//!
//! An attempt is counted before the password is compared, and taken back if it was right: any number at once get no more
//! tries than one after the other. There is no lock-out for good: an attacker could lock out whom he likes.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};

use crate::store::audit::hex;
use crate::store::{StoreError, Tx};

/// How failures on one kind of subject slow down further attempts.
#[derive(Debug, Clone, Copy)]
struct Slowdown {
    /// Failures that cost nothing: people mistype.
    free: u64,
    /// The delay never grows beyond this.
    delay_max: Duration,
    /// After so long without a failure everything is forgotten.
    memory: SignedDuration,
}

// Our own choices. Half a minute per guess leaves 2880 guesses a day, hopeless against 15 characters, and keeps the owner
// from being locked out for long; a source has no owner to be considered.
const ACCOUNT: Slowdown =
    Slowdown { free: 5, delay_max: Duration::from_secs(30), memory: SignedDuration::from_hours(24) };
const SOURCE: Slowdown =
    Slowdown { free: 20, delay_max: Duration::from_secs(900), memory: SignedDuration::from_hours(24) };
/// The first delay; each further failure doubles it.
const DELAY_FIRST: Duration = Duration::from_secs(1);

/// An attempt that was counted, and what it was counted on.
#[derive(Debug)]
pub(super) struct Attempt {
    account: String,
    source: String,
}

/// Not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limited {
    pub(super) retry_after: Duration,
}

impl Tx {
    /// Counts an attempt to log in, unless earlier failures forbid it for now.
    pub(super) async fn begin_attempt(
        &mut self,
        user: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Result<Attempt, Limited>, StoreError> {
        let attempt = Attempt { account: account_subject(user), source: source_subject(source) };
        let subjects = [(&attempt.account, ACCOUNT), (&attempt.source, SOURCE)];
        let mut wait = Duration::ZERO;
        for (subject, slowdown) in &subjects {
            let Some((failures, last)) = self.failures(subject).await? else { continue };
            if now.duration_since(last) > slowdown.memory {
                self.forget_failures(subject).await?;
            } else {
                wait = wait.max(slowdown.left(failures, last, now));
            }
        }
        if wait > Duration::ZERO {
            return Ok(Err(Limited { retry_after: wait }));
        }
        for (subject, _) in &subjects {
            self.count_failure(subject, now).await?;
        }
        Ok(Ok(attempt))
    }

    /// The attempt was right. The account starts anew; of the source's failures only this one is taken back, or who has
    /// one password could go on guessing others'.
    pub(super) async fn attempt_was_right(&mut self, attempt: &Attempt) -> Result<(), StoreError> {
        self.forget_failures(&attempt.account).await?;
        self.take_back_failure(&attempt.source).await
    }

    /// The attempt was not compared at all.
    pub(super) async fn take_back(&mut self, attempt: &Attempt) -> Result<(), StoreError> {
        self.take_back_failure(&attempt.account).await?;
        self.take_back_failure(&attempt.source).await
    }
}

impl Slowdown {
    fn delay(self, failures: u64) -> Duration {
        let Some(beyond) = failures.checked_sub(self.free) else { return Duration::ZERO };
        let doubled = u32::try_from(beyond).ok().and_then(|beyond| 2_u32.checked_pow(beyond));
        DELAY_FIRST.saturating_mul(doubled.unwrap_or(u32::MAX)).min(self.delay_max)
    }

    /// What is left of the delay. A clock that was set back prolongs it to twice its length at most.
    fn left(self, failures: u64, last: Timestamp, now: Timestamp) -> Duration {
        let delay = self.delay(failures);
        match Duration::try_from(now.duration_since(last)) {
            Ok(passed) => delay.saturating_sub(passed),
            Err(_) => delay,
        }
    }
}

/// Not the name itself: people type passwords into the wrong field, and the store keeps no passwords.
fn account_subject(user: &str) -> String {
    format!("user:{}", &hex(digest(&SHA256, user.as_bytes()).as_ref())[..32])
}

/// An IPv6 subscriber has a whole /64.
fn source_subject(source: IpAddr) -> String {
    match source.to_canonical() {
        IpAddr::V4(source) => format!("source:{source}"),
        IpAddr::V6(source) => {
            format!("source:{}/64", Ipv6Addr::from_bits(source.to_bits() & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_and_is_bounded() {
        for (failures, seconds) in
            [(0, 0), (4, 0), (5, 1), (6, 2), (9, 16), (10, 30), (37, 30), (u64::MAX, 30)]
        {
            assert_eq!(ACCOUNT.delay(failures), Duration::from_secs(seconds), "{failures}");
        }
        assert_eq!(SOURCE.delay(u64::MAX), Duration::from_secs(900));
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let last = Timestamp::from_second(1_000_000).unwrap();
        for (passed, left) in [(0, 30), (29, 1), (30, 0), (31, 0), (-500_000, 30)] {
            let now = last.checked_add(SignedDuration::from_secs(passed)).unwrap();
            assert_eq!(ACCOUNT.left(20, last, now), Duration::from_secs(left), "{passed}");
        }
    }

    #[test]
    fn addresses_of_one_subscriber_are_one_source() {
        let subject = |text: &str| source_subject(text.parse().unwrap());
        assert_eq!(subject("2001:db8:0:1::1"), subject("2001:db8:0:1:ffff::2"));
        assert_ne!(subject("2001:db8:0:1::1"), subject("2001:db8:0:2::1"));
        assert_eq!(subject("::ffff:192.0.2.1"), subject("192.0.2.1"));
        assert!(!account_subject("hunter2").contains("hunter2"));
    }
}
