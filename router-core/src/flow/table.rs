//! The flow table: the only structure that packets from peers can grow, and therefore bounded and keyed.

use alloc::vec::Vec;

use wg_proto::SipHash;

use super::phase::{Phase, Rank};
use super::record::{Cold, Flow, FlowMeta, Hot, NewFlow, Removed};
use super::tcp_state::{Segment, TcpVerdict};
use super::tick::Tick;
use super::tuple::{Address, Direction, Tuple};
use super::wheel::Wheel;
use crate::index::{Index, touch_all};
use crate::packet::Protocol;

/// The most flows a table can be made for: flow and direction must fit 32 bits, and numbers leave a bit to spare.
const FLOWS_LIMIT: u32 = 1 << 30;
/// How many flows that packets have refreshed meanwhile one search for a victim looks at per rank.
const EVICTION_TRIES: u32 = 16;

/// How many lookups wait for memory together: more than a processor can have under way at once.
pub const BATCH: usize = 32;

/// The hash of a tuple under its table's key. It is handed on, so that nothing is hashed twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TupleHash(u32);

/// A tuple whose flow is looked for ahead of its packet.
#[derive(Clone, Copy, Debug)]
pub struct Sought<A> {
    /// The packet's.
    pub tuple: Tuple<A>,
    /// Its hash.
    pub hash: TupleHash,
    /// The flow it seems to belong to, and which way through it the packet goes.
    pub guess: Option<(FlowId, Direction)>,
}

/// Names a flow while it is stored. Numbers are used again: across packets, remember the tuple, not the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(u32);

/// At most `flows_max` flows of one IP version, each found by either of its tuples.
///
/// Memory is reserved for all of them at construction and touched as they come: an empty table costs a few kilobytes,
/// a full one 128 bytes a v4 flow and 192 a v6 flow. When full, [`insert`](FlowTable::insert) refuses;
/// [`evict`](FlowTable::evict) says who may go.
///
/// Time only moves forward when the caller passes it. Drive it so: per packet `lookup`, then `tcp` or `datagram` and
/// `count`; per batch `expire` until it returns `None` or the budget is used up, then `next_expiry`.
#[derive(Debug)]
pub struct FlowTable<A> {
    hasher: SipHash,
    /// Two entries for each flow.
    index: Index,
    hot: Vec<Hot<A>>,
    cold: Vec<Cold>,
    wheel: Wheel,
    flows_used: u32,
    flows_max: u32,
}

/// Why a flow was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// A packet with one of its tuples would belong to another flow, or both its tuples are the same.
    #[error("one of the flow's tuples belongs to another flow")]
    TupleTaken,
    /// The table holds as many flows as it was made for.
    #[error("the flow table is full")]
    Full,
}

/// What a packet did to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whether the packet passes.
    pub verdict: TcpVerdict,
    /// How far the flow has come now.
    pub phase: Phase,
    /// The phase it has left, if it did.
    pub left: Option<Phase>,
}

impl Step {
    /// A packet passes, and its flow stays as far as it has come.
    #[inline]
    const fn staying(phase: Phase) -> Step {
        Step { verdict: TcpVerdict::Accept, phase, left: None }
    }
}

/// What the owner of sessions says about a flow that might give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its session is closed: it goes first.
    Dead,
    /// Its session uses more than its fair share: even an established flow may go.
    OverShare,
    /// Its session is within its fair share: an established flow stays.
    WithinShare,
}

impl<A: Address> FlowTable<A> {
    /// An empty table for up to `flows_max` flows (at most 2^30), hashing with `key`.
    pub fn new(flows_max: u32, key: &[u8; 16]) -> FlowTable<A> {
        let flows_max = flows_max.min(FLOWS_LIMIT);
        FlowTable {
            hasher: SipHash::new(key),
            index: Index::new(2 * flows_max),
            hot: Vec::with_capacity(flows_max as usize),
            cold: Vec::with_capacity(flows_max as usize),
            wheel: Wheel::new(flows_max),
            flows_used: 0,
            flows_max,
        }
    }

    /// How many flows are stored.
    pub fn flows_used(&self) -> u32 {
        self.flows_used
    }

    /// How many flows can be stored.
    pub fn flows_max(&self) -> u32 {
        self.flows_max
    }

    /// Whether the next insertion needs an eviction first.
    pub fn is_full(&self) -> bool {
        self.flows_used >= self.flows_max
    }

    /// The flow a packet with this tuple belongs to, and which way through it the packet goes.
    #[inline]
    pub fn lookup(&self, tuple: &Tuple<A>) -> Option<(FlowId, Direction)> {
        self.lookup_hashed(self.hash(tuple), tuple)
    }

    /// Where the search for the tuple begins.
    #[inline(always)]
    pub(crate) fn hash(&self, tuple: &Tuple<A>) -> TupleHash {
        TupleHash((A::with_key(tuple, |bytes| self.hasher.hash(bytes)) >> 32) as u32)
    }

    /// [`lookup`](FlowTable::lookup) of a tuple that was hashed before.
    #[inline]
    pub(crate) fn lookup_hashed(&self, hash: TupleHash, tuple: &Tuple<A>) -> Option<(FlowId, Direction)> {
        let is_it = |number| {
            let (flow, direction) = split(number);
            self.hot[flow.0 as usize].tuple(direction) == *tuple
        };
        self.index.find(hash.0, is_it).map(split)
    }

    /// What [`guess_many`](FlowTable::guess_many) begins with.
    #[inline]
    pub fn seek(&self, tuple: Tuple<A>) -> Sought<A> {
        Sought { tuple, hash: self.hash(&tuple), guess: None }
    }

    /// Guesses what [`lookup`](FlowTable::lookup) will find for a batch: at most [`BATCH`] are looked at. In a large table
    /// most of a lookup is waiting for memory, twice in a row; a batch waits for all its packets at once. A guess is nearly
    /// always right: confirm it with [`is_of`](FlowTable::is_of). Says whether there is one for each.
    pub fn guess_many(&self, batch: &mut [Sought<A>]) -> bool {
        let used = batch.len().min(BATCH);
        let batch = &mut batch[..used];
        self.touch_places(batch.iter().map(|sought| sought.hash));
        let mut all = true;
        for sought in batch.iter_mut() {
            sought.guess = self.index.guess(sought.hash.0).map(split);
            all &= sought.guess.is_some();
        }
        touch_all(batch.iter().map(|sought| {
            let is_tcp = sought.tuple.protocol == Protocol::TCP;
            sought.guess.map_or(0, |(flow, _)| u64::from(self.touch(flow, is_tcp)))
        }));
        all
    }

    /// Reads where the searches for these tuples begin.
    #[inline]
    pub(crate) fn touch_places(&self, hashes: impl Iterator<Item = TupleHash>) {
        touch_all(hashes.map(|hash| self.index.touch(hash.0)));
    }

    /// Whether a packet with this tuple belongs to this flow and direction: [`lookup`](FlowTable::lookup) without
    /// hashing, for the next packet of a run.
    #[inline]
    pub fn is_of(&self, id: FlowId, direction: Direction, tuple: &Tuple<A>) -> bool {
        self.is_used(id) && self.hot[id.0 as usize].tuple(direction) == *tuple
    }

    /// The flow of this number, or `None` if there is none now.
    #[inline]
    pub fn flow(&self, id: FlowId) -> Option<Flow<'_, A>> {
        let hot = self.hot.get(id.0 as usize).filter(|hot| hot.is_used())?;
        Some(Flow { hot, cold: self.cold.get(id.0 as usize)? })
    }

    /// Stores a flow, seen now.
    pub fn insert(&mut self, now: Tick, flow: &NewFlow<A>) -> Result<FlowId, InsertError> {
        self.insert_hashed(now, flow, [self.hash(&flow.original), self.hash(&flow.reply)])
    }

    /// [`insert`](FlowTable::insert) of a flow whose tuples, the original one first, were hashed before.
    pub(crate) fn insert_hashed(
        &mut self,
        now: Tick,
        flow: &NewFlow<A>,
        [original, reply]: [TupleHash; 2],
    ) -> Result<FlowId, InsertError> {
        debug_assert_eq!([original, reply], [self.hash(&flow.original), self.hash(&flow.reply)]);
        if self.is_full() {
            return Err(InsertError::Full);
        }
        let is_taken = |hash, tuple| self.lookup_hashed(hash, tuple).is_some();
        if flow.original == flow.reply || is_taken(original, &flow.original) || is_taken(reply, &flow.reply) {
            return Err(InsertError::TupleTaken);
        }
        let number = self.wheel.take_number();
        self.store(number, Hot::new(now, flow), Cold::new(&flow.opening));
        self.index.insert(original.0, joined(number, Direction::Original));
        self.index.insert(reply.0, joined(number, Direction::Reply));
        self.arm(now, number);
        Ok(FlowId(number))
    }

    /// Forgets a flow. `None` if there is none of this number.
    pub fn remove(&mut self, id: FlowId) -> Option<Removed<A>> {
        if !self.is_used(id) {
            return None;
        }
        let number = id.0 as usize;
        let removed = self.hot[number].removed();
        self.index.remove(self.hash(&removed.original).0, joined(id.0, Direction::Original));
        self.index.remove(self.hash(&removed.reply).0, joined(id.0, Direction::Reply));
        self.wheel.free_number(id.0);
        self.hot[number].set_unused();
        self.flows_used -= 1;
        Some(removed)
    }

    /// Leaves a flow of an ended session in place, for its next packet to be answered, but as nobody's: returns what it
    /// was, for the caller to give back what it held. `None` if there is none of this number, or if that was done.
    pub(crate) fn disown(&mut self, id: FlowId) -> Option<Removed<A>> {
        let hot = self.used_mut(id)?;
        let removed = hot.removed();
        hot.disown();
        Some(removed).filter(|removed| !removed.meta.session.is_nobodys())
    }

    /// Takes a packet of a flow that is not TCP.
    ///
    /// Both directions refresh: TMO-1 asks it of the original one; replies can only come from the very end that the
    /// opener spoke to, so a one-way stream to the opener stays alive as well.
    #[inline(always)]
    pub fn datagram(&mut self, now: Tick, id: FlowId, direction: Direction) -> Option<Step> {
        let hot = self.used_mut(id)?;
        let from = hot.phase();
        hot.last_seen = hot.last_seen.max(now);
        let to = match (from, direction) {
            (Phase::Unreplied, Direction::Reply) => Phase::Replied,
            (Phase::Unreplied | Phase::Replied | Phase::Tcp(_), _) => return Some(Step::staying(from)),
        };
        self.change(now, id, to);
        Some(Step { verdict: TcpVerdict::Accept, phase: to, left: Some(from) })
    }

    /// Takes a segment of a TCP flow. `None` if the flow is not there, or not TCP.
    pub fn tcp(&mut self, now: Tick, id: FlowId, direction: Direction, segment: &Segment) -> Option<Step> {
        let hot = self.hot.get_mut(id.0 as usize).filter(|hot| hot.is_used())?;
        let from @ Phase::Tcp(_) = hot.phase() else { return None };
        let track = &mut self.cold[id.0 as usize].tcp;
        let verdict = track.step(direction, segment);
        let to = Phase::Tcp(track.state());
        if verdict == TcpVerdict::Accept {
            hot.last_seen = hot.last_seen.max(now);
        }
        if from == to {
            return Some(Step { verdict, phase: to, left: None });
        }
        self.change(now, id, to);
        Some(Step { verdict, phase: to, left: Some(from) })
    }

    /// Takes a later piece of a fragmented segment that passed: the end that sends in this direction has now sent all
    /// before `end`. Nothing else changes, neither state nor last-seen.
    pub(crate) fn tcp_later_piece(&mut self, id: FlowId, direction: Direction, end: u32) {
        if let Some(hot) = self.hot.get(id.0 as usize)
            && let Some(Phase::Tcp(_)) = hot.is_used().then(|| hot.phase())
        {
            self.cold[id.0 as usize].tcp.note_later_piece(direction, end);
        }
    }

    /// Adds to the flow's byte count.
    #[inline]
    pub fn count(&mut self, id: FlowId, direction: Direction, bytes: u32) {
        if let Some(hot) = self.used_mut(id) {
            hot.count(direction, bytes);
        }
    }

    /// Remembers the path MTU of the original direction; 0 forgets it.
    pub fn set_path_mtu(&mut self, id: FlowId, bytes: u16) {
        if let Some(hot) = self.used_mut(id) {
            hot.path_mtu_bytes = bytes;
        }
    }

    /// Removes one flow that has idled too long. Looks at no more timers than `budget`, and counts it down; `None`
    /// when that is used up or nothing more has expired.
    pub fn expire(&mut self, now: Tick, budget: &mut u32) -> Option<Removed<A>> {
        while *budget > 0 {
            let number = self.wheel.pop_due(now)?;
            *budget -= 1;
            if self.hot[number as usize].deadline() <= now {
                return self.remove(FlowId(number));
            }
            self.arm(now, number);
        }
        None
    }

    /// When [`expire`](FlowTable::expire) next has a timer to look at. In the past if the last budget did not suffice.
    pub fn next_expiry(&self) -> Option<Tick> {
        self.wheel.next_due()
    }

    /// Removes the flow that should give way to a new one. CAP: an expired flow, else the oldest TCP handshake, else
    /// the oldest unanswered one, else the oldest that is closing, else the oldest established one whose session has
    /// more than its share. `None` if none may go: then the new flow is refused.
    pub fn evict(&mut self, now: Tick, standing: impl Fn(&FlowMeta) -> Standing) -> Option<Removed<A>> {
        let mut budget = EVICTION_TRIES;
        if let Some(expired) = self.expire(now, &mut budget) {
            return Some(expired);
        }
        let victim = Rank::ALL.into_iter().find_map(|rank| self.victim(now, rank, &standing))?;
        self.remove(victim)
    }

    /// How many flow numbers have ever been in use at the same time: all flows are numbered below.
    pub fn numbers(&self) -> u32 {
        self.hot.len() as u32
    }

    /// The flow of this number, or `None` if there is none now. Constant time, for walks with a budget.
    pub fn id(&self, number: u32) -> Option<FlowId> {
        Some(FlowId(number)).filter(|id| self.is_used(*id))
    }

    /// All flows, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (FlowId, Flow<'_, A>)> {
        let ids = (0_u32..).map(FlowId);
        ids.zip(self.hot.iter().zip(&self.cold))
            .filter(|(_, (hot, _))| hot.is_used())
            .map(|(id, (hot, cold))| (id, Flow { hot, cold }))
    }
}

impl FlowId {
    /// The number, for [`FlowTable::id`] and for display.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl<A: Address> FlowTable<A> {
    #[inline]
    fn is_used(&self, id: FlowId) -> bool {
        self.hot.get(id.0 as usize).is_some_and(Hot::is_used)
    }

    #[inline]
    fn used_mut(&mut self, id: FlowId) -> Option<&mut Hot<A>> {
        self.hot.get_mut(id.0 as usize).filter(|hot| hot.is_used())
    }

    /// Reads a flow's record, to bring it into the cache. Only TCP needs the cold half.
    #[inline]
    fn touch(&self, flow: FlowId, is_tcp: bool) -> u32 {
        let number = flow.0 as usize;
        let hot = self.hot.get(number).map_or(0, Hot::touch);
        let cold = if is_tcp { self.cold.get(number).map_or(0, |cold| cold.tcp.touch()) } else { 0 };
        hot ^ cold
    }

    fn store(&mut self, number: u32, hot: Hot<A>, cold: Cold) {
        let number = number as usize;
        if number == self.hot.len() {
            self.hot.push(hot);
            self.cold.push(cold);
        } else {
            self.hot[number] = hot;
            self.cold[number] = cold;
        }
        self.flows_used += 1;
    }

    fn arm(&mut self, now: Tick, number: u32) {
        let hot = &self.hot[number as usize];
        self.wheel.arm(now, number, hot.phase().rank(), hot.deadline());
    }

    /// Another phase may mean an earlier deadline, which lazy arming cannot catch up with.
    #[cold]
    fn change(&mut self, now: Tick, id: FlowId, to: Phase) {
        self.hot[id.0 as usize].set_phase(to);
        self.arm(now, id.0);
    }

    /// The oldest flow of the rank that may go. Looks at a few only, and arms the others again, so that a flow which
    /// packets have refreshed takes its true place, and one that must stay goes to the back of the queue.
    fn victim(&mut self, now: Tick, rank: Rank, standing: &impl Fn(&FlowMeta) -> Standing) -> Option<FlowId> {
        for _ in 0..EVICTION_TRIES {
            let (number, slot_end) = self.wheel.oldest(rank)?;
            let hot = &self.hot[number as usize];
            if hot.deadline() < slot_end && may_go(rank, standing(&hot.meta())) {
                return Some(FlowId(number));
            }
            self.arm(now, number);
        }
        None
    }
}

/// Flow and direction as one number, for the index. Flows are below 2^30.
const fn joined(flow: u32, direction: Direction) -> u32 {
    flow << 1 | direction.index() as u32
}

/// What [`joined`] was given.
#[inline]
const fn split(number: u32) -> (FlowId, Direction) {
    let direction = if number & 1 == 0 { Direction::Original } else { Direction::Reply };
    (FlowId(number >> 1), direction)
}

const fn may_go(rank: Rank, standing: Standing) -> bool {
    match (rank, standing) {
        (Rank::HalfOpen | Rank::Unreplied | Rank::Closing, _) => true,
        (Rank::Settled, Standing::Dead | Standing::OverShare) => true,
        (Rank::Settled, Standing::WithinShare) => false,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
