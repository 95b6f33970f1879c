//! A node: a WireGuard device and the data path behind it, without I/O.

use core::num::NonZeroU32;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use wg_proto::{
    Device, DeviceConfig, Endpoint, Handled, Instant, NotReady, Opened, PeerIndex, QueueLoad, Rejected,
    RxKey, SessionGone, SessionIndex, StageError, TxBatch, UnixTime, Wake,
};

use crate::config::{Mode, NodeConfig};
use crate::datapath::interface;
use crate::verdict::{Counters, DropReason, Forward, Ingress, Offload, Verdict};

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
    counters: Counters,
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
}

/// Something that happened, for logs and for the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// To a peer.
    Device(wg_proto::Event),
}

/// Why a node wants [`Node::handle_timeout`] to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeWake {
    /// A peer's timer.
    Device(Wake),
}

impl Node {
    /// A node without key, peers and rules. `seed` is drawn from the operating system's generator, once; everything
    /// random comes from it.
    pub fn new(config: NodeConfig, seed: [u8; 32]) -> Node {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut device_seed = [0; 32];
        random.fill_bytes(&mut device_seed);
        let device = DeviceConfig { private_key: None, mtu_bytes: config.tunnel_mtu_bytes };
        Node { device: Device::new(device, device_seed), mode: config.mode, counters: Counters::default() }
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

    /// Says what becomes of a decrypted packet, and translates it in place.
    #[inline]
    pub fn handle_packet(
        &mut self,
        _now: Instant,
        ingress: Ingress,
        packet: &mut [u8],
        _offload: Offload,
    ) -> Verdict {
        match self.mode {
            Mode::Interface => match interface::route(&self.device, ingress, packet) {
                Ok(forward) => self.forward(forward),
                Err(reason) => self.drop(reason),
            },
            Mode::Router => self.drop(DropReason::NotAllowed),
        }
    }

    /// Writes the next datagram or packet to send to the start of `buf`.
    pub fn poll_transmit(&mut self, now: Instant, unix: UnixTime, buf: &mut [u8]) -> Option<NodeTransmit> {
        let sent = self.device.poll_transmit(now, unix, buf)?;
        Some(NodeTransmit::Datagram { to: sent.to, len: sent.len, tos: sent.tos })
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.device.poll_event().map(Event::Device)
    }

    /// When the node next wants [`handle_timeout`](Node::handle_timeout), and why. `None`: not before the next input.
    pub fn poll_timeout(&mut self) -> Option<(Instant, NodeWake)> {
        self.device.poll_timeout().map(|(at, wake)| (at, NodeWake::Device(wake)))
    }

    /// Does what is due at `now`; calling early or late does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.device.handle_timeout(now);
    }

    /// Totals since the node was made. The device has its own: [`Device::counters`].
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn forward(&mut self, forward: Forward) -> Verdict {
        self.counters.forwarded_packets += 1;
        self.counters.forwarded_bytes += forward.len as u64;
        Verdict::Forward(forward)
    }

    fn drop(&mut self, reason: DropReason) -> Verdict {
        self.counters.drop(reason);
        Verdict::Drop(reason)
    }
}
