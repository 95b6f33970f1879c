//! What can be seen of a peer.

use core::num::NonZeroU16;

use ipnet::IpNet;

use crate::endpoint::Endpoint;
use crate::index::PeerIndex;
use crate::key::{PresharedKey, PublicKey};
use crate::peer::Peer;
use crate::time::{Instant, UnixTime};

/// A peer as `wg show` prints it.
#[derive(Clone, Copy)]
pub struct PeerView<'a> {
    peer: &'a Peer,
    index: PeerIndex,
}

impl<'a> PeerView<'a> {
    pub(crate) fn new(index: PeerIndex, peer: &'a Peer) -> PeerView<'a> {
        PeerView { peer, index }
    }

    /// The peer's slot.
    pub fn index(&self) -> PeerIndex {
        self.index
    }

    /// The peer's identity.
    pub fn public_key(&self) -> PublicKey {
        self.peer.public_key
    }

    /// The secret shared beside the handshake, if one is set.
    pub fn preshared_key(&self) -> Option<&'a PresharedKey> {
        self.peer.preshared_key.as_deref()
    }

    /// Where the peer is, if that is known.
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.peer.endpoint
    }

    /// Interval of the persistent keepalive in seconds.
    pub fn persistent_keepalive(&self) -> Option<NonZeroU16> {
        self.peer.persistent_keepalive
    }

    /// When the last handshake completed, in boot time.
    pub fn last_handshake(&self) -> Option<Instant> {
        self.peer.last_handshake.map(|(at, _)| at)
    }

    /// When the last handshake completed, in wall-clock time.
    pub fn last_handshake_unix(&self) -> Option<UnixTime> {
        self.peer.last_handshake.map(|(_, unix)| unix)
    }

    /// Bytes of authenticated datagrams received, handshakes and keepalives included.
    pub fn rx_bytes(&self) -> u64 {
        self.peer.rx_bytes
    }

    /// Bytes of datagrams sent, handshakes and keepalives included, the padding of data packets not.
    pub fn tx_bytes(&self) -> u64 {
        self.peer.tx_bytes
    }

    /// Whether packets can be sealed for the peer at `now`.
    pub fn has_session(&self, now: Instant) -> bool {
        self.peer.sessions.can_send(now)
    }

    /// Packets that wait for a session.
    pub fn staged_packets(&self) -> usize {
        self.peer.staged.len()
    }

    /// The prefixes the peer owns, ordered.
    pub fn allowed_ips(&self) -> impl ExactSizeIterator<Item = IpNet> + use<'a> {
        self.peer.allowed_ips.iter().copied()
    }
}
