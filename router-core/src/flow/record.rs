//! What is kept of one flow. The hot half is one cache line for v4, two for v6: all that an established UDP packet
//! touches. The cold half holds TCP tracking.

use super::phase::Phase;
use super::tcp_state::TcpTrack;
use super::tick::Tick;
use super::timeouts::idle_ticks;
use super::tuple::{Address, Direction, Tuple};
use crate::packet::Protocol;

/// One side of the node as the datapath numbers them: a peer, or the TUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leg(pub u32);

/// The session a flow belongs to. A flow is dead once its slot's generation differs. P2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionRef {
    /// Which session slot.
    pub slot: u32,
    /// The slot's generation when the flow was opened.
    pub generation: u64,
}

impl SessionRef {
    /// A generation that no slot ever has: nobody's flow.
    const NOBODYS: u64 = u64::MAX;

    /// Whether the flow has been disowned: what it held was given back already.
    pub(crate) const fn is_nobodys(self) -> bool {
        self.generation == SessionRef::NOBODYS
    }
}

/// What the datapath wants back with each packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowMeta {
    /// The session whose rule allowed the flow.
    pub session: SessionRef,
    /// Where the opening packet came in; replies leave here.
    pub ingress: Leg,
    /// Where the opening packet left; replies come in here.
    pub egress: Leg,
}

/// A flow to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewFlow<A> {
    /// The opening packet's tuple as it came in.
    pub original: Tuple<A>,
    /// The tuple that answers will have as they come in.
    pub reply: Tuple<A>,
    /// Returned with each packet.
    pub meta: FlowMeta,
    /// What kind of conversation the first packet opens.
    pub opening: Opening,
}

/// What kind of conversation a first packet opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// TCP, tracked from [`TcpTrack::open`] on.
    Tcp(TcpTrack),
    /// Anything else.
    Datagram,
}

impl Opening {
    /// How far the flow has come with its first packet.
    pub const fn phase(&self) -> Phase {
        match self {
            Opening::Tcp(track) => Phase::Tcp(track.state()),
            Opening::Datagram => Phase::Unreplied,
        }
    }
}

/// A flow that is no longer stored, for the caller to give back what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed<A> {
    /// The opening packet's tuple as it came in.
    pub original: Tuple<A>,
    /// The tuple that answers had.
    pub reply: Tuple<A>,
    /// As given at insertion.
    pub meta: FlowMeta,
    /// How far it had come.
    pub phase: Phase,
    /// When a packet last refreshed it.
    pub last_seen: Tick,
    /// Bytes in the original direction, and back.
    pub bytes: [u64; 2],
}

/// A stored flow.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a, A> {
    pub(super) hot: &'a Hot<A>,
    pub(super) cold: &'a Cold,
}

impl<A: Address> Flow<'_, A> {
    /// The tuple that packets of this direction carry as they come in.
    #[inline]
    pub fn incoming(&self, direction: Direction) -> Tuple<A> {
        self.hot.tuple(direction)
    }

    /// The tuple that packets of this direction must carry as they leave.
    #[inline]
    pub fn outgoing(&self, direction: Direction) -> Tuple<A> {
        self.hot.tuple(direction.reversed()).inverse()
    }

    /// As given at insertion.
    #[inline]
    pub fn meta(&self) -> FlowMeta {
        self.hot.meta()
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        self.hot.phase()
    }

    /// When a packet last refreshed it.
    pub fn last_seen(&self) -> Tick {
        self.hot.last_seen
    }

    /// When it will have idled too long.
    pub fn deadline(&self) -> Tick {
        self.hot.deadline()
    }

    /// Bytes counted in this direction; goes round after 2^48.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.hot.bytes(direction)
    }

    /// The path MTU learnt for packets in the original direction, if any.
    pub fn path_mtu_bytes(&self) -> Option<u16> {
        Some(self.hot.path_mtu_bytes).filter(|bytes| *bytes != 0)
    }

    /// The tracking of a TCP flow.
    pub fn tcp(&self) -> Option<&TcpTrack> {
        match self.hot.phase() {
            Phase::Tcp(_) => Some(&self.cold.tcp),
            Phase::Unreplied | Phase::Replied => None,
        }
    }
}

/// What every packet needs. 64 bytes for v4, 128 for v6, aligned so that it is whole cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Hot<A> {
    original: Ends<A>,
    reply: Ends<A>,
    generation: u64,
    slot: u32,
    ingress: Leg,
    egress: Leg,
    pub(super) last_seen: Tick,
    bytes_low: [u32; 2],
    bytes_high: [u16; 2],
    pub(super) path_mtu_bytes: u16,
    protocol: Protocol,
    /// `None` while the record holds no flow.
    phase: Option<Phase>,
}

/// What TCP segments need on top. 32 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cold {
    pub(super) tcp: TcpTrack,
}

/// A tuple without its protocol, which both directions share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends<A> {
    src: A,
    dst: A,
    src_port: u16,
    dst_port: u16,
}

const _: () = assert!(size_of::<Hot<core::net::Ipv4Addr>>() == 64);
const _: () = assert!(size_of::<Hot<core::net::Ipv6Addr>>() == 128);
const _: () = assert!(size_of::<Cold>() == 32);

impl<A: Address> Hot<A> {
    pub(super) fn new(now: Tick, flow: &NewFlow<A>) -> Hot<A> {
        Hot {
            original: Ends::of(&flow.original),
            reply: Ends::of(&flow.reply),
            generation: flow.meta.session.generation,
            slot: flow.meta.session.slot,
            ingress: flow.meta.ingress,
            egress: flow.meta.egress,
            last_seen: now,
            bytes_low: [0; 2],
            bytes_high: [0; 2],
            path_mtu_bytes: 0,
            protocol: flow.original.protocol,
            phase: Some(flow.opening.phase()),
        }
    }

    /// Reads a field, to bring the record into the cache.
    #[inline]
    pub(super) fn touch(&self) -> u32 {
        u32::from(self.protocol.0) ^ self.slot
    }

    #[inline]
    pub(super) fn is_used(&self) -> bool {
        self.phase.is_some()
    }

    pub(super) fn set_unused(&mut self) {
        self.phase = None;
    }

    /// Meaningless for an unused record, which no caller can reach.
    #[inline]
    pub(super) fn phase(&self) -> Phase {
        self.phase.unwrap_or(Phase::Unreplied)
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.phase = Some(phase);
    }

    #[inline]
    pub(super) fn tuple(&self, direction: Direction) -> Tuple<A> {
        let ends = match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        };
        ends.with(self.protocol)
    }

    #[inline]
    pub(super) fn meta(&self) -> FlowMeta {
        let session = SessionRef { slot: self.slot, generation: self.generation };
        FlowMeta { session, ingress: self.ingress, egress: self.egress }
    }

    pub(super) fn removed(&self) -> Removed<A> {
        Removed {
            original: self.tuple(Direction::Original),
            reply: self.tuple(Direction::Reply),
            meta: self.meta(),
            phase: self.phase(),
            last_seen: self.last_seen,
            bytes: Direction::BOTH.map(|direction| self.bytes(direction)),
        }
    }

    fn bytes(&self, direction: Direction) -> u64 {
        let end = direction.index();
        u64::from(self.bytes_high[end]) << 32 | u64::from(self.bytes_low[end])
    }

    pub(super) fn disown(&mut self) {
        self.generation = SessionRef::NOBODYS;
    }

    /// The first tick at which the flow has idled for its whole timeout.
    pub(super) fn deadline(&self) -> Tick {
        self.last_seen.after(idle_ticks(self.protocol, self.phase()))
    }

    #[inline]
    pub(super) fn count(&mut self, direction: Direction, bytes: u32) {
        let end = direction.index();
        let (sum, carry) = self.bytes_low[end].overflowing_add(bytes);
        self.bytes_low[end] = sum;
        self.bytes_high[end] = self.bytes_high[end].wrapping_add(u16::from(carry));
    }
}

impl Cold {
    /// Tracking that no flow reads, for flows that are not TCP.
    const UNUSED: Cold = Cold { tcp: TcpTrack::UNUSED };

    pub(super) fn new(opening: &Opening) -> Cold {
        match opening {
            Opening::Tcp(track) => Cold { tcp: *track },
            Opening::Datagram => Cold::UNUSED,
        }
    }
}

impl<A: Address> Ends<A> {
    fn of(tuple: &Tuple<A>) -> Ends<A> {
        Ends { src: tuple.src, dst: tuple.dst, src_port: tuple.src_port, dst_port: tuple.dst_port }
    }

    #[inline]
    fn with(&self, protocol: Protocol) -> Tuple<A> {
        Tuple { src: self.src, dst: self.dst, src_port: self.src_port, dst_port: self.dst_port, protocol }
    }
}
