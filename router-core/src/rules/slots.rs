//! Session slots: generation, lease and counters in one cache line that every packet touches, the rest beside it.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use hashbrown::HashTable;
use wg_proto::{Instant, PeerIndex, SipHash};

use super::destinations::{Action, Destinations, Exact, Selected, Sorted};
use super::rule::{EgressChoice, IngressMatch, Rule, RuleError, SessionId, Subject};
use super::{ALWAYS, FOREVER, SessionView};
use crate::flow::{Caps, Direction, SessionRef, SessionUse, Standing};
use crate::nat::Snat;
use crate::packet::{Protocol, Version};
use crate::verdict::Refusal;

/// A rule, compiled. What classification reads comes first, and with [`Record`] fills one cache line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Session {
    destinations: Destinations,
    pub(super) snat: Snat,
    caps: Caps,
    pub(super) deny: Refusal,
    pub(super) deadline: Instant,
    pub(crate) id: SessionId,
    pub(super) subject: Subject,
}

/// Why a flow's session does not carry it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dead {
    Closed,
    Lapsed,
}

/// What every packet of a session touches.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Pulse {
    generation: u64,
    deadline: Instant,
    packets: [u64; 2],
    bytes: [u64; 2],
    last_packet: Instant,
}

/// A session and its place among its subject's.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Record {
    session: Session,
    used: SessionUse,
    /// Who it belongs to, and how it is found there.
    pub(super) place: Place,
}

/// Where a subject keeps a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) subject: u32,
    pub(super) listing: Listing,
}

/// How a subject finds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// In the list of its sessions; the next one there.
    Listed { next: Option<u32> },
    /// By the hash of its single destination.
    Hashed,
}

#[derive(Debug)]
pub(super) struct Slots {
    pulses: Vec<Pulse>,
    records: Vec<Option<Record>>,
    /// Which session each slot had in the generation before, so that its flows are known when they go.
    before: Vec<(u64, SessionId)>,
    free: Vec<u32>,
    by_id: HashTable<u32>,
    hasher: SipHash,
    sessions_max: u32,
    node_deadline: Instant,
}

/// Memory of a slot: pulse, record, who had it before, its places in the list of free ones and in the table of numbers.
pub(super) const SLOT_BYTES: usize =
    size_of::<Pulse>() + size_of::<Option<Record>>() + size_of::<(u64, SessionId)>() + 16;

impl Session {
    /// Compiles a rule.
    pub(crate) fn new(rule: &Rule) -> Result<Session, RuleError> {
        let version = if rule.subject.source.addr().is_ipv4() { Version::V4 } else { Version::V6 };
        Ok(Session {
            id: rule.id,
            subject: Subject { source: rule.subject.source.trunc(), ..rule.subject },
            deny: rule.deny,
            deadline: deadline_of(&rule.subject, rule.lease),
            snat: rule.snat,
            caps: rule.caps,
            destinations: Destinations::new(version, &rule.destinations)?,
        })
    }

    /// The peers it names.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerIndex> + '_ {
        let subject = match self.subject.ingress {
            IngressMatch::Peer(peer) => Some(peer),
            IngressMatch::Tun | IngressMatch::Sockets | IngressMatch::Any => None,
        };
        let egresses = self.destinations.egresses().filter_map(|egress| match egress {
            EgressChoice::Peer(peer) => Some(peer),
            EgressChoice::Route | EgressChoice::Tun | EgressChoice::Sockets => None,
        });
        subject.into_iter().chain(egresses)
    }

    /// Whether it translates the source.
    pub(crate) fn snat(&self) -> Snat {
        self.snat
    }

    /// Whether both say the same, the lease aside.
    pub(super) fn is_like(&self, other: &Session) -> bool {
        self.id == other.id
            && self.subject == other.subject
            && self.deny == other.deny
            && self.snat == other.snat
            && self.caps == other.caps
            && self.destinations == other.destinations
    }
}

impl Slots {
    pub(super) fn new(sessions_max: u32, hasher: SipHash) -> Slots {
        let capacity = sessions_max as usize;
        Slots {
            pulses: Vec::with_capacity(capacity),
            records: Vec::with_capacity(capacity),
            before: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            by_id: HashTable::with_capacity(capacity),
            hasher,
            sessions_max,
            node_deadline: FOREVER,
        }
    }

    pub(super) fn sessions_used(&self) -> u32 {
        self.by_id.len() as u32
    }

    pub(super) fn sessions_max(&self) -> u32 {
        self.sessions_max
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.records.iter().flatten().map(|record| record.session.id)
    }

    /// Stores a session; the caller gives it its place.
    pub(super) fn open(&mut self, session: Session) -> Result<SessionRef, RuleError> {
        if self.find(session.id).is_some() {
            return Err(RuleError::Duplicate);
        }
        if self.sessions_used() >= self.sessions_max {
            return Err(RuleError::TooManySessions);
        }
        let slot = self.take_slot();
        let pulse = &mut self.pulses[slot as usize];
        *pulse = Pulse { deadline: session.deadline, ..Pulse::new(pulse.generation) };
        let (hash, generation) = (hash_id(&self.hasher, session.id), pulse.generation);
        let place = Place { subject: u32::MAX, listing: Listing::Hashed };
        self.records[slot as usize] = Some(Record { session, used: SessionUse::default(), place });
        let (records, hasher) = (&self.records, &self.hasher);
        self.by_id.insert_unique(hash, slot, |slot| hash_slot(records, hasher, *slot));
        Ok(SessionRef { slot, generation })
    }

    /// Empties a slot. Its flows are dead.
    pub(super) fn close(&mut self, slot: u32) -> Option<SessionRef> {
        let record = self.records[slot as usize].take()?;
        if let Ok(entry) =
            self.by_id.find_entry(hash_id(&self.hasher, record.session.id), |other| *other == slot)
        {
            entry.remove();
        }
        let pulse = &mut self.pulses[slot as usize];
        let closed = SessionRef { slot, generation: pulse.generation };
        pulse.generation += 1;
        self.before[slot as usize] = (closed.generation, record.session.id);
        self.free.push(slot);
        Some(closed)
    }

    pub(super) fn find(&self, id: SessionId) -> Option<u32> {
        let is_it =
            |slot: &u32| self.records[*slot as usize].as_ref().is_some_and(|record| record.session.id == id);
        self.by_id.find(hash_id(&self.hasher, id), is_it).copied()
    }

    pub(super) fn session(&self, slot: u32) -> Option<&Session> {
        self.record(slot).map(|record| &record.session)
    }

    pub(super) fn session_mut(&mut self, slot: u32) -> Option<&mut Session> {
        self.records[slot as usize].as_mut().map(|record| &mut record.session)
    }

    pub(super) fn record(&self, slot: u32) -> Option<&Record> {
        self.records[slot as usize].as_ref()
    }

    pub(super) fn place_mut(&mut self, slot: u32) -> Option<&mut Place> {
        self.records[slot as usize].as_mut().map(|record| &mut record.place)
    }

    pub(super) fn exact(&self, slot: u32) -> Option<Exact> {
        self.session(slot)?.destinations.exact()
    }

    /// What the session in this slot does with such a packet.
    #[inline]
    pub(super) fn find_action<A: Selected>(
        &self,
        slot: u32,
        destination: A,
        protocol: Protocol,
        port: u16,
    ) -> Option<&Action<A>> {
        self.destinations(slot)?.find(destination, protocol, port)
    }

    /// Reads what a search in this slot will read first, to bring it into the cache.
    #[inline]
    pub(super) fn touch(&self, slot: u32) -> u64 {
        let pulse = self.pulses.get(slot as usize).map_or(0, |pulse| pulse.generation);
        let used = self.record(slot).map_or(0, |record| u64::from(record.used.flows_used()));
        pulse ^ used
    }

    /// Its destinations, to be touched in turn.
    #[inline]
    pub(super) fn destinations<A: Selected>(&self, slot: u32) -> Option<&Sorted<A>> {
        self.session(slot).and_then(|session| A::of(&session.destinations))
    }

    /// The session in an occupied slot, and whether it translates the source.
    pub(super) fn reference(&self, slot: u32) -> (SessionRef, Snat) {
        let generation = self.pulses[slot as usize].generation;
        (SessionRef { slot, generation }, self.snat(slot))
    }

    /// Whether the session in an occupied slot translates the source.
    pub(super) fn snat(&self, slot: u32) -> Snat {
        self.session(slot).map_or(Snat::Off, |session| session.snat)
    }

    #[inline]
    pub(super) fn check(&self, now: Instant, session: SessionRef) -> Result<(), Dead> {
        let pulse = &self.pulses[session.slot as usize];
        if pulse.generation != session.generation {
            Err(Dead::Closed)
        } else if pulse.is_over(now, self.node_deadline) {
            Err(Dead::Lapsed)
        } else {
            Ok(())
        }
    }

    #[inline]
    pub(super) fn count(&mut self, now: Instant, slot: u32, direction: Direction, bytes: usize) {
        let pulse = &mut self.pulses[slot as usize];
        pulse.packets[direction.index()] += 1;
        pulse.bytes[direction.index()] += bytes as u64;
        pulse.last_packet = now;
    }

    pub(super) fn used_mut(&mut self, session: SessionRef) -> Option<(&mut SessionUse, Caps)> {
        let generation = self.pulses[session.slot as usize].generation;
        let record = self.records[session.slot as usize].as_mut()?;
        (generation == session.generation).then_some((&mut record.used, record.session.caps))
    }

    pub(super) fn standing(&self, session: SessionRef, flows_max: u32) -> Standing {
        let is_present = self.pulses[session.slot as usize].generation == session.generation;
        match self.record(session.slot).filter(|_| is_present) {
            None => Standing::Dead,
            Some(record) if record.used.is_over_share(flows_max, self.sessions_used()) => Standing::OverShare,
            Some(_) => Standing::WithinShare,
        }
    }

    pub(super) fn id_of(&self, session: SessionRef) -> Option<SessionId> {
        let is_present = self.pulses.get(session.slot as usize)?.generation == session.generation;
        self.session(session.slot).filter(|_| is_present).map(|session| session.id)
    }

    /// The same, also in the generation before.
    pub(super) fn owner_of(&self, session: SessionRef) -> Option<SessionId> {
        let before = || self.before.get(session.slot as usize).filter(|(was, _)| *was == session.generation);
        self.id_of(session).or_else(|| before().map(|(_, id)| *id))
    }

    pub(super) fn of_peer(&self, peer: PeerIndex) -> Vec<SessionId> {
        let sessions = self.records.iter().flatten().map(|record| &record.session);
        sessions.filter(|session| session.peers().any(|it| it == peer)).map(|session| session.id).collect()
    }

    /// Whether the session in this slot, or the node, has no lease any more.
    pub(super) fn has_lapsed(&self, now: Instant, slot: u32) -> bool {
        self.pulses[slot as usize].is_over(now, self.node_deadline)
    }

    pub(super) fn has_node_lapsed(&self, now: Instant) -> bool {
        now >= self.node_deadline
    }

    pub(super) fn set_deadline(&mut self, slot: u32, deadline: Instant) {
        self.pulses[slot as usize].deadline = deadline;
    }

    pub(super) fn set_node_deadline(&mut self, deadline: Instant) {
        self.node_deadline = deadline;
    }

    /// Starts a new generation in an occupied slot: the flows so far are dead, the session goes on.
    pub(super) fn end_flows(&mut self, slot: u32) {
        let pulse = &mut self.pulses[slot as usize];
        let ended = pulse.generation;
        pulse.generation += 1;
        if let Some(record) = &mut self.records[slot as usize] {
            self.before[slot as usize] = (ended, record.session.id);
            record.used = SessionUse::default();
        }
    }

    /// The same in all slots that the node's own lease is for.
    pub(super) fn end_all_flows(&mut self) {
        for slot in 0..self.pulses.len() as u32 {
            if self.pulses[slot as usize].deadline != ALWAYS {
                self.end_flows(slot);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = SessionView> + '_ {
        (0..self.records.len() as u32).filter_map(|slot| self.view(slot))
    }

    /// The session in a slot, and what it has carried.
    pub(super) fn view(&self, slot: u32) -> Option<SessionView> {
        let (record, pulse) = (self.record(slot)?, &self.pulses[slot as usize]);
        Some(SessionView {
            id: record.session.id,
            subject: record.session.subject,
            lease: Some(record.session.deadline).filter(|deadline| *deadline < FOREVER),
            flows: record.used.flows_used(),
            ports: record.used.ports_used(),
            packets: pulse.packets,
            bytes: pulse.bytes,
            last_packet: Some(pulse.last_packet).filter(|_| pulse.packets != [0, 0]),
        })
    }

    fn take_slot(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.pulses.push(Pulse::new(0));
            self.records.push(None);
            self.before.push((u64::MAX, SessionId(0)));
            (self.pulses.len() - 1) as u32
        })
    }
}

impl Pulse {
    const fn new(generation: u64) -> Pulse {
        let never = Instant::from_nanos(0);
        Pulse { generation, deadline: FOREVER, packets: [0; 2], bytes: [0; 2], last_packet: never }
    }

    /// Whether a lease has lapsed: its own or the node's. What is exempt from the node's is asked about last, when nearly
    /// everything else has passed already.
    #[inline]
    fn is_over(&self, now: Instant, node_deadline: Instant) -> bool {
        now >= self.deadline.min(node_deadline) && self.deadline != ALWAYS
    }
}

/// What this process opens itself has no other lease than its own.
pub(super) fn deadline_of(subject: &Subject, lease: Option<Instant>) -> Instant {
    let without = if subject.ingress == IngressMatch::Sockets { ALWAYS } else { FOREVER };
    lease.unwrap_or(without)
}

fn hash_id(hasher: &SipHash, id: SessionId) -> u64 {
    hasher.hash(&id.0.to_ne_bytes())
}

fn hash_slot(records: &[Option<Record>], hasher: &SipHash, slot: u32) -> u64 {
    let record = records[slot as usize].as_ref().expect("only occupied slots stand in the table");
    hash_id(hasher, record.session.id)
}

const _: () = assert!(core::mem::offset_of!(Session, deny) < 64 && size_of::<Option<Record>>() <= 192);
const _: () = assert!(size_of::<Pulse>() == 64 && size_of::<Ipv6Addr>() == 16);
