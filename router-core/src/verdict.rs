//! What the data path says about a packet: where it came in, where it leaves, or why it does not.
//!
//! A drop is data, not an error: it has a reason, the reason has a counter, and what the sender hears about it stands
//! in one table, [`reaction`].

use core::fmt;

use wg_proto::PeerIndex;

use crate::packet::build::{Notice, Unreachable};

/// Where a packet came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ingress {
    /// Through the tunnel of this peer, decrypted and committed.
    Peer(PeerIndex),
    /// From the host's network, unencrypted.
    Tun,
    /// From the IP stack in this very process.
    Sockets,
}

/// Where a packet leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Egress {
    /// Through the tunnel of this peer.
    Peer(PeerIndex),
    /// Into the host's network.
    Tun,
    /// To the IP stack in this very process, which ends conversations and goes on with the host's sockets.
    Sockets,
}

/// Whether a packet is one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offload {
    /// It is.
    None,
    /// A super-packet from a TUN with segmentation offload: one lookup and one translation serve all its segments.
    ///
    /// The upper-layer checksum need not be right, it is computed when the packet is split.
    Segments {
        /// Bytes of payload in each segment but the last.
        payload_bytes: u16,
    },
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is translated; send its first bytes on.
    Forward(Forward),
    /// It goes no further, and an answer to it waits in `poll_transmit`.
    Reply,
    /// A copy waits for the rest of its datagram.
    Parked,
    /// It goes no further. The reason is counted.
    Drop(DropReason),
}

/// How to send a packet on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Where it leaves.
    pub egress: Egress,
    /// Its exact length in bytes; what lies behind is not part of it.
    pub len: usize,
    /// Set for an IPv4 packet that may be fragmented and is longer than this many bytes: split it with
    /// [`Split`](crate::packet::split::Split).
    pub fragment_to: Option<u16>,
}

/// How traffic that no rule allows is refused (FLT-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Refusal {
    /// Not at all.
    Silent,
    /// With an ICMP error "administratively prohibited".
    #[default]
    Prohibited,
    /// With a TCP reset; what is not TCP gets the ICMP error.
    Reset,
}

/// What the sender of a dropped packet hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reaction {
    /// Nothing.
    Silence,
    /// This ICMP error, within the rate limits.
    Notice(Notice),
    /// What the session's rule or, without one, the node's configuration says.
    AsConfigured,
}

/// Defines reasons and counters once: a variant each, its name, its sentence.
macro_rules! drop_reasons {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Why a packet goes no further.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])+ $variant,)+
        }

        impl DropReason {
            /// All reasons, in the order of their declaration.
            pub const ALL: &[DropReason] = &[$(DropReason::$variant,)+];

            /// The reason as metrics and messages spell it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DropReason::$variant => $name,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// A header, or the length one claims, does not fit into the bytes that are there.
    TooShort = "too_short",
    /// Neither IPv4 nor IPv6.
    UnknownVersion = "unknown_version",
    /// A header length outside its protocol's bounds.
    HeaderLength = "header_length",
    /// The IPv4 header checksum is wrong.
    HeaderChecksum = "header_checksum",
    /// A malformed IPv4 option.
    MalformedOption = "malformed_option",
    /// An IPv4 source route.
    SourceRoute = "source_route",
    /// A routing header of type 0, or one that names a further destination. EXT-1.
    RoutingHeader = "routing_header",
    /// Too many extension headers, or hop-by-hop options out of place. EXT-1.
    ExtensionChain = "extension_chain",
    /// More than one fragment header. FRG-4.
    SecondFragmentHeader = "second_fragment_header",
    /// A UDP length that does not fit.
    UdpLength = "udp_length",
    /// UDP over IPv6 without a checksum. CSM-2.
    UdpChecksumMissing = "udp_checksum_missing",
    /// A fragment of an impossible length or place.
    FragmentShape = "fragment_shape",
    /// A first fragment without its headers, or a later one inside them. FRG-2, FRG-4.
    FragmentTiny = "fragment_tiny",
    /// Fragments of one datagram overlap. FRG-3.
    FragmentOverlap = "fragment_overlap",
    /// Part of a datagram that was condemned before.
    FragmentPoisoned = "fragment_poisoned",
    /// A fragment that came before.
    FragmentDuplicate = "fragment_duplicate",
    /// More fragments of one datagram, or more fragmented datagrams, than are tracked. FRG-1.
    FragmentsExhausted = "fragments_exhausted",
    /// No room to keep a fragment that came before its first one. FRG-1.
    FragmentParkingFull = "fragment_parking_full",
    /// A kept fragment whose first one did not come in time, did not pass, or lost its session meanwhile. FRG-1.
    FragmentGivenUp = "fragment_given_up",
    /// The source belongs to another peer, to none, or, from the TUN, to a peer. FLT-2, P1.
    SourceNotAssigned = "source_not_assigned",
    /// No host has this source address. FLT-3.
    MartianSource = "martian_source",
    /// No single host has this destination address. FLT-3.
    MartianDestination = "martian_destination",
    /// The source is one of our own addresses.
    SourceIsOurs = "source_is_ours",
    /// One of our overlay addresses, but not through a tunnel. P33.
    OverlayAddressOutsideTunnel = "overlay_address_outside_tunnel",
    /// A ping to us that is broken or in pieces.
    NotServed = "not_served",
    /// No rule allows it. FLT-1.
    NotAllowed = "not_allowed",
    /// Looks like an answer, but to nothing that was asked. FLT-1.
    NoFlow = "no_flow",
    /// Part of a flow, but not from the side the flow has there. P8.
    WrongIngress = "wrong_ingress",
    /// The flow's session is closed. FLT-7.
    SessionClosed = "session_closed",
    /// The session's lease has lapsed. FLT-8.
    LeaseLapsed = "lease_lapsed",
    /// The session has as many flows as it may. MAP-8.
    CapFlows = "cap_flows",
    /// The session has as many TCP handshakes under way as it may. MAP-8.
    CapHalfOpen = "cap_half_open",
    /// The session has as many external ports as it may. MAP-8.
    CapPorts = "cap_ports",
    /// The session opens flows faster than it may. MAP-8.
    CapNewFlows = "cap_new_flows",
    /// The flow table is full of flows that must stay. CAP.
    FlowTableFull = "flow_table_full",
    /// No external address for this flow.
    NatNoAddress = "nat_no_address",
    /// No external port left. MAP-7.
    NatPortsExhausted = "nat_ports_exhausted",
    /// Another flow has the translated tuple. NAT-IFF.
    NatTupleTaken = "nat_tuple_taken",
    /// Without ports: another inside host speaks to this outside host already. ANY.
    NatPairTaken = "nat_pair_taken",
    /// A TCP segment of no flow that is not a SYN. TCP-4.
    TcpNotOpening = "tcp_not_opening",
    /// A TCP segment with impossible flags, or out of turn.
    TcpInvalid = "tcp_invalid",
    /// A TCP segment outside the window. TCP-2.
    TcpOutsideWindow = "tcp_outside_window",
    /// A TCP reset outside the window. TCP-2, P9.
    TcpResetOutsideWindow = "tcp_reset_outside_window",
    /// An ICMP message that is neither echo nor error: not tracked.
    IcmpNotTracked = "icmp_not_tracked",
    /// An ICMP error that does not parse, or whose quote does not. ICE-1, ICE-4.
    IcmpErrorMalformed = "icmp_error_malformed",
    /// An ICMP error with a wrong checksum. ICE-1.
    IcmpErrorChecksum = "icmp_error_checksum",
    /// An ICMP error about an ICMP error. ICE-10.
    IcmpErrorQuotesError = "icmp_error_quotes_error",
    /// An ICMP error about a later fragment. ICE-10.
    IcmpErrorQuotesFragment = "icmp_error_quotes_fragment",
    /// An ICMP error about a packet of no flow. P6.
    IcmpErrorWithoutFlow = "icmp_error_without_flow",
    /// An ICMP error addressed to another host than the quoted packet's sender. ICE-7.
    IcmpErrorMisaddressed = "icmp_error_misaddressed",
    /// An ICMP error about a TCP segment outside the window. ICE-8.
    IcmpErrorOutsideWindow = "icmp_error_outside_window",
    /// An ICMP error with an impossible path MTU. ICE-9.
    IcmpErrorBadMtu = "icmp_error_bad_mtu",
    /// A source quench. ICE-11.
    IcmpSourceQuench = "icmp_source_quench",
    /// A redirect. ICE-11.
    IcmpRedirect = "icmp_redirect",
    /// The packet's hop limit is used up. TTL-1.
    HopLimitReached = "hop_limit_reached",
    /// Longer than the next hop takes, and must not be fragmented. MTU-1.
    TooBig = "too_big",
    /// No peer owns the destination and there is no TUN.
    NoRoute = "no_route",
    /// The queue of packets on their way to `poll_transmit` is full.
    OutboxFull = "outbox_full",
}

/// How many reasons there are.
const REASONS: usize = DropReason::ALL.len();

/// What the sender hears about a packet dropped for this reason. FLT-4, FLT-5; whether an ICMP error may be sent about
/// the packet at all is checked later.
pub const fn reaction(reason: DropReason) -> Reaction {
    match reason {
        DropReason::NotAllowed | DropReason::TcpNotOpening => Reaction::AsConfigured,
        DropReason::SessionClosed
        | DropReason::LeaseLapsed
        | DropReason::CapFlows
        | DropReason::CapHalfOpen
        | DropReason::CapPorts
        | DropReason::CapNewFlows
        | DropReason::FlowTableFull
        | DropReason::NatNoAddress
        | DropReason::NatPortsExhausted
        | DropReason::NatTupleTaken
        | DropReason::NatPairTaken => Reaction::Notice(Notice::Unreachable(Unreachable::AdminProhibited)),
        DropReason::NoRoute => Reaction::Notice(Notice::Unreachable(Unreachable::NoRoute)),
        DropReason::HopLimitReached => Reaction::Notice(Notice::HopLimitExceeded),
        // "Too big" names an MTU, which the data path knows when it answers.
        DropReason::TooBig => Reaction::Silence,
        DropReason::TooShort
        | DropReason::UnknownVersion
        | DropReason::HeaderLength
        | DropReason::HeaderChecksum
        | DropReason::MalformedOption
        | DropReason::SourceRoute
        | DropReason::RoutingHeader
        | DropReason::ExtensionChain
        | DropReason::SecondFragmentHeader
        | DropReason::UdpLength
        | DropReason::UdpChecksumMissing
        | DropReason::FragmentShape
        | DropReason::FragmentTiny
        | DropReason::FragmentOverlap
        | DropReason::FragmentPoisoned
        | DropReason::FragmentDuplicate
        | DropReason::FragmentsExhausted
        | DropReason::FragmentParkingFull
        | DropReason::FragmentGivenUp
        | DropReason::SourceNotAssigned
        | DropReason::MartianSource
        | DropReason::MartianDestination
        | DropReason::SourceIsOurs
        | DropReason::OverlayAddressOutsideTunnel
        | DropReason::NotServed
        | DropReason::NoFlow
        | DropReason::WrongIngress
        | DropReason::TcpInvalid
        | DropReason::TcpOutsideWindow
        | DropReason::TcpResetOutsideWindow
        | DropReason::IcmpNotTracked
        | DropReason::IcmpErrorMalformed
        | DropReason::IcmpErrorChecksum
        | DropReason::IcmpErrorQuotesError
        | DropReason::IcmpErrorQuotesFragment
        | DropReason::IcmpErrorWithoutFlow
        | DropReason::IcmpErrorMisaddressed
        | DropReason::IcmpErrorOutsideWindow
        | DropReason::IcmpErrorBadMtu
        | DropReason::IcmpSourceQuench
        | DropReason::IcmpRedirect
        | DropReason::OutboxFull => Reaction::Silence,
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Totals since the node was made.
#[derive(Clone, PartialEq, Eq)]
pub struct Counters {
    dropped: [u64; REASONS],
    /// Packets forwarded.
    pub forwarded_packets: u64,
    /// Bytes in them.
    pub forwarded_bytes: u64,
    /// Packets of our own: ICMP errors, echo replies, resets.
    pub answers: u64,
    /// Answers not given, because of the rate limits (GEN-1) or because nobody could be told.
    pub answers_withheld: u64,
    /// Fragments sent on after they had waited for their first one.
    pub fragments_released: u64,
    /// Flows opened.
    pub flows_opened: u64,
    /// Flows that made room for others. CAP.
    pub flows_evicted: u64,
    /// Flows that were reset because their session ended. FLT-7.
    pub flows_reset: u64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            dropped: [0; REASONS],
            forwarded_packets: 0,
            forwarded_bytes: 0,
            answers: 0,
            answers_withheld: 0,
            fragments_released: 0,
            flows_opened: 0,
            flows_evicted: 0,
            flows_reset: 0,
        }
    }
}

impl Counters {
    /// Packets dropped for this reason, answered or not.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Packets dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// All reasons with their counts, in the order of their declaration.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().copied().zip(self.dropped.iter().copied())
    }

    /// Counts one drop.
    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    /// Counts drops that became known together.
    pub(crate) fn drop_many(&mut self, reason: DropReason, packets: u64) {
        self.dropped[reason as usize] += packets;
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dropped = self.drops().filter(|(_, count)| *count > 0);
        f.debug_map()
            .entry(&"forwarded_packets", &self.forwarded_packets)
            .entry(&"answers", &self.answers)
            .entries(dropped.map(|(reason, count)| (reason.name(), count)))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn p26_every_reason_has_a_name_and_a_counter_of_its_own() {
        let names: BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        for (position, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
            let mut counters = Counters::default();
            counters.drop(*reason);
            assert_eq!((counters.dropped(*reason), counters.dropped_total()), (1, 1));
        }
    }

    #[test]
    fn p14_what_is_malformed_or_spoofed_is_never_answered() {
        for reason in DropReason::ALL.iter().filter(|reason| **reason <= DropReason::SourceIsOurs) {
            assert_eq!(reaction(*reason), Reaction::Silence, "{reason}");
        }
    }
}
