//! A node: a WireGuard device and the data path behind it, without I/O.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use wg_proto::{
    Admitted, Device, DeviceConfig, Encapsulated, Endpoint, Handled, Instant, Mac1Filter, NotAdmitted,
    NotReady, Opened, PeerIndex, QueueLoad, Rejected, RxKey, SessionGone, SessionIndex, StageError, TxBatch,
    UnixTime, Wake,
};

use crate::config::{Mode, NodeConfig};
use crate::datapath::{EndedFlow, Explanation, FlowView, Path, Refusals, interface};
use crate::rules::{Applied, ApplyError, Rule, RuleError, RuleSnapshot, SessionId, SessionView, SnatPool};
use crate::verdict::{Counters, DropReason, Egress, Forward, Ingress, Offload, Verdict};

/// A router, a connector or a plain WireGuard interface.
///
/// # Order of calls
/// After **each** input, in this order:
/// 1. one input: a control message, a committed run of opened packets and [`handle_packet`](Node::handle_packet) for
///    each of them, packets from the TUN, [`handle_timeout`](Node::handle_timeout), or a change of configuration;
/// 2. [`poll_transmit`](Node::poll_transmit) until it returns `None`, sending each;
/// 3. [`poll_event`](Node::poll_event) until it returns `None`;
/// 4. [`poll_timeout`](Node::poll_timeout), and call [`handle_timeout`](Node::handle_timeout) at that moment if nothing
///    comes before.
///
/// Several inputs may be made before the polling ones; what waits for `poll_transmit` is bounded.
pub struct Node {
    device: Device,
    mode: Mode,
    path: Path,
    /// Where an interface hands packets for its host.
    host: Egress,
    tunnel_mtu_bytes: u16,
    lapsed: Option<SessionId>,
}

/// Something to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeTransmit {
    /// A datagram, sealed already, in the first `len` bytes of the buffer.
    Datagram {
        /// Where to, and from which local source if that is known.
        to: Endpoint,
        /// Its length in bytes.
        len: usize,
        /// TOS or traffic class of the outer packet.
        tos: u8,
    },
    /// A packet for the TUN, in the first `len` bytes of the buffer.
    Tun {
        /// Its length in bytes.
        len: usize,
    },
    /// A packet for the stack in this process, in the first `len` bytes of the buffer.
    Sockets {
        /// Its length in bytes.
        len: usize,
    },
}

/// Something that happened, for logs and for the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// To a peer.
    Device(wg_proto::Event),
    /// A session's lease lapsed: nothing of it passes any more.
    LeaseLapsed {
        /// Whose.
        session: SessionId,
    },
}

/// Why a node wants [`Node::handle_timeout`] to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeWake {
    /// A peer's timer.
    Device(Wake),
    /// A flow or a fragment runs out of time.
    Expiry,
    /// A session's lease lapses.
    Lease,
    /// Flows of ended sessions wait for their reset.
    Sweep,
}

impl Node {
    /// A node without key, peers and rules. `seed` is drawn from the operating system's generator, once; everything
    /// random comes from it.
    pub fn new(config: NodeConfig, seed: [u8; 32]) -> Node {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut device_seed = [0; 32];
        random.fill_bytes(&mut device_seed);
        let tunnel_mtu_bytes = config.tunnel_mtu_bytes;
        let device = DeviceConfig { private_key: None, mtu_bytes: tunnel_mtu_bytes };
        Node {
            device: Device::new(device, device_seed),
            mode: config.mode,
            host: if config.has_sockets && config.tun_mtu_bytes.is_none() {
                Egress::Sockets
            } else {
                Egress::Tun
            },
            path: Path::new(config, &mut random),
            tunnel_mtu_bytes,
            lapsed: None,
        }
    }

    /// The WireGuard device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The WireGuard device, to configure it.
    pub fn device_mut(&mut self) -> &mut Device {
        &mut self.device
    }

    /// What opens the packets of a session: [`Device::rx_key`].
    pub fn rx_key(&self, receiver: SessionIndex) -> Option<RxKey> {
        self.device.rx_key(receiver)
    }

    /// Takes a run of opened packets: [`Device::commit_received`]. Give each accepted one that is no keepalive to
    /// [`handle_packet`](Node::handle_packet).
    pub fn commit_received(
        &mut self,
        now: Instant,
        key: &RxKey,
        src: Endpoint,
        opened: &mut [Opened],
    ) -> Result<PeerIndex, SessionGone> {
        self.device.commit_received(now, key, src, opened)
    }

    /// Reserves nonces for packets to a peer: [`Device::begin_send`].
    pub fn begin_send(
        &mut self,
        now: Instant,
        peer: PeerIndex,
        packets: NonZeroU32,
        payload_bytes: u64,
    ) -> Result<TxBatch, NotReady> {
        self.device.begin_send(now, peer, packets, payload_bytes)
    }

    /// Keeps a packet until there is a session with the peer: [`Device::stage`].
    pub fn stage(&mut self, now: Instant, peer: PeerIndex, packet: &[u8]) -> Result<(), StageError> {
        self.device.stage(now, peer, packet)
    }

    /// Takes a handshake or cookie message: [`Device::handle_control`].
    pub fn handle_control(
        &mut self,
        now: Instant,
        unix: UnixTime,
        src: Endpoint,
        datagram: &mut [u8],
        load: QueueLoad,
    ) -> Result<Handled, Rejected> {
        self.device.handle_control(now, unix, src, datagram, load)
    }

    /// The filter for handshake messages that needs no node, so no lock: [`Device::mac1_filter`].
    pub fn mac1_filter(&self) -> Mac1Filter {
        self.device.mac1_filter()
    }

    /// Whether a filter is up to date: [`Device::is_current`].
    pub fn is_current(&self, filter: &Mac1Filter) -> bool {
        self.device.is_current(filter)
    }

    /// Counts what a filter refused: [`Device::count_not_admitted`].
    pub fn count_not_admitted(&mut self, why: NotAdmitted, times: u64) {
        self.device.count_not_admitted(why, times);
    }

    /// Takes a message that a filter admitted: [`Device::handle_admitted`].
    pub fn handle_admitted(
        &mut self,
        now: Instant,
        unix: UnixTime,
        src: Endpoint,
        message: &Admitted,
        load: QueueLoad,
    ) -> Result<Handled, Rejected> {
        self.device.handle_admitted(now, unix, src, message, load)
    }

    /// Says what becomes of a decrypted packet, or of one from the TUN, and translates it in place.
    #[inline]
    pub fn handle_packet(
        &mut self,
        now: Instant,
        ingress: Ingress,
        packet: &mut [u8],
        offload: Offload,
    ) -> Verdict {
        match self.mode {
            Mode::Interface => match interface::route(&self.device, self.host, ingress, packet) {
                Ok(forward) => self.forward(forward),
                Err(reason) => self.drop(reason),
            },
            Mode::Router => self.path.handle(&self.device, now, ingress, packet, offload),
        }
    }

    /// Looks the flows of the packets up that are handed in next, in this order; their lookups then wait for memory together.
    /// Only a hint, which changes no verdict. Returns how many of the packets were looked at: call it again behind them.
    pub fn look_ahead<'p>(&mut self, packets: impl Iterator<Item = &'p [u8]>) -> usize {
        match self.mode {
            Mode::Interface => usize::MAX,
            Mode::Router => self.path.look_ahead(packets),
        }
    }

    /// Writes the next datagram or packet to send to the start of `buf`: handshakes, staged packets, then packets of our
    /// own and fragments that had waited.
    pub fn poll_transmit(&mut self, now: Instant, unix: UnixTime, buf: &mut [u8]) -> Option<NodeTransmit> {
        loop {
            if let Some(sent) = self.device.poll_transmit(now, unix, buf) {
                return Some(NodeTransmit::Datagram { to: sent.to, len: sent.len, tos: sent.tos });
            }
            let (egress, packet) = self.path.shared.outbox.pop()?;
            if let Some(transmit) = self.transmit(now, egress, &packet, buf) {
                return Some(transmit);
            }
        }
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        let lapsed = self.lapsed.take().map(|session| Event::LeaseLapsed { session });
        lapsed.or_else(|| self.device.poll_event().map(Event::Device))
    }

    /// When the node next wants [`handle_timeout`](Node::handle_timeout), and why. `None`: not before the next input.
    /// A moment in the past means at once: long work is done in pieces.
    pub fn poll_timeout(&mut self) -> Option<(Instant, NodeWake)> {
        if self.path.is_sweeping() {
            return Some((Instant::from_nanos(0), NodeWake::Sweep));
        }
        let device = self.device.poll_timeout().map(|(at, wake)| (at, NodeWake::Device(wake)));
        let expiry = self.path.next_expiry().map(|at| (at, NodeWake::Expiry));
        let lease = self.path.shared.rules.next_lapse().map(|at| (at, NodeWake::Lease));
        [device, expiry, lease].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Does what is due at `now`, a bounded piece of it; calling early or late does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.device.handle_timeout(now);
        if self.lapsed.is_none() {
            self.lapsed = self.path.shared.rules.pop_lapsed(now);
            if self.lapsed.is_some() {
                self.path.begin_sweep();
            }
        }
        self.path.handle_timeout(now);
    }

    /// Makes pools and sessions what the snapshot says: what is not in it is deleted, what is in it unchanged keeps its
    /// flows. Refused whole if anything in it is wrong.
    pub fn apply(&mut self, now: Instant, snapshot: &RuleSnapshot) -> Result<Applied, ApplyError> {
        self.path.apply(&self.device, now, snapshot)
    }

    /// Replaces the pools for source translation, for callers that open sessions one by one.
    pub fn set_pools(&mut self, pools: &[SnatPool]) -> Result<(), ApplyError> {
        self.path.set_pools(pools)
    }

    /// Opens a session.
    pub fn open_session(&mut self, _now: Instant, rule: &Rule) -> Result<(), RuleError> {
        self.path.open_session(&self.device, rule)
    }

    /// Closes a session: nothing of it passes any more, in either direction. Says whether there was one. The ends of its
    /// TCP flows are reset by `handle_timeout` and `poll_transmit`.
    pub fn close_session(&mut self, _now: Instant, session: SessionId) -> bool {
        self.path.close_session(session)
    }

    /// Gives a session a new lease; `None`: it does not end by itself. Says whether there is such a session.
    pub fn renew_lease(&mut self, now: Instant, session: SessionId, lease: Option<Instant>) -> bool {
        self.path.shared.rules.renew(now, session, lease)
    }

    /// Gives the node itself a lease, without which no session is alive, whatever its own says. Flows of a lease that has
    /// lapsed stay dead. Only sessions of [`IngressMatch::Sockets`](crate::rules::IngressMatch::Sockets) without a lease of their
    /// own do not depend on it: what this process opens itself, such as the connection over which the lease is renewed.
    pub fn set_node_lease(&mut self, now: Instant, lease: Option<Instant>) {
        self.path.shared.rules.set_node_lease(now, lease);
    }

    /// Removes a peer, having closed all sessions that come from it or leave to it. Its slot may be used again.
    pub fn remove_peer(&mut self, _now: Instant, peer: PeerIndex) -> usize {
        let closed = self.path.close_sessions_of(peer);
        self.device.remove_peer(peer);
        closed
    }

    /// What would become of a packet, and why. Nothing changes.
    pub fn explain(&self, now: Instant, ingress: Ingress, packet: &[u8]) -> Explanation {
        self.path.explain(&self.device, now, ingress, &mut Vec::from(packet))
    }

    /// All flows.
    pub fn flows(&self, now: Instant) -> impl Iterator<Item = FlowView> + '_ {
        self.path.flows(now)
    }

    /// How many flows there are, and how many there can be.
    pub fn flows_used(&self) -> (u32, u32) {
        self.path.flows_used()
    }

    /// All sessions, with what they have carried.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView> + '_ {
        self.path.sessions()
    }

    /// A session, with what it has carried.
    pub fn session(&self, id: SessionId) -> Option<SessionView> {
        self.path.session(id)
    }

    /// Keeps from now on what is over and what was refused, until it is taken: at most so many flows, of which the oldest are
    /// lost. 0: nothing, which is how a node begins.
    pub fn keep_journal(&mut self, flows_max: usize) {
        self.path.shared.journal.keep(flows_max);
    }

    /// At most `max` flows that are over, the oldest first; and how many could not be kept since the last time.
    pub fn take_ended_flows(&mut self, max: usize) -> (Vec<EndedFlow>, u64) {
        self.path.shared.journal.take_flows(max)
    }

    /// What was refused since the last time, one entry for each side that it came from.
    pub fn take_refusals(&mut self) -> Vec<Refusals> {
        self.path.shared.journal.take_refusals()
    }

    /// Totals since the node was made. The device has its own: [`Device::counters`].
    pub fn counters(&self) -> &Counters {
        &self.path.shared.counters
    }

    /// The next packet of our own, not sealed: for simulations that leave the cipher out. Drain either this or
    /// [`poll_transmit`](Node::poll_transmit).
    #[cfg(any(test, feature = "sim"))]
    pub fn pop_own_packet(&mut self) -> Option<(Egress, alloc::boxed::Box<[u8]>)> {
        self.path.shared.outbox.pop()
    }

    /// What the rules would be asked about an IPv4 packet: for benchmarks of [`is_allowed`](Node::is_allowed).
    #[cfg(any(test, feature = "sim"))]
    pub fn question(&self, ingress: Ingress, packet: &[u8]) -> Option<crate::datapath::Question> {
        self.path.question(&self.device, ingress, &mut Vec::from(packet))
    }

    /// Whether a rule allows such a packet: classification alone.
    #[cfg(any(test, feature = "sim"))]
    pub fn is_allowed(&self, now: Instant, question: &crate::datapath::Question) -> bool {
        self.path.is_allowed(now, question)
    }

    /// Seals a packet of our own, or copies it for the TUN or the stack.
    fn transmit(
        &mut self,
        now: Instant,
        egress: Egress,
        packet: &[u8],
        buf: &mut [u8],
    ) -> Option<NodeTransmit> {
        match egress {
            Egress::Tun => {
                buf.get_mut(..packet.len())?.copy_from_slice(packet);
                Some(NodeTransmit::Tun { len: packet.len() })
            }
            Egress::Sockets => {
                buf.get_mut(..packet.len())?.copy_from_slice(packet);
                Some(NodeTransmit::Sockets { len: packet.len() })
            }
            Egress::Peer(peer) => {
                match self.device.encapsulate(now, peer, packet, self.tunnel_mtu_bytes, buf) {
                    Ok(Encapsulated::Sent(sent)) => {
                        Some(NodeTransmit::Datagram { to: sent.to, len: sent.len, tos: sent.tos })
                    }
                    // The device counts what it does not send.
                    Ok(Encapsulated::Staged) | Err(_) => None,
                }
            }
        }
    }

    fn forward(&mut self, forward: Forward) -> Verdict {
        let counters = &mut self.path.shared.counters;
        counters.forwarded_packets += 1;
        counters.forwarded_bytes += forward.len as u64;
        Verdict::Forward(forward)
    }

    fn drop(&mut self, reason: DropReason) -> Verdict {
        self.path.shared.counters.drop(reason);
        Verdict::Drop(reason)
    }
}
