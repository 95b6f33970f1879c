//! Pieces of fragmented datagrams: they follow the verdict of their first piece (FRG-1, P4). The memory of them is
//! [`crate::fragments`].

use alloc::boxed::Box;
use core::net::IpAddr;

use super::answer::{Stop, reason_of_parse};
use super::family::{Family, egress_of, ends_of, leg_in, tuple_from};
use super::{Onward, Passed, Road, rewrite};
use crate::flow::{Direction, Leg, SessionRef};
use crate::fragments::Later;
use crate::packet::{Ends, PacketMut, Piece, Protocol, Transport};
use crate::rules::Dead;
use crate::verdict::{DropReason, Forward, Ingress};

/// Whose share of the memory for pieces is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sender {
    leg: u32,
    source: IpAddr,
}

/// What became of a first piece. The session is checked again for each piece that follows (FLT-7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstVerdict {
    session: SessionRef,
    direction: Direction,
    to: Ends,
    leg: Leg,
    identification: Option<u16>,
    segment: Option<FirstSegment>,
}

/// The part of a TCP segment that came in the first piece. Its later pieces are data as well, and acknowledged with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FirstSegment {
    /// The sequence number after the first piece, FIN included.
    end: u32,
    /// Where the first piece ends in the datagram.
    at: u16,
}

impl FirstSegment {
    /// `None` for what moves no numbers of an open connection.
    fn new(piece: Piece, transport: &Transport) -> Option<FirstSegment> {
        let Transport::Tcp(tcp) = transport else { return None };
        let end = tcp.sequence.wrapping_add(tcp.sequence_len());
        let is_data = !tcp.flags.syn() && !tcp.flags.rst();
        is_data.then_some(FirstSegment { end, at: piece.span.end() })
    }

    /// The sequence number after a later piece.
    fn end_with(self, piece: Piece) -> u32 {
        self.end.wrapping_add(u32::from(piece.span.end().saturating_sub(self.at)))
    }
}

impl Sender {
    pub(super) fn new(ingress: Ingress, source: IpAddr) -> Sender {
        Sender { leg: leg_in(ingress).0, source }
    }
}

impl<A: Family> Road<'_, A> {
    /// A piece without ports of its own.
    #[cold]
    pub(super) fn later_piece(&mut self, packet: &mut PacketMut<'_>, source: A) -> Result<Passed, Stop> {
        let piece = packet.piece().expect("a later piece is a piece");
        let sender = Sender::new(self.ingress, source.into());
        match self.shared.fragments.later(self.now, sender, piece, packet.bytes())? {
            Later::Parked => Ok(Passed::Parked),
            Later::Follow(first) => self.follow(packet, &first).map(Passed::Forward),
        }
    }

    /// Remembers the verdict about a first piece, and sends those pieces on that have waited for it.
    #[cold]
    pub(super) fn decide_pieces(
        &mut self,
        packet: &PacketMut<'_>,
        piece: Piece,
        transport: &Transport,
        onward: &Onward<A>,
        identification: Option<u16>,
    ) -> Result<(), Stop> {
        let first = FirstVerdict {
            session: onward.session,
            direction: onward.direction,
            to: ends_of(&onward.to),
            leg: onward.leg,
            identification,
            segment: FirstSegment::new(piece, transport),
        };
        let sender = Sender::new(self.ingress, packet.addresses().source());
        self.shared.fragments.first(self.now, sender, piece, first)?;
        self.release_pieces();
        Ok(())
    }

    fn release_pieces(&mut self) {
        while let Some(mut released) = self.shared.fragments.pop_released() {
            match self.release_piece(&mut released.packet, &released.verdict) {
                Ok(forward) => self.push_released(forward, released.packet),
                Err(stop) => self.shared.counters.drop(stop.reason()),
            }
        }
    }

    fn release_piece(&mut self, bytes: &mut [u8], first: &FirstVerdict) -> Result<Forward, Stop> {
        let mut packet = PacketMut::parse(bytes).map_err(reason_of_parse)?;
        self.follow(&mut packet, first)
    }

    fn push_released(&mut self, forward: Forward, mut packet: Box<[u8]>) {
        if packet.len() != forward.len {
            packet = Box::from(&packet[..forward.len]);
        }
        match self.shared.outbox.push(forward.egress, packet) {
            Ok(()) => self.shared.counters.fragments_released += 1,
            Err(_) => self.shared.counters.drop(DropReason::OutboxFull),
        }
    }

    /// Sends a piece where its first one went.
    fn follow(&mut self, packet: &mut PacketMut<'_>, first: &FirstVerdict) -> Result<Forward, Stop> {
        self.shared.rules.check(self.now, first.session).map_err(|dead| match dead {
            Dead::Closed => DropReason::SessionClosed,
            Dead::Lapsed => DropReason::LeaseLapsed,
        })?;
        let fragment_to = self.check_hop(packet, first.leg)?;
        self.track_piece(packet, first);
        let is_rewritten = rewrite(packet, Some(first.to), first.identification);
        debug_assert!(is_rewritten, "pieces of one datagram are of one version");
        self.shared.rules.count(self.now, first.session, first.direction, packet.total_len());
        Ok(Forward { egress: egress_of(first.leg), len: packet.total_len(), fragment_to })
    }

    /// Lets the far end acknowledge all of a segment, not only its first piece (TCP-2).
    fn track_piece(&mut self, packet: &PacketMut<'_>, first: &FirstVerdict) {
        let Some((segment, piece)) = first.segment.zip(packet.piece()) else { return };
        let leaves = tuple_from::<A>(first.to.addresses, first.to.ports, Protocol::TCP);
        if let Some((id, direction)) = self.side.flows.lookup(&leaves.inverse()) {
            self.side.flows.tcp_later_piece(id, direction.reversed(), segment.end_with(piece));
        }
    }
}
