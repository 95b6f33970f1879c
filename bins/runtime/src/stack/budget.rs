//! Memory for connections' buffers: bounded in total, and shared so that the first are not slow and the last not refused.
//! Called by stack.

use std::sync::atomic::{AtomicUsize, Ordering};

// Our own choices.
/// This part of the budget is for connections of the least size, the rest for larger ones.
const SMALL_PART: usize = 2;
/// A new connection gets this part of what is left for larger ones.
const SHARE: usize = 64;
/// Both buffers of a connection together, at least: 8 KiB each way, more than five full segments.
pub(super) const CONNECTION_BYTES_MIN: usize = 16 * 1024;
/// At most: 2 MiB each way, a gigabit over 16 ms.
pub(super) const CONNECTION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that buffers may have, and have.
#[derive(Debug)]
pub(super) struct Budget {
    max: usize,
    used: AtomicUsize,
}

/// Bytes of one connection; they go back when it is dropped.
#[derive(Debug)]
pub(super) struct Grant {
    budget: std::sync::Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Budget {
        Budget { max, used: AtomicUsize::new(0) }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A share for one more connection; `None` if not even the least is left.
    pub(super) fn grant(self: &std::sync::Arc<Budget>) -> Option<Grant> {
        let mut bytes = 0;
        let granted = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            bytes = share(self.max, used)?;
            Some(used + bytes)
        });
        granted.ok().map(|_| Grant { budget: std::sync::Arc::clone(self), bytes })
    }
}

impl Grant {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A power of two between the bounds, and never more than is left.
fn share(max: usize, used: usize) -> Option<usize> {
    let left = max.saturating_sub(used);
    let for_larger = left.saturating_sub(max / SMALL_PART);
    let wanted = (for_larger / SHARE).clamp(CONNECTION_BYTES_MIN, CONNECTION_BYTES_MAX);
    let rounded = if wanted.is_power_of_two() { wanted } else { wanted.next_power_of_two() / 2 };
    (rounded <= left).then_some(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn the_first_get_much_and_the_last_get_the_least_and_all_together_never_too_much() {
        let budget = Arc::new(Budget::new(256 * MIB));
        let mut grants = Vec::new();
        while let Some(grant) = budget.grant() {
            grants.push(grant);
            assert!(budget.used() <= 256 * MIB && grants.len() < 10_000);
        }
        assert_eq!(grants[0].bytes(), 2 * MIB);
        assert_eq!(grants.last().unwrap().bytes(), CONNECTION_BYTES_MIN);
        assert_eq!(budget.used(), 256 * MIB, "not a byte is left over");
        assert!(grants.len() > 8000, "{}", grants.len());
        drop(grants);
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.grant().unwrap().bytes(), 2 * MIB);
    }

    #[test]
    fn shares_are_powers_of_two_within_bounds() {
        let max = 1024 * MIB;
        for (used, granted) in [
            (0, Some(CONNECTION_BYTES_MAX)),
            (max / 2 - 64 * 128 * 1024, Some(128 * 1024)),
            (max / 2 - 64 * 100 * 1024, Some(64 * 1024)),
            (max / 2, Some(CONNECTION_BYTES_MIN)),
            (max - CONNECTION_BYTES_MIN, Some(CONNECTION_BYTES_MIN)),
            (max - CONNECTION_BYTES_MIN + 1, None),
            (max, None),
        ] {
            assert_eq!(share(max, used), granted, "{used}");
        }
    }
}
