//! Datagrams from anyone: raw bytes, and genuine messages of a peer with some bytes changed. Nothing changed is accepted
//! or answered, everything genuine is (P11, P12, P14).

use std::net::SocketAddr;

use wg_proto::{
    Decapsulated, Device, DeviceConfig, Encapsulated, Endpoint, Handled, Instant, MessageKind, PeerConfig,
    PeerIndex, PrivateKey, QueueLoad, UnixTime, classify,
};

use crate::Input;

/// Length of the last field of a handshake message, which nobody looks at without load.
const MAC2_BYTES: usize = 16;
/// Inner packet of the genuine transport message: IPv4, from 10.0.0.1 to 10.0.0.2, nothing in it.
const PACKET: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];

/// A first byte of 0 feeds the rest as it is; others choose a genuine message, and the rest changes it: a length
/// difference, then two bytes of place and one of change each.
pub fn wireguard_datagram(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new();
    match input.u8() % 5 {
        0 => raw(&mut world, input.rest()),
        1 => changed(&mut world, World::initiation, &mut input),
        2 => changed(&mut world, World::response, &mut input),
        3 => changed(&mut world, World::cookie_reply, &mut input),
        _ => changed(&mut world, World::transport, &mut input),
    }
}

/// Two devices that know each other. The right one has the simple part: it answers.
struct World {
    left: Side,
    right: Side,
    now: Instant,
}

struct Side {
    device: Device,
    peer: PeerIndex,
    addr: Endpoint,
}

/// A genuine datagram and who should get it.
struct Genuine {
    bytes: Vec<u8>,
    is_for_left: bool,
}

impl World {
    fn new() -> World {
        let now = Instant::from_nanos(1);
        let (left, right) = (PrivateKey::from_bytes([1; 32]), PrivateKey::from_bytes([2; 32]));
        let (left_addr, right_addr) = (endpoint("192.0.2.1:1"), endpoint("192.0.2.2:2"));
        World {
            left: Side::new(now, &left, left_addr, &right, right_addr, "10.0.0.2/32"),
            right: Side::new(now, &right, right_addr, &left, left_addr, "10.0.0.1/32"),
            now,
        }
    }

    fn initiation(&mut self) -> Genuine {
        let mut out = vec![0; 256];
        let staged = self.left.device.encapsulate(self.now, self.left.peer, &PACKET, 0, &mut out);
        assert!(matches!(staged, Ok(Encapsulated::Staged)));
        Genuine { bytes: self.left.sends(self.now), is_for_left: false }
    }

    fn response(&mut self) -> Genuine {
        let mut initiation = self.initiation().bytes;
        let handled = self.right.takes(self.now, self.left.addr, &mut initiation);
        assert!(matches!(handled, Some(Decapsulated::Control(Handled::Initiation { .. }))));
        Genuine { bytes: self.right.sends(self.now), is_for_left: true }
    }

    fn cookie_reply(&mut self) -> Genuine {
        let mut initiation = self.initiation().bytes;
        let load = QueueLoad { waiting: 8, capacity: 8 };
        let handled =
            self.right.device.handle_control(self.now, wall(), self.left.addr, &mut initiation, load);
        assert_eq!(handled, Ok(Handled::CookieSent));
        Genuine { bytes: self.right.sends(self.now), is_for_left: true }
    }

    fn transport(&mut self) -> Genuine {
        let mut response = self.response().bytes;
        let handled = self.left.takes(self.now, self.right.addr, &mut response);
        assert!(matches!(handled, Some(Decapsulated::Control(Handled::Response { .. }))));
        Genuine { bytes: self.left.sends(self.now), is_for_left: false }
    }

    fn side(&mut self, is_left: bool) -> (&mut Side, Endpoint) {
        if is_left { (&mut self.left, self.right.addr) } else { (&mut self.right, self.left.addr) }
    }
}

impl Side {
    fn new(
        now: Instant,
        key: &PrivateKey,
        addr: Endpoint,
        peer_key: &PrivateKey,
        peer_addr: Endpoint,
        peer_owns: &str,
    ) -> Side {
        let config = DeviceConfig { private_key: Some(key.clone()), mtu_bytes: 1420 };
        let mut device = Device::new(config, [7; 32]);
        let mut config = PeerConfig::new(peer_key.public_key());
        config.endpoint = Some(peer_addr);
        config.allowed_ips.push(peer_owns.parse().expect("a prefix"));
        let peer = device.add_peer(now, config).expect("an empty device takes a peer");
        Side { device, peer, addr }
    }

    /// The next datagram of the device, which has one.
    fn sends(&mut self, now: Instant) -> Vec<u8> {
        let mut out = vec![0; 2048];
        let sent = self.device.poll_transmit(now, wall(), &mut out).expect("something to send");
        out.truncate(sent.len);
        out
    }

    fn is_silent(&mut self, now: Instant) -> bool {
        self.device.poll_transmit(now, wall(), &mut [0; 2048]).is_none()
    }

    fn takes(&mut self, now: Instant, src: Endpoint, datagram: &mut [u8]) -> Option<Decapsulated> {
        self.device.decapsulate(now, wall(), src, datagram).ok()
    }
}

/// Bytes of nobody's: whatever they are, the device with a session stays silent and goes on working.
fn raw(world: &mut World, bytes: &[u8]) {
    let genuine = world.transport().bytes;
    let (now, src) = (world.now, endpoint("198.51.100.9:9"));
    let before = *world.right.device.counters();
    let mut datagram = bytes.to_vec();
    let taken = world.right.takes(now, src, &mut datagram);
    if taken.is_none() {
        assert!(world.right.is_silent(now), "no answer to what was refused");
        assert_ne!(before, *world.right.device.counters(), "every refusal is counted");
    }
    let mut datagram = bytes.to_vec();
    if !matches!(classify(&datagram), Ok(MessageKind::Transport { .. })) {
        let load = QueueLoad { waiting: 8, capacity: 8 };
        let _ = world.right.device.handle_control(now, wall(), src, &mut datagram, load);
    }
    let taken = world.right.takes(now, world.left.addr, &mut genuine.clone());
    assert!(matches!(taken, Some(Decapsulated::Packet { .. })), "the session still works");
}

/// A genuine message, changed: accepted if and only if the change is none (or in what nobody looks at).
fn changed(world: &mut World, genuine: impl FnOnce(&mut World) -> Genuine, input: &mut Input<'_>) {
    let genuine = genuine(world);
    let mut datagram = change(&genuine.bytes, input);
    let is_same = looked_at(&datagram) == looked_at(&genuine.bytes) && datagram.len() == genuine.bytes.len();
    let now = world.now;
    let (side, src) = world.side(genuine.is_for_left);
    let taken = side.takes(now, src, &mut datagram);
    assert_eq!(taken.is_some(), is_same, "{taken:?}");
    if !is_same {
        assert!(side.is_silent(now), "no answer to what was refused");
    }
    drive(side, now);
}

/// What a device without load checks of a message.
fn looked_at(datagram: &[u8]) -> &[u8] {
    match classify(datagram) {
        Ok(MessageKind::Initiation | MessageKind::Response) => &datagram[..datagram.len() - MAC2_BYTES],
        Ok(MessageKind::CookieReply | MessageKind::Transport { .. }) | Err(_) => datagram,
    }
}

fn change(genuine: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let mut changed = genuine.to_vec();
    let difference = isize::from(input.u8() as i8);
    changed.resize(changed.len().saturating_add_signed(difference), 0);
    while !input.is_empty() && !changed.is_empty() {
        let at = usize::from(input.u16()) % changed.len();
        changed[at] ^= input.u8();
    }
    changed
}

/// Everything the device wants next, for a while.
fn drive(side: &mut Side, mut now: Instant) {
    for _ in 0..8 {
        let mut out = [0; 2048];
        while side.device.poll_transmit(now, wall(), &mut out).is_some() {}
        while side.device.poll_event().is_some() {}
        let Some((at, _)) = side.device.poll_timeout() else { return };
        assert!(at >= now, "time goes forward");
        now = at;
        side.device.handle_timeout(now);
    }
}

fn endpoint(addr: &str) -> Endpoint {
    Endpoint::new(addr.parse::<SocketAddr>().expect("an address"))
}

fn wall() -> UnixTime {
    UnixTime::new(1_800_000_000, 0)
}
