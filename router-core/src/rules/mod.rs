//! Which session allows a packet. Access policy writes here, the data path reads here; they meet nowhere else.
//!
//! Not a general classifier, on purpose: a source has few sessions, and a session has few destinations.
//!
//! ```text
//! (ingress, source) --hash--> subject --> its sessions --> destinations, sorted
//!                                    \--(address, protocol, port), hash--> session with that single destination
//! ```
//!
//! A session stands in a *slot*. The slot counts generations, and a flow remembers the one it was opened in: closing a
//! session is one increment, and all its flows are dead (FLT-7, P2). Nothing here grows by packets.

mod destinations;
mod leases;
mod rule;
mod slots;
mod snapshot;
mod subjects;

use core::net::IpAddr;

use wg_proto::{Instant, PeerIndex, SipHash};

use destinations::Sorted;
pub(crate) use destinations::{Action, Selected};
pub use rule::{
    Applied, ApplyError, Destination, Dnat, EgressChoice, IngressMatch, Rule, RuleError, RuleSnapshot,
    SessionId, SnatPool, Subject,
};
pub(crate) use slots::{Dead, Session};

use crate::datapath::SourceChecked;
use crate::flow::{BATCH, Direction, Phase, SessionRef, SessionUse, Standing, Tuple};
use crate::index::touch_all;
use crate::nat::Snat;
use crate::packet::Protocol;
use crate::verdict::Refusal;
use leases::Leases;
use slots::Slots;
use subjects::Subjects;

/// All sessions of a node. At most `sessions_max`; one more is refused.
#[derive(Debug)]
pub(crate) struct Rules {
    slots: Slots,
    subjects: Subjects,
    leases: Leases,
    /// When the node's own lease lapses, until that is noticed.
    node_lapse: Option<Instant>,
    /// Whether flows have died by a lapse that nobody has looked for yet.
    has_dead_flows: bool,
}

/// The rule that allows a packet to open a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match<'a, A> {
    pub(crate) session: SessionRef,
    pub(crate) snat: Snat,
    pub(crate) action: &'a Action<A>,
}

/// No rule allows a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoMatch {
    /// Set if a rule would, but its lease has lapsed.
    pub(crate) lapsed: bool,
    /// How the sender's sessions want it refused; `None`: it has none.
    pub(crate) refusal: Option<Refusal>,
}

impl Rules {
    pub(crate) fn new(sessions_max: u32, key: &[u8; 16]) -> Rules {
        let hasher = SipHash::new(key);
        Rules {
            slots: Slots::new(sessions_max, hasher),
            subjects: Subjects::new(sessions_max, hasher),
            leases: Leases::default(),
            node_lapse: None,
            has_dead_flows: false,
        }
    }

    /// Opens a session. Costs a few hash operations and, with a lease, one ordered insertion.
    pub(crate) fn open(&mut self, session: Session) -> Result<SessionRef, RuleError> {
        let (subject, deny, deadline) = (session.subject, session.deny, session.deadline);
        let opened = self.slots.open(session)?;
        self.subjects.add(&subject, deny, opened.slot, &mut self.slots);
        self.leases.set(deadline, opened.slot);
        Ok(opened)
    }

    /// Closes a session: its flows are dead. `None` if there is none of this number.
    pub(crate) fn close(&mut self, id: SessionId) -> Option<SessionRef> {
        let slot = self.slots.find(id)?;
        self.subjects.remove(slot, &mut self.slots);
        self.leases.clear(self.slots.session(slot)?.deadline, slot);
        self.slots.close(slot)
    }

    /// Gives a session a new lease. Flows of a lease that has lapsed meanwhile stay dead. Says whether there is such a
    /// session.
    pub(crate) fn renew(&mut self, now: Instant, id: SessionId, lease: Option<Instant>) -> bool {
        let Some(slot) = self.slots.find(id) else { return false };
        if self.slots.has_lapsed(now, slot) {
            self.slots.end_flows(slot);
            self.has_dead_flows = true;
        }
        if let Some(session) = self.slots.session_mut(slot) {
            self.leases.clear(session.deadline, slot);
            session.deadline = slots::deadline_of(&session.subject, lease);
            self.leases.set(session.deadline, slot);
            let deadline = session.deadline;
            self.slots.set_deadline(slot, deadline);
        }
        true
    }

    /// Sets the lease of the node itself, without which no session is alive but what this process opens itself.
    pub(crate) fn set_node_lease(&mut self, now: Instant, lease: Option<Instant>) {
        if self.slots.has_node_lapsed(now) {
            self.slots.end_all_flows();
            self.has_dead_flows = true;
        }
        self.slots.set_node_deadline(lease.unwrap_or(FOREVER));
        self.node_lapse = lease;
    }

    /// The rule that allows a flow to this destination. The first in this order: sessions of exactly this ingress and
    /// source, of this source from anywhere, of wider sources in the order they were opened.
    pub(crate) fn classify<A: Selected + Into<IpAddr>>(
        &self,
        now: Instant,
        from: &SourceChecked<A>,
        destination: A,
        protocol: Protocol,
        port: u16,
    ) -> Result<Match<'_, A>, NoMatch> {
        let mut none = NoMatch { lapsed: false, refusal: None };
        for subject in self.subjects.of(from.ingress(), from.source().into()) {
            none.refusal = none.refusal.or(Some(subject.deny()));
            let slots = self.subjects.sessions(subject, destination, protocol, port, &self.slots);
            for slot in slots {
                // Asked first, so that the processor waits for it and for the session together.
                let has_lapsed = self.slots.has_lapsed(now, slot);
                let Some(action) = self.slots.find_action(slot, destination, protocol, port) else {
                    continue;
                };
                if has_lapsed {
                    none.lapsed = true;
                    continue;
                }
                let (session, snat) = self.slots.reference(slot);
                return Ok(Match { session, snat, action });
            }
        }
        Err(none)
    }

    /// Brings what [`classify`](Rules::classify) will read about a batch into the cache: sources and destinations of
    /// packets that open a flow. Then says of each that it seems to allow how its
    /// source is translated, and its destination.
    pub(crate) fn touch_many<A: Selected + Into<IpAddr>>(
        &self,
        packets: &[Tuple<A>],
        mut likely: impl FnMut(&Tuple<A>, Snat, (A, u16)),
    ) {
        let packets = &packets[..packets.len().min(BATCH)];
        let (mut tags, mut slots, mut found) = ([0; BATCH], [None; BATCH], [None; BATCH]);
        let (tags, slots) = (&mut tags[..packets.len()], &mut slots[..packets.len()]);
        tags.iter_mut().zip(packets).for_each(|(tag, packet)| *tag = self.subjects.tag(packet.src.into()));
        touch_all(tags.iter().map(|tag| self.subjects.touch(*tag)));
        slots.iter_mut().zip(&*tags).for_each(|(slot, tag)| *slot = self.subjects.guess(*tag));
        slots.iter_mut().for_each(|slot| *slot = slot.and_then(|sender| self.subjects.first_of(sender)));
        touch_all(slots.iter().flatten().map(|slot| self.slots.touch(*slot)));
        let sorted = |slot: &Option<u32>| slot.and_then(|slot| self.slots.destinations::<A>(slot));
        touch_all(slots.iter().filter_map(sorted).map(Sorted::touch));
        for (found, (slot, packet)) in found.iter_mut().zip(slots.iter().zip(packets)) {
            *found = sorted(slot).and_then(|sorted| sorted.likely(packet.dst));
        }
        touch_all(found.iter().flatten().map(|way| way.touch()));
        for (packet, (way, slot)) in packets.iter().zip(found.iter().zip(slots)) {
            if let (Some(way), Some(slot)) = (way, slot)
                && way.matches(packet.dst, packet.protocol, packet.dst_port)
            {
                likely(packet, self.slots.snat(*slot), way.destination(packet));
            }
        }
    }

    /// Whether a flow's session is alive: generation and leases, compared for each packet (P2, FLT-8).
    #[inline]
    pub(crate) fn check(&self, now: Instant, session: SessionRef) -> Result<(), Dead> {
        self.slots.check(now, session)
    }

    /// How the session wants refused what it does not allow.
    pub(crate) fn refusal_of(&self, session: SessionRef) -> Refusal {
        self.slots.session(session.slot).map_or(Refusal::default(), |session| session.deny)
    }

    /// Counts a forwarded packet.
    #[inline]
    pub(crate) fn count(&mut self, now: Instant, session: SessionRef, direction: Direction, bytes: usize) {
        self.slots.count(now, session.slot, direction, bytes);
    }

    /// What the session uses and may use, as long as it is the one meant.
    pub(crate) fn used_mut(&mut self, session: SessionRef) -> Option<(&mut SessionUse, crate::flow::Caps)> {
        self.slots.used_mut(session)
    }

    /// A flow of the session went from one phase to another.
    #[cold]
    pub(crate) fn phase_changed(&mut self, session: SessionRef, from: Phase, to: Phase) {
        if let Some((used, _)) = self.used_mut(session) {
            used.changed(from, to);
        }
    }

    /// What the flow table may do with a flow of this session when it is full (CAP).
    pub(crate) fn standing(&self, session: SessionRef, flows_max: u32) -> Standing {
        self.slots.standing(session, flows_max)
    }

    /// The session of this number in the slot's present generation.
    pub(crate) fn id_of(&self, session: SessionRef) -> Option<SessionId> {
        self.slots.id_of(session)
    }

    /// The session that a flow is or was of, if that was not long ago.
    pub(crate) fn owner_of(&self, session: SessionRef) -> Option<SessionId> {
        self.slots.owner_of(session)
    }

    /// All sessions, in the order of their slots.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = SessionView> + '_ {
        self.slots.iter()
    }

    /// The session of this number.
    pub(crate) fn session(&self, id: SessionId) -> Option<SessionView> {
        self.slots.find(id).and_then(|slot| self.slots.view(slot))
    }

    /// Sessions that come from this peer or leave to it.
    pub(crate) fn sessions_of_peer(&self, peer: PeerIndex) -> alloc::vec::Vec<SessionId> {
        self.slots.of_peer(peer)
    }

    /// When the next lease lapses, the node's own included.
    pub(crate) fn next_lapse(&self) -> Option<Instant> {
        self.leases.next().into_iter().chain(self.node_lapse).min()
    }

    /// Whether flows have died by a lapse since the last call: of the node's own lease, or of one that was renewed too
    /// late.
    pub(crate) fn take_dead_flows(&mut self, now: Instant) -> bool {
        if self.node_lapse.take_if(|at| *at <= now).is_some() {
            self.has_dead_flows = true;
        }
        core::mem::take(&mut self.has_dead_flows)
    }

    /// Whether [`take_dead_flows`](Rules::take_dead_flows) has something to say at once.
    pub(crate) fn has_dead_flows(&self) -> bool {
        self.has_dead_flows
    }

    /// The next session whose lease has lapsed. Its flows are dead from now on, even if the lease is renewed.
    pub(crate) fn pop_lapsed(&mut self, now: Instant) -> Option<SessionId> {
        let slot = self.leases.pop(now)?;
        self.slots.end_flows(slot);
        self.slots.session(slot).map(|session| session.id)
    }
}

/// A session and what it has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionView {
    /// Which session.
    pub id: SessionId,
    /// Who may send.
    pub subject: Subject,
    /// When it ends by itself.
    pub lease: Option<Instant>,
    /// Flows it holds now.
    pub flows: u32,
    /// External ports it holds now.
    pub ports: u32,
    /// Packets from the subject and to it.
    pub packets: [u64; 2],
    /// Bytes in them.
    pub bytes: [u64; 2],
    /// When the last of them passed.
    pub last_packet: Option<Instant>,
}

/// A deadline that never comes.
pub(crate) const FOREVER: Instant = Instant::from_nanos(u64::MAX - 1);
/// The same, for a session that does not end with the node's own lease either.
const ALWAYS: Instant = Instant::from_nanos(u64::MAX);

/// Bytes of memory that one session of `destinations` destinations takes.
pub(crate) const fn session_bytes(destinations: usize) -> usize {
    slots::SLOT_BYTES + subjects::SUBJECT_BYTES + destinations * destinations::DESTINATION_BYTES
}
