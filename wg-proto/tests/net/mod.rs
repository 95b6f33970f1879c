//! A network in virtual time: devices joined by links with latency, jitter (so reordering), loss and duplication,
//! all from one seed. Nothing sleeps; a run with the same seed repeats itself.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a harness of tests fails by panicking")]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use wg_proto::{
    DecapsulateError, Decapsulated, Device, DeviceConfig, EncapsulateError, Encapsulated, Endpoint, Event,
    Instant, MessageKind, PeerConfig, PeerIndex, PrivateKey, QueueLoad, Rejected, SessionIndex, UnixTime,
    classify,
};

pub(crate) const MTU: u16 = 1420;
/// Datagrams that the socket of a suspended node holds; more are lost, as in a kernel.
const MAILBOX_DATAGRAMS: usize = 256;

/// A device, where it is, and what happened to it.
pub(crate) struct Node {
    pub(crate) device: Device,
    pub(crate) addr: SocketAddr,
    pub(crate) load: QueueLoad,
    pub(crate) received: Vec<Received>,
    pub(crate) keepalives: usize,
    pub(crate) events: Vec<(Instant, Event)>,
    pub(crate) refused: Vec<DecapsulateError>,
    suspended: bool,
    mailbox: VecDeque<(SocketAddr, Vec<u8>)>,
}

/// An inner packet that came out at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) from: PeerIndex,
    /// The session it came in.
    pub(crate) session: SessionIndex,
    pub(crate) packet: Vec<u8>,
}

/// A datagram that was sent, lost or not.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) from: usize,
    pub(crate) tos: u8,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// What the links do. All of it applies to every datagram.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Link {
    pub(crate) latency: Duration,
    /// Added at random, from zero to this: the cause of reordering.
    pub(crate) jitter: Duration,
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
}

/// What a node that wakes does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    Timers,
    Socket,
}

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) link: Link,
    pub(crate) wire: Vec<Sent>,
    /// Drops what it says `true` for.
    pub(crate) filter: Box<dyn FnMut(&Sent) -> bool>,
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sequence: u64,
    random: u64,
    /// How far the wall clock is from boot time.
    pub(crate) unix_epoch: UnixTime,
}

impl Net {
    /// `count` devices that all know each other; node `i` owns 10.0.0.(i+1) and fd00::(i+1).
    pub(crate) fn mesh(count: usize, seed: u64) -> Net {
        let mut nodes: Vec<Node> = (0..count).map(|i| node(i, seed)).collect();
        for (i, node) in nodes.iter_mut().enumerate() {
            for other in (0..count).filter(|other| *other != i) {
                node.device.add_peer(Instant::from_nanos(0), peer_config(other)).unwrap();
            }
        }
        Net {
            now: Instant::from_nanos(0),
            nodes,
            link: Link { latency: Duration::from_millis(20), ..Link::default() },
            wire: Vec::new(),
            filter: Box::new(|_| false),
            flying: BTreeMap::new(),
            sequence: 0,
            random: seed | 1,
            unix_epoch: UnixTime::new(1_700_000_000, 0),
        }
    }

    /// Two devices with a session already, initiated by node 0.
    pub(crate) fn connected(seed: u64) -> Net {
        let mut net = Net::mesh(2, seed);
        net.send(0, 1, b"first");
        net.run_for(Duration::from_secs(1));
        assert_eq!(net.nodes[1].received.len(), 1, "seed {seed}");
        net
    }

    pub(crate) fn unix(&self) -> UnixTime {
        self.unix_epoch.saturating_add(Duration::from_nanos(self.now.as_nanos()))
    }

    pub(crate) fn peer(&self, at: usize, of: usize) -> PeerIndex {
        self.nodes[at].device.peer_by_key(&key(of).public_key()).expect("nodes know each other")
    }

    /// Node `from` sends an inner packet to node `to`.
    pub(crate) fn send(&mut self, from: usize, to: usize, payload: &[u8]) {
        let packet = packet(from, to, payload);
        self.try_send(from, to, &packet).unwrap();
    }

    pub(crate) fn try_send(
        &mut self,
        from: usize,
        to: usize,
        packet: &[u8],
    ) -> Result<Encapsulated, EncapsulateError> {
        let peer = self.peer(from, to);
        let mut datagram = vec![0; 70_000];
        let done = self.nodes[from].device.encapsulate(self.now, peer, packet, MTU, &mut datagram)?;
        if let Encapsulated::Sent(sent) = done {
            self.launch(from, sent.to.remote, sent.tos, datagram[..sent.len].to_vec());
        }
        self.drain(from);
        Ok(done)
    }

    /// Everything up to `duration` from now, in order.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now.saturating_add(duration));
    }

    pub(crate) fn run_until(&mut self, end: Instant) {
        for i in 0..self.nodes.len() {
            if !self.nodes[i].suspended {
                self.drain(i);
            }
        }
        let mut steps = 0;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.step();
            steps += 1;
            assert!(steps < 1_000_000, "the devices keep each other busy without end");
        }
        self.now = end;
    }

    /// The node's machine sleeps: time passes, no timer fires, and what arrives waits in its socket as far as that holds it.
    pub(crate) fn suspend(&mut self, i: usize) {
        self.nodes[i].suspended = true;
    }

    /// It wakes: first its timers fire, or first its socket is read, as the machine likes.
    pub(crate) fn resume(&mut self, i: usize, first: First) {
        self.nodes[i].suspended = false;
        let waiting = std::mem::take(&mut self.nodes[i].mailbox);
        if first == First::Timers {
            self.nodes[i].device.handle_timeout(self.now);
            self.drain(i);
        }
        waiting.into_iter().for_each(|(from, datagram)| self.inject(i, from, datagram));
    }

    /// Gives a datagram to a node as if it came from `from`.
    pub(crate) fn inject(&mut self, to: usize, from: SocketAddr, mut datagram: Vec<u8>) {
        let (now, unix) = (self.now, self.unix());
        let node = &mut self.nodes[to];
        let from = Endpoint::new(from);
        let mut session = SessionIndex::new(0);
        let outcome = match classify(&datagram) {
            Ok(MessageKind::Transport { receiver, .. }) => {
                session = receiver;
                node.device.decapsulate(now, unix, from, &mut datagram)
            }
            Ok(MessageKind::Initiation | MessageKind::Response | MessageKind::CookieReply) | Err(_) => {
                let handled = node.device.handle_control(now, unix, from, &mut datagram, node.load);
                handled.map(Decapsulated::Control).map_err(DecapsulateError::Control)
            }
        };
        match outcome {
            Ok(Decapsulated::Packet { peer, range }) => {
                let packet = datagram[range].to_vec();
                node.received.push(Received { at: now, from: peer, session, packet });
            }
            Ok(Decapsulated::Keepalive { .. }) => node.keepalives += 1,
            Ok(Decapsulated::Control(_)) => {}
            Err(error) => node.refused.push(error),
        }
        self.drain(to);
    }

    /// Sends what a node wants to send, and notes its events.
    pub(crate) fn drain(&mut self, i: usize) {
        let (now, unix) = (self.now, self.unix());
        let mut datagram = vec![0; 70_000];
        while let Some(sent) = self.nodes[i].device.poll_transmit(now, unix, &mut datagram) {
            self.launch(i, sent.to.remote, sent.tos, datagram[..sent.len].to_vec());
        }
        while let Some(event) = self.nodes[i].device.poll_event() {
            self.nodes[i].events.push((now, event));
        }
    }

    /// Datagrams node `from` sent that are of the kind `is`.
    pub(crate) fn sent(&self, from: usize, is: fn(&MessageKind, usize) -> bool) -> Vec<&Sent> {
        let kind = |sent: &&Sent| classify(&sent.bytes).is_ok_and(|kind| is(&kind, sent.bytes.len()));
        self.wire.iter().filter(|sent| sent.from == from).filter(kind).collect()
    }

    pub(crate) fn last_refusal(&self, at: usize) -> Option<Rejected> {
        if let DecapsulateError::Control(rejected) = self.nodes[at].refused.last()? {
            return Some(*rejected);
        }
        None
    }

    fn launch(&mut self, from: usize, to: SocketAddr, tos: u8, bytes: Vec<u8>) {
        let sent = Sent { at: self.now, from, tos, to, bytes };
        let dropped = (self.filter)(&sent);
        let copies = 1 + usize::from(self.chance(self.link.duplicates));
        for _ in 0..copies {
            let lost = self.chance(self.link.loss);
            let jitter = self.link.jitter.mul_f64(self.uniform());
            let at = self.now.saturating_add(self.link.latency + jitter);
            self.sequence += 1;
            if !dropped && !lost {
                let flight = (self.nodes[from].addr, to, sent.bytes.clone());
                self.flying.insert((at, self.sequence), flight);
            }
        }
        self.wire.push(sent);
    }

    fn next(&mut self) -> Option<Instant> {
        let awake = self.nodes.iter_mut().filter(|node| !node.suspended);
        let timers = awake.filter_map(|node| node.device.poll_timeout());
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        timers.map(|(at, _)| at).chain(arrival).min()
    }

    fn step(&mut self) {
        let due: VecDeque<_> = self.flying.keys().take_while(|(at, _)| *at <= self.now).copied().collect();
        for key in due {
            let (from, to, datagram) = self.flying.remove(&key).unwrap();
            let Some(i) = self.nodes.iter().position(|node| node.addr == to) else { continue };
            let Node { suspended, mailbox, .. } = &mut self.nodes[i];
            if !*suspended {
                self.inject(i, from, datagram);
            } else if mailbox.len() < MAILBOX_DATAGRAMS {
                mailbox.push_back((from, datagram));
            }
        }
        for i in 0..self.nodes.len() {
            if !self.nodes[i].suspended {
                self.nodes[i].device.handle_timeout(self.now);
                self.drain(i);
            }
        }
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// xorshift64*: quality enough for losing packets.
    fn uniform(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

pub(crate) fn key(i: usize) -> PrivateKey {
    PrivateKey::from_bytes([i as u8 + 1; 32])
}

pub(crate) fn addr(i: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, i as u8 + 1], 51820))
}

pub(crate) fn peer_config(i: usize) -> PeerConfig {
    let mut config = PeerConfig::new(key(i).public_key());
    config.endpoint = Some(Endpoint::new(addr(i)));
    config.allowed_ips.push(format!("10.0.0.{}/32", i + 1).parse().unwrap());
    config.allowed_ips.push(format!("fd00::{}/128", i + 1).parse().unwrap());
    config
}

fn node(i: usize, seed: u64) -> Node {
    let mut bytes = [i as u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = DeviceConfig { private_key: Some(key(i)), mtu_bytes: MTU };
    Node {
        device: Device::new(config, bytes),
        addr: addr(i),
        load: QueueLoad::IDLE,
        received: Vec::new(),
        keepalives: 0,
        events: Vec::new(),
        refused: Vec::new(),
        suspended: false,
        mailbox: VecDeque::new(),
    }
}

/// An IPv4 packet between two nodes' inner addresses.
pub(crate) fn packet(from: usize, to: usize, payload: &[u8]) -> Vec<u8> {
    packet_from([10, 0, 0, from as u8 + 1], to, payload)
}

pub(crate) fn packet_from(source: [u8; 4], to: usize, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(source);
    packet.extend([10, 0, 0, to as u8 + 1]);
    packet.extend(payload);
    packet
}

pub(crate) fn is_initiation(kind: &MessageKind, _: usize) -> bool {
    matches!(kind, MessageKind::Initiation)
}

pub(crate) fn is_response(kind: &MessageKind, _: usize) -> bool {
    matches!(kind, MessageKind::Response)
}

pub(crate) fn is_cookie(kind: &MessageKind, _: usize) -> bool {
    matches!(kind, MessageKind::CookieReply)
}

pub(crate) fn is_data(kind: &MessageKind, len: usize) -> bool {
    matches!(kind, MessageKind::Transport { .. }) && len > 32
}

pub(crate) fn is_keepalive(kind: &MessageKind, len: usize) -> bool {
    matches!(kind, MessageKind::Transport { .. }) && len == 32
}

/// The receiver index of a transport packet.
pub(crate) fn receiver(sent: &Sent) -> SessionIndex {
    match classify(&sent.bytes) {
        Ok(MessageKind::Transport { receiver, .. }) => receiver,
        other => panic!("{other:?} is no transport packet"),
    }
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn at(duration: Duration) -> Instant {
    Instant::from_nanos(0).saturating_add(duration)
}

/// Writes the `mac1` anybody can make who knows the receiver's public key.
pub(crate) fn sign(message: &mut [u8], receiver: wg_proto::PublicKey) {
    use blake2::digest::{Digest, FixedOutput, KeyInit, Update, consts::U16};
    let key = blake2::Blake2s256::new_with_prefix(b"mac1----").chain_update(receiver.as_bytes()).finalize();
    let body = message.len() - 32;
    let mut mac: blake2::Blake2sMac<U16> = KeyInit::new_from_slice(&key).unwrap();
    Update::update(&mut mac, &message[..body]);
    message[body..body + 16].copy_from_slice(&mac.finalize_fixed());
    message[body + 16..].fill(0);
}
