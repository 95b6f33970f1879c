//! ICMP error association: an error belongs to the flow that its quote names, and travels through the flow's translation
//! backwards (ICE-1 to ICE-12, P6). Read first: RFC 5508 section 4, RFC 792, RFC 4443, RFC 4884, RFC 5927.
//!
//! The quote shows a packet as it left us, so its inverse is what an answer would look like coming in: that tuple is
//! looked up. The error then travels in the answer's direction, *toward* the sender of the packet it is *about*.
//!
//! ```text
//! sender --about--> [to: translated] --> hop        hop --error(quote of [to])--> us --error(quote of [as sent])--> sender
//! ```

use super::answer::Stop;
use super::family::{Family, egress_of, ends_of, leg_in, tuple_from};
use super::side::{leg_in_of, leg_out_of};
use super::{Passed, Road};
use crate::flow::{Direction, Flow, Leg, Tuple};
use crate::packet::{IcmpError, PacketMut, QuoteError, QuotedTransport, Version};
use crate::rules::Dead;
use crate::verdict::{DropReason, Forward};

/// Smallest path MTU of IPv4. RFC 791: every internet module forwards 68 bytes.
const MTU_MIN_V4: u32 = 68;
/// Smallest path MTU of IPv6. RFC 8200 section 5.
const MTU_MIN_V6: u32 = 1280;

/// What an error becomes.
struct Associated<A> {
    /// The packet it is about, as its sender sent it.
    sent: Tuple<A>,
    /// Where the error seems to come from.
    source: A,
    leg: Leg,
}

/// What an error says about the packet it quotes.
struct Claim<A> {
    error: IcmpError,
    /// The error's own addresses.
    source: A,
    destination: A,
    quoted: Tuple<A>,
    transport: QuotedTransport,
    packet_len: usize,
}

impl<A: Family> Road<'_, A> {
    /// Passes an ICMP error on to the sender of the packet that it is about. Opens, refreshes and ends nothing (ICE-12).
    #[cold]
    pub(super) fn icmp_error(
        &mut self,
        packet: &mut PacketMut<'_>,
        error: IcmpError,
    ) -> Result<Passed, Stop> {
        match error {
            IcmpError::SourceQuench => return Err(DropReason::IcmpSourceQuench.into()),
            IcmpError::Redirect => return Err(DropReason::IcmpRedirect.into()),
            IcmpError::Unreachable { .. }
            | IcmpError::TooBig { .. }
            | IcmpError::TimeExceeded { .. }
            | IcmpError::ParameterProblem { .. }
            | IcmpError::Unassigned { .. } => {}
        }
        let claim = claim(packet, error).map_err(reason_of_quote)?;
        let associated = self.associate(&claim)?;
        let fragment_to = self.check_hop(packet, associated.leg)?;
        let outer = A::addresses(associated.source, associated.sent.src);
        let mut quote = packet.quote().map_err(reason_of_quote)?;
        quote.translate(&ends_of(&associated.sent), outer).map_err(|_| DropReason::IcmpErrorMalformed)?;
        packet.decrement_hop_limit().map_err(|_| DropReason::HopLimitReached)?;
        Ok(Passed::Forward(Forward {
            egress: egress_of(associated.leg),
            len: packet.total_len(),
            fragment_to,
        }))
    }

    /// The flow that an error is about, and what the error becomes on its way through it.
    fn associate(&self, claim: &Claim<A>) -> Result<Associated<A>, DropReason> {
        let (id, toward) =
            self.side.flows.lookup(&claim.quoted.inverse()).ok_or(DropReason::IcmpErrorWithoutFlow)?;
        let flow = self.side.flows.flow(id).ok_or(DropReason::IcmpErrorWithoutFlow)?;
        let meta = flow.meta();
        if leg_in_of(&meta, toward) != leg_in(self.ingress) {
            return Err(DropReason::WrongIngress);
        }
        self.shared.rules.check(self.now, meta.session).map_err(|dead| match dead {
            Dead::Closed => DropReason::SessionClosed,
            Dead::Lapsed => DropReason::LeaseLapsed,
        })?;
        claim.check(&flow, toward.reversed())?;
        let sent = flow.incoming(toward.reversed());
        Ok(Associated { sent, source: seen_source(claim, &sent), leg: leg_out_of(&meta, toward) })
    }
}

impl<A: Family> Claim<A> {
    /// Whether the error can be about a packet of the flow in this direction.
    fn check(&self, flow: &Flow<'_, A>, about: Direction) -> Result<(), DropReason> {
        if self.destination != self.quoted.src {
            return Err(DropReason::IcmpErrorMisaddressed);
        }
        if let (QuotedTransport::Tcp { sequence }, Some(track)) = (self.transport, flow.tcp())
            && !track.quoted_seq_in_window(about, sequence)
        {
            return Err(DropReason::IcmpErrorOutsideWindow);
        }
        if let IcmpError::TooBig { mtu_bytes } = self.error
            && !self.is_possible(mtu_bytes)
        {
            return Err(DropReason::IcmpErrorBadMtu);
        }
        Ok(())
    }

    /// A path MTU is not below what every path carries, and below what was too big (ICE-9).
    fn is_possible(&self, mtu_bytes: u32) -> bool {
        let least = match A::VERSION {
            Version::V4 => MTU_MIN_V4,
            Version::V6 => MTU_MIN_V6,
        };
        mtu_bytes >= least && (mtu_bytes as usize) < self.packet_len
    }
}

/// Reads what an error claims, having verified its checksums (ICE-1).
fn claim<A: Family>(packet: &mut PacketMut<'_>, error: IcmpError) -> Result<Claim<A>, QuoteError> {
    let (source, destination) =
        A::pair(packet.addresses()).expect("each version has its own half of the path");
    let quote = packet.quote()?;
    Ok(Claim {
        error,
        source,
        destination,
        quoted: tuple_from(quote.addresses(), quote.ports(), quote.protocol()),
        transport: quote.transport(),
        packet_len: quote.packet_len(),
    })
}

/// Where the sender sees an error come from (ICE-5): from the very host it wrote to, if that host sent it; otherwise from the
/// hop that sent it, unless that hop stands behind a translation, which speaks for all behind it.
fn seen_source<A: Family>(claim: &Claim<A>, sent: &Tuple<A>) -> A {
    let is_behind_translation = sent.dst != claim.quoted.dst;
    if is_behind_translation || claim.source == claim.quoted.dst { sent.dst } else { claim.source }
}

pub(super) fn reason_of_quote(error: QuoteError) -> DropReason {
    match error {
        QuoteError::Checksum => DropReason::IcmpErrorChecksum,
        QuoteError::QuotesError => DropReason::IcmpErrorQuotesError,
        QuoteError::QuotesLaterPiece => DropReason::IcmpErrorQuotesFragment,
        QuoteError::Malformed(crate::packet::ParseError::HeaderChecksum) => DropReason::IcmpErrorChecksum,
        QuoteError::NotAnError
        | QuoteError::Fragmented
        | QuoteError::LengthBeyondMessage { .. }
        | QuoteError::OtherVersion
        | QuoteError::Malformed(_) => DropReason::IcmpErrorMalformed,
    }
}
