//! Two WireGuard devices without a network between them.

use std::num::NonZeroU32;

use wg_proto::constants::REJECT_AFTER_TIME;
use wg_proto::{
    Device, DeviceConfig, Endpoint, Instant, MessageKind, PeerConfig, PeerIndex, PrivateKey, QueueLoad,
    RxKey, TxBatch, UnixTime, classify,
};

/// The inner MTU, and the length of a full packet.
pub const MTU_BYTES: u16 = 1420;
/// Room for a full packet in its datagram.
pub const DATAGRAM_BYTES: usize = MTU_BYTES as usize + wg_proto::OVERHEAD_BYTES;

/// The initiator and the responder.
pub struct Tunnel {
    /// Sends the first message.
    pub left: Device,
    /// Answers.
    pub right: Device,
    /// What the left side calls the right one.
    pub to_right: PeerIndex,
    /// What the right side calls the left one.
    pub to_left: PeerIndex,
    /// Boot time of both.
    pub now: Instant,
    seconds: u64,
}

impl Tunnel {
    /// Two devices that know each other.
    pub fn new() -> Tunnel {
        let now = Instant::from_nanos(1 << 40);
        let (mut left, mut right) = (device(1), device(2));
        let to_right = add_peer(&mut left, now, 2);
        let to_left = add_peer(&mut right, now, 1);
        Tunnel { left, right, to_right, to_left, now, seconds: 1_800_000_000 }
    }

    /// Two devices with a session that both may send on.
    pub fn connected() -> Tunnel {
        let mut tunnel = Tunnel::new();
        tunnel.shake_hands();
        tunnel
    }

    /// A whole handshake: three messages, the last of which is a transport packet.
    pub fn shake_hands(&mut self) {
        let mut initiation = self.initiation();
        self.respond(&mut initiation);
        self.complete();
    }

    /// The left side's initiation, made when its last session is too old to be used.
    pub fn initiation(&mut self) -> [u8; 148] {
        self.now = self.now.saturating_add(REJECT_AFTER_TIME);
        self.seconds += REJECT_AFTER_TIME.as_secs();
        self.left.stage(self.now, self.to_right, &inner_packet::<64>()).expect("there is room");
        let (unix, mut initiation) = (self.unix(), [0; 148]);
        self.left.poll_transmit(self.now, unix, &mut initiation).expect("an initiation waits");
        assert_eq!(classify(&initiation), Ok(MessageKind::Initiation));
        initiation
    }

    /// Hands the right side an initiation.
    pub fn respond(&mut self, initiation: &mut [u8]) {
        let unix = self.unix();
        self.right
            .handle_control(self.now, unix, endpoint(1), initiation, QueueLoad::IDLE)
            .expect("the initiation is right");
    }

    /// Brings the left side the response, and the right side the packet that confirms the session.
    pub fn complete(&mut self) {
        let (now, unix, mut buffer) = (self.now, self.unix(), [0; 148]);
        let response = self.right.poll_transmit(now, unix, &mut buffer).expect("a response waits").len;
        let response = &mut buffer[..response];
        self.left
            .handle_control(now, unix, endpoint(2), response, QueueLoad::IDLE)
            .expect("the response is right");
        while let Some(sent) = self.left.poll_transmit(now, unix, &mut buffer) {
            self.right
                .decapsulate(now, unix, endpoint(1), &mut buffer[..sent.len])
                .expect("the session is new");
        }
        while self.left.poll_event().or(self.right.poll_event()).is_some() {}
    }

    /// Nonces to seal packets from left to right with.
    pub fn batch(&mut self, packets: u32) -> TxBatch {
        let packets = NonZeroU32::new(packets).expect("some packets");
        self.left.begin_send(self.now, self.to_right, packets, 0).expect("there is a session")
    }

    /// The key of the right side for what the left side seals.
    pub fn rx_key(&mut self) -> RxKey {
        let receiver = self.batch(1).receiver();
        self.right.rx_key(receiver).expect("there is a session")
    }

    /// Sealed packets of this many bytes from left to right, each in its datagram.
    pub fn sealed(&mut self, packets: u32, payload_bytes: usize) -> Vec<Vec<u8>> {
        let mut batch = self.batch(packets);
        let datagram = |_| {
            let mut datagram = vec![0; DATAGRAM_BYTES];
            let len = batch.seal(&mut datagram, payload_bytes, MTU_BYTES).expect("there is room");
            datagram.truncate(len);
            datagram
        };
        (0..packets).map(datagram).collect()
    }

    /// The wall clock.
    pub fn unix(&self) -> UnixTime {
        UnixTime::new(self.seconds, 0)
    }
}

impl Default for Tunnel {
    fn default() -> Tunnel {
        Tunnel::new()
    }
}

/// A device with many peers.
pub struct Hub {
    device: Device,
    peers: u32,
    now: Instant,
}

impl Hub {
    /// A device with this many peers, each with one prefix, and no session.
    pub fn new(peers: u32) -> Hub {
        let (mut device, now) = (device(2), Instant::from_nanos(1 << 40));
        for number in 0..peers {
            let mut config = PeerConfig::new(numbered_key(number).public_key());
            config.allowed_ips.push(numbered_address(number).into());
            device.add_peer(now, config).expect("peers differ");
        }
        Hub { device, peers, now }
    }

    /// Completes a handshake with every peer.
    pub fn shake_hands_with_all(&mut self) {
        (0..self.peers).for_each(|number| self.shake_hands_with(number));
    }

    fn shake_hands_with(&mut self, number: u32) {
        let config = DeviceConfig { private_key: Some(numbered_key(number)), mtu_bytes: MTU_BYTES };
        let (mut peer, now, unix) = (Device::new(config, [7; 32]), self.now, UnixTime::new(1_800_000_000, 0));
        let hub = add_peer(&mut peer, now, 2);
        peer.stage(now, hub, &inner_packet::<64>()).expect("there is room");
        let mut buffer = [0; 148];
        while let Some(sent) = peer.poll_transmit(now, unix, &mut buffer) {
            // The inner packet's address is not the peer's: what counts is that it opens.
            let _ = self.device.decapsulate(now, unix, endpoint(1), &mut buffer[..sent.len]);
            while let Some(sent) = self.device.poll_transmit(now, unix, &mut buffer) {
                peer.decapsulate(now, unix, endpoint(2), &mut buffer[..sent.len]).expect("a response");
            }
        }
        while self.device.poll_event().is_some() {}
    }
}

fn numbered_key(number: u32) -> PrivateKey {
    let mut key = [1; 32];
    // Not in the first and last byte, which keys are clamped in.
    key[4..8].copy_from_slice(&number.to_le_bytes());
    PrivateKey::from_bytes(key)
}

fn numbered_address(number: u32) -> std::net::IpAddr {
    std::net::Ipv4Addr::from_bits(0x0a40_0000 + number).into()
}

/// Where the device with this number is.
pub fn endpoint(number: u8) -> Endpoint {
    Endpoint::new(([192, 0, 2, number], 51820).into())
}

/// The private key of the device with this number.
pub fn private_key(number: u8) -> PrivateKey {
    PrivateKey::from_bytes([number; 32])
}

/// A UDP packet from the left side's address to the right side's.
pub fn inner_packet<const N: usize>() -> [u8; N] {
    let mut packet = [0; N];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(N as u16).to_be_bytes());
    packet[8..10].copy_from_slice(&[64, 17]);
    packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
    packet[16..20].copy_from_slice(&[10, 0, 0, 2]);
    packet
}

fn device(number: u8) -> Device {
    Device::new(DeviceConfig { private_key: Some(private_key(number)), mtu_bytes: MTU_BYTES }, [number; 32])
}

fn add_peer(device: &mut Device, now: Instant, number: u8) -> PeerIndex {
    let mut config = PeerConfig::new(private_key(number).public_key());
    config.endpoint = Some(endpoint(number));
    config.allowed_ips.push(std::net::IpAddr::from([10, 0, 0, number]).into());
    device.add_peer(now, config).expect("the peer is new")
}
