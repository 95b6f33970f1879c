//! Hierarchical timer wheel over flows.
//!
//! Arming, disarming and firing cost O(1) and touch no flow. A packet never touches the wheel: it stores when it was
//! seen, and when the timer fires its owner works out the true deadline and arms again if that lies ahead.
//!
//! Each level is four times coarser than the one before; a timer is put where its distance fits and fires when that
//! slot comes up, never early and late by at most a fifteenth of its distance. Nothing is ever moved down a level,
//! so no tick can bring a cascade: the owner takes as many due timers as it has time for, and the rest stay due.

use super::lists::Lists;
use super::phase::Rank;
use super::tick::Tick;

/// Slots per level; one bit each in a word.
const SLOTS: u32 = 64;
/// Each level's slots are 2^2 times as wide as the previous level's.
const LEVEL_SHIFT: u32 = 2;
/// The last level reaches 62 × 4^6 ticks: more than nine hours. Later deadlines fire there and are armed again.
const LEVELS: u32 = 7;
/// A timer goes to the first level where it lies fewer slots ahead than this, so never into the slot that is firing.
const SLOTS_AHEAD_MAX: u32 = SLOTS - 2;
/// One wheel per rank, so that the oldest flow of a rank can be found.
const BUCKETS: u32 = Rank::ALL.len() as u32 * LEVELS * SLOTS;
/// Flows without a timer that may be used again.
const FREE: u32 = BUCKETS;

/// Timers of flows, one each, and the list of unused flow numbers.
#[derive(Debug)]
pub(crate) struct Wheel {
    lists: Lists,
    /// Per rank and level, which slots hold timers.
    occupied: [[u64; LEVELS as usize]; Rank::ALL.len()],
    /// All slots up to and including this tick's have been fired, or are being.
    clock: Tick,
}

impl Wheel {
    /// A wheel with room reserved for `flows_max` flows.
    pub(crate) fn new(flows_max: u32) -> Wheel {
        Wheel { lists: Lists::new(BUCKETS + 1, flows_max), occupied: Default::default(), clock: Tick(0) }
    }

    /// A flow number that is not in use: a freed one, or the next that never was.
    pub(crate) fn take_number(&mut self) -> u32 {
        self.lists.pop_front(FREE).unwrap_or_else(|| self.lists.add_element())
    }

    /// Stops the flow's timer and gives its number back.
    pub(crate) fn free_number(&mut self, flow: u32) {
        self.disarm(flow);
        self.lists.push_back(FREE, flow);
    }

    /// Starts or moves the flow's timer. Returns where it stands now.
    pub(crate) fn arm(&mut self, flow: u32, rank: Rank, deadline: Tick) -> Place {
        let place = Place::of(self.clock, rank, deadline);
        self.disarm(flow);
        self.occupied[rank.index() as usize][place.level as usize] |= 1 << place.slot;
        self.lists.push_back(place.bucket(), flow);
        place
    }

    /// The next flow whose timer has come up by `now`, now disarmed. The caller removes the flow or arms it again.
    pub(crate) fn pop_due(&mut self, now: Tick) -> Option<u32> {
        let Some((fires_at, place)) = self.earliest().filter(|(fires_at, _)| *fires_at <= now) else {
            self.clock = self.clock.max(now);
            return None;
        };
        self.clock = self.clock.max(fires_at);
        let flow = self.lists.first(place.bucket()).expect("an occupied slot holds a timer");
        self.disarm(flow);
        Some(flow)
    }

    /// When [`pop_due`](Wheel::pop_due) next has something to return.
    pub(crate) fn next_due(&self) -> Option<Tick> {
        self.earliest().map(|(fires_at, _)| fires_at)
    }

    /// Of the flows of this rank, the one whose timer was armed for the earliest time, to within a slot.
    pub(crate) fn oldest(&self, rank: Rank) -> Option<(u32, Place)> {
        let (_, place) = self.earliest_of(rank)?;
        Some((self.lists.first(place.bucket())?, place))
    }

    fn disarm(&mut self, flow: u32) {
        if let Some(place) = self.lists.unlink(flow).and_then(Place::of_bucket) {
            self.occupied[place.rank.index() as usize][place.level as usize] &= !(1 << place.slot);
        }
    }

    fn earliest(&self) -> Option<(Tick, Place)> {
        Rank::ALL.into_iter().filter_map(|rank| self.earliest_of(rank)).min_by_key(|(fires_at, _)| *fires_at)
    }

    fn earliest_of(&self, rank: Rank) -> Option<(Tick, Place)> {
        let levels = &self.occupied[rank.index() as usize];
        (0..LEVELS)
            .zip(levels)
            .filter(|(_, slots)| **slots != 0)
            .map(|(level, slots)| self.first_ahead(rank, level, *slots))
            .min_by_key(|(fires_at, _)| *fires_at)
    }

    /// The level's first occupied slot, counting from the clock, and when it fires.
    fn first_ahead(&self, rank: Rank, level: u32, slots: u64) -> (Tick, Place) {
        let shift = level * LEVEL_SHIFT;
        let current = self.clock.0 >> shift;
        let ahead = slots.rotate_right(current % SLOTS).trailing_zeros();
        let number = current + ahead;
        (Tick(number << shift), Place { rank, level, slot: number % SLOTS })
    }
}

/// One slot of one level of one rank's wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    rank: Rank,
    level: u32,
    slot: u32,
}

impl Place {
    /// Where a timer for `deadline` belongs. Deadlines that have passed fire at the next tick.
    fn of(clock: Tick, rank: Rank, deadline: Tick) -> Place {
        let distance = deadline.since(clock).max(1);
        let fits = |level: &u32| distance < SLOTS_AHEAD_MAX << (level * LEVEL_SHIFT);
        let level = (0..LEVELS).find(fits).unwrap_or(LEVELS - 1);
        let shift = level * LEVEL_SHIFT;
        let reachable = distance.min(SLOTS_AHEAD_MAX << shift);
        let number = clock.0.saturating_add(reachable).div_ceil(1 << shift);
        Place { rank, level, slot: number % SLOTS }
    }

    fn bucket(self) -> u32 {
        (self.rank.index() * LEVELS + self.level) * SLOTS + self.slot
    }

    /// `None` for the list of free numbers.
    fn of_bucket(bucket: u32) -> Option<Place> {
        let rank = *Rank::ALL.get((bucket / SLOTS / LEVELS) as usize)?;
        Some(Place { rank, level: bucket / SLOTS % LEVELS, slot: bucket % SLOTS })
    }
}
