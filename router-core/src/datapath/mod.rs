//! The road of one packet. The numbers are those of docs/data-path.md.
//!
//! ```text
//! 1 parse -> 2 source check -> 3 ICMP error? -> 4 fragment? -> 5 flow lookup -> (6 classify, translate, insert)
//!   -> 7 state -> 8 translate in place -> 9 hop limit, MTU, MSS -> Verdict
//! ```
//!
//! Every branch of the road is in this file; the others compute what it asks them. Calls packet, flow, nat, fragments and
//! rules; called by node.

mod admission;
mod ahead;
mod answer;
mod control;
mod ended;
mod explain;
mod family;
mod icmp_error;
mod identification;
pub(crate) mod interface;
mod journal;
mod outbox;
mod pieces;
#[cfg(any(test, feature = "sim"))]
mod question;
mod side;
mod source_check;

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand_chacha::ChaCha12Rng;
use rand_core::Rng;
use wg_proto::{Device, Instant};

use crate::config::NodeConfig;
use crate::flow::tcp_state::{InvalidTcp, Segment, TcpVerdict};
use crate::flow::{Direction, FlowId, FlowMeta, Leg, SessionRef, Step, Tick, Tuple, TupleHash};
use crate::fragments::{FragmentLimits, Fragments};
use crate::limits::Limits;
use crate::nat::PoolId;
use crate::packet::{Echo, Ends, PacketMut, Transport, Version, mss_for_mtu};
use crate::rules::{Dead, Rules, SnatPool};
use crate::verdict::{Counters, DropReason, Egress, Forward, Ingress, Offload, Verdict};

use ahead::Turn;
use answer::Stop;
pub use control::FlowView;
pub use explain::{Explanation, Heard};
use family::{Family, egress_of, ends_of, leg_in, tuple_of};
use identification::Identifications;
pub(crate) use journal::Journal;
pub use journal::{EndedFlow, Refusals, RefusedPacket};
use outbox::Outbox;
use pieces::{FirstVerdict, Sender};
#[cfg(any(test, feature = "sim"))]
pub use question::Question;
pub(crate) use side::Ours;
use side::Side;
pub(crate) use source_check::SourceChecked;

/// The data path of a router or connector: its state for each IP version, and what both share.
#[derive(Debug)]
pub(crate) struct Path {
    v4: Side<Ipv4Addr>,
    v6: Side<Ipv6Addr>,
    pub(crate) shared: Shared,
}

/// What both IP versions share.
#[derive(Debug)]
pub(crate) struct Shared {
    settings: Settings,
    pub(crate) rules: Rules,
    pools: BTreeMap<PoolId, SnatPool>,
    fragments: Fragments<Sender, FirstVerdict>,
    limits: Limits,
    identifications: Identifications,
    pub(crate) outbox: Outbox,
    pub(crate) counters: Counters,
    pub(crate) journal: Journal,
    turn: Turn,
}

/// What the configuration says about packets.
#[derive(Debug)]
pub(crate) struct Settings {
    tunnel_mtu_bytes: u16,
    tun_mtu_bytes: Option<u16>,
    tun_clients: alloc::vec::Vec<wg_proto::IpNet>,
    has_sockets: bool,
    refusal: crate::verdict::Refusal,
}

/// What the road leads to.
enum Passed {
    Forward(Forward),
    Answered,
    Parked,
}

/// One packet on its road, and all it may look at.
struct Road<'a, A> {
    side: &'a mut Side<A>,
    shared: &'a mut Shared,
    device: &'a Device,
    now: Instant,
    tick: Tick,
    ingress: Ingress,
    offload: Offload,
    /// Which packet it is of those that were looked at ahead.
    ahead: Option<usize>,
}

/// A flow that a packet belongs to.
struct Hit<A> {
    id: FlowId,
    direction: Direction,
    meta: FlowMeta,
    /// The tuple the packet leaves with.
    to: Tuple<A>,
    is_translated: bool,
}

/// What must be known to send a packet on.
#[derive(Clone, Copy)]
struct Onward<A> {
    session: SessionRef,
    direction: Direction,
    to: Tuple<A>,
    /// Whether that is another one than it came in with.
    is_translated: bool,
    leg: Leg,
    fragment_to: Option<u16>,
}

impl Path {
    pub(crate) fn new(config: NodeConfig, random: &mut ChaCha12Rng) -> Path {
        let v4 = Side::new(config.flows_max_v4, &config.overlay_addresses, random);
        let v6 = Side::new(config.flows_max_v6, &config.overlay_addresses, random);
        Path { v4, v6, shared: Shared::new(config, random) }
    }

    /// Says what becomes of a packet, and translates it in place.
    #[inline]
    pub(crate) fn handle(
        &mut self,
        device: &Device,
        now: Instant,
        ingress: Ingress,
        bytes: &mut [u8],
        offload: Offload,
    ) -> Verdict {
        let ahead = self.shared.turn.take();
        let (shared, tick) = (&mut self.shared, Tick::from_nanos(now.as_nanos()));
        match Version::of(bytes) {
            Ok(Version::V4) => {
                Road { side: &mut self.v4, shared, device, now, tick, ingress, offload, ahead }.take(bytes)
            }
            Ok(Version::V6) => {
                Road { side: &mut self.v6, shared, device, now, tick, ingress, offload, ahead }.take(bytes)
            }
            Err(error) => shared.malformed(now, ingress, error),
        }
    }
}

impl<A: Family> Road<'_, A> {
    #[inline(always)]
    fn take(mut self, bytes: &mut [u8]) -> Verdict {
        // 1
        let mut packet = match A::parse(bytes) {
            Ok(packet) => packet,
            Err(error) => return self.shared.malformed(self.now, self.ingress, error),
        };
        match self.travel(&mut packet) {
            Ok(Passed::Forward(forward)) => {
                self.shared.counters.forwarded_packets += 1;
                self.shared.counters.forwarded_bytes += forward.len as u64;
                Verdict::Forward(forward)
            }
            Ok(Passed::Answered) => Verdict::Reply,
            Ok(Passed::Parked) => Verdict::Parked,
            Err(stop) => self.aside(&mut packet, move |road, packet| road.refuse(packet, stop)),
        }
    }

    /// A step that few packets take, on copies of what is known: a reference to the originals would keep them in memory
    /// for the packets that do not take it. The packet's bytes and the node are the same.
    #[inline(always)]
    fn aside<R>(
        &mut self,
        packet: &mut PacketMut<'_>,
        step: impl FnOnce(&mut Road<'_, A>, &mut PacketMut<'_>) -> R,
    ) -> R {
        let Road { side, shared, device, now, tick, ingress, offload, ahead } = self;
        let (device, now, tick, ingress, offload, ahead) = (*device, *now, *tick, *ingress, *offload, *ahead);
        out_of_line(
            Road { side, shared, device, now, tick, ingress, offload, ahead },
            packet.reborrow(),
            step,
        )
    }

    #[inline(always)]
    fn travel(&mut self, packet: &mut PacketMut<'_>) -> Result<Passed, Stop> {
        // 2
        let tuple = tuple_of::<A>(packet);
        let from = source_check::check(self.device, self.side, self.ingress, (tuple.src, tuple.dst))?;
        let transport = packet.transport();
        match transport {
            Transport::Tcp(_) | Transport::Udp | Transport::IcmpEcho { .. } | Transport::Other => {}
            // 3
            Transport::IcmpError(error) => {
                return self.aside(packet, move |road, packet| road.icmp_error(packet, error));
            }
            // 4
            Transport::LaterPiece => {
                return self.aside(packet, move |road, packet| road.later_piece(packet, tuple.src));
            }
            Transport::IcmpOther { .. } => return Err(DropReason::IcmpNotTracked.into()),
        }
        // 5
        let hit = match self.find(tuple) {
            Ok(hit) => hit,
            Err(hash) => {
                return self.aside(packet, move |road, packet| road.open_flow(packet, &from, &tuple, hash));
            }
        };
        if side::leg_in_of(&hit.meta, hit.direction) != leg_in(self.ingress) {
            return Err(DropReason::WrongIngress.into());
        }
        match self.shared.rules.check(self.now, hit.meta.session) {
            Ok(()) => self.continue_flow(packet, &transport, &hit),
            Err(dead) => {
                self.aside(packet, move |road, packet| road.revive(packet, &from, &tuple, &hit, dead))
            }
        }
    }

    /// The next packet of a live flow.
    #[inline(always)]
    fn continue_flow(
        &mut self,
        packet: &mut PacketMut<'_>,
        transport: &Transport,
        hit: &Hit<A>,
    ) -> Result<Passed, Stop> {
        let leg = side::leg_out_of(&hit.meta, hit.direction);
        let fragment_to = self.check_hop(packet, leg)?;
        // 7
        if let Transport::Tcp(tcp) = transport {
            let segment = Segment { sack_edge: packet.sack_edge(), ..Segment::from(tcp) };
            let step = self.side.flows.tcp(self.tick, hit.id, hit.direction, &segment);
            self.note(hit.meta.session, step)?;
        } else {
            if turns(transport, hit.direction) {
                return Err(DropReason::NoFlow.into());
            }
            let step = self.side.flows.datagram(self.tick, hit.id, hit.direction);
            self.note(hit.meta.session, step)?;
        }
        self.side.flows.count(hit.id, hit.direction, packet.total_len() as u32);
        let Hit { direction, meta, to, is_translated, .. } = *hit;
        let onward = Onward { session: meta.session, direction, to, is_translated, leg, fragment_to };
        self.send_on(packet, transport, &onward)
    }

    /// The first packet of a flow.
    #[cold]
    fn open_flow(
        &mut self,
        packet: &mut PacketMut<'_>,
        from: &SourceChecked<A>,
        tuple: &Tuple<A>,
        hash: TupleHash,
    ) -> Result<Passed, Stop> {
        // 6
        let admission = match self.look().admit(packet, from, tuple) {
            Ok(admission) => admission,
            Err(_) if self.is_ping_to_us(packet, tuple) => return self.answer_ping(packet),
            Err(stop) => return Err(stop),
        };
        let fragment_to = self.check_hop(packet, admission.leg)?;
        let (id, to) = self.insert(tuple, hash, &admission)?;
        self.side.flows.count(id, Direction::Original, packet.total_len() as u32);
        let onward = Onward {
            session: admission.session,
            direction: Direction::Original,
            to,
            is_translated: to != *tuple,
            leg: admission.leg,
            fragment_to,
        };
        self.send_on(packet, &packet.transport(), &onward)
    }

    /// A packet of a flow whose session has ended. The flow goes; a sender who has got a new session goes on.
    #[cold]
    fn revive(
        &mut self,
        packet: &mut PacketMut<'_>,
        from: &SourceChecked<A>,
        tuple: &Tuple<A>,
        hit: &Hit<A>,
        dead: Dead,
    ) -> Result<Passed, Stop> {
        let was_reset = self.bury(hit.id);
        match hit.direction {
            Direction::Original => {
                let hash = self.side.flows.hash(tuple);
                self.open_flow(packet, from, tuple, hash).map_err(|stop| stop.after_end(dead, was_reset))
            }
            Direction::Reply => Err(Stop::ended(dead, was_reset)),
        }
    }

    /// 8 and 9: the packet passes.
    #[inline(always)]
    fn send_on(
        &mut self,
        packet: &mut PacketMut<'_>,
        transport: &Transport,
        onward: &Onward<A>,
    ) -> Result<Passed, Stop> {
        let identification = self.identification(packet, &onward.to);
        if let Some(piece) = packet.piece() {
            let (onward, transport) = (*onward, *transport);
            self.aside(packet, move |road, packet| {
                road.decide_pieces(packet, piece, &transport, &onward, identification)
            })?;
        }
        let to = onward.is_translated.then(|| ends_of(&onward.to));
        let is_rewritten = rewrite(packet, to, identification);
        debug_assert!(is_rewritten, "tuples are of the packet's version, and the hop limit was checked");
        if let Transport::Tcp(tcp) = transport
            && tcp.flags.syn()
        {
            let leg = onward.leg;
            self.aside(packet, move |road, packet| road.clamp_mss(packet, leg));
        }
        self.shared.rules.count(self.now, onward.session, onward.direction, packet.total_len());
        Ok(Passed::Forward(Forward {
            egress: egress_of(onward.leg),
            len: packet.total_len(),
            fragment_to: onward.fragment_to,
        }))
    }

    /// The flow of a packet: the one found ahead or that of the packet before, compared without hashing, or the one in the
    /// table. If there is none, the tuple's hash, for the flow to be stored with.
    #[inline(always)]
    fn find(&mut self, tuple: Tuple<A>) -> Result<Hit<A>, TupleHash> {
        let is_it = |found: &(FlowId, Direction)| self.side.flows.is_of(found.0, found.1, &tuple);
        let ahead = self.ahead.and_then(|packet| self.side.ahead.of(packet)?.guess);
        let (id, direction) = match ahead.filter(is_it).or(self.side.previous.filter(is_it)) {
            Some(found) => found,
            None => self.side.look_up(tuple, self.ahead)?,
        };
        self.side.previous = Some((id, direction));
        let Some(flow) = self.side.flows.flow(id) else { return Err(self.side.flows.hash(&tuple)) };
        let to = flow.outgoing(direction);
        Ok(Hit { id, direction, meta: flow.meta(), to, is_translated: to != tuple })
    }

    #[inline(always)]
    fn check_hop(&self, packet: &PacketMut<'_>, leg: Leg) -> Result<Option<u16>, Stop> {
        self.shared.settings.check_hop(packet, self.offload, leg)
    }

    /// Accounts for what a packet did to its flow.
    #[inline(always)]
    fn note(&mut self, session: SessionRef, step: Option<Step>) -> Result<(), Stop> {
        let Some(step) = step else { return Err(DropReason::TcpInvalid.into()) };
        if let Some(left) = step.left {
            self.shared.rules.phase_changed(session, left, step.phase);
        }
        match step.verdict {
            TcpVerdict::Accept | TcpVerdict::AcceptNoStateChange => Ok(()),
            TcpVerdict::Invalid(invalid) => Err(reason_of(invalid).into()),
        }
    }

    /// No segment of the conversation is to be too long for either side (MTU-4).
    #[cold]
    fn clamp_mss(&self, packet: &mut PacketMut<'_>, leg: Leg) {
        let settings = &self.shared.settings;
        let here = settings.mtu_bytes(egress_of(leg_in(self.ingress)));
        packet.clamp_mss(mss_for_mtu(A::VERSION, here.min(settings.mtu_bytes(egress_of(leg)))));
    }

    /// A new identification for a datagram that leaves from an address that others leave from, too (MAP-11).
    #[inline(always)]
    fn identification(&mut self, packet: &PacketMut<'_>, to: &Tuple<A>) -> Option<u16> {
        let may_be_shared = A::VERSION == Version::V4 && packet.needs_identification();
        if !may_be_shared || self.side.ours.is_neither(to.src) {
            return None;
        }
        Some(self.shared.identifications.next(to.src.into(), to.dst.into()))
    }
}

impl Shared {
    fn new(config: NodeConfig, random: &mut ChaCha12Rng) -> Shared {
        let mut key = [0; 16];
        random.fill_bytes(&mut key);
        Shared {
            rules: Rules::new(config.sessions_max, &key),
            pools: BTreeMap::new(),
            fragments: Fragments::new(FragmentLimits::default()),
            limits: Limits::new(seed(random)),
            identifications: Identifications::new(seed(random)),
            outbox: Outbox::default(),
            turn: Turn::default(),
            counters: Counters::default(),
            journal: Journal::default(),
            settings: Settings {
                tunnel_mtu_bytes: config.tunnel_mtu_bytes,
                tun_mtu_bytes: config.tun_mtu_bytes,
                tun_clients: config.tun_clients,
                has_sockets: config.has_sockets,
                refusal: config.refusal,
            },
        }
    }
}

impl Settings {
    fn has_tun(&self) -> bool {
        self.tun_mtu_bytes.is_some()
    }

    #[inline]
    fn mtu_bytes(&self, egress: Egress) -> u16 {
        match egress {
            Egress::Peer(_) => self.tunnel_mtu_bytes,
            Egress::Tun => self.tun_mtu_bytes.unwrap_or(self.tunnel_mtu_bytes),
            // No wire, no frames.
            Egress::Sockets => u16::MAX,
        }
    }

    /// Whether the packet may go on by this leg, and into pieces of which length (TTL-1, MTU-1, MTU-2).
    #[inline(always)]
    fn check_hop(&self, packet: &PacketMut<'_>, offload: Offload, leg: Leg) -> Result<Option<u16>, Stop> {
        if packet.hop_limit() <= 1 {
            return Err(DropReason::HopLimitReached.into());
        }
        let mtu_bytes = self.mtu_bytes(egress_of(leg));
        let len = match offload {
            Offload::None => packet.total_len(),
            Offload::Segments { payload_bytes } => {
                packet.total_len().min(packet.headers_len() + usize::from(payload_bytes))
            }
        };
        match len > usize::from(mtu_bytes) {
            false => Ok(None),
            true if packet.dont_fragment() || offload != Offload::None => Err(Stop::TooBig { mtu_bytes }),
            true => Ok(Some(mtu_bytes)),
        }
    }

    fn is_tun_client(&self, source: IpAddr) -> bool {
        self.tun_clients.iter().any(|prefix| prefix.contains(&source))
    }
}

/// Where [`Road::aside`] leads.
#[cold]
#[inline(never)]
fn out_of_line<A, R>(
    mut road: Road<'_, A>,
    mut packet: PacketMut<'_>,
    step: impl FnOnce(&mut Road<'_, A>, &mut PacketMut<'_>) -> R,
) -> R {
    step(&mut road, &mut packet)
}

/// Translates a packet, if it is to be, and takes a hop off it. Says whether that was possible.
#[inline(always)]
fn rewrite(packet: &mut PacketMut<'_>, to: Option<Ends>, identification: Option<u16>) -> bool {
    let is_translated = match to {
        Some(to) => packet.translate(&to).is_ok(),
        None => true,
    };
    if let Some(identification) = identification {
        packet.set_identification(u32::from(identification));
    }
    is_translated && packet.decrement_hop_limit().is_ok()
}

fn reason_of(invalid: InvalidTcp) -> DropReason {
    match invalid {
        InvalidTcp::NotOpening => DropReason::TcpNotOpening,
        InvalidTcp::Flags | InvalidTcp::OutOfTurn => DropReason::TcpInvalid,
        InvalidTcp::BeyondWindow
        | InvalidTcp::BeforeWindow
        | InvalidTcp::AckBeyondSent
        | InvalidTcp::AckTooOld => DropReason::TcpOutsideWindow,
        InvalidTcp::ResetOutsideWindow => DropReason::TcpResetOutsideWindow,
    }
}

/// Whether an echo goes through its flow the wrong way. One of identifier 0 has the same tuple as a request and as a
/// reply, and who answers pings must not ping.
#[inline]
fn turns(transport: &Transport, direction: Direction) -> bool {
    let Transport::IcmpEcho { echo, .. } = transport else { return false };
    (*echo == Echo::Request) != (direction == Direction::Original)
}

/// Whether a packet asks for an echo.
fn is_ping(packet: &PacketMut<'_>) -> bool {
    matches!(packet.transport(), Transport::IcmpEcho { echo: Echo::Request, .. })
}

fn seed(random: &mut ChaCha12Rng) -> [u8; 32] {
    let mut seed = [0; 32];
    random.fill_bytes(&mut seed);
    seed
}
