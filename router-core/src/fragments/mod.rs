//! Fragments on their way through (FRG-1 to FRG-4, P4). Read first: RFC 1858, RFC 3128, RFC 5722, RFC 8200 section 4.5.
//! Called by `datapath`; calls `packet`.
//!
//! Nothing is reassembled. The first piece of a datagram holds the ports, takes the ordinary road, and its verdict is
//! remembered here; the others follow it. Pieces that come before their first one are parked as they are. Whatever would
//! let the receiver see other bytes than those inspected (overlaps, two ends, a header cut in two) condemns the
//! datagram: it is poisoned, and nothing of it passes any more.
//!
//! ```text
//! first piece ──> ordinary road ──> first(verdict) ──> pop_released()*      refused: poison()
//! later piece ──> source check ──> later() ──> Follow(verdict) | Parked | Refused
//! ```

mod shares;
mod spans;

use alloc::boxed::Box;
use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use wg_proto::Instant;

use crate::packet::{Datagram, Piece};

use shares::Shares;
use spans::{Clash, Spans};

/// Bounds of the memory for fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Datagrams tracked at the same time. When all are taken, a first piece displaces the oldest datagram that waits
    /// for its own first piece; otherwise new datagrams are refused.
    pub datagrams_max: usize,
    /// Datagrams tracked for one subject; more are refused.
    pub datagrams_per_subject_max: usize,
    /// Bytes of early pieces parked in all (FRG-1); more are refused.
    pub parked_bytes_max: usize,
    /// Bytes of early pieces parked for one subject (FRG-1); more are refused.
    pub parked_bytes_per_subject_max: usize,
    /// How long an early piece is parked, and how long a verdict is remembered after the first piece (FRG-1).
    pub lifetime: Duration,
}

impl Default for FragmentLimits {
    fn default() -> FragmentLimits {
        FragmentLimits {
            // Our choice: an incomplete datagram stays for 15 s, so a subject may lose 130 pieces a second.
            datagrams_max: 16_384,
            datagrams_per_subject_max: 2_048,
            // FRG-1.
            parked_bytes_max: 8 * 1024 * 1024,
            parked_bytes_per_subject_max: 64 * 1024,
            lifetime: Duration::from_secs(15),
        }
    }
}

/// Why a piece does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// It overlaps another piece, or disagrees with one on the datagram's end. The datagram is poisoned now (FRG-3).
    Overlap,
    /// An earlier piece condemned its datagram.
    Poisoned,
    /// The same piece passed, or is parked, already.
    Duplicate,
    /// More pieces than a datagram of ours may have. The datagram is poisoned now.
    TooManyPieces,
    /// No room to track one more datagram.
    TooManyDatagrams,
    /// No room to park one more early piece.
    ParkingFull,
}

/// What happens to a later piece that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later<V> {
    /// Its first piece was here: do the same.
    Follow(V),
    /// A copy waits for the first piece.
    Parked,
}

/// An early piece whose first piece has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released<V> {
    /// The first piece's verdict.
    pub verdict: V,
    /// The piece as it was received.
    pub packet: Box<[u8]>,
}

/// The memory of fragmented datagrams on their way.
///
/// `S` is the subject that a datagram came from and whose share it counts against; pieces of different subjects never
/// meet. `V` is what the data path decided about a first piece; it carries the session's generation, so that whoever
/// follows it checks that the session is still open (FLT-7).
#[derive(Debug)]
pub struct Fragments<S, V> {
    limits: FragmentLimits,
    tracked: BTreeMap<Key<S>, Tracked<V>>,
    /// Datagrams without their first piece, by deadline.
    waiting: BTreeSet<(Instant, Key<S>)>,
    /// Datagrams with a verdict and poisoned ones, by deadline.
    settled: BTreeSet<(Instant, Key<S>)>,
    shares: Shares<S>,
    /// Pieces on their way out; at most what was parked.
    released: VecDeque<(S, Released<V>)>,
    /// Since [`Fragments::take_given_up`].
    given_up: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<S> {
    subject: S,
    datagram: Datagram,
}

#[derive(Debug)]
struct Tracked<V> {
    spans: Spans,
    deadline: Instant,
    state: State<V>,
}

#[derive(Debug)]
enum State<V> {
    /// Entered by an early piece.
    Waiting { parked: Vec<Parked> },
    /// Entered by the first piece.
    Decided { verdict: V },
    /// Entered from both others by a piece that does not fit; never left.
    Poisoned,
}

#[derive(Debug)]
struct Parked {
    offset: u16,
    packet: Box<[u8]>,
}

impl<S: Copy + Ord, V: Clone> Fragments<S, V> {
    /// An empty memory with these bounds.
    pub fn new(limits: FragmentLimits) -> Fragments<S, V> {
        Fragments {
            limits,
            tracked: BTreeMap::new(),
            waiting: BTreeSet::new(),
            settled: BTreeSet::new(),
            shares: Shares::new(),
            released: VecDeque::new(),
            given_up: 0,
        }
    }

    /// Remembers the verdict about a first piece, which passes if this says so. Call it with the piece as received,
    /// before translation. Afterwards drain [`Fragments::pop_released`].
    pub fn first(&mut self, now: Instant, subject: S, piece: Piece, verdict: V) -> Result<(), Refused> {
        self.handle_timeout(now);
        let key = Key { subject, datagram: piece.datagram };
        self.check(now, key, piece)?;
        if !self.tracked.contains_key(&key) {
            self.make_room(subject)?;
            self.track(now, key);
        }
        self.add(key, piece);
        self.decide(now, key, verdict);
        self.forget_if_complete(key);
        Ok(())
    }

    /// Says what to do with a piece that is not the first: `packet`, as received.
    pub fn later(
        &mut self,
        now: Instant,
        subject: S,
        piece: Piece,
        packet: &[u8],
    ) -> Result<Later<V>, Refused> {
        self.handle_timeout(now);
        let key = Key { subject, datagram: piece.datagram };
        self.check(now, key, piece)?;
        if let Some(verdict) = self.verdict(key) {
            self.add(key, piece);
            self.forget_if_complete(key);
            return Ok(Later::Follow(verdict));
        }
        self.park(now, key, piece, packet).map(|()| Later::Parked)
    }

    /// Condemns a datagram: for a first piece that was refused, and for pieces that do not even parse (FRG-2). Where there
    /// is no room to remember it, nothing new of the subject is tracked for as long as it would have been remembered.
    pub fn poison(&mut self, now: Instant, subject: S, datagram: Datagram) {
        self.handle_timeout(now);
        let key = Key { subject, datagram };
        if self.tracked.contains_key(&key) || self.make_room(subject).is_ok() {
            self.remove(key);
            self.insert_poisoned(now, key);
        } else {
            self.shares.seal(subject, now.saturating_add(self.limits.lifetime));
        }
    }

    /// The next early piece whose first piece has come; those of one datagram in the order of their offsets.
    pub fn pop_released(&mut self) -> Option<Released<V>> {
        let (subject, released) = self.released.pop_front()?;
        self.shares.give_parking_back(subject, released.packet.len());
        Some(released)
    }

    /// When the next datagram is forgotten.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.waiting.first().map(|&(deadline, _)| deadline);
        let settled = self.settled.first().map(|&(deadline, _)| deadline);
        [waiting, settled].into_iter().flatten().min()
    }

    /// Forgets datagrams whose time is over, and the pieces parked for them.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.expired(now) {
            self.remove(key);
        }
        self.shares.unseal(now);
    }

    /// Forgets every datagram that `is_gone` says so about; those without a verdict yet are asked about by subject only.
    /// Only gives memory back early: followers check the verdict's generation themselves. Linear.
    pub fn forget(&mut self, mut is_gone: impl FnMut(&S, Option<&V>) -> bool) {
        let gone: Vec<Key<S>> = (self.tracked.iter())
            .filter(|(key, tracked)| is_gone(&key.subject, tracked.state.verdict()))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.remove(key);
        }
        let (gone, kept) = self
            .released
            .drain(..)
            .partition(|(subject, released)| is_gone(subject, Some(&released.verdict)));
        self.released = kept;
        for (subject, released) in gone {
            self.given_up += 1;
            self.shares.give_parking_back(subject, released.packet.len());
        }
    }

    /// How many parked pieces were thrown away since the last call: no verdict came, or none that lets them pass.
    pub fn take_given_up(&mut self) -> u64 {
        core::mem::take(&mut self.given_up)
    }

    /// Datagrams tracked now.
    pub fn datagrams_used(&self) -> usize {
        self.tracked.len()
    }

    /// Bytes parked now, those waiting to be taken by [`Fragments::pop_released`] included.
    pub fn parked_bytes_used(&self) -> usize {
        self.shares.parked_bytes()
    }

    /// Whether the piece fits to the others; poisons the datagram where it does not (FRG-3).
    fn check(&mut self, now: Instant, key: Key<S>, piece: Piece) -> Result<(), Refused> {
        let Some(tracked) = self.tracked.get(&key) else { return Ok(()) };
        if matches!(tracked.state, State::Poisoned) {
            return Err(Refused::Poisoned);
        }
        let refused = match tracked.spans.check(piece.span) {
            Ok(()) => return Ok(()),
            Err(Clash::Duplicate) => return Err(Refused::Duplicate),
            Err(Clash::Overlap) => Refused::Overlap,
            Err(Clash::TooMany) => Refused::TooManyPieces,
        };
        self.remove(key);
        self.insert_poisoned(now, key);
        Err(refused)
    }

    fn verdict(&self, key: Key<S>) -> Option<V> {
        self.tracked.get(&key).and_then(|tracked| tracked.state.verdict()).cloned()
    }

    fn add(&mut self, key: Key<S>, piece: Piece) {
        let tracked = self.tracked.get_mut(&key).expect("callers track the datagram first");
        tracked.spans.add(piece.span);
    }

    fn park(&mut self, now: Instant, key: Key<S>, piece: Piece, packet: &[u8]) -> Result<(), Refused> {
        if !self.shares.allow_parking(key.subject, packet.len(), &self.limits) {
            return Err(Refused::ParkingFull);
        }
        if !self.tracked.contains_key(&key) {
            self.check_room(key.subject)?;
            self.track(now, key);
        }
        self.add(key, piece);
        self.shares.take_parking(key.subject, packet.len());
        let tracked = self.tracked.get_mut(&key).expect("tracked above");
        tracked.state.park(Parked { offset: piece.span.offset(), packet: packet.into() });
        Ok(())
    }

    /// Gives a waiting datagram its verdict and its parked pieces their way out.
    fn decide(&mut self, now: Instant, key: Key<S>, verdict: V) {
        let deadline = now.saturating_add(self.limits.lifetime);
        let tracked = self.tracked.get_mut(&key).expect("callers track the datagram first");
        self.waiting.remove(&(tracked.deadline, key));
        self.settled.insert((deadline, key));
        tracked.deadline = deadline;
        let decided = State::Decided { verdict: verdict.clone() };
        let mut parked = core::mem::replace(&mut tracked.state, decided).into_parked();
        parked.sort_by_key(|piece| piece.offset);
        let released =
            parked.into_iter().map(|piece| Released { verdict: verdict.clone(), packet: piece.packet });
        self.released.extend(released.map(|released| (key.subject, released)));
    }

    /// The receiver has all of it: the next piece with this identification is of another datagram.
    fn forget_if_complete(&mut self, key: Key<S>) {
        if self.tracked.get(&key).is_some_and(|tracked| tracked.spans.is_complete()) {
            self.remove(key);
        }
    }

    /// Room for one more datagram of `subject`, taken from the oldest waiting one if need be.
    fn make_room(&mut self, subject: S) -> Result<(), Refused> {
        if self.tracked.len() >= self.limits.datagrams_max
            && let Some(&(_, oldest)) = self.waiting.first()
        {
            self.remove(oldest);
        }
        self.check_room(subject)
    }

    fn check_room(&self, subject: S) -> Result<(), Refused> {
        let room = self.tracked.len() < self.limits.datagrams_max
            && self.shares.allow_datagram(subject, &self.limits);
        if room { Ok(()) } else { Err(Refused::TooManyDatagrams) }
    }

    /// Starts to track a datagram, which waits for its first piece.
    fn track(&mut self, now: Instant, key: Key<S>) {
        let deadline = now.saturating_add(self.limits.lifetime);
        self.waiting.insert((deadline, key));
        self.insert(
            key,
            Tracked { spans: Spans::default(), deadline, state: State::Waiting { parked: Vec::new() } },
        );
    }

    fn insert_poisoned(&mut self, now: Instant, key: Key<S>) {
        let deadline = now.saturating_add(self.limits.lifetime);
        self.settled.insert((deadline, key));
        self.insert(key, Tracked { spans: Spans::default(), deadline, state: State::Poisoned });
    }

    fn insert(&mut self, key: Key<S>, tracked: Tracked<V>) {
        self.shares.take_datagram(key.subject);
        self.tracked.insert(key, tracked);
    }

    fn remove(&mut self, key: Key<S>) {
        let Entry::Occupied(entry) = self.tracked.entry(key) else { return };
        let tracked = entry.remove();
        self.waiting.remove(&(tracked.deadline, key));
        self.settled.remove(&(tracked.deadline, key));
        self.shares.give_datagram_back(key.subject);
        for piece in tracked.state.into_parked() {
            self.given_up += 1;
            self.shares.give_parking_back(key.subject, piece.packet.len());
        }
    }

    fn expired(&self, now: Instant) -> Option<Key<S>> {
        let due = |queue: &BTreeSet<(Instant, Key<S>)>| {
            queue.first().filter(|(deadline, _)| *deadline <= now).map(|&(_, key)| key)
        };
        due(&self.waiting).or_else(|| due(&self.settled))
    }
}

impl<V> State<V> {
    fn verdict(&self) -> Option<&V> {
        match self {
            State::Decided { verdict } => Some(verdict),
            State::Waiting { .. } | State::Poisoned => None,
        }
    }

    fn park(&mut self, piece: Parked) {
        match self {
            State::Waiting { parked } => parked.push(piece),
            State::Decided { .. } | State::Poisoned => {}
        }
    }

    fn into_parked(self) -> Vec<Parked> {
        match self {
            State::Waiting { parked } => parked,
            State::Decided { .. } | State::Poisoned => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
