//! What a device and a peer are made from.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use ipnet::IpNet;

use crate::endpoint::Endpoint;
use crate::key::{PresharedKey, PrivateKey, PublicKey};

/// What a device is made from. The default has no key and pads staged packets freely.
#[derive(Default)]
pub struct DeviceConfig {
    /// The device's identity. Without one it stays silent.
    pub private_key: Option<PrivateKey>,
    /// The inner MTU, for the padding of staged packets; 0 = pad freely.
    pub mtu_bytes: u16,
}

/// What a peer is made from.
pub struct PeerConfig {
    /// The peer's identity.
    pub public_key: PublicKey,
    /// A secret shared beside the handshake.
    pub preshared_key: Option<PresharedKey>,
    /// Where the peer is; `None` waits until it speaks.
    pub endpoint: Option<Endpoint>,
    /// Seconds without authenticated traffic after which an empty packet keeps the path open.
    pub persistent_keepalive: Option<NonZeroU16>,
    /// Addresses the peer owns. A prefix another peer had moves here.
    pub allowed_ips: Vec<IpNet>,
}

impl PeerConfig {
    /// A peer about whom only the key is known.
    pub const fn new(public_key: PublicKey) -> PeerConfig {
        PeerConfig {
            public_key,
            preshared_key: None,
            endpoint: None,
            persistent_keepalive: None,
            allowed_ips: Vec::new(),
        }
    }
}
