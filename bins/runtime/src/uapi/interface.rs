//! What the userspace interface configures: a WireGuard interface, seen from outside. `live` is the real one, tests
//! have one made of a `Vec`.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use ipnet::IpNet;
use wg_proto::{PresharedKey, PrivateKey, PublicKey, UnixTime};

use super::change::DeviceChange;
use super::errno::Errno;

/// At most so many prefixes are changed in one [`Interface::change_peer`], so that the data path never waits long.
pub const PREFIXES_PER_CHANGE_MAX: usize = 512;

/// A WireGuard interface that can be read and changed while it runs.
pub trait Interface {
    /// The identity, clamped as the protocol uses it.
    fn private_key(&self) -> Option<PrivateKey>;
    /// The public half of the identity.
    fn public_key(&self) -> Option<PublicKey>;
    /// The UDP port in use.
    fn listen_port(&self) -> u16;
    /// The mark on outgoing packets; 0 is none.
    fn fwmark(&self) -> u32;
    /// The keys of all peers, in a stable order.
    fn peers(&self) -> Vec<PublicKey>;
    /// One peer as it is now; `None` if it went meanwhile.
    fn peer(&self, key: &PublicKey) -> Option<PeerState>;

    /// Changes the interface itself.
    ///
    /// # Errors
    /// [`Errno::PortInUse`] if the port cannot be had, [`Errno::Io`] if the system refuses the change.
    fn change_device(&self, change: DeviceChange) -> Result<(), Errno>;

    /// Changes, adds or removes one peer, all of it or nothing.
    ///
    /// # Errors
    /// [`Errno::NoSpace`] when there is no room for it.
    fn change_peer(&self, change: &PeerChange) -> Result<(), Errno>;
}

/// One peer, as `get` tells it.
#[derive(Clone)]
pub struct PeerState {
    /// The shared secret mixed into handshakes; all zero if there is none.
    pub preshared_key: Option<PresharedKey>,
    /// Where it was last heard from, or is expected.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives.
    pub persistent_keepalive: Option<NonZeroU16>,
    /// When the last handshake completed.
    pub last_handshake: Option<UnixTime>,
    /// Bytes received, overhead included.
    pub rx_bytes: u64,
    /// Bytes sent, overhead included.
    pub tx_bytes: u64,
    /// What it may send from.
    pub allowed_ips: Vec<IpNet>,
}

/// What to do to the peer with this key.
#[derive(Clone)]
pub struct PeerChange {
    /// Which peer.
    pub public_key: PublicKey,
    /// Take it away; nothing else in here counts then.
    pub remove: bool,
    /// Do nothing if there is no such peer.
    pub update_only: bool,
    /// A new shared secret.
    pub preshared_key: Option<PresharedKey>,
    /// A new endpoint.
    pub endpoint: Option<SocketAddr>,
    /// A new keepalive interval; `Some(None)` turns it off.
    pub persistent_keepalive: Option<Option<NonZeroU16>>,
    /// Take all former prefixes away first.
    pub replace_allowed_ips: bool,
    /// Prefixes to add or remove, in this order. At most [`PREFIXES_PER_CHANGE_MAX`].
    pub allowed_ips: Vec<PrefixChange>,
}

/// A prefix to give to a peer or to take from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixChange {
    /// It becomes this peer's, whoever had it.
    Add(IpNet),
    /// It stops being this peer's, if it was.
    Remove(IpNet),
}

impl PeerChange {
    /// No change yet, but that the peer is to exist.
    pub fn of(public_key: PublicKey) -> Self {
        Self {
            public_key,
            remove: false,
            update_only: false,
            preshared_key: None,
            endpoint: None,
            persistent_keepalive: None,
            replace_allowed_ips: false,
            allowed_ips: Vec::new(),
        }
    }
}
