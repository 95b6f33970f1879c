//! Handshake time stamps: TAI64N labels, rounded so that they do not tell our clock, never repeated.
//! Read first: whitepaper §5.1; cr.yp.to/libtai/tai64.html. Called by noise and device.

use crate::constants::TIMESTAMP_GRAIN_NANOS;
use crate::time::UnixTime;

/// TAI64 label of the Unix epoch. Leap seconds do not matter here: only the order of labels does.
const UNIX_EPOCH: u64 = 0x4000_0000_0000_000a;

/// A time stamp as it is on the wire; ordered as its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tai64n([u8; 12]);

impl Tai64n {
    /// Before every time stamp that is sent.
    pub(crate) const ZERO: Tai64n = Tai64n([0; 12]);

    pub(crate) const fn from_bytes(bytes: [u8; 12]) -> Tai64n {
        Tai64n(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }

    /// The stamp to send at `unix` after having sent `self`: `unix` rounded down to 2^24 ns, or, if the clock has
    /// not moved on or went back, the first such stamp after `self`.
    pub(crate) fn next(self, unix: UnixTime) -> Tai64n {
        let now = Tai64n::label(UNIX_EPOCH.saturating_add(unix.secs), unix.nanos);
        if now > self { now } else { self.successor() }
    }

    fn successor(self) -> Tai64n {
        let (secs, nanos) = self.parts();
        let next = (nanos / TIMESTAMP_GRAIN_NANOS + 1) * TIMESTAMP_GRAIN_NANOS;
        if next < 1_000_000_000 { Tai64n::label(secs, next) } else { Tai64n::label(secs + 1, 0) }
    }

    fn label(secs: u64, nanos: u32) -> Tai64n {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&secs.to_be_bytes());
        bytes[8..].copy_from_slice(&(nanos / TIMESTAMP_GRAIN_NANOS * TIMESTAMP_GRAIN_NANOS).to_be_bytes());
        Tai64n(bytes)
    }

    fn parts(self) -> (u64, u32) {
        let (secs, nanos) = self.0.split_at(8);
        let secs = secs.try_into().map(u64::from_be_bytes).expect("eight of twelve bytes");
        let nanos = nanos.try_into().map(u32::from_be_bytes).expect("the other four");
        (secs, nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn time_stamps_are_whitened_to_2_to_the_24_nanoseconds() {
        let stamp = Tai64n::ZERO.next(UnixTime::new(1, 999_999_999));
        assert_eq!(stamp.parts(), (UNIX_EPOCH + 1, 59 << 24));
        assert_eq!(stamp.as_bytes()[..8], [0x40, 0, 0, 0, 0, 0, 0, 0x0b]);
    }

    #[test]
    fn p12_a_clock_that_stands_or_goes_back_still_gives_later_stamps() {
        let first = Tai64n::ZERO.next(UnixTime::new(1_000, 59 << 24));
        let second = first.next(UnixTime::new(1_000, 59 << 24));
        assert_eq!(second.parts(), (UNIX_EPOCH + 1_001, 0));
        let third = second.next(UnixTime::new(5, 0));
        assert_eq!(third.parts(), (UNIX_EPOCH + 1_001, 1 << 24));
    }

    proptest! {
        #[test]
        fn p12_sent_time_stamps_strictly_increase(times in prop::collection::vec((0u64..5, 0u32..1_000_000_000), 1..50)) {
            let mut last = Tai64n::ZERO;
            for (secs, nanos) in times {
                let stamp = last.next(UnixTime::new(secs, nanos));
                prop_assert!(stamp > last);
                prop_assert_eq!(stamp.parts().1 % TIMESTAMP_GRAIN_NANOS, 0);
                prop_assert!(stamp.parts().1 < 1_000_000_000);
                last = stamp;
            }
        }
    }
}
