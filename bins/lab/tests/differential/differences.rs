//! The differences we intend. Each has its reason in docs/kernel-nat-differences.md, under the same name.

use router_core::DropReason;
use router_core::packet::TcpFlags;
use router_core::sim::border::Side;
use router_core::sim::wire::{self, Segment};

use crate::play::Seen;
use crate::step::{Action, Body, Cut, Flow, Kind, Oddity, Step};

/// One step in both worlds.
pub(crate) struct Case<'a> {
    pub(crate) step: &'a Step,
    pub(crate) flow: &'a Flow,
    pub(crate) ours: &'a Seen,
    pub(crate) theirs: &'a Seen,
    /// A reset of this flow came before.
    pub(crate) is_after_reset: bool,
    /// The server has sent two SYN-ACKs or more.
    pub(crate) is_after_second_syn_ack: bool,
    /// An intended difference came before: the worlds no longer hold the same flows.
    pub(crate) is_apart: bool,
}

/// What a comparison comes to.
#[derive(Debug)]
pub(crate) enum Found {
    Alike,
    Intended(Difference),
    Aftermath,
    Defect(String),
}

/// Compares what came of a step.
pub(crate) fn judge(case: &Case<'_>) -> Found {
    if is_alike(case.ours, case.theirs) {
        return Found::Alike;
    }
    match Difference::ALL.iter().find(|difference| difference.explains(case)) {
        Some(difference) => Found::Intended(*difference),
        None if case.is_apart => Found::Aftermath,
        None => Found::Defect(shown(case)),
    }
}

fn is_alike(ours: &Seen, theirs: &Seen) -> bool {
    (&ours.forwarded, ours.unfinished, &ours.answers)
        == (&theirs.forwarded, theirs.unfinished, &theirs.answers)
}

macro_rules! differences {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// A difference that we intend.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Difference { $($(#[$doc])+ $name,)+ }

        impl Difference {
            pub(crate) const ALL: &[Difference] = &[$(Difference::$name,)+];
        }
    };
}

differences! {
    /// Datagrams that may be fragmented get a new identification behind a shared address.
    Identification,
    /// What opens no flow is refused aloud.
    RefusalSaid,
    /// A packet that no rule allows is refused for that, not for its hop limit or length.
    RuleBeforeHop,
    /// The sender of a segment hears of its last hop before its numbers are looked at.
    HopBeforeState,
    /// UDP over IPv6 without a checksum goes no further.
    ChecksumMissing,
    /// A path MTU is below what was too big and above what every path carries.
    PathMtuImpossible,
    /// Errors whose checksums are wrong, or whose quotes do not parse, go no further.
    ErrorBroken,
    /// Errors about TCP segments that are not under way go no further.
    ErrorOutsideWindow,
    /// Source quench and redirects go no further.
    ErrorUnwanted,
    /// Pieces are sent on as they come, not when the last is there.
    PiecesInPassing,
    /// A first piece shows its whole header, or the datagram goes no further.
    PiecesTiny,
    /// What is refused is quoted as it came: the piece.
    PieceQuoted,
    /// A reset must name a number that its receiver may expect.
    ResetBlind,
    /// A reset that is in the window, but not exact, passes; its receiver answers with a challenge.
    ResetChallenge,
    /// A reset does not take the flow away at once.
    ResetRemembered,
    /// Before the handshake only what belongs to one passes.
    TcpOutOfTurn,
    /// Segments outside the window go no further, whatever the flow has seen.
    TcpOutsideWindow,
    /// What a second SYN-ACK has numbered may be acknowledged.
    TcpSecondSynAck,
    /// A SYN or SYN-ACK in the middle passes: its receiver answers with a challenge.
    TcpChallenge,
}

impl Difference {
    fn explains(self, case: &Case<'_>) -> bool {
        let (ours, theirs) = (case.ours, case.theirs);
        let because = |reasons: &[DropReason]| ours.reasons.iter().any(|reason| reasons.contains(reason));
        let (is_error, is_tcp) = (matches!(case.step.action, Action::Error(_)), case.flow.kind == Kind::Tcp);
        let only_theirs = ours.forwarded.is_empty() && !theirs.forwarded.is_empty();
        match self {
            Difference::Identification => is_alike(&without_ids(ours), &without_ids(theirs)),
            Difference::RefusalSaid => {
                let is_silent = is_stopped(ours) && is_stopped(theirs) && theirs.answers.is_empty();
                let is_known = because(&[DropReason::NatPairTaken]) || case.is_corrupt();
                let is_to_client = case.step.from == Side::Inside && says_prohibited(ours);
                is_silent && is_to_client && (case.is_tcp_but_no_syn() || case.cut().is_some() || is_known)
            }
            Difference::RuleBeforeHop => {
                let is_known = says_prohibited(ours) || because(&[DropReason::NoFlow]);
                is_stopped(ours) && is_stopped(theirs) && is_known && says_hop(theirs)
            }
            Difference::HopBeforeState => {
                is_tcp
                    && is_stopped(ours)
                    && says_hop(ours)
                    && is_stopped(theirs)
                    && theirs.answers.is_empty()
            }
            Difference::ChecksumMissing => {
                let is_silent = is_stopped(ours) && ours.answers.is_empty();
                case.flow.v6 && is_silent && because(&[DropReason::UdpChecksumMissing])
            }
            Difference::PathMtuImpossible => {
                is_error && only_theirs && because(&[DropReason::IcmpErrorBadMtu])
            }
            Difference::ErrorBroken => {
                is_error
                    && only_theirs
                    && because(&[DropReason::IcmpErrorMalformed, DropReason::IcmpErrorChecksum])
            }
            Difference::ErrorOutsideWindow => {
                is_error && is_tcp && only_theirs && because(&[DropReason::IcmpErrorOutsideWindow])
            }
            Difference::ErrorUnwanted => {
                is_error && only_theirs && because(&[DropReason::IcmpSourceQuench, DropReason::IcmpRedirect])
            }
            Difference::PiecesInPassing => {
                let is_incomplete = matches!(case.cut(), Some(Cut::WithoutLast | Cut::Overlapping));
                let is_passing = ours.forwarded.is_empty() && ours.unfinished > 0 && ours.answers.is_empty();
                is_incomplete && is_passing && is_stopped(theirs) && theirs.answers.is_empty()
            }
            Difference::PiecesTiny => case.cut() == Some(Cut::Tiny) && because(&[DropReason::FragmentTiny]),
            Difference::PieceQuoted => {
                let kinds = |seen: &Seen| seen.answers.iter().map(|answer| answer.kind).collect::<Vec<_>>();
                case.cut().is_some() && is_stopped(ours) && is_stopped(theirs) && kinds(ours) == kinds(theirs)
            }
            Difference::ResetBlind => is_tcp && only_theirs && because(&[DropReason::TcpResetOutsideWindow]),
            Difference::ResetChallenge => {
                case.is_reset()
                    && ours.forwarded.len() == 1
                    && is_stopped(theirs)
                    && theirs.answers.is_empty()
            }
            // The kernel may have given the port to somebody else meanwhile.
            Difference::ResetRemembered => {
                let is_silent = ours.answers.is_empty() && theirs.answers.is_empty();
                let is_found = ours.forwarded.len() == 1 || because(&[DropReason::IcmpErrorWithoutFlow]);
                case.is_after_reset && is_tcp && is_silent && is_found
            }
            Difference::TcpOutOfTurn => is_tcp && only_theirs && because(&[DropReason::TcpInvalid]),
            Difference::TcpOutsideWindow => is_tcp && only_theirs && because(&[DropReason::TcpOutsideWindow]),
            Difference::TcpSecondSynAck => {
                is_tcp && case.is_after_second_syn_ack && !ours.forwarded.is_empty() && is_stopped(theirs)
            }
            Difference::TcpChallenge => {
                // Beyond its last hop, ours hears of that.
                let is_let_on = ours.forwarded.len() == 1 || says_hop(ours);
                case.is_syn() && is_let_on && is_stopped(theirs) && theirs.answers.is_empty()
            }
        }
    }

    /// Whether the worlds may hold different flows from then on. Errors change none.
    pub(crate) fn parts_states(self) -> bool {
        match self {
            Difference::Identification
            | Difference::PathMtuImpossible
            | Difference::ErrorBroken
            | Difference::ErrorOutsideWindow
            | Difference::ErrorUnwanted
            | Difference::RuleBeforeHop
            | Difference::HopBeforeState
            | Difference::PieceQuoted => false,
            Difference::RefusalSaid
            | Difference::ChecksumMissing
            | Difference::PiecesInPassing
            | Difference::PiecesTiny
            | Difference::ResetBlind
            | Difference::ResetChallenge
            | Difference::ResetRemembered
            | Difference::TcpOutOfTurn
            | Difference::TcpOutsideWindow
            | Difference::TcpSecondSynAck
            | Difference::TcpChallenge => true,
        }
    }
}

impl Case<'_> {
    fn cut(&self) -> Option<Cut> {
        match self.step.action {
            Action::Packet(_, Oddity::Pieces(cut)) => Some(cut),
            Action::Packet(..) | Action::Error(_) => None,
        }
    }

    fn is_corrupt(&self) -> bool {
        matches!(self.step.action, Action::Packet(_, Oddity::Corrupt))
    }

    /// Whether the step is a TCP reset.
    pub(crate) fn is_reset(&self) -> bool {
        matches!(self.step.action, Action::Packet(Body::Tcp(segment, _), _) if segment.flags.rst())
    }

    /// Whether the kernel took a reset in that went no further (`HopBeforeState`).
    pub(crate) fn is_reset_on_its_last_hop(&self) -> bool {
        self.is_reset() && says_hop(self.ours)
    }

    /// Whether the step is a SYN-ACK.
    pub(crate) fn is_syn_ack(&self) -> bool {
        let has_ack = |segment: &Segment| segment.flags.ack();
        self.is_syn()
            && matches!(&self.step.action, Action::Packet(Body::Tcp(segment, _), _) if has_ack(segment))
    }

    fn is_tcp_but_no_syn(&self) -> bool {
        matches!(self.step.action, Action::Packet(Body::Tcp(segment, _), _) if segment.flags != TcpFlags::SYN)
    }

    fn is_syn(&self) -> bool {
        matches!(self.step.action, Action::Packet(Body::Tcp(segment, _), _) if segment.flags.syn())
    }
}

fn is_stopped(seen: &Seen) -> bool {
    seen.forwarded.is_empty() && seen.unfinished == 0
}

fn says_prohibited(seen: &Seen) -> bool {
    seen.answers.iter().any(|answer| matches!(answer.kind, (3, 13) | (1, 1)))
}

/// Time exceeded, fragmentation needed, packet too big.
fn says_hop(seen: &Seen) -> bool {
    seen.answers.iter().any(|answer| matches!(answer.kind, (11, 0) | (3, 0 | 4) | (2, 0)))
}

/// Identifications struck out, those of quoted packets, too.
fn without_ids(seen: &Seen) -> Seen {
    let strike = |packet: &Vec<u8>| {
        let mut packet = wire::with_identification(packet, 0);
        let quote = 28;
        if packet[0] == 0x45 && packet[9] == 1 && !matches!(packet[20], 0 | 8) && packet.len() >= quote + 20 {
            // The quoted header's own checksum evens the change out within the error's.
            let fixed = wire::with_identification(&packet[quote..], 0);
            packet[quote..].copy_from_slice(&fixed);
        }
        packet
    };
    let forwarded = seen.forwarded.iter().map(strike).collect();
    Seen { forwarded, ..seen.clone() }
}

fn shown(case: &Case<'_>) -> String {
    let world = |name: &str, seen: &Seen| {
        let hex = |packets: &[Vec<u8>]| {
            packets.iter().map(|packet| format!("\n    {}", decoded(packet))).collect::<String>()
        };
        format!(
            "{name}:\n  sent{}\n  forwarded{}\n  pieces with holes {}, answers {:?}, {:?}",
            hex(&seen.sent),
            hex(&seen.forwarded),
            seen.unfinished,
            seen.answers,
            seen.reasons
        )
    };
    format!(
        "{:?}: {:?} of {:?}\n{}\n{}",
        case.step.from,
        case.step.action,
        case.flow,
        world("ours", case.ours),
        world("kernel", case.theirs)
    )
}

/// A packet for people: addresses, then everything as hexadecimal digits.
fn decoded(packet: &[u8]) -> String {
    let addresses = crate::step::addresses_of(packet);
    let hex: String = packet.iter().take(120).map(|byte| format!("{byte:02x}")).collect();
    format!("{} > {}, {} bytes: {hex}", addresses.source(), addresses.destination(), packet.len())
}

#[test]
fn every_difference_has_its_reason_in_the_documentation() {
    let list = include_str!("../../../../docs/kernel-nat-differences.md");
    for difference in Difference::ALL {
        assert!(list.contains(&format!("| `{difference:?}`")), "{difference:?} has no reason");
    }
}
