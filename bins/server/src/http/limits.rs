//! How much one may ask for: token buckets by principal and by source, and how many requests are worked on at a time
//! (P27, P28).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often something may happen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// At once, after a rest.
    pub(super) burst: u32,
    /// In the long run.
    pub(super) per_second: u32,
}

// Our own choices.
/// A principal: `sluice apply` writes hundreds of objects, one after the other.
pub(super) const PRINCIPAL: Rate = Rate { burst: 500, per_second: 100 };
/// A source: many principals may be behind one address.
pub(super) const SOURCE: Rate = Rate { burst: 1000, per_second: 200 };
/// Buckets kept of each sort. When they are too many, those that are full again go; if none is, newcomers share one.
const BUCKETS_MAX: usize = 65_536;

/// Buckets, one for each key.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: Rate,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    buckets: HashMap<K, Bucket>,
    shared: Bucket,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// What is left, in parts of a request that take a nanosecond to come back.
    left: u64,
    at: Instant,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(super) fn new(rate: Rate, now: Instant) -> Buckets<K> {
        let state = State { buckets: HashMap::new(), shared: Bucket { left: rate.full(), at: now } };
        Buckets { rate, state: Mutex::new(state) }
    }

    /// Takes one request's worth, or says how long to wait.
    pub(super) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.buckets.len() >= BUCKETS_MAX && !state.buckets.contains_key(&key) {
            let rate = self.rate;
            state.buckets.retain(|_, bucket| bucket.refilled(rate, now).left < rate.full());
        }
        let State { buckets, shared } = &mut *state;
        let bucket = if buckets.len() < BUCKETS_MAX || buckets.contains_key(&key) {
            buckets.entry(key).or_insert(Bucket { left: self.rate.full(), at: now })
        } else {
            shared
        };
        *bucket = bucket.refilled(self.rate, now);
        match bucket.left.checked_sub(self.rate.one()) {
            Some(left) => {
                bucket.left = left;
                Ok(())
            }
            None => Err(Duration::from_nanos(self.rate.one() - bucket.left)),
        }
    }
}

impl Rate {
    /// What one request takes: as many nanoseconds as pass between two in the long run.
    fn one(self) -> u64 {
        1_000_000_000 / u64::from(self.per_second.max(1))
    }

    fn full(self) -> u64 {
        self.one() * u64::from(self.burst)
    }
}

impl Bucket {
    fn refilled(self, rate: Rate, now: Instant) -> Bucket {
        let passed = u64::try_from(now.saturating_duration_since(self.at).as_nanos()).unwrap_or(u64::MAX);
        Bucket { left: self.left.saturating_add(passed).min(rate.full()), at: now }
    }
}

/// Whom a source address stands for: an IPv6 subscriber has a whole /64.
pub(super) fn subscriber(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(source) => source.into(),
        IpAddr::V6(source) => Ipv6Addr::from_bits(source.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let buckets = Buckets::new(Rate { burst: 3, per_second: 10 }, start);
        let given = (0..10).filter(|_| buckets.take("a", start).is_ok()).count();
        assert_eq!(given, 3);
        assert_eq!(buckets.take("a", start), Err(Duration::from_millis(100)));
        assert!(buckets.take("b", start).is_ok(), "another has a bucket of its own");
        let later = start + Duration::from_millis(250);
        let given = (0..10).filter(|_| buckets.take("a", later).is_ok()).count();
        assert_eq!(given, 2);
        let rested = start + Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| buckets.take("a", rested).is_ok()).count(), 3);
    }

    #[test]
    fn when_there_is_no_room_newcomers_share_one_bucket() {
        let start = Instant::now();
        let buckets = Buckets::new(Rate { burst: 2, per_second: 1 }, start);
        let first = (0..BUCKETS_MAX).filter(|key| buckets.take(*key, start).is_ok()).count();
        assert_eq!(first, BUCKETS_MAX);
        let newcomers = (0..100).filter(|key| buckets.take(BUCKETS_MAX + key, start).is_ok()).count();
        assert_eq!(newcomers, 2);
        assert!(buckets.take(7, start).is_ok(), "who was there before keeps what they had");
        let rested = start + Duration::from_secs(10);
        assert!(buckets.take(BUCKETS_MAX + 1, rested).is_ok());
        assert_eq!(buckets.state.lock().unwrap().buckets.len(), 1);
    }
}
