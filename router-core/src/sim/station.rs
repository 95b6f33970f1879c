//! A node where it stands: its address outside, and the loop around it that a program would run.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::num::NonZeroU32;
use core::time::Duration;

use wg_proto::{
    Endpoint, HEADER_BYTES, Instant, MessageKind, NotReady, OVERHEAD_BYTES, PeerIndex, QueueLoad, Rejected,
    UnixTime, classify, ecn,
};

use super::twin::Twin;
use crate::packet::split::Split;
use crate::{
    Counters, DropReason, Egress, Event, Forward, Ingress, Mode, Node, NodeConfig, NodeTransmit, Offload,
    Verdict,
};

/// The most events and passages that are remembered; when full, the oldest is forgotten.
const REMEMBERED_MAX: usize = 1 << 16;
/// The longest datagram.
const BUFFER_BYTES: usize = 1 << 16;

/// A node in the simulator.
pub struct Station {
    /// What failures call it.
    pub name: &'static str,
    /// The node itself.
    pub node: Node,
    /// Where it is outside the tunnels.
    pub addr: SocketAddr,
    /// How full its control queue claims to be.
    pub load: QueueLoad,
    /// Events so far, oldest first.
    pub events: VecDeque<(Instant, Event)>,
    /// What was said about each packet so far, oldest first.
    pub passages: VecDeque<Passage>,
    /// What became of datagrams that did not come to a packet.
    pub refused: Refused,
    /// Keepalives received.
    pub keepalives: u64,
    /// Watches what a router or connector decides; a plain interface has none.
    pub twin: Option<Twin>,
    mtu_bytes: u16,
    host_mtu_bytes: u16,
    /// Wall-clock time when boot time was zero.
    pub(super) wall: UnixTime,
    pub(super) asleep_until: Instant,
    /// Bytes that waited for a session are not lost; bytes that had no way to go are counted.
    pub(super) unsendable: u64,
}

/// One packet, and what the node said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// When.
    pub at: Instant,
    /// Where it came in.
    pub ingress: Ingress,
    /// The packet as it came.
    pub before: Vec<u8>,
    /// What was said.
    pub verdict: Verdict,
    /// The packet as it was left, cut to its length if it was forwarded.
    pub after: Vec<u8>,
}

/// Datagrams that led to nothing, by where they failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// No WireGuard message.
    pub malformed: u64,
    /// Handshake messages that were turned down.
    pub control: u64,
    /// The last reason for that.
    pub last_control: Option<Rejected>,
    /// Transport messages of an unknown session.
    pub unknown_session: u64,
    /// Transport messages that did not open, or whose session was gone.
    pub not_opened: u64,
    /// Transport messages that came before.
    pub replayed: u64,
    /// Packets with a mark of congestion that their flow cannot carry.
    pub congested: u64,
}

/// Something that leaves a station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    Datagram { to: SocketAddr, tos: u8, bytes: Vec<u8> },
    Tun(Vec<u8>),
}

impl Station {
    pub(super) fn new(name: &'static str, node: Node, config: NodeConfig, addr: SocketAddr) -> Station {
        let mtu_bytes = config.tunnel_mtu_bytes;
        let host_mtu_bytes = config.tun_mtu_bytes.unwrap_or(mtu_bytes);
        Station {
            name,
            node,
            addr,
            load: QueueLoad::IDLE,
            events: VecDeque::new(),
            passages: VecDeque::new(),
            refused: Refused::default(),
            keepalives: 0,
            twin: (config.mode == Mode::Router).then(|| Twin::new(config)),
            mtu_bytes,
            host_mtu_bytes,
            wall: UnixTime::new(1_700_000_000, 0),
            asleep_until: Instant::from_nanos(0),
            unsendable: 0,
        }
    }

    /// Wall-clock time at this station.
    pub fn unix(&self, now: Instant) -> UnixTime {
        self.wall.saturating_add(Duration::from_nanos(now.as_nanos()))
    }

    pub(super) fn host_mtu_bytes(&self) -> u16 {
        self.host_mtu_bytes
    }

    pub(super) fn is_asleep(&self, now: Instant) -> bool {
        now < self.asleep_until
    }

    /// One datagram from the network.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        tos: u8,
        datagram: &mut [u8],
    ) -> Vec<Output> {
        let mut out = Vec::new();
        match classify(datagram) {
            Ok(MessageKind::Transport { receiver, .. }) => match self.node.rx_key(receiver) {
                Some(key) => self.open(now, Endpoint::new(from), tos, &key, datagram, &mut out),
                None => self.refused.unknown_session += 1,
            },
            Ok(MessageKind::Initiation | MessageKind::Response | MessageKind::CookieReply) => {
                self.control(now, Endpoint::new(from), datagram);
            }
            Err(_) => self.refused.malformed += 1,
        }
        self.drain(now, &mut out);
        out
    }

    /// One packet, past the cipher.
    pub(super) fn take(
        &mut self,
        now: Instant,
        ingress: Ingress,
        mut packet: Vec<u8>,
    ) -> (Verdict, Vec<Output>) {
        let mut out = Vec::new();
        let verdict = self.handle(now, ingress, &mut packet, &mut out);
        self.drain(now, &mut out);
        (verdict, out)
    }

    /// Timers, and whatever waits.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Output> {
        let mut out = Vec::new();
        self.node.handle_timeout(now);
        self.drain(now, &mut out);
        out
    }

    /// When the node wants to be woken.
    pub(super) fn timeout(&mut self) -> Option<Instant> {
        let (at, _) = self.node.poll_timeout()?;
        Some(at.max(self.asleep_until))
    }

    fn control(&mut self, now: Instant, from: Endpoint, datagram: &mut [u8]) {
        let (unix, load) = (self.unix(now), self.load);
        if let Err(rejected) = self.node.handle_control(now, unix, from, datagram, load) {
            self.refused.control += 1;
            self.refused.last_control = Some(rejected);
        }
    }

    /// Opens a transport message, commits it, and gives the packet inside to the node.
    fn open(
        &mut self,
        now: Instant,
        from: Endpoint,
        tos: u8,
        key: &wg_proto::RxKey,
        datagram: &mut [u8],
        out: &mut Vec<Output>,
    ) {
        let Ok(opened) = key.open(datagram) else {
            self.refused.not_opened += 1;
            return;
        };
        let mut run = [opened];
        let Ok(peer) = self.node.commit_received(now, key, from, &mut run) else {
            self.refused.not_opened += 1;
            return;
        };
        let [opened] = run;
        if !opened.accepted() {
            self.refused.replayed += 1;
        } else if opened.is_keepalive() {
            self.keepalives += 1;
        } else {
            let packet = &mut datagram[HEADER_BYTES..HEADER_BYTES + opened.len()];
            match ecn::combine(tos, packet) {
                Ok(()) => {
                    self.handle(now, Ingress::Peer(peer), packet, out);
                }
                Err(ecn::Drop) => self.refused.congested += 1,
            }
        }
    }

    fn handle(
        &mut self,
        now: Instant,
        ingress: Ingress,
        packet: &mut [u8],
        out: &mut Vec<Output>,
    ) -> Verdict {
        let before = packet.to_vec();
        let short_before = shortages(self.node.counters());
        self.look_ahead(packet);
        let verdict = self.node.handle_packet(now, ingress, packet, Offload::None);
        let len = match verdict {
            Verdict::Forward(forward) => forward.len,
            Verdict::Reply | Verdict::Parked | Verdict::Drop(_) => packet.len(),
        };
        let after = packet[..len].to_vec();
        if let Verdict::Forward(forward) = verdict {
            self.forward(now, forward, &after, out);
        }
        let passage = Passage { at: now, ingress, before, verdict, after };
        let is_excused = shortages(self.node.counters()) != short_before;
        if let Some(twin) = &mut self.twin {
            twin.judge(self.node.device(), &passage, is_excused);
        }
        remember(&mut self.passages, passage);
        verdict
    }

    /// Hints are no more than that, so they are given as they come: none, right ones, and ones about other packets.
    fn look_ahead(&mut self, packet: &[u8]) {
        let last = self.passages.back().map_or(packet, |passage| &passage.before);
        match self.passages.len() % 3 {
            0 => {}
            1 => {
                self.node.look_ahead([packet].into_iter());
            }
            _ => {
                self.node.look_ahead([last, packet].into_iter());
            }
        }
    }

    fn forward(&mut self, now: Instant, forward: Forward, packet: &[u8], out: &mut Vec<Output>) {
        let Some(mtu_bytes) = forward.fragment_to else {
            return self.send(now, forward.egress, packet, out);
        };
        let mut piece = vec![0; BUFFER_BYTES];
        let mut split = Split::new(packet, mtu_bytes).expect("only packets that may be fragmented are");
        while let Some(len) = split.next_into(&mut piece) {
            self.send(now, forward.egress, &piece[..len], out);
        }
    }

    fn send(&mut self, now: Instant, egress: Egress, packet: &[u8], out: &mut Vec<Output>) {
        match egress {
            Egress::Tun | Egress::Sockets => out.push(Output::Tun(packet.to_vec())),
            Egress::Peer(peer) => self.seal(now, peer, packet, out),
        }
    }

    fn seal(&mut self, now: Instant, peer: PeerIndex, packet: &[u8], out: &mut Vec<Output>) {
        match self.node.begin_send(now, peer, NonZeroU32::MIN, packet.len() as u64) {
            Ok(mut batch) => {
                let mut datagram = vec![0; packet.len() + OVERHEAD_BYTES + 16];
                datagram[HEADER_BYTES..HEADER_BYTES + packet.len()].copy_from_slice(packet);
                let len = batch
                    .seal(&mut datagram, packet.len(), self.mtu_bytes)
                    .expect("one nonce is reserved, and the buffer is long enough");
                datagram.truncate(len);
                let to = batch.to().remote;
                out.push(Output::Datagram { to, tos: ecn::outer(packet), bytes: datagram });
            }
            Err(NotReady::NoSession) => {
                self.unsendable += u64::from(self.node.stage(now, peer, packet).is_err());
            }
            Err(NotReady::NoSuchPeer | NotReady::NoEndpoint) => self.unsendable += 1,
        }
    }

    /// What the node wants to send, then its events: the second and third step of its order of calls.
    fn drain(&mut self, now: Instant, out: &mut Vec<Output>) {
        let unix = self.unix(now);
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Some(transmit) = self.node.poll_transmit(now, unix, &mut buffer) {
            out.push(match transmit {
                NodeTransmit::Datagram { to, len, tos } => {
                    Output::Datagram { to: to.remote, tos, bytes: buffer[..len].to_vec() }
                }
                NodeTransmit::Tun { len } | NodeTransmit::Sockets { len } => {
                    if let Some(twin) = &mut self.twin {
                        twin.emitted(now, &buffer[..len]);
                    }
                    Output::Tun(buffer[..len].to_vec())
                }
            });
        }
        while let Some(event) = self.node.poll_event() {
            remember(&mut self.events, (now, event));
        }
    }
}

/// How many packets were refused for want of room of some kind.
fn shortages(counters: &Counters) -> u64 {
    let reasons = [
        DropReason::CapFlows,
        DropReason::CapHalfOpen,
        DropReason::CapPorts,
        DropReason::CapNewFlows,
        DropReason::FlowTableFull,
        DropReason::NatPortsExhausted,
        DropReason::NatTupleTaken,
        DropReason::NatPairTaken,
    ];
    let refused: u64 = reasons.iter().map(|reason| counters.dropped(*reason)).sum();
    refused + counters.flows_evicted
}

fn remember<T>(memory: &mut VecDeque<T>, thing: T) {
    if memory.len() == REMEMBERED_MAX {
        memory.pop_front();
    }
    memory.push_back(thing);
}
