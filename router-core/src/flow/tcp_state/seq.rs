//! Sequence numbers: a circle, on which "before" means less than half way round.

/// Whether `a` comes before `b`. RFC 9293 §3.4.
pub(super) const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Whether `a` comes after `b`.
pub(super) const fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

/// The later of the two.
pub(super) const fn later(a: u32, b: u32) -> u32 {
    if before(a, b) { b } else { a }
}

/// Whether `value` lies in `low..=high`, going round.
pub(super) const fn within(value: u32, low: u32, high: u32) -> bool {
    value.wrapping_sub(low) <= high.wrapping_sub(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_goes_round_the_end() {
        assert!(before(u32::MAX, 0));
        assert!(after(5, u32::MAX - 5));
        assert_eq!(later(u32::MAX, 3), 3);
        assert!(within(2, u32::MAX, 3));
        assert!(!within(4, u32::MAX, 3));
    }
}
