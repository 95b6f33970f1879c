//! Two devices that know each other, set up without a fuzzer's help, and what a datagram has to be for them.

use std::net::SocketAddr;

use blake2::digest::{Digest, FixedOutput, KeyInit, Update};
use blake2::{Blake2s256, Blake2sMac};
use wg_proto::{
    DecapsulateError, Decapsulated, Device, DeviceConfig, Encapsulated, Endpoint, Handled, INITIATION_BYTES,
    Instant, PeerConfig, PeerIndex, PrivateKey, PublicKey, QueueLoad, RESPONSE_BYTES, UnixTime,
};

use crate::Tally;

/// Length of each of the two last fields of a handshake message.
const MAC_BYTES: usize = 16;
/// What the first of them is keyed with, before the public key. Whitepaper §5.4.4.
const LABEL_MAC1: &[u8] = b"mac1----";
/// Inner packet of the genuine transport message: IPv4, from 10.0.0.1 to 10.0.0.2, nothing in it.
const PACKET: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
/// A control queue so full that everybody is asked for a cookie.
pub(crate) const FULL: QueueLoad = QueueLoad { waiting: 8, capacity: 8 };

/// The two devices. The right one has the simple part: it answers.
pub(crate) struct Pair {
    pub(crate) left: Side,
    pub(crate) right: Side,
    pub(crate) now: Instant,
}

/// One device, what it calls the other, and where it is.
pub(crate) struct Side {
    pub(crate) device: Device,
    pub(crate) peer: PeerIndex,
    pub(crate) addr: Endpoint,
}

/// A genuine datagram and who should get it.
#[derive(Clone)]
pub(crate) struct Genuine {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_for_left: bool,
}

impl Pair {
    pub(crate) fn new() -> Pair {
        let now = Instant::from_nanos(1);
        let (left, right) = (PrivateKey::from_bytes([1; 32]), PrivateKey::from_bytes([2; 32]));
        let (left_addr, right_addr) = (endpoint("192.0.2.1:1"), endpoint("192.0.2.2:2"));
        Pair {
            left: Side::new(now, &left, left_addr, &right, right_addr, "10.0.0.2/32"),
            right: Side::new(now, &right, right_addr, &left, left_addr, "10.0.0.1/32"),
            now,
        }
    }

    /// The left device starts a handshake.
    pub(crate) fn initiation(&mut self) -> Genuine {
        let mut out = vec![0; 256];
        let staged = self.left.device.encapsulate(self.now, self.left.peer, &PACKET, 0, &mut out);
        assert!(matches!(staged, Ok(Encapsulated::Staged)));
        Genuine { bytes: self.left.sends(self.now), is_for_left: false }
    }

    pub(crate) fn response(&mut self) -> Genuine {
        let mut initiation = self.initiation().bytes;
        let handled = self.right.takes(self.now, self.left.addr, &mut initiation);
        assert!(matches!(handled, Some(Decapsulated::Control(Handled::Initiation { .. }))));
        Genuine { bytes: self.right.sends(self.now), is_for_left: true }
    }

    pub(crate) fn cookie_reply(&mut self) -> Genuine {
        let mut initiation = self.initiation().bytes;
        let device = &mut self.right.device;
        let handled = device.handle_control(self.now, wall(self.now), self.left.addr, &mut initiation, FULL);
        assert_eq!(handled, Ok(Handled::CookieSent));
        Genuine { bytes: self.right.sends(self.now), is_for_left: true }
    }

    /// The left device's first packet on the session, which the right one has not seen yet.
    pub(crate) fn transport(&mut self) -> Genuine {
        let mut response = self.response().bytes;
        let handled = self.left.takes(self.now, self.right.addr, &mut response);
        assert!(matches!(handled, Some(Decapsulated::Control(Handled::Response { .. }))));
        Genuine { bytes: self.left.sends(self.now), is_for_left: false }
    }

    /// A session that both may use.
    pub(crate) fn connect(&mut self) {
        let mut first = self.transport().bytes;
        let taken = self.right.takes(self.now, self.left.addr, &mut first);
        assert!(matches!(taken, Some(Decapsulated::Packet { .. })));
    }

    /// A further packet from the left device, on the session there is.
    pub(crate) fn another(&mut self) -> Genuine {
        let mut bytes = vec![0; 256];
        let sent = self.left.device.encapsulate(self.now, self.left.peer, &PACKET, 0, &mut bytes);
        let Ok(Encapsulated::Sent(sent)) = sent else { panic!("there is a session: {sent:?}") };
        bytes.truncate(sent.len);
        Genuine { bytes, is_for_left: false }
    }

    /// One side, and where the other one is.
    pub(crate) fn side(&mut self, is_left: bool) -> (&mut Side, Endpoint) {
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
        let sent = self.device.poll_transmit(now, wall(now), &mut out).expect("something to send");
        out.truncate(sent.len);
        out
    }

    pub(crate) fn is_silent(&mut self, now: Instant) -> bool {
        self.device.poll_transmit(now, wall(now), &mut [0; 2048]).is_none()
    }

    pub(crate) fn takes(&mut self, now: Instant, src: Endpoint, datagram: &mut [u8]) -> Option<Decapsulated> {
        self.device.decapsulate(now, wall(now), src, datagram).ok()
    }

    /// All that must stay as it is when a datagram is refused.
    pub(crate) fn state(&self, now: Instant) -> State {
        let peer = self.device.peer(self.peer).expect("nobody removes it");
        State {
            endpoint: peer.endpoint(),
            last_handshake: peer.last_handshake(),
            rx_bytes: peer.rx_bytes(),
            tx_bytes: peer.tx_bytes(),
            has_session: peer.has_session(now),
            staged_packets: peer.staged_packets(),
            session_indices_used: self.device.session_indices_used(),
        }
    }
}

/// What a device knows of its peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    endpoint: Option<Endpoint>,
    last_handshake: Option<Instant>,
    rx_bytes: u64,
    tx_bytes: u64,
    has_session: bool,
    staged_packets: usize,
    session_indices_used: usize,
}

/// Counts what became of a datagram.
pub(crate) fn outcome(tally: &mut Tally, taken: &Result<Decapsulated, DecapsulateError>) {
    match taken {
        Ok(taken) => tally.variant(taken),
        Err(why) => tally.variant(why),
    }
}

/// Makes the `mac1` of a changed handshake message right again: it is keyed with nothing secret.
pub(crate) fn sign(message: &mut [u8], receiver: &PublicKey) {
    let (INITIATION_BYTES | RESPONSE_BYTES) = message.len() else { return };
    let key = Digest::finalize(Blake2s256::new().chain(LABEL_MAC1).chain(receiver.as_bytes()));
    let (signed, macs) = message.split_at_mut(message.len() - 2 * MAC_BYTES);
    let mut mac = Blake2sMac::<blake2::digest::consts::U16>::new_from_slice(&key).expect("a key of 32 bytes");
    Update::update(&mut mac, signed);
    macs[..MAC_BYTES].copy_from_slice(&mac.finalize_fixed());
}

/// What a device without load checks of a handshake message.
pub(crate) fn looked_at(message: &[u8]) -> &[u8] {
    match message.len() {
        INITIATION_BYTES | RESPONSE_BYTES => &message[..message.len() - MAC_BYTES],
        _ => message,
    }
}

pub(crate) fn endpoint(addr: &str) -> Endpoint {
    Endpoint::new(addr.parse::<SocketAddr>().expect("an address"))
}

pub(crate) fn wall(now: Instant) -> UnixTime {
    UnixTime::new(1_800_000_000, 0).saturating_add(std::time::Duration::from_nanos(now.as_nanos()))
}
