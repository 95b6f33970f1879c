//! What a link does to what passes.

use core::time::Duration;

use super::random::Random;

/// A link, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// How long everything takes.
    pub latency: Duration,
    /// Added at random, from nothing to this: the cause of reordering.
    pub jitter: Duration,
    /// Probability that something is lost.
    pub loss: f64,
    /// Probability that something arrives twice.
    pub duplicates: f64,
    /// Probability that something is held back by [`Link::HELD_BACK`] latencies, so that others overtake it.
    pub reorder: f64,
    /// The longest packet, its own IP header included, that passes.
    pub mtu_bytes: u16,
}

impl Link {
    /// How many latencies longer a held-back packet takes.
    pub const HELD_BACK: u32 = 3;

    /// Takes no time and loses nothing.
    pub const IDEAL: Link = Link {
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        duplicates: 0.0,
        reorder: 0.0,
        mtu_bytes: 1500,
    };

    /// When the copies of a packet of this length arrive, counted from now: none, one or two of them.
    pub(super) fn arrivals(&self, random: &mut Random, len: usize) -> [Option<Duration>; 2] {
        let fits = len <= usize::from(self.mtu_bytes);
        let twice = random.chance(self.duplicates);
        let first = self.arrival(random).filter(|_| fits);
        let second = self.arrival(random).filter(|_| fits && twice);
        [first, second]
    }

    fn arrival(&self, random: &mut Random) -> Option<Duration> {
        let (lost, held) = (random.chance(self.loss), random.chance(self.reorder));
        let held = if held { self.latency * Link::HELD_BACK } else { Duration::ZERO };
        let delay = self.latency + held + random.up_to(self.jitter);
        (!lost).then_some(delay)
    }
}
