//! Who has which sessions.

use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashTable;
use wg_proto::{IpNet, SipHash};

use super::destinations::{Exact, Selected};
use super::rule::{IngressMatch, Subject};
use super::slots::{Listing, Slots};
use crate::index::Index;
use crate::packet::Protocol;
use crate::verdict::{Ingress, Refusal};

/// A sender with at least one session: one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Entry {
    subject: Subject,
    /// How what it sends elsewhere is refused: as its newest session says.
    deny: Refusal,
    /// Sessions that are looked through one by one, oldest first.
    first: Option<u32>,
    last: Option<u32>,
    /// Sessions found by hash.
    hashed: u32,
    number: u32,
}

/// All senders with sessions. Those with one address are found by hash; wider ones are few, and looked through.
#[derive(Debug)]
pub(super) struct Subjects {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    hosts: Index,
    /// How many of them may come in anywhere.
    anywhere: u32,
    /// Numbers of wide subjects, in the order they came.
    wide: Vec<u32>,
    /// Slots whose single destination is exact.
    exact: HashTable<u32>,
    hasher: SipHash,
}

/// Memory of a subject, at most one per session: the entry and its places in the tables.
pub(super) const SUBJECT_BYTES: usize = size_of::<Option<Entry>>() + 4 + 12 + 10;

const _: () = assert!(size_of::<Option<Entry>>() == 64);

impl Entry {
    pub(super) fn deny(&self) -> Refusal {
        self.deny
    }

    fn is_unused(&self) -> bool {
        self.first.is_none() && self.hashed == 0
    }
}

impl Subjects {
    pub(super) fn new(sessions_max: u32, hasher: SipHash) -> Subjects {
        let capacity = sessions_max as usize;
        Subjects {
            entries: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            hosts: Index::new(sessions_max),
            anywhere: 0,
            wide: Vec::new(),
            exact: HashTable::with_capacity(capacity),
            hasher,
        }
    }

    /// Those subjects that a packet from here may belong to.
    pub(super) fn of(&self, ingress: Ingress, source: IpAddr) -> impl Iterator<Item = &Entry> {
        let here = match ingress {
            Ingress::Peer(peer) => IngressMatch::Peer(peer),
            Ingress::Tun => IngressMatch::Tun,
            Ingress::Sockets => IngressMatch::Sockets,
        };
        let host = move |ingress| Subject { ingress, source: source.into() };
        let anywhere = (self.anywhere > 0).then_some(IngressMatch::Any);
        let ingresses = core::iter::once(here).chain(anywhere);
        let tag = self.tag(source);
        let hosts = ingresses.filter_map(move |at| self.find_host(tag, &host(at)));
        let wide = self.wide.iter().filter_map(|number| self.entry(*number)).filter(move |entry| {
            let is_here = entry.subject.ingress == here || entry.subject.ingress == IngressMatch::Any;
            is_here && entry.subject.source.contains(&source)
        });
        hosts.chain(wide)
    }

    /// Where the search for a sender with this one address begins. By the source alone: one source comes in at one or two
    /// places, and looking ahead does not know where.
    #[inline]
    pub(super) fn tag(&self, source: IpAddr) -> u32 {
        let hash = match source {
            IpAddr::V4(source) => self.hasher.hash(&source.octets()),
            IpAddr::V6(source) => self.hasher.hash(&source.octets()),
        };
        (hash >> 32) as u32
    }

    /// Reads where that is, to bring it into the cache.
    #[inline]
    pub(super) fn touch(&self, tag: u32) -> u64 {
        self.hosts.touch(tag)
    }

    /// The number of the sender under this tag: nearly always the right one.
    #[inline]
    pub(super) fn guess(&self, tag: u32) -> Option<u32> {
        self.hosts.guess(tag)
    }

    /// The first of its sessions that are looked through.
    #[inline]
    pub(super) fn first_of(&self, number: u32) -> Option<u32> {
        self.entry(number)?.first
    }

    /// The subject's sessions that may mean such a packet: the one with exactly this destination, then the others.
    pub(super) fn sessions<'a, A: Selected>(
        &'a self,
        entry: &'a Entry,
        destination: A,
        protocol: Protocol,
        port: u16,
        slots: &'a Slots,
    ) -> impl Iterator<Item = u32> + 'a {
        let exact = Exact { address: destination.to_number(), protocol, port };
        let hashed = (entry.hashed > 0).then(|| self.find_exact(entry.number, exact, slots)).flatten();
        let listed = core::iter::successors(entry.first, |slot| next(slots, *slot));
        hashed.into_iter().chain(listed)
    }

    /// Gives an occupied slot its place with its subject.
    pub(super) fn add(&mut self, subject: &Subject, deny: Refusal, slot: u32, slots: &mut Slots) {
        let number = self.find_or_make(subject, deny);
        let exact = slots.exact(slot).filter(|exact| self.find_exact(number, *exact, slots).is_none());
        let Some(entry) = &mut self.entries[number as usize] else { return };
        entry.deny = deny;
        let listing = match exact {
            Some(_) => {
                entry.hashed += 1;
                Listing::Hashed
            }
            None => Listing::Listed { next: None },
        };
        let before = if exact.is_none() { entry.last.replace(slot) } else { None };
        if exact.is_none() && entry.first.is_none() {
            entry.first = Some(slot);
        }
        if let Some(place) = slots.place_mut(slot) {
            (place.subject, place.listing) = (number, listing);
        }
        if let Some(place) = before.and_then(|before| slots.place_mut(before)) {
            place.listing = Listing::Listed { next: Some(slot) };
        }
        if let Some(exact) = exact {
            let (hash, hasher) = (hash_exact(&self.hasher, number, exact), &self.hasher);
            self.exact.insert_unique(hash, slot, |slot| hash_slot(hasher, slots, *slot));
        }
    }

    /// Takes an occupied slot out of its place.
    pub(super) fn remove(&mut self, slot: u32, slots: &mut Slots) {
        let Some(place) = slots.record(slot).map(|record| record.place) else { return };
        match place.listing {
            Listing::Hashed => self.remove_hashed(place.subject, slot, slots),
            Listing::Listed { next } => self.unlist(place.subject, slot, next, slots),
        }
        if self.entry(place.subject).is_some_and(Entry::is_unused) {
            self.forget(place.subject);
        }
    }

    fn remove_hashed(&mut self, number: u32, slot: u32, slots: &Slots) {
        let hash = hash_slot(&self.hasher, slots, slot);
        if let Ok(entry) = self.exact.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        if let Some(entry) = &mut self.entries[number as usize] {
            entry.hashed -= 1;
        }
    }

    /// Linear in the subject's few sessions.
    fn unlist(&mut self, number: u32, slot: u32, behind: Option<u32>, slots: &mut Slots) {
        let Some(entry) = &mut self.entries[number as usize] else { return };
        let before = core::iter::successors(entry.first, |at| next(slots, *at))
            .find(|at| next(slots, *at) == Some(slot));
        match before {
            None => entry.first = behind,
            Some(before) => {
                if let Some(place) = slots.place_mut(before) {
                    place.listing = Listing::Listed { next: behind };
                }
            }
        }
        if entry.last == Some(slot) {
            entry.last = before;
        }
    }

    fn entry(&self, number: u32) -> Option<&Entry> {
        self.entries[number as usize].as_ref()
    }

    fn find_host(&self, tag: u32, subject: &Subject) -> Option<&Entry> {
        let is_it = |number| self.entry(number).is_some_and(|entry| entry.subject == *subject);
        self.hosts.find(tag, is_it).and_then(|number| self.entry(number))
    }

    fn find_exact(&self, number: u32, exact: Exact, slots: &Slots) -> Option<u32> {
        let is_it = |slot: &u32| {
            slots.record(*slot).is_some_and(|record| record.place.subject == number)
                && slots.exact(*slot) == Some(exact)
        };
        self.exact.find(hash_exact(&self.hasher, number, exact), is_it).copied()
    }

    fn find_or_make(&mut self, subject: &Subject, deny: Refusal) -> u32 {
        let is_host = is_host(&subject.source);
        let found = if is_host {
            self.find_host(self.tag(subject.source.addr()), subject).map(|entry| entry.number)
        } else {
            let is_it = |number: &&u32| self.entry(**number).is_some_and(|entry| entry.subject == *subject);
            self.wide.iter().find(is_it).copied()
        };
        found.unwrap_or_else(|| self.make(*subject, deny, is_host))
    }

    fn make(&mut self, subject: Subject, deny: Refusal, is_host: bool) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.entries[number as usize] =
            Some(Entry { subject, deny, first: None, last: None, hashed: 0, number });
        if is_host {
            self.anywhere += u32::from(subject.ingress == IngressMatch::Any);
            self.hosts.insert(self.tag(subject.source.addr()), number);
        } else {
            self.wide.push(number);
        }
        number
    }

    fn forget(&mut self, number: u32) {
        let Some(entry) = self.entries[number as usize].take() else { return };
        if is_host(&entry.subject.source) {
            self.anywhere -= u32::from(entry.subject.ingress == IngressMatch::Any);
            self.hosts.remove(self.tag(entry.subject.source.addr()), number);
        } else {
            self.wide.retain(|other| *other != number);
        }
        self.free.push(number);
    }
}

fn next(slots: &Slots, slot: u32) -> Option<u32> {
    match slots.record(slot)?.place.listing {
        Listing::Listed { next } => next,
        Listing::Hashed => None,
    }
}

fn is_host(source: &IpNet) -> bool {
    source.prefix_len() == source.max_prefix_len()
}

fn hash_exact(hasher: &SipHash, subject: u32, exact: Exact) -> u64 {
    let mut key = [0; 24];
    key[..16].copy_from_slice(&exact.address.to_ne_bytes());
    key[16..20].copy_from_slice(&subject.to_ne_bytes());
    key[20..22].copy_from_slice(&exact.port.to_ne_bytes());
    key[22] = exact.protocol.0;
    hasher.hash(&key)
}

fn hash_slot(hasher: &SipHash, slots: &Slots, slot: u32) -> u64 {
    let record = slots.record(slot).expect("only occupied slots stand in the table");
    let exact = slots.exact(slot).expect("only exact ones stand in the table");
    hash_exact(hasher, record.place.subject, exact)
}
