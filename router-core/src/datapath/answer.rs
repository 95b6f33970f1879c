//! What the sender of a packet hears that goes no further (FLT-4, FLT-5, GEN-1), and answers to pings of our own.

use alloc::boxed::Box;
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr};

use wg_proto::Instant;

use super::family::{Family, egress_of, ends_of, leg_in, tuple_of};
use super::journal::{RefusedPacket, is_telling};
use super::pieces::Sender;
use super::{Passed, Road, Shared};
use crate::fragments::Refused;
use crate::packet::build::{self, BUILT_BYTES_MAX, BuildError, Notice, Unreachable};
use crate::packet::{PacketMut, ParseError, Protocol, Version};
use crate::rules::Dead;
use crate::verdict::{DropReason, Ingress, Reaction, Refusal, Verdict, reaction};

/// Who answers over IPv4 where nobody has an address. RFC 7600 section 4.8.
const DUMMY_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Why a packet goes no further, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// What follows stands in the table [`reaction`].
    Because(DropReason),
    /// The reaction is configured, and this is it.
    Denied(DropReason, Refusal),
    /// Longer than the next hop takes.
    TooBig { mtu_bytes: u16 },
    /// Both ends were told already.
    Told(DropReason),
}

impl From<DropReason> for Stop {
    fn from(reason: DropReason) -> Stop {
        Stop::Because(reason)
    }
}

impl Stop {
    /// A packet of a flow whose session has ended.
    pub(super) fn ended(dead: Dead, was_reset: bool) -> Stop {
        let reason = match dead {
            Dead::Closed => DropReason::SessionClosed,
            Dead::Lapsed => DropReason::LeaseLapsed,
        };
        if was_reset { Stop::Told(reason) } else { Stop::Because(reason) }
    }

    /// As [`ended`](Stop::ended), if nothing else allowed the packet either.
    pub(super) fn after_end(self, dead: Dead, was_reset: bool) -> Stop {
        let is_for_want_of_a_rule = matches!(
            self.reason(),
            DropReason::NotAllowed | DropReason::TcpNotOpening | DropReason::NoFlow | DropReason::LeaseLapsed
        );
        if is_for_want_of_a_rule { Stop::ended(dead, was_reset) } else { self }
    }

    pub(super) fn reason(self) -> DropReason {
        match self {
            Stop::Because(reason) | Stop::Denied(reason, _) | Stop::Told(reason) => reason,
            Stop::TooBig { .. } => DropReason::TooBig,
        }
    }

    pub(super) fn reaction(self) -> Answer {
        match self {
            Stop::Because(reason) => match reaction(reason) {
                Reaction::Silence | Reaction::AsConfigured => Answer::Silence,
                Reaction::Notice(notice) => Answer::Notice(notice),
            },
            Stop::Denied(_, Refusal::Silent) => Answer::Silence,
            Stop::Denied(_, Refusal::Prohibited) => Answer::Notice(PROHIBITED),
            Stop::Denied(_, Refusal::Reset) => Answer::Reset,
            Stop::TooBig { mtu_bytes } => Answer::Notice(Notice::TooBig { mtu_bytes }),
            Stop::Told(_) => Answer::Given,
        }
    }
}

/// What the sender hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Silence,
    Notice(Notice),
    /// A TCP reset; [`PROHIBITED`] for what is not TCP.
    Reset,
    /// It waits in the outbox already.
    Given,
}

const PROHIBITED: Notice = Notice::Unreachable(Unreachable::AdminProhibited);

impl<A: Family> Road<'_, A> {
    /// Counts a packet that goes no further, and answers it as far as that is due.
    #[cold]
    pub(super) fn refuse(&mut self, packet: &PacketMut<'_>, stop: Stop) -> Verdict {
        self.shared.counters.drop(stop.reason());
        if self.shared.journal.is_kept() && is_telling(stop.reason()) {
            let ends = ends_of(&tuple_of::<A>(packet));
            let last = RefusedPacket { reason: stop.reason(), protocol: packet.protocol(), ends };
            self.shared.journal.refused(self.ingress, last);
        }
        self.poison(packet, stop.reason());
        let is_told = match stop.reaction() {
            Answer::Silence => false,
            Answer::Given => true,
            Answer::Notice(notice) => self.send_notice(packet, notice),
            Answer::Reset if packet.protocol() == Protocol::TCP => self.send(packet, build::reset_answering),
            Answer::Reset => self.send_notice(packet, PROHIBITED),
        };
        if is_told { Verdict::Reply } else { Verdict::Drop(stop.reason()) }
    }

    /// Answers a ping to an overlay address of ours.
    pub(super) fn answer_ping(&mut self, packet: &PacketMut<'_>) -> Result<Passed, Stop> {
        let mut reply = vec![0; packet.total_len()].into_boxed_slice();
        let len = build::echo_reply(packet, &mut reply).map_err(|_| DropReason::NotServed)?;
        debug_assert!(len <= reply.len());
        self.shared
            .outbox
            .push(egress_of(leg_in(self.ingress)), reply)
            .map_err(|_| DropReason::OutboxFull)?;
        self.shared.counters.answers += 1;
        Ok(Passed::Answered)
    }

    fn send_notice(&mut self, packet: &PacketMut<'_>, notice: Notice) -> bool {
        let Some(from) = self.answering_address(packet) else { return self.withhold() };
        self.send(packet, |packet, out| build::icmp_error(packet, from, notice, out))
    }

    /// The address that the sender may know us by: never one of a host behind us.
    fn answering_address(&self, packet: &PacketMut<'_>) -> Option<IpAddr> {
        let (_, destination) = A::pair(packet.addresses())?;
        let ours = self.side.ours.answering(destination).map(Into::into);
        match A::VERSION {
            Version::V4 => Some(ours.unwrap_or(DUMMY_V4.into())),
            Version::V6 => ours,
        }
    }

    /// Sends an answer back to where the packet came from, within the limits. Says whether.
    fn send(
        &mut self,
        packet: &PacketMut<'_>,
        build: impl FnOnce(&PacketMut<'_>, &mut [u8]) -> Result<usize, BuildError>,
    ) -> bool {
        let mut buffer = [0; BUILT_BYTES_MAX];
        let Ok(len) = build(packet, &mut buffer) else { return false };
        if !self.shared.limits.allow(self.now, packet.addresses().source()) {
            return self.withhold();
        }
        let answer = Box::from(&buffer[..len]);
        if self.shared.outbox.push(egress_of(leg_in(self.ingress)), answer).is_err() {
            return self.withhold();
        }
        self.shared.counters.answers += 1;
        true
    }

    fn withhold(&mut self) -> bool {
        self.shared.counters.answers_withheld += 1;
        false
    }

    /// A first piece that does not pass condemns the others (FRG-1), unless it is the other pieces that condemn it.
    fn poison(&mut self, packet: &PacketMut<'_>, reason: DropReason) {
        let is_about_pieces = matches!(
            reason,
            DropReason::FragmentOverlap
                | DropReason::FragmentPoisoned
                | DropReason::FragmentDuplicate
                | DropReason::FragmentsExhausted
                | DropReason::FragmentParkingFull
                | DropReason::SourceNotAssigned
                | DropReason::MartianSource
        );
        if let Some(piece) = packet.piece().filter(|piece| piece.is_first() && !is_about_pieces) {
            let sender = Sender::new(self.ingress, piece.datagram.addresses.source());
            self.shared.fragments.poison(self.now, sender, piece.datagram);
        }
    }
}

impl Shared {
    /// Counts what is no packet. Pieces that hide their headers condemn their datagram (FRG-2).
    #[cold]
    pub(super) fn malformed(&mut self, now: Instant, ingress: Ingress, error: ParseError) -> Verdict {
        if let ParseError::TinyFirstFragment(datagram) | ParseError::OffsetInsideHeader(datagram) = error {
            let sender = Sender::new(ingress, datagram.addresses.source());
            self.fragments.poison(now, sender, datagram);
        }
        let reason = reason_of_parse(error);
        self.counters.drop(reason);
        Verdict::Drop(reason)
    }
}

pub(super) fn reason_of_parse(error: ParseError) -> DropReason {
    match error {
        ParseError::TooShort { .. } => DropReason::TooShort,
        ParseError::UnknownVersion(_) => DropReason::UnknownVersion,
        ParseError::HeaderLength { .. } => DropReason::HeaderLength,
        ParseError::HeaderChecksum => DropReason::HeaderChecksum,
        ParseError::MalformedOption => DropReason::MalformedOption,
        ParseError::SourceRoute => DropReason::SourceRoute,
        ParseError::RoutingHeader { .. } => DropReason::RoutingHeader,
        ParseError::TooManyHeaders | ParseError::HopByHopMisplaced => DropReason::ExtensionChain,
        ParseError::SecondFragmentHeader => DropReason::SecondFragmentHeader,
        ParseError::FragmentLength(_) | ParseError::FragmentBeyondLimit { .. } => DropReason::FragmentShape,
        ParseError::TinyFirstFragment(_) | ParseError::OffsetInsideHeader(_) => DropReason::FragmentTiny,
        ParseError::UdpLength { .. } => DropReason::UdpLength,
        ParseError::UdpChecksumMissing => DropReason::UdpChecksumMissing,
    }
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Stop {
        Stop::Because(match refused {
            Refused::Overlap => DropReason::FragmentOverlap,
            Refused::Poisoned => DropReason::FragmentPoisoned,
            Refused::Duplicate => DropReason::FragmentDuplicate,
            Refused::TooManyPieces | Refused::TooManyDatagrams => DropReason::FragmentsExhausted,
            Refused::ParkingFull => DropReason::FragmentParkingFull,
        })
    }
}
