//! Hierarchical timer wheel over flows.
//!
//! Arming, disarming and firing cost O(1) and touch no flow. A packet never touches the wheel: it stores when it was
//! seen, and when the timer fires its owner works out the true deadline and arms again if that lies ahead.
//!
//! Each level is four times coarser than the one before; a timer is put where its distance fits, into the slot that its
//! deadline lies in, and fires when that slot begins: never late, early by less than the slot is wide. Its owner arms it
//! again for the rest, which fits two or more levels further down, so that three steps from the coarsest level a timer
//! fires in the very tick of its deadline. Nothing is moved down by the wheel itself, so no tick can bring a cascade: the
//! owner takes as many due timers as it has time for, and the rest stay due.

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

    /// Starts or moves the flow's timer.
    pub(crate) fn arm(&mut self, now: Tick, flow: u32, rank: Rank, deadline: Tick) {
        self.catch_up(now);
        let place = Place::of(self.clock, rank, deadline);
        self.disarm(flow);
        self.occupied[rank.index() as usize][place.level as usize] |= 1 << place.slot;
        self.lists.push_back(place.bucket(), flow);
    }

    /// The next flow whose timer has come up by `now`, now disarmed. The caller removes the flow, or arms it again if its
    /// deadline lies ahead.
    pub(crate) fn pop_due(&mut self, now: Tick) -> Option<u32> {
        self.catch_up(now);
        let (fires_at, place) = self.earliest().filter(|(fires_at, _)| *fires_at <= now)?;
        self.clock = self.clock.max(fires_at);
        let flow = self.lists.first(place.bucket()).expect("an occupied slot holds a timer");
        self.disarm(flow);
        Some(flow)
    }

    /// When [`pop_due`](Wheel::pop_due) next has something to return.
    pub(crate) fn next_due(&self) -> Option<Tick> {
        self.earliest().map(|(fires_at, _)| fires_at)
    }

    /// Of the flows of this rank, the one whose timer was armed for the earliest time, to within a slot; and the slot's
    /// end, before which its deadline lies unless that has moved since.
    pub(crate) fn oldest(&self, rank: Rank) -> Option<(u32, Tick)> {
        let (begins, place) = self.earliest_of(rank)?;
        let end = Tick(begins.0.saturating_add(1 << (place.level * LEVEL_SHIFT)));
        Some((self.lists.first(place.bucket())?, end))
    }

    /// A clock that lags would make distances look longer than they are, and slots coarser.
    fn catch_up(&mut self, now: Tick) {
        if now > self.clock && self.next_due().is_none_or(|due| due > now) {
            self.clock = now;
        }
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
struct Place {
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
        let number = clock.0.saturating_add(reachable) >> shift;
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Arm { flow: u32, rank: Rank, ahead: u32 },
        Free { flow: u32 },
        Advance { ticks: u32, pops_max: u32 },
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let rank = prop::sample::select(Rank::ALL.to_vec());
        let ticks = || prop_oneof![0..5_u32, 0..500_u32, 0..60_000_u32, 0..2_000_000_u32];
        prop_oneof![
            4 => (0..12_u32, rank, ticks()).prop_map(|(flow, rank, ahead)| Operation::Arm { flow, rank, ahead }),
            1 => (0..12_u32).prop_map(|flow| Operation::Free { flow }),
            3 => (ticks(), 0..20_u32).prop_map(|(ticks, pops_max)| Operation::Advance { ticks, pops_max }),
        ]
    }

    /// One timer of the plain list.
    #[derive(Clone, Copy, Debug)]
    struct Armed {
        flow: u32,
        rank: Rank,
        deadline: Tick,
        /// How often it has fired before its deadline.
        early: u32,
        /// Whether the wheel reached that far when it was armed.
        is_within: bool,
    }

    /// From the coarsest level to the finest, by twos.
    const EARLY_MAX: u32 = 3;

    fn is_within(wheel: &Wheel, deadline: Tick) -> bool {
        deadline.since(wheel.clock) < 62 << 12
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_list_under_the_same_operations(
            operations in prop::collection::vec(operation(), 1..80)
        ) {
            let mut wheel = Wheel::new(12);
            for flow in 0..12 {
                prop_assert_eq!(wheel.take_number(), flow);
            }
            let (mut list, mut free, mut now): (Vec<Armed>, Vec<u32>, Tick) = (Vec::new(), Vec::new(), Tick(1000));
            wheel.pop_due(now);
            for operation in operations {
                match operation {
                    Operation::Arm { flow, rank, ahead } if !free.contains(&flow) => {
                        // Deadlines that have passed fire at the next tick.
                        let deadline = Tick(now.0 + ahead.max(1));
                        list.retain(|armed| armed.flow != flow);
                        wheel.arm(now, flow, rank, deadline);
                        list.push(Armed { flow, rank, deadline, early: 0, is_within: is_within(&wheel, deadline) });
                    }
                    Operation::Free { flow } if !free.contains(&flow) => {
                        list.retain(|armed| armed.flow != flow);
                        free.push(flow);
                        wheel.free_number(flow);
                    }
                    Operation::Arm { .. } | Operation::Free { .. } => {
                        prop_assert_eq!(wheel.take_number(), free.remove(0), "first freed, first used");
                    }
                    Operation::Advance { ticks, pops_max } => {
                        now = Tick(now.0 + ticks);
                        let mut popped_all = false;
                        for _ in 0..pops_max {
                            let due = wheel.next_due().is_some_and(|due| due <= now);
                            let Some(flow) = wheel.pop_due(now) else {
                                prop_assert!(!due);
                                popped_all = true;
                                break;
                            };
                            prop_assert!(due);
                            let position = list.iter().position(|armed| armed.flow == flow).unwrap();
                            let armed = &mut list[position];
                            if armed.deadline <= now {
                                list.swap_remove(position);
                                continue;
                            }
                            armed.early += u32::from(armed.is_within);
                            prop_assert!(armed.early <= EARLY_MAX, "early: {armed:?} at {now:?}");
                            wheel.arm(now, flow, armed.rank, armed.deadline);
                            armed.is_within = is_within(&wheel, armed.deadline);
                        }
                        if popped_all {
                            prop_assert!(list.iter().all(|armed| armed.deadline > now), "late: {list:?} at {now:?}");
                        }
                    }
                }
                prop_assert_eq!(wheel.next_due().is_none(), list.is_empty());
                for rank in Rank::ALL {
                    let of_rank = list.iter().filter(|armed| armed.rank == rank);
                    let Some((flow, end)) = wheel.oldest(rank) else {
                        prop_assert_eq!(of_rank.count(), 0);
                        continue;
                    };
                    let oldest = of_rank.clone().find(|armed| armed.flow == flow).unwrap();
                    prop_assert!(oldest.deadline < end || !oldest.is_within, "{oldest:?} not before {end:?}");
                }
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_by_a_month_costs_no_more_than_the_timers_it_passes() {
        let mut wheel = Wheel::new(1);
        let flow = wheel.take_number();
        wheel.arm(Tick(0), flow, Rank::Settled, Tick(500));
        let a_month_later = Tick(20_000_000);
        assert_eq!(wheel.pop_due(a_month_later), Some(flow));
        assert_eq!(wheel.pop_due(a_month_later), None);
        wheel.arm(a_month_later, flow, Rank::Settled, Tick(a_month_later.0 + 10));
        assert_eq!(wheel.next_due(), Some(Tick(a_month_later.0 + 10)));
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_the_next_tick() {
        let mut wheel = Wheel::new(1);
        let flow = wheel.take_number();
        wheel.arm(Tick(100), flow, Rank::HalfOpen, Tick(3));
        assert_eq!(wheel.next_due(), Some(Tick(101)));
    }

    #[test]
    fn deadlines_beyond_the_last_level_fire_early_for_their_owner_to_arm_again() {
        let mut wheel = Wheel::new(1);
        let flow = wheel.take_number();
        wheel.arm(Tick(0), flow, Rank::Settled, Tick(100_000_000));
        assert_eq!(wheel.next_due(), Some(Tick(62 << 12)));
    }

    #[test]
    fn tmo_a_timer_fires_in_the_tick_of_its_deadline_after_at_most_three_early_ones() {
        for deadline in [1, 61, 62, 447, 2_236, 55_436, 250_000, 250_001] {
            let mut wheel = Wheel::new(1);
            let flow = wheel.take_number();
            wheel.arm(Tick(7), flow, Rank::Settled, Tick(7 + deadline));
            let mut early = 0;
            while let Some(due) = wheel.next_due().filter(|due| due.0 < 7 + deadline) {
                assert_eq!(wheel.pop_due(due), Some(flow));
                wheel.arm(due, flow, Rank::Settled, Tick(7 + deadline));
                early += 1;
            }
            assert_eq!(wheel.next_due(), Some(Tick(7 + deadline)));
            assert!(early <= EARLY_MAX, "{early} for {deadline}");
        }
    }
}
