//! What the device's verbs give back when they succeed.

use core::ops::Range;

use crate::endpoint::Endpoint;
use crate::index::PeerIndex;

/// A datagram to send: it fills the first `len` bytes of the buffer that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Where to, and from which local source if that is known.
    pub to: Endpoint,
    /// Its length in bytes.
    pub len: usize,
    /// TOS (IPv4) or traffic class (IPv6) byte of the outer packet.
    pub tos: u8,
}

/// What a control message did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// An initiation; the response waits in `poll_transmit`.
    Initiation {
        /// Who initiated.
        peer: PeerIndex,
    },
    /// A response; the session is ready, and the packet that tells the peer so waits in `poll_transmit`.
    Response {
        /// Who responded.
        peer: PeerIndex,
    },
    /// A cookie, to be put into the next handshake message to the peer.
    CookieReply {
        /// Whose cookie.
        peer: PeerIndex,
    },
    /// A handshake message under load, without a cookie; a cookie reply waits in `poll_transmit`.
    CookieSent,
}

/// What became of a packet to encapsulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encapsulated {
    /// Sealed: send it.
    Sent(Transmit),
    /// No session yet: the packet is staged, and `poll_transmit` has the handshake.
    Staged,
}

/// What was inside a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decapsulated {
    /// An IP packet whose source belongs to the peer.
    Packet {
        /// Who sent it.
        peer: PeerIndex,
        /// Where it lies in the datagram, without padding.
        range: Range<usize>,
    },
    /// A keepalive.
    Keepalive {
        /// Who sent it.
        peer: PeerIndex,
    },
    /// A control message.
    Control(Handled),
}
