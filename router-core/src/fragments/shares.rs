//! Who holds how much of the memory for fragments, so that one subject cannot use up another's share (P27, MAP-8).

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;

use wg_proto::Instant;

use super::FragmentLimits;

/// What one subject holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Share {
    datagrams: usize,
    parked_bytes: usize,
}

// Our own choice.

/// The most subjects that are sealed one by one. One more seals everybody.
const SEALED_MAX: usize = 4096;

/// What all subjects hold. Entries of those who hold nothing are gone, so there are at most as many as datagrams and
/// parked pieces.
#[derive(Debug)]
pub(super) struct Shares<S> {
    by_subject: BTreeMap<S, Share>,
    parked_bytes: usize,
    /// Until when nothing new of a subject is tracked, because a datagram of its could not be condemned for want of room.
    sealed: BTreeMap<S, Instant>,
    /// The same for everybody.
    all_sealed: Option<Instant>,
}

impl<S: Copy + Ord> Shares<S> {
    pub(super) fn new() -> Shares<S> {
        Shares { by_subject: BTreeMap::new(), parked_bytes: 0, sealed: BTreeMap::new(), all_sealed: None }
    }

    /// Bytes parked for all subjects.
    pub(super) fn parked_bytes(&self) -> usize {
        self.parked_bytes
    }

    /// Whether `subject` may have one more datagram tracked.
    pub(super) fn allow_datagram(&self, subject: S, limits: &FragmentLimits) -> bool {
        let is_sealed = self.all_sealed.is_some() || self.sealed.contains_key(&subject);
        !is_sealed
            && (self.by_subject.get(&subject))
                .is_none_or(|share| share.datagrams < limits.datagrams_per_subject_max)
    }

    /// Tracks nothing new of `subject` until then.
    pub(super) fn seal(&mut self, subject: S, until: Instant) {
        if self.sealed.len() < SEALED_MAX || self.sealed.contains_key(&subject) {
            self.sealed.insert(subject, until);
        } else {
            self.all_sealed = Some(until);
        }
    }

    /// Lifts the seals whose time is over. Costs nothing where there are none.
    pub(super) fn unseal(&mut self, now: Instant) {
        self.sealed.retain(|_, until| *until > now);
        self.all_sealed = self.all_sealed.filter(|until| *until > now);
    }

    /// Whether `subject` may park `bytes` more.
    pub(super) fn allow_parking(&self, subject: S, bytes: usize, limits: &FragmentLimits) -> bool {
        let held = self.by_subject.get(&subject).map_or(0, |share| share.parked_bytes);
        held + bytes <= limits.parked_bytes_per_subject_max
            && self.parked_bytes + bytes <= limits.parked_bytes_max
    }

    pub(super) fn take_datagram(&mut self, subject: S) {
        self.by_subject.entry(subject).or_default().datagrams += 1;
    }

    pub(super) fn give_datagram_back(&mut self, subject: S) {
        self.give_back(subject, |share| share.datagrams -= 1);
    }

    pub(super) fn take_parking(&mut self, subject: S, bytes: usize) {
        self.by_subject.entry(subject).or_default().parked_bytes += bytes;
        self.parked_bytes += bytes;
    }

    pub(super) fn give_parking_back(&mut self, subject: S, bytes: usize) {
        self.give_back(subject, |share| share.parked_bytes -= bytes);
        self.parked_bytes -= bytes;
    }

    fn give_back(&mut self, subject: S, reduce: impl FnOnce(&mut Share)) {
        let Entry::Occupied(mut entry) = self.by_subject.entry(subject) else { return };
        reduce(entry.get_mut());
        if *entry.get() == Share::default() {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn map_8_one_subject_too_many_to_be_sealed_seals_everybody_for_that_time() {
        let (mut shares, limits) = (Shares::new(), FragmentLimits::default());
        (0..SEALED_MAX).for_each(|subject| shares.seal(subject, at(20)));
        let (first, stranger, one_more) = (0, SEALED_MAX, SEALED_MAX + 1);
        assert!(!shares.allow_datagram(first, &limits) && shares.allow_datagram(stranger, &limits));
        // One that is sealed already takes no more room.
        shares.seal(first, at(20));
        assert!(shares.allow_datagram(stranger, &limits));
        shares.seal(one_more, at(10));
        assert!(!shares.allow_datagram(stranger, &limits));
        shares.unseal(at(9));
        assert!(!shares.allow_datagram(stranger, &limits));
        shares.unseal(at(10));
        assert!(shares.allow_datagram(stranger, &limits) && !shares.allow_datagram(first, &limits));
        shares.unseal(at(20));
        assert!(shares.allow_datagram(first, &limits));
    }
}
