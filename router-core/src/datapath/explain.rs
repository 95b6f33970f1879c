//! What would become of a packet, and why, without anything changing. The same decisions as on the road.

use core::fmt;

use wg_proto::{Device, Instant};

use super::admission::Look;
use super::answer::{Answer, Stop, reason_of_parse};
use super::family::{Family, egress_of, ends_of, leg_in, tuple_of};
use super::side::{Side, leg_in_of, leg_out_of};
use super::{Path, is_ping, source_check, turns};
use crate::flow::{Direction, FlowId, Leg, Tuple};
use crate::nat::Snat;
use crate::packet::build::Notice;
use crate::packet::{Ends, PacketMut, Ports, Transport, Version};
use crate::rules::{Dead, SessionId};
use crate::verdict::{DropReason, Egress, Ingress, Offload};

/// What would become of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Explanation {
    /// It goes no further.
    Refused {
        /// Why.
        reason: DropReason,
        /// What its sender hears, rate limits aside.
        heard: Heard,
    },
    /// It belongs to a flow.
    Flow {
        /// The flow's session.
        session: Option<SessionId>,
        /// Whether it is an answer.
        is_reply: bool,
        /// The addresses and ports it leaves with.
        to: Ends,
        /// Where it leaves.
        egress: Egress,
    },
    /// It opens a flow.
    Opens {
        /// The session that allows it.
        session: Option<SessionId>,
        /// Which of the session's destinations it is for, counted from 0.
        destination: u16,
        /// The addresses and ports it leaves with; the source is chosen only when it does.
        to: Ends,
        /// How the source is translated.
        snat: Snat,
        /// Where it leaves.
        egress: Egress,
    },
    /// It is answered by this node itself.
    AnsweredHere,
    /// It is an ICMP error: those follow the flow that they quote.
    IcmpError,
    /// It is a later piece of a datagram: those follow their first piece.
    LaterPiece,
}

/// What a sender hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    Nothing,
    /// An ICMP error.
    Notice(Notice),
    /// A TCP reset, or for what is not TCP the ICMP error "administratively prohibited".
    Reset,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Explanation::Refused { reason, heard } => {
                write!(f, "refused: {reason}; the sender hears ")?;
                match heard {
                    Heard::Nothing => f.write_str("nothing"),
                    Heard::Notice(notice) => write!(f, "{notice:?}"),
                    Heard::Reset => f.write_str("a reset"),
                }
            }
            Explanation::Flow { session, is_reply, to, egress } => {
                let kind = if *is_reply { "answer in" } else { "part of" };
                write!(f, "{kind} a flow of session {}: leaves as ", Name(*session))?;
                write_ends(f, to)?;
                write!(f, " to {egress:?}")
            }
            Explanation::Opens { session, destination, to, snat, egress } => {
                write!(
                    f,
                    "opens a flow of session {}, destination {destination}: leaves as ",
                    Name(*session)
                )?;
                write_ends(f, to)?;
                match snat {
                    Snat::Off => {}
                    Snat::Pool(pool) => write!(f, " (source from pool {})", pool.0)?,
                }
                write!(f, " to {egress:?}")
            }
            Explanation::AnsweredHere => f.write_str("answered by this node"),
            Explanation::IcmpError => f.write_str("an ICMP error: follows the flow it quotes"),
            Explanation::LaterPiece => f.write_str("a later fragment: follows its first one"),
        }
    }
}

struct Name(Option<SessionId>);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(session) => write!(f, "{session}"),
            None => f.write_str("(gone)"),
        }
    }
}

fn write_ends(f: &mut fmt::Formatter<'_>, ends: &Ends) -> fmt::Result {
    let (addresses, ports) = (ends.addresses, ends.ports);
    if ports == Ports::NONE {
        return write!(f, "{} > {}", addresses.source(), addresses.destination());
    }
    let source = core::net::SocketAddr::new(addresses.source(), ports.source);
    let destination = core::net::SocketAddr::new(addresses.destination(), ports.destination);
    write!(f, "{source} > {destination}")
}

impl Path {
    /// What would become of this packet.
    pub(crate) fn explain(
        &self,
        device: &Device,
        now: Instant,
        ingress: Ingress,
        bytes: &mut [u8],
    ) -> Explanation {
        let packet = match PacketMut::parse(bytes) {
            Ok(packet) => packet,
            Err(error) => return Stop::from(reason_of_parse(error)).explain(),
        };
        let explained = match packet.version() {
            Version::V4 => self.look(&self.v4, device, now, ingress).explain(&packet),
            Version::V6 => self.look(&self.v6, device, now, ingress).explain(&packet),
        };
        explained.unwrap_or_else(Stop::explain)
    }

    fn look<'a, A>(
        &'a self,
        side: &'a Side<A>,
        device: &'a Device,
        now: Instant,
        ingress: Ingress,
    ) -> Look<'a, A> {
        Look { side, shared: &self.shared, device, now, ingress }
    }
}

impl<A: Family> Look<'_, A> {
    fn explain(&self, packet: &PacketMut<'_>) -> Result<Explanation, Stop> {
        let tuple = tuple_of::<A>(packet);
        let from =
            source_check::check_afresh(self.device, &self.side.ours, self.ingress, (tuple.src, tuple.dst))?;
        match packet.transport() {
            Transport::IcmpError(_) => return Ok(Explanation::IcmpError),
            Transport::LaterPiece => return Ok(Explanation::LaterPiece),
            Transport::IcmpOther { .. } => return Err(DropReason::IcmpNotTracked.into()),
            Transport::Tcp(_) | Transport::Udp | Transport::IcmpEcho { .. } | Transport::Other => {}
        }
        let (dead, was_reply) = match self.side.flows.lookup(&tuple) {
            None => (None, false),
            Some((id, direction)) => match self.explain_flow(packet, id, direction) {
                Ok(explanation) => return Ok(explanation),
                Err(FlowStop::Stop(stop)) => return Err(stop),
                Err(FlowStop::Dead(dead)) => (Some(dead), direction == Direction::Reply),
            },
        };
        let stop = match (self.admit(packet, &from, &tuple), dead) {
            (_, Some(dead)) if was_reply => Stop::ended(dead, false),
            (Ok(admission), _) => {
                self.check_hop(packet, admission.leg)?;
                let destination = admission.destination;
                let to = ends_of(&Tuple { dst: destination.0, dst_port: destination.1, ..tuple });
                return Ok(Explanation::Opens {
                    session: self.shared.rules.id_of(admission.session),
                    destination: admission.position,
                    to,
                    snat: admission.snat,
                    egress: egress_of(admission.leg),
                });
            }
            (Err(_), _)
                if is_ping(packet)
                    && self.side.ours.is_overlay(tuple.dst)
                    && matches!(self.ingress, Ingress::Peer(_)) =>
            {
                return Ok(Explanation::AnsweredHere);
            }
            (Err(stop), Some(dead)) => stop.after_end(dead, false),
            (Err(stop), None) => stop,
        };
        Err(stop)
    }

    /// As packets come from a tunnel: whole, not a run of segments.
    fn check_hop(&self, packet: &PacketMut<'_>, leg: Leg) -> Result<(), Stop> {
        self.shared.settings.check_hop(packet, Offload::None, leg).map(|_| ())
    }

    fn explain_flow(
        &self,
        packet: &PacketMut<'_>,
        id: FlowId,
        direction: Direction,
    ) -> Result<Explanation, FlowStop> {
        let flow = self.side.flows.flow(id).ok_or(FlowStop::Stop(DropReason::NoFlow.into()))?;
        let meta = flow.meta();
        if leg_in_of(&meta, direction) != leg_in(self.ingress) {
            return Err(FlowStop::Stop(DropReason::WrongIngress.into()));
        }
        self.shared.rules.check(self.now, meta.session).map_err(FlowStop::Dead)?;
        self.check_hop(packet, leg_out_of(&meta, direction)).map_err(FlowStop::Stop)?;
        if turns(&packet.transport(), direction) {
            return Err(FlowStop::Stop(DropReason::NoFlow.into()));
        }
        Ok(Explanation::Flow {
            session: self.shared.rules.id_of(meta.session),
            is_reply: direction == Direction::Reply,
            to: ends_of(&flow.outgoing(direction)),
            egress: egress_of(leg_out_of(&meta, direction)),
        })
    }
}

enum FlowStop {
    Stop(Stop),
    Dead(Dead),
}

impl Stop {
    fn explain(self) -> Explanation {
        let heard = match self.reaction() {
            Answer::Silence | Answer::Given => Heard::Nothing,
            Answer::Notice(notice) => Heard::Notice(notice),
            Answer::Reset => Heard::Reset,
        };
        Explanation::Refused { reason: self.reason(), heard }
    }
}
