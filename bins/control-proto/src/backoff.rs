//! How long to wait before the next dial: twice as long each time, at most [`WAIT_MAX`], and never all agents at once.

use std::time::Duration;

// Our own choices: with 10 000 agents, a server that comes back sees some 1000 dials a second.
/// The first wait at most.
const WAIT_MIN: Duration = Duration::from_millis(500);
/// Every wait at most.
const WAIT_MAX: Duration = Duration::from_secs(8);

/// Waits between dials. Each is between half of its bound and its bound.
#[derive(Debug, Clone)]
pub struct Backoff {
    bound: Duration,
    random: u64,
}

impl Backoff {
    /// `seed` makes this agent's waits its own.
    pub fn new(seed: u64) -> Backoff {
        Backoff { bound: WAIT_MIN, random: seed }
    }

    /// How long to wait now.
    pub fn next_wait(&mut self) -> Duration {
        let half = self.bound / 2;
        let share = f64::from((self.draw() >> 32) as u32) / f64::from(u32::MAX);
        self.bound = (self.bound * 2).min(WAIT_MAX);
        half + half.mul_f64(share)
    }

    /// A connection has come to something: the next wait is short again.
    pub fn reset(&mut self) {
        self.bound = WAIT_MIN;
    }

    /// SplitMix64: nobody gains from foretelling it.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_eight_seconds_and_begin_anew_after_a_reset() {
        let mut backoff = Backoff::new(7);
        for bound_ms in [500, 1000, 2000, 4000, 8000, 8000, 8000] {
            let wait = backoff.next_wait().as_millis();
            assert!((bound_ms / 2..=bound_ms).contains(&wait), "{wait} ms of {bound_ms}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= WAIT_MIN);
    }

    #[test]
    fn agents_with_different_seeds_do_not_dial_together() {
        let waits: std::collections::BTreeSet<_> =
            (0..32).map(|seed| Backoff::new(seed).next_wait()).collect();
        assert!(waits.len() > 24, "{waits:?}");
    }
}
