//! How many answers a node gives (GEN-1): token buckets per source, and one for all with jitter, so that nobody can count
//! through it what others do (the SAD DNS attack). Read first: RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f).

use alloc::boxed::Box;
use alloc::vec;
use core::net::IpAddr;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use wg_proto::{Instant, SipHash};

// Our own choices.

/// Answers a second for one source. A traceroute asks for about fifty in one go.
const SOURCE_RATE_PER_SEC: u64 = 50;
const SOURCE_BURST: u64 = 50;
/// Answers a second for all.
const ALL_RATE_PER_SEC: u64 = 10_000;
const ALL_BURST: u64 = 1_000;
/// Buckets. Sources whose hashes meet share one.
const BUCKETS: usize = 4096;

const SECOND_NANOS: u64 = 1_000_000_000;

/// Limits on answers. Of constant size, whoever asks.
#[derive(Debug)]
pub(crate) struct Limits {
    sources: Box<[Bucket]>,
    all: Bucket,
    hasher: SipHash,
    random: ChaCha12Rng,
}

/// Credit in nanoseconds of the rate; `spent` drains with time.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    spent_nanos: u64,
    at_nanos: u64,
}

impl Limits {
    pub(crate) fn new(seed: [u8; 32]) -> Limits {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut key = [0; 16];
        random.fill_bytes(&mut key);
        Limits {
            sources: vec![Bucket::default(); BUCKETS].into(),
            all: Bucket::default(),
            hasher: SipHash::new(&key),
            random,
        }
    }

    /// Whether `source` may be answered now; takes it as done if so.
    pub(crate) fn allow(&mut self, now: Instant, source: IpAddr) -> bool {
        let place = self.place(source);
        let jitter = u64::from(self.random.next_u32()) % (SECOND_NANOS / ALL_RATE_PER_SEC);
        let cost = SECOND_NANOS / SOURCE_RATE_PER_SEC;
        let cost_all = SECOND_NANOS / ALL_RATE_PER_SEC + jitter;
        let (source, all) = (&mut self.sources[place], &mut self.all);
        source.drain(now);
        all.drain(now);
        if !source.has_room(cost, SOURCE_BURST * cost) || !all.has_room(cost_all, ALL_BURST * cost_all) {
            return false;
        }
        source.spent_nanos += cost;
        all.spent_nanos += cost_all;
        true
    }

    fn place(&self, source: IpAddr) -> usize {
        let hash = match source {
            IpAddr::V4(source) => self.hasher.hash(&source.octets()),
            IpAddr::V6(source) => self.hasher.hash(&source.octets()),
        };
        (hash % BUCKETS as u64) as usize
    }
}

impl Bucket {
    fn drain(&mut self, now: Instant) {
        let now = now.as_nanos();
        self.spent_nanos = self.spent_nanos.saturating_sub(now.saturating_sub(self.at_nanos));
        self.at_nanos = self.at_nanos.max(now);
    }

    fn has_room(&self, cost: u64, burst: u64) -> bool {
        self.spent_nanos + cost <= burst
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    fn source(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    fn allowed(limits: &mut Limits, now: u64, asked: u32, source_of: impl Fn(u32) -> IpAddr) -> usize {
        (0..asked).filter(|n| limits.allow(Instant::from_nanos(now), source_of(*n))).count()
    }

    #[test]
    fn gen_1_one_source_gets_its_burst_and_then_its_rate() {
        let mut limits = Limits::new([1; 32]);
        assert_eq!(allowed(&mut limits, 0, 1000, |_| source(1)), SOURCE_BURST as usize);
        assert_eq!(allowed(&mut limits, SECOND_NANOS / 2, 1000, |_| source(1)), 25);
    }

    #[test]
    fn gen_1_all_sources_together_are_limited_by_a_number_nobody_can_predict() {
        let all = |seed| allowed(&mut Limits::new([seed; 32]), 0, 5000, source);
        let counts: alloc::vec::Vec<usize> = (0..8).map(all).collect();
        assert!(counts.iter().all(|count| (500..=1500).contains(count)), "{counts:?}");
        assert!(counts.iter().any(|count| *count != counts[0]), "{counts:?}");
    }

    #[test]
    fn gen_1_all_sources_together_get_about_their_rate() {
        let mut limits = Limits::new([1; 32]);
        allowed(&mut limits, 0, 5000, source);
        let got = allowed(&mut limits, SECOND_NANOS / 20, 5000, |n| source(10_000 + n)) as u64;
        // A twentieth of a second's, or half of that where the jitter is largest.
        let most = ALL_RATE_PER_SEC / 20;
        assert!((most / 3..=most).contains(&got), "{got}");
    }
}
