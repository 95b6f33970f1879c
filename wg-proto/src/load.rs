//! Whether we are under load, and what each source may send while we are.
//! Read first: whitepaper §5.3; Linux receive.c (`under_load`), ratelimiter.c. Called by device.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use hashbrown::HashTable;

use crate::constants::{
    LOAD_BURST, LOAD_FRACTION, LOAD_HELD_FOR, LOAD_MESSAGES_PER_SECOND, LOAD_SOURCES_MAX,
};
use crate::index::HashKey;
use crate::time::Instant;

/// How full the caller's queue of control messages is, the message in hand not counted. The load of the whole
/// node, not of one source: sources can be spoofed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueLoad {
    /// Messages waiting.
    pub waiting: u32,
    /// Messages that can wait.
    pub capacity: u32,
}

impl QueueLoad {
    /// An empty queue: for callers without one.
    pub const IDLE: QueueLoad = QueueLoad { waiting: 0, capacity: 1 };

    const fn is_high(self) -> bool {
        self.waiting > 0 && self.waiting as u64 * LOAD_FRACTION as u64 >= self.capacity as u64
    }
}

/// Remembers for a second that the queue was filling.
#[derive(Default)]
pub(crate) struct LoadGauge {
    high_until: Option<Instant>,
}

impl LoadGauge {
    /// Whether we are under load at `now`. Falls back by itself: nothing has to reset it.
    pub(crate) fn is_under_load(&mut self, now: Instant, load: QueueLoad) -> bool {
        if load.is_high() {
            self.high_until = Some(now.saturating_add(LOAD_HELD_FOR));
        }
        self.high_until.is_some_and(|until| now < until)
    }
}

/// Nanoseconds of credit one message costs, and how much a source can save up.
const COST: u64 = 1_000_000_000 / LOAD_MESSAGES_PER_SECOND as u64;
const CREDIT_MAX: u64 = COST * LOAD_BURST as u64;
/// A source silent this long has its full credit again and need not be remembered.
const FORGET_AFTER: Duration = Duration::from_secs(1);

/// A token bucket per source address (IPv6: per /64, which one subscriber has whole). At most
/// [`LOAD_SOURCES_MAX`] of them; when full, new sources are refused until idle ones are forgotten.
pub(crate) struct SourceLimiter {
    buckets: HashTable<Bucket>,
    hash_key: HashKey,
    cleaned_at: Instant,
}

struct Bucket {
    source: [u8; 16],
    credit: u64,
    seen_at: Instant,
}

impl SourceLimiter {
    /// An empty limiter. Takes no memory until the first time under load.
    pub(crate) fn new(hash_key: HashKey) -> SourceLimiter {
        SourceLimiter { buckets: HashTable::new(), hash_key, cleaned_at: Instant::from_nanos(0) }
    }

    /// Whether `addr` may send one more message at `now`.
    pub(crate) fn allow(&mut self, now: Instant, addr: IpAddr) -> bool {
        self.forget_idle(now);
        let source = source_of(addr);
        let hash = self.hash_key.hash(&source);
        if let Some(bucket) = self.buckets.find_mut(hash, |bucket| bucket.source == source) {
            return bucket.take(now);
        }
        let free = self.buckets.len() < LOAD_SOURCES_MAX;
        if free {
            let (bucket, hash_key) =
                (Bucket { source, credit: CREDIT_MAX - COST, seen_at: now }, &self.hash_key);
            self.buckets.insert_unique(hash, bucket, |bucket| hash_key.hash(&bucket.source));
        }
        free
    }

    /// Once a second at most, so that a flood pays for it rarely.
    fn forget_idle(&mut self, now: Instant) {
        if now.saturating_duration_since(self.cleaned_at) >= FORGET_AFTER {
            self.buckets.retain(|bucket| now.saturating_duration_since(bucket.seen_at) < FORGET_AFTER);
            self.cleaned_at = now;
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.buckets.len()
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.seen_at).as_nanos() as u64;
        let credit = self.credit.saturating_add(earned).min(CREDIT_MAX);
        self.seen_at = now;
        self.credit = credit.checked_sub(COST).unwrap_or(credit);
        credit >= COST
    }
}

/// What counts as one source: an IPv4 address (also when mapped into IPv6), or an IPv6 /64.
fn source_of(addr: IpAddr) -> [u8; 16] {
    match addr.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn limiter() -> SourceLimiter {
        SourceLimiter::new(HashKey::new([5; 16]))
    }

    fn accepted(limiter: &mut SourceLimiter, now: u64, tries: usize, source: &str) -> usize {
        let addr = source.parse().unwrap();
        (0..tries).filter(|_| limiter.allow(at(now), addr)).count()
    }

    #[test]
    fn p13_load_begins_at_an_eighth_of_the_queue_and_is_held_one_second() {
        let mut gauge = LoadGauge::default();
        let load = |waiting| QueueLoad { waiting, capacity: 4096 };
        for (now, waiting, expected) in [
            (0, 511, false),
            (1, 512, true),
            (2, 0, true),
            (SECOND, 511, true),
            (SECOND + 1, 0, false),
            (2 * SECOND, 4096, true),
            (3 * SECOND - 1, 0, true),
            (3 * SECOND, 0, false),
        ] {
            assert_eq!(gauge.is_under_load(at(now), load(waiting)), expected, "{now} {waiting}");
        }
    }

    #[test]
    fn an_empty_queue_is_never_load() {
        assert!(!LoadGauge::default().is_under_load(at(0), QueueLoad::default()));
        assert!(!LoadGauge::default().is_under_load(at(0), QueueLoad::IDLE));
    }

    #[test]
    fn p13_a_source_has_a_burst_of_5_then_20_a_second() {
        let mut limiter = limiter();
        assert_eq!(accepted(&mut limiter, 0, 100, "192.0.2.1"), 5);
        assert_eq!(accepted(&mut limiter, SECOND / 20 - 1, 10, "192.0.2.1"), 0);
        assert_eq!(accepted(&mut limiter, SECOND / 20, 10, "192.0.2.1"), 1);
        let in_a_second: usize =
            (1..=1000).map(|ms| accepted(&mut limiter, SECOND / 20 + ms * 1_000_000, 1, "192.0.2.1")).sum();
        assert_eq!(in_a_second, 20);
        assert_eq!(accepted(&mut limiter, 9 * SECOND, 100, "192.0.2.1"), 5);
    }

    #[test]
    fn p13_sources_are_addresses_in_v4_and_64s_in_v6() {
        let mut limiter = limiter();
        assert_eq!(accepted(&mut limiter, 0, 9, "192.0.2.1"), 5);
        assert_eq!(accepted(&mut limiter, 0, 9, "192.0.2.2"), 5);
        assert_eq!(accepted(&mut limiter, 0, 9, "::ffff:192.0.2.2"), 0);
        assert_eq!(accepted(&mut limiter, 0, 9, "2001:db8::1"), 5);
        assert_eq!(accepted(&mut limiter, 0, 9, "2001:db8::2:0:0:1"), 0);
        assert_eq!(accepted(&mut limiter, 0, 9, "2001:db8:0:1::1"), 5);
    }

    #[test]
    fn p13_the_table_of_sources_is_bounded_and_empties_itself() {
        let mut limiter = limiter();
        for n in 0..LOAD_SOURCES_MAX as u32 + 1000 {
            let allowed = limiter.allow(at(SECOND), IpAddr::from(n.to_be_bytes()));
            assert_eq!(allowed, (n as usize) < LOAD_SOURCES_MAX);
        }
        assert_eq!(limiter.len(), LOAD_SOURCES_MAX);
        assert_eq!(accepted(&mut limiter, 2 * SECOND, 1, "192.0.2.1"), 1);
        assert_eq!(limiter.len(), 1);
    }
}
