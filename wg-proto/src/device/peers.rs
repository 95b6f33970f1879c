//! Configuration: the device's key, peers, their keys, endpoints, keepalives and prefixes.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::num::NonZeroU16;

use ipnet::IpNet;

use super::{Device, Local, PeerConfig, Reason, enqueue};
use crate::endpoint::Endpoint;
use crate::error::{AddPeerError, NoSuchPeer};
use crate::event::Event;
use crate::index::PeerIndex;
use crate::key::{PresharedKey, PrivateKey, PublicKey};
use crate::mac1::Mac1Filter;
use crate::noise::Identity;
use crate::peer::{Peer, StaticSecret};
use crate::time::Instant;
use crate::timers::Timer;
use crate::view::PeerView;

impl Device {
    /// Sets or takes the device's private key. A change takes effect at once: all sessions and handshakes end, and a
    /// peer with the new key's public key is removed ([`Event::PeerRemoved`]). Setting the same key does nothing.
    pub fn set_private_key(&mut self, now: Instant, key: Option<PrivateKey>) {
        if self.private_key() == key.as_ref() {
            return;
        }
        self.local = key.map(|key| Local::new(Identity::new(key)));
        self.filter = Mac1Filter::new(self.public_key());
        if let Some(peer) = self.public_key().and_then(|key| self.peers.find(&key)) {
            self.remove_peer(peer);
            self.emit(Event::PeerRemoved { peer });
        }
        let peers: Vec<PeerIndex> = self.peers.indices().collect();
        for index in peers {
            self.restart_peer(now, index);
        }
    }

    /// The device's public key, if it has a private one.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.local.as_ref().map(|local| local.identity.public_key)
    }

    /// The device's private key, clamped.
    pub fn private_key(&self) -> Option<&PrivateKey> {
        self.local.as_ref().map(|local| &local.identity.private_key)
    }

    /// Adds a peer. With a persistent keepalive it is greeted at once.
    pub fn add_peer(&mut self, now: Instant, config: PeerConfig) -> Result<PeerIndex, AddPeerError> {
        if self.public_key() == Some(config.public_key) {
            return Err(AddPeerError::OwnKey);
        }
        if self.peers.find(&config.public_key).is_some() {
            return Err(AddPeerError::Exists);
        }
        let mut peer = Box::new(Peer::new(config.public_key));
        peer.endpoint = config.endpoint;
        peer.preshared_key = config.preshared_key.filter(is_set).map(Box::new);
        peer.stamp_sent = self.stamp_floor;
        let index = self.peers.insert(peer).ok_or(AddPeerError::Full)?;
        self.make_room();
        for prefix in config.allowed_ips {
            self.own(index, prefix);
        }
        self.keep_alive(now, index, config.persistent_keepalive);
        Ok(index)
    }

    /// Removes a peer, its keys and prefixes. Does nothing if there is none. Keys and batches of its sessions that
    /// threads still hold reach no other peer, even after the slot is used again.
    pub fn remove_peer(&mut self, index: PeerIndex) {
        self.drop_keys(index);
        let Some(peer) = self.peers.remove(index) else {
            return;
        };
        self.schedule.remove(index);
        if peer.wants.queued {
            self.outbox.retain(|queued| *queued != index);
        }
        for prefix in &peer.allowed_ips {
            self.allowed_ips.remove(*prefix, index);
        }
        self.stamp_floor = self.stamp_floor.max(peer.stamp_sent);
        self.counters.staged_abandoned += peer.staged.len() as u64;
    }

    /// The peer with this key.
    pub fn peer_by_key(&self, key: &PublicKey) -> Option<PeerIndex> {
        self.peers.find(key)
    }

    /// All peers, by ascending slot.
    pub fn peers(&self) -> impl Iterator<Item = PeerIndex> {
        self.peers.indices()
    }

    /// What can be seen of a peer.
    pub fn peer(&self, index: PeerIndex) -> Option<PeerView<'_>> {
        self.peers.get(index).map(|peer| PeerView::new(index, peer))
    }

    /// Sets or takes a peer's preshared key; all zero means none. A change takes effect at once: the peer's sessions
    /// end. Setting the same key does nothing.
    pub fn set_preshared_key(
        &mut self,
        now: Instant,
        index: PeerIndex,
        key: Option<PresharedKey>,
    ) -> Result<(), NoSuchPeer> {
        let peer = self.peers.get_mut(index).ok_or(NoSuchPeer)?;
        let key = key.filter(is_set);
        if peer.preshared_key.as_deref() != key.as_ref() {
            peer.preshared_key = key.map(Box::new);
            self.restart_peer(now, index);
        }
        Ok(())
    }

    /// Sets where a peer is. It moves again when it speaks from elsewhere.
    pub fn set_endpoint(
        &mut self,
        now: Instant,
        index: PeerIndex,
        endpoint: Endpoint,
    ) -> Result<(), NoSuchPeer> {
        let peer = self.peers.get_mut(index).ok_or(NoSuchPeer)?;
        let was_unknown = peer.endpoint.replace(endpoint).is_none();
        if was_unknown && peer.persistent_keepalive.is_some() {
            self.want_keepalive(now, index);
        }
        Ok(())
    }

    /// Forgets the local sources of all endpoints, after addresses or routes of the host changed.
    pub fn clear_endpoint_sources(&mut self) {
        let peers: Vec<PeerIndex> = self.peers.indices().collect();
        for index in peers {
            self.clear_endpoint_source(index);
        }
    }

    /// Forgets the local source of one endpoint, after sending from it failed.
    pub fn clear_endpoint_source(&mut self, index: PeerIndex) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.forget_source();
        }
    }

    /// Sets or takes the interval of a peer's persistent keepalive. Where there was none, one goes out at once.
    pub fn set_persistent_keepalive(
        &mut self,
        now: Instant,
        index: PeerIndex,
        seconds: Option<NonZeroU16>,
    ) -> Result<(), NoSuchPeer> {
        self.peers.get(index).ok_or(NoSuchPeer)?;
        self.keep_alive(now, index, seconds);
        Ok(())
    }

    /// Gives a prefix to a peer; host bits are masked. If another peer had it, it moves, in one step.
    pub fn add_allowed_ip(&mut self, index: PeerIndex, prefix: IpNet) -> Result<(), NoSuchPeer> {
        self.peers.get(index).ok_or(NoSuchPeer)?;
        self.own(index, prefix);
        Ok(())
    }

    /// Takes a prefix from a peer. Does nothing if the peer does not have it.
    pub fn remove_allowed_ip(&mut self, index: PeerIndex, prefix: IpNet) -> Result<(), NoSuchPeer> {
        let peer = self.peers.get_mut(index).ok_or(NoSuchPeer)?;
        peer.allowed_ips.remove(&prefix.trunc());
        self.allowed_ips.remove(prefix, index);
        Ok(())
    }

    /// Takes all prefixes of a peer and gives it these.
    pub fn replace_allowed_ips(
        &mut self,
        index: PeerIndex,
        prefixes: impl IntoIterator<Item = IpNet>,
    ) -> Result<(), NoSuchPeer> {
        let peer = self.peers.get_mut(index).ok_or(NoSuchPeer)?;
        for prefix in core::mem::take(&mut peer.allowed_ips) {
            self.allowed_ips.remove(prefix, index);
        }
        for prefix in prefixes {
            self.own(index, prefix);
        }
        Ok(())
    }

    /// The peer that owns an inner address: the longest prefix over *all* peers. A packet from a peer is acceptable
    /// only if this, of its source, is that peer; a packet goes to the peer this, of its destination, names.
    pub fn owner_of(&self, addr: IpAddr) -> Option<PeerIndex> {
        self.allowed_ips.owner_of(addr)
    }

    /// How often prefixes have changed hands. As long as this stays, so does what [`owner_of`](Device::owner_of) says.
    pub fn owner_changes(&self) -> u64 {
        self.allowed_ips.changes()
    }

    fn own(&mut self, index: PeerIndex, prefix: IpNet) {
        let prefix = prefix.trunc();
        let before = self.allowed_ips.insert(prefix, index).filter(|before| *before != index);
        if let Some(before) = before.and_then(|before| self.peers.get_mut(before)) {
            before.allowed_ips.remove(&prefix);
        }
        if let Some(peer) = self.peers.get_mut(index) {
            peer.allowed_ips.insert(prefix);
        }
    }

    /// Makes room for all peers where the data path would have to.
    fn make_room(&mut self) {
        let slots = self.peers.slots();
        self.schedule.reserve(slots);
        self.outbox.reserve(slots.saturating_sub(self.outbox.len()));
    }

    fn keep_alive(&mut self, now: Instant, index: PeerIndex, seconds: Option<NonZeroU16>) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let before = core::mem::replace(&mut peer.persistent_keepalive, seconds);
        match (before, seconds) {
            (_, None) => peer.timers.stop(Timer::PersistentKeepalive),
            (None, Some(_)) => self.want_keepalive(now, index),
            (Some(_), Some(_)) => {
                peer.traversed(now);
                self.reschedule(index);
            }
        }
    }

    /// Asks for a keepalive, and for a handshake first if there is no session.
    pub(super) fn want_keepalive(&mut self, now: Instant, index: PeerIndex) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        if peer.sessions.can_send(now) {
            peer.wants.keepalive = true;
            enqueue(&mut self.outbox, index, peer);
        } else {
            self.want_initiation(now, index, Reason::Keepalive);
        }
    }

    /// A key changed: forgets what was derived from the old one, and starts over if there is something to send.
    fn restart_peer(&mut self, now: Instant, index: PeerIndex) {
        self.drop_keys(index);
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        peer.static_secret = StaticSecret::NotComputed;
        peer.handshake_sent_at = None;
        peer.wants.keepalive = false;
        for timer in [Timer::Retransmit, Timer::Keepalive, Timer::NewHandshake, Timer::ZeroKeys] {
            peer.timers.stop(timer);
        }
        if !peer.staged.is_empty() {
            self.want_initiation(now, index, Reason::Traffic);
        } else if peer.persistent_keepalive.is_some() {
            self.want_initiation(now, index, Reason::Keepalive);
        }
    }
}

/// Whether a preshared key is one: all zero means none.
fn is_set(key: &PresharedKey) -> bool {
    *key != PresharedKey::from_bytes([0; 32])
}
