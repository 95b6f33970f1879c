//! The first packet of a flow: which rule allows it, where it goes, what it is translated to (FLT-1, MAP-*, CAP, NAT-IFF).

use wg_proto::{Device, Instant};

use super::answer::Stop;
use super::family::{Family, leg_in, leg_out};
use super::side::Side;
use super::source_check::SourceChecked;
use super::{Road, Shared, is_ping, reason_of};
use crate::flow::tcp_state::{Segment, TcpTrack};
use crate::flow::{
    CapExceeded, FlowId, FlowMeta, InsertError, Leg, NewFlow, Opening, Removed, SessionRef, Tuple, TupleHash,
};
use crate::nat::{NatError, Snat, holds_port};
use crate::packet::{Echo, PacketMut, Protocol, Transport};
use crate::rules::{EgressChoice, NoMatch};
use crate::verdict::{DropReason, Egress, Ingress};

/// All that a decision looks at, and nothing it could change.
pub(super) struct Look<'a, A> {
    pub(super) side: &'a Side<A>,
    pub(super) shared: &'a Shared,
    pub(super) device: &'a Device,
    pub(super) now: Instant,
    pub(super) ingress: Ingress,
}

/// A flow that may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admission<A> {
    pub(super) session: SessionRef,
    pub(super) snat: Snat,
    /// The translated destination.
    pub(super) destination: (A, u16),
    pub(super) leg: Leg,
    pub(super) opening: Opening,
    /// Which destination of the session it is.
    pub(super) position: u16,
}

impl<A: Family> Look<'_, A> {
    /// Whether a packet of no flow may open one.
    pub(super) fn admit(
        &self,
        packet: &PacketMut<'_>,
        from: &SourceChecked<A>,
        tuple: &Tuple<A>,
    ) -> Result<Admission<A>, Stop> {
        if tuple.dst.is_martian_destination() {
            return Err(DropReason::MartianDestination.into());
        }
        let may_open = match self.ingress {
            Ingress::Peer(_) => true,
            Ingress::Tun => self.shared.settings.is_tun_client(tuple.src.into()),
            Ingress::Sockets => self.side.ours.is_overlay(tuple.src),
        };
        if !may_open {
            return Err(DropReason::NoFlow.into());
        }
        if let Transport::IcmpEcho { echo: Echo::Reply, .. } = packet.transport() {
            return Err(DropReason::NoFlow.into());
        }
        let found = self
            .shared
            .rules
            .classify(self.now, from, tuple.dst, tuple.protocol, tuple.dst_port)
            .map_err(|none| self.not_allowed(tuple, none))?;
        let opening = opening(packet)
            .map_err(|reason| Stop::Denied(reason, self.shared.rules.refusal_of(found.session)))?;
        let destination = found.action.destination(tuple);
        let (destination, egress) = match found.action.egress {
            // What is for us is served here, not by whoever has the mapping there.
            EgressChoice::Sockets => (destination, self.sockets().ok_or(DropReason::NoRoute)?),
            choice @ (EgressChoice::Route | EgressChoice::Peer(_) | EgressChoice::Tun) => {
                let inside = self.hairpin(tuple.protocol, destination)?;
                (inside, self.route(inside.0, choice)?)
            }
        };
        Ok(Admission {
            session: found.session,
            snat: found.snat,
            destination,
            leg: leg_out(egress),
            opening,
            position: found.action.position,
        })
    }

    /// What is addressed to us may be an answer to a flow that is gone: nobody is told. Everybody else is.
    fn not_allowed(&self, tuple: &Tuple<A>, none: NoMatch) -> Stop {
        match none.refusal {
            _ if none.lapsed => DropReason::LeaseLapsed.into(),
            Some(refusal) => Stop::Denied(DropReason::NotAllowed, refusal),
            None if self.side.ours.has(tuple.dst) => DropReason::NoFlow.into(),
            None => Stop::Denied(DropReason::NotAllowed, self.shared.settings.refusal),
        }
    }

    /// A flow to an external address of ours goes to the inside host that has the mapping there (MAP-9).
    fn hairpin(&self, protocol: Protocol, to: (A, u16)) -> Result<(A, u16), Stop> {
        if self.side.ours.is_neither(to.0) {
            return Ok(to);
        }
        let inside = self.side.nat.inside_of(protocol, to.0, to.1).ok_or(DropReason::NoRoute)?;
        Ok(if protocol.is_tcp_or_udp() { inside } else { (inside.0, to.1) })
    }

    /// To the peer that owns the destination, else to the TUN, else to the sockets, unless the rule says otherwise.
    fn route(&self, destination: A, choice: EgressChoice) -> Result<Egress, Stop> {
        let tun = || self.shared.settings.has_tun().then_some(Egress::Tun);
        let egress = match choice {
            EgressChoice::Route => {
                let peer = self.device.owner_of(destination.into()).map(Egress::Peer);
                peer.or_else(tun).or_else(|| self.sockets())
            }
            EgressChoice::Peer(peer) => self.device.peer(peer).map(|_| Egress::Peer(peer)),
            EgressChoice::Tun => tun(),
            EgressChoice::Sockets => self.sockets(),
        };
        egress.ok_or(DropReason::NoRoute.into())
    }

    fn sockets(&self) -> Option<Egress> {
        self.shared.settings.has_sockets.then_some(Egress::Sockets)
    }
}

impl<A: Family> Road<'_, A> {
    pub(super) fn look(&self) -> Look<'_, A> {
        Look {
            side: self.side,
            shared: self.shared,
            device: self.device,
            now: self.now,
            ingress: self.ingress,
        }
    }

    pub(super) fn is_ping_to_us(&self, packet: &PacketMut<'_>, tuple: &Tuple<A>) -> bool {
        is_ping(packet) && self.side.ours.is_overlay(tuple.dst) && matches!(self.ingress, Ingress::Peer(_))
    }

    /// Stores the flow, within its session's caps, and says which tuple its packets leave with.
    pub(super) fn insert(
        &mut self,
        tuple: &Tuple<A>,
        hash: TupleHash,
        admission: &Admission<A>,
    ) -> Result<(FlowId, Tuple<A>), Stop> {
        let needs_port = matches!(admission.snat, Snat::Pool(_));
        if let Some((used, caps)) = self.shared.rules.used_mut(admission.session) {
            used.check(self.tick, &caps, tuple.protocol, needs_port).map_err(reason_of_cap)?;
        }
        self.make_room()?;
        let Road { side, tick, .. } = self;
        let translation = side
            .nat
            .translate(*tick, &side.flows, tuple, admission.destination, admission.snat)
            .map_err(reason_of_nat)?;
        let meta =
            FlowMeta { session: admission.session, ingress: leg_in(self.ingress), egress: admission.leg };
        let flow = NewFlow { original: *tuple, reply: translation.reply, meta, opening: admission.opening };
        let hashes = [hash, translation.reply_hash];
        let id = side.flows.insert_hashed(*tick, &flow, hashes).map_err(|error| {
            side.nat.cancel(tuple, &translation);
            reason_of_insert(error)
        })?;
        let phase = admission.opening.phase();
        if let Some((used, caps)) = self.shared.rules.used_mut(admission.session) {
            used.opened(self.tick, &caps, phase, translation.holds_port);
        }
        self.shared.counters.flows_opened += 1;
        Ok((id, translation.reply.inverse()))
    }

    /// Room for one more flow, taken from one that may go (CAP).
    fn make_room(&mut self) -> Result<(), Stop> {
        if !self.side.flows.is_full() {
            return Ok(());
        }
        let (rules, flows_max) = (&self.shared.rules, self.side.flows.flows_max());
        let evicted = self.side.flows.evict(self.tick, |meta| rules.standing(meta.session, flows_max));
        let evicted = evicted.ok_or(DropReason::FlowTableFull)?;
        self.shared.counters.flows_evicted += 1;
        release(self.side, self.shared, self.tick, &evicted);
        Ok(())
    }
}

/// Gives back what a removed flow held, unless that was done when its session ended.
pub(super) fn release<A: Family>(
    side: &mut Side<A>,
    shared: &mut Shared,
    tick: crate::flow::Tick,
    flow: &Removed<A>,
) {
    if flow.meta.session.is_nobodys() {
        return;
    }
    side.nat.release(tick, flow);
    if shared.journal.is_kept() {
        let session = shared.rules.owner_of(flow.meta.session);
        shared.journal.ended(flow, session);
    }
    if let Some((used, _)) = shared.rules.used_mut(flow.meta.session) {
        used.closed(flow.phase, holds_port(&flow.original, &flow.reply));
    }
}

/// Only a SYN opens a TCP flow (TCP-4).
fn opening(packet: &PacketMut<'_>) -> Result<Opening, DropReason> {
    match packet.transport() {
        Transport::Tcp(tcp) => {
            TcpTrack::open(&Segment::from(&tcp), false).map(Opening::Tcp).map_err(reason_of)
        }
        Transport::Udp
        | Transport::IcmpEcho { .. }
        | Transport::Other
        | Transport::IcmpError(_)
        | Transport::IcmpOther { .. }
        | Transport::LaterPiece => Ok(Opening::Datagram),
    }
}

fn reason_of_cap(exceeded: CapExceeded) -> DropReason {
    match exceeded {
        CapExceeded::Flows => DropReason::CapFlows,
        CapExceeded::HalfOpen => DropReason::CapHalfOpen,
        CapExceeded::Ports => DropReason::CapPorts,
        CapExceeded::NewFlows => DropReason::CapNewFlows,
    }
}

fn reason_of_nat(error: NatError) -> DropReason {
    match error {
        NatError::UnknownPool | NatError::NoAddress => DropReason::NatNoAddress,
        NatError::PortsExhausted => DropReason::NatPortsExhausted,
        NatError::TupleTaken => DropReason::NatTupleTaken,
        NatError::PairTaken => DropReason::NatPairTaken,
    }
}

fn reason_of_insert(error: InsertError) -> DropReason {
    match error {
        InsertError::TupleTaken => DropReason::NatTupleTaken,
        InsertError::Full => DropReason::FlowTableFull,
    }
}
