//! What can go wrong, by cause and blame. Nothing here is answered on the wire.

use crate::message::Malformed;

/// Why a control message changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No WireGuard message at all. Blame: the sender, or the network.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// A transport packet: the caller should have taken the transport path. Blame: the caller.
    #[error("a transport packet is no control message")]
    NotControl,
    /// No private key is set, so no handshake is possible. Blame: configuration.
    #[error("no private key is set")]
    NoPrivateKey,
    /// `mac1` shows that the sender does not know our public key.
    #[error("mac1 is not ours")]
    Mac1,
    /// Under load, and the source sent more than its share although it has a cookie.
    #[error("under load: the source exceeds its rate")]
    RateLimited,
    /// Too many answers wait already. Blame: the caller, who does not drain `poll_transmit`.
    #[error("too many answers wait to be sent")]
    Backlog,
    /// A low-order point: the shared secret would be all zero.
    #[error("low-order point")]
    LowOrderPoint,
    /// The message does not authenticate.
    #[error("not authentic")]
    NotAuthentic,
    /// An authentic initiation of a key that is no peer of ours.
    #[error("unknown peer")]
    UnknownPeer,
    /// An initiation whose time stamp is not newer than its peer's last one.
    #[error("replayed initiation")]
    Replayed,
    /// More than 50 initiations a second of one peer.
    #[error("too many initiations of this peer")]
    Flood,
    /// A response or cookie reply nobody asked for.
    #[error("answers no message of ours")]
    Unexpected,
}

/// Why a datagram was not admitted among the control messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// No WireGuard message at all. Blame: the sender, or the network.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// A transport packet: the caller should have taken the transport path. Blame: the caller.
    #[error("a transport packet is no control message")]
    NotControl,
    /// No private key is set, so no handshake is possible. Blame: configuration.
    #[error("no private key is set")]
    NoPrivateKey,
    /// `mac1` shows that the sender does not know our public key.
    #[error("mac1 is not ours")]
    Mac1,
}

impl From<NotAdmitted> for Rejected {
    fn from(why: NotAdmitted) -> Rejected {
        match why {
            NotAdmitted::Malformed(malformed) => Rejected::Malformed(malformed),
            NotAdmitted::NotControl => Rejected::NotControl,
            NotAdmitted::NoPrivateKey => Rejected::NoPrivateKey,
            NotAdmitted::Mac1 => Rejected::Mac1,
        }
    }
}

/// Why a peer was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddPeerError {
    /// The device has a peer with this key.
    #[error("the peer exists")]
    Exists,
    /// The key is the device's own.
    #[error("the peer's key is the device's own")]
    OwnKey,
    /// The device holds [`PEERS_MAX`](crate::constants::PEERS_MAX) peers.
    #[error("the device holds as many peers as it can")]
    Full,
}

/// The device has no such peer (any more). Blame: the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such peer")]
pub struct NoSuchPeer;

/// Why nothing can be sealed for a peer now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The device has no such peer (any more).
    #[error("no such peer")]
    NoSuchPeer,
    /// Where the peer is was never learnt or configured. Stage nothing; tell the sender.
    #[error("the peer has no endpoint")]
    NoEndpoint,
    /// There is no session the packets could go out on. [`Device::stage`](crate::Device::stage) them.
    #[error("no session with the peer")]
    NoSession,
}

/// Why a packet was not staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// The device has no such peer (any more).
    #[error("no such peer")]
    NoSuchPeer,
    /// Where the peer is was never learnt or configured.
    #[error("the peer has no endpoint")]
    NoEndpoint,
    /// Longer than [`PACKET_BYTES_MAX`](crate::constants::PACKET_BYTES_MAX).
    #[error("packet of {bytes} bytes is too large")]
    TooLarge {
        /// The packet's length.
        bytes: usize,
    },
}

/// Why a transport packet was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No transport packet at all.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// A packet of another session, or no transport packet. Blame: the caller.
    #[error("not a packet of this session")]
    WrongSession,
    /// A counter past [`REJECT_AFTER_MESSAGES`](crate::constants::REJECT_AFTER_MESSAGES).
    #[error("counter past the limit")]
    CounterExhausted,
    /// The tag does not belong to the packet. Its bytes are garbage now.
    #[error("not authentic")]
    NotAuthentic,
}

/// Why opened packets were not committed. None of them may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionGone {
    /// The session was replaced, wiped, or its peer removed while its packets were opened.
    #[error("the session is gone")]
    Replaced,
    /// The session is older than [`REJECT_AFTER_TIME`](crate::constants::REJECT_AFTER_TIME).
    #[error("the session is too old")]
    Expired,
}

/// Why a packet was not sealed. No nonce was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// As many packets as were reserved are sealed. Blame: the caller.
    #[error("every reserved packet is sealed")]
    Exhausted,
    /// The buffer does not hold header, padded payload and tag.
    #[error("buffer of {have} bytes, {need} needed")]
    BufferTooSmall {
        /// The datagram's length.
        need: usize,
        /// The buffer's length.
        have: usize,
    },
}

/// Why [`Device::encapsulate`](crate::Device::encapsulate) sent nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncapsulateError {
    /// It was to be staged, and was not.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// It was to be sealed, and was not.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Why [`Device::decapsulate`](crate::Device::decapsulate) gave nothing back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecapsulateError {
    /// A control message that changed nothing.
    #[error(transparent)]
    Control(#[from] Rejected),
    /// A packet of no session of ours.
    #[error("unknown session")]
    UnknownSession,
    /// A packet that did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A packet of a session that is gone or too old.
    #[error(transparent)]
    Gone(#[from] SessionGone),
    /// A packet accepted before, or too old to tell.
    #[error("replayed packet")]
    Replayed,
    /// Inside is no IPv4 or IPv6 packet.
    #[error("no IP packet inside")]
    NotIp,
    /// The packet's source belongs to another peer, or to none.
    #[error("the inner source does not belong to the peer")]
    SourceNotAllowed,
}

/// A transport datagram the caller dropped before the device saw it. Open happens outside the device, so the
/// caller hands the reason in afterwards: [`Device::count`](crate::Device::count).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// [`classify`](crate::classify) refused it.
    Malformed(Malformed),
    /// [`Device::rx_key`](crate::Device::rx_key) knows no such session.
    UnknownSession,
    /// [`RxKey::open`](crate::RxKey::open) refused it.
    NotOpened(OpenError),
    /// Its inner source belongs to another peer.
    SourceNotAllowed,
    /// It is no IP packet inside.
    NotIp,
}
