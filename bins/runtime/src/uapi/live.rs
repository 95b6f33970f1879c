//! A running node as an [`Interface`]. Each change takes the node's lock once.

use std::sync::Arc;

use wg_proto::{
    AddPeerError, Device, Instant, NoSuchPeer, PeerConfig, PeerIndex, PeerView, PrivateKey, PublicKey,
};

use super::change::DeviceChange;
use super::errno::Errno;
use super::interface::{Interface, PeerChange, PeerState, PrefixChange};
use crate::Runtime;

/// The interface that `runtime` drives.
pub struct Live(Arc<Runtime>);

impl Live {
    /// Configures `runtime`.
    pub fn new(runtime: Arc<Runtime>) -> Self {
        Self(runtime)
    }

    fn with_device<R>(&self, work: impl FnOnce(&mut Device, Instant) -> R) -> R {
        self.0.with_node(|node, now| work(node.device_mut(), now))
    }
}

impl Interface for Live {
    fn private_key(&self) -> Option<PrivateKey> {
        self.with_device(|device, _| device.private_key().cloned())
    }

    fn public_key(&self) -> Option<PublicKey> {
        self.with_device(|device, _| device.public_key())
    }

    fn listen_port(&self) -> u16 {
        self.0.listen_port()
    }

    fn fwmark(&self) -> u32 {
        self.0.fwmark()
    }

    fn peers(&self) -> Vec<PublicKey> {
        self.with_device(|device, _| {
            let views = device.peers().filter_map(|index| device.peer(index));
            views.map(|peer| peer.public_key()).collect()
        })
    }

    fn peer(&self, key: &PublicKey) -> Option<PeerState> {
        self.with_device(|device, _| {
            let index = device.peer_by_key(key)?;
            device.peer(index).map(|peer| state_of(&peer))
        })
    }

    fn change_device(&self, change: DeviceChange) -> Result<(), Errno> {
        match change {
            DeviceChange::PrivateKey(key) => self.with_device(|device, now| device.set_private_key(now, key)),
            DeviceChange::ListenPort(port) => drop(self.0.rebind(port).map_err(port_errno)?),
            DeviceChange::Fwmark(mark) => self.0.set_fwmark(mark).map_err(|_| Errno::Io)?,
            DeviceChange::ReplacePeers => self.with_device(remove_all_peers),
        }
        Ok(())
    }

    fn change_peer(&self, change: &PeerChange) -> Result<(), Errno> {
        self.with_device(|device, now| change_peer(device, now, change))
    }
}

fn port_errno(error: std::io::Error) -> Errno {
    if error.kind() == std::io::ErrorKind::AddrInUse { Errno::PortInUse } else { Errno::Io }
}

/// `replace_peers=true`.
pub fn remove_all_peers(device: &mut Device, _now: Instant) {
    let all: Vec<PeerIndex> = device.peers().collect();
    all.into_iter().for_each(|index| device.remove_peer(index));
}

/// Makes `change` to a device.
///
/// # Errors
/// [`Errno::NoSpace`] when there is no room for another peer.
pub fn change_peer(device: &mut Device, now: Instant, change: &PeerChange) -> Result<(), Errno> {
    match device.peer_by_key(&change.public_key) {
        Some(index) if change.remove => device.remove_peer(index),
        // It was found under the same lock.
        Some(index) => update_peer(device, now, index, change).map_err(|NoSuchPeer| Errno::Io)?,
        None if change.remove || change.update_only => {}
        None => add_peer(device, now, change)?,
    }
    Ok(())
}

fn add_peer(device: &mut Device, now: Instant, change: &PeerChange) -> Result<(), Errno> {
    match device.add_peer(now, PeerConfig::new(change.public_key)) {
        Ok(index) => update_peer(device, now, index, change).map_err(|NoSuchPeer| Errno::Io),
        Err(AddPeerError::Full) => Err(Errno::NoSpace),
        // Our own key as a peer is ignored, as everywhere; the other was looked for under the same lock.
        Err(AddPeerError::OwnKey | AddPeerError::Exists) => Ok(()),
    }
}

/// The keepalive comes last: it may start a handshake, which needs all the rest.
fn update_peer(
    device: &mut Device,
    now: Instant,
    index: PeerIndex,
    change: &PeerChange,
) -> Result<(), NoSuchPeer> {
    if let Some(key) = &change.preshared_key {
        device.set_preshared_key(now, index, Some(key.clone()))?;
    }
    if let Some(endpoint) = change.endpoint {
        device.set_endpoint(now, index, endpoint.into())?;
    }
    if change.replace_allowed_ips {
        device.replace_allowed_ips(index, [])?;
    }
    for prefix in &change.allowed_ips {
        match *prefix {
            PrefixChange::Add(net) => device.add_allowed_ip(index, net)?,
            PrefixChange::Remove(net) => device.remove_allowed_ip(index, net)?,
        }
    }
    match change.persistent_keepalive {
        Some(interval) => device.set_persistent_keepalive(now, index, interval),
        None => Ok(()),
    }
}

/// A peer as `get` tells it.
pub fn state_of(peer: &PeerView<'_>) -> PeerState {
    PeerState {
        preshared_key: peer.preshared_key().cloned(),
        endpoint: peer.endpoint().map(|endpoint| endpoint.remote),
        persistent_keepalive: peer.persistent_keepalive(),
        last_handshake: peer.last_handshake_unix(),
        rx_bytes: peer.rx_bytes(),
        tx_bytes: peer.tx_bytes(),
        allowed_ips: peer.allowed_ips().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU16;
    use wg_proto::DeviceConfig;

    const NOW: Instant = Instant::from_nanos(0);

    #[test]
    fn a_peer_is_added_changed_and_removed() {
        let mut device = device();
        let change = PeerChange { allowed_ips: prefixes(&["10.0.0.0/8"]), ..PeerChange::of(key(1)) };
        change_peer(&mut device, NOW, &change).unwrap();
        let index = device.peer_by_key(&key(1)).unwrap();
        let again = PeerChange {
            replace_allowed_ips: true,
            allowed_ips: prefixes(&["10.1.0.0/16"]),
            persistent_keepalive: Some(NonZeroU16::new(25)),
            ..PeerChange::of(key(1))
        };
        change_peer(&mut device, NOW, &again).unwrap();
        let state = state_of(&device.peer(index).unwrap());
        assert_eq!(state.allowed_ips, ["10.1.0.0/16".parse().unwrap()]);
        assert_eq!(state.persistent_keepalive, NonZeroU16::new(25));
        change_peer(&mut device, NOW, &PeerChange { remove: true, ..PeerChange::of(key(1)) }).unwrap();
        assert_eq!(device.peers().count(), 0);
    }

    #[test]
    fn update_only_and_remove_create_no_peer() {
        let mut device = device();
        change_peer(&mut device, NOW, &PeerChange { update_only: true, ..PeerChange::of(key(1)) }).unwrap();
        change_peer(&mut device, NOW, &PeerChange { remove: true, ..PeerChange::of(key(1)) }).unwrap();
        assert_eq!(device.peers().count(), 0);
    }

    #[test]
    fn our_own_key_is_ignored() {
        let mut device = device();
        device.set_private_key(NOW, Some(PrivateKey::from_bytes([7; 32])));
        let own = device.public_key().unwrap();
        assert_eq!(change_peer(&mut device, NOW, &PeerChange::of(own)), Ok(()));
        assert_eq!(device.peers().count(), 0);
    }

    fn device() -> Device {
        Device::new(DeviceConfig::default(), [1; 32])
    }

    fn key(seed: u8) -> PublicKey {
        PrivateKey::from_bytes([seed; 32]).public_key()
    }

    fn prefixes(texts: &[&str]) -> Vec<PrefixChange> {
        texts.iter().map(|text| PrefixChange::Add(text.parse().unwrap())).collect()
    }
}
