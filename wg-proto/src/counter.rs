//! The nonce counter of a session.

use crate::constants::REJECT_AFTER_MESSAGES;

/// A transport packet's counter: its nonce. 64 bits on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter(u64);

impl Counter {
    /// The first counter of a session.
    pub const ZERO: Counter = Counter(0);

    /// The counter with this value. Values from [`REJECT_AFTER_MESSAGES`] on are never used.
    pub const fn new(value: u64) -> Counter {
        Counter(value)
    }

    /// The value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether a packet may carry this counter: whether it is below [`REJECT_AFTER_MESSAGES`].
    pub const fn is_usable(self) -> bool {
        self.0 < REJECT_AFTER_MESSAGES
    }

    /// The counter after `count` more packets, or `None` when they would not all be usable.
    pub const fn after(self, count: u32) -> Option<Counter> {
        match self.0.checked_add(count as u64) {
            Some(next) if next <= REJECT_AFTER_MESSAGES => Some(Counter(next)),
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_64_bits_wide_on_every_machine() {
        assert_eq!(size_of::<Counter>(), 8);
        assert_eq!(Counter::new(u64::from(u32::MAX)).after(1), Some(Counter::new(1 << 32)));
    }

    #[test]
    fn p10_counters_stop_at_reject_after_messages() {
        let last = REJECT_AFTER_MESSAGES - 1;
        for (value, count, after) in [
            (0, 1, Some(1)),
            (last, 1, Some(REJECT_AFTER_MESSAGES)),
            (last, 2, None),
            (REJECT_AFTER_MESSAGES, 0, Some(REJECT_AFTER_MESSAGES)),
            (REJECT_AFTER_MESSAGES, 1, None),
            (u64::MAX, 1, None),
        ] {
            assert_eq!(Counter::new(value).after(count), after.map(Counter::new), "{value} + {count}");
        }
        assert!(Counter::new(last).is_usable() && !Counter::new(last + 1).is_usable());
    }
}
