//! The four messages on the wire: their lengths, types and fields, without any cryptography.
//! Read first: whitepaper §5.4.1–§5.4.7. Called by everything that reads or writes a datagram.

use crate::counter::Counter;
use crate::index::SessionIndex;

/// Bytes before the ciphertext of a transport message: type, receiver, counter.
pub const HEADER_BYTES: usize = 16;
/// Bytes of the authentication tag behind the ciphertext.
pub const TAG_BYTES: usize = 16;
/// What a transport message adds to its padded payload. A keepalive is exactly this long.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;
/// Length of a handshake initiation.
pub const INITIATION_BYTES: usize = 148;
/// Length of a handshake response.
pub const RESPONSE_BYTES: usize = 92;
/// Length of a cookie reply.
pub const COOKIE_REPLY_BYTES: usize = 64;

const TYPE_INITIATION: [u8; 4] = [1, 0, 0, 0];
const TYPE_RESPONSE: [u8; 4] = [2, 0, 0, 0];
const TYPE_COOKIE_REPLY: [u8; 4] = [3, 0, 0, 0];
const TYPE_TRANSPORT: [u8; 4] = [4, 0, 0, 0];

/// What a datagram claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// First handshake message. For [`Device::handle_control`](crate::Device::handle_control).
    Initiation,
    /// Second handshake message. For [`Device::handle_control`](crate::Device::handle_control).
    Response,
    /// A loaded peer's answer. For [`Device::handle_control`](crate::Device::handle_control).
    CookieReply,
    /// Data or a keepalive. For [`Device::rx_key`](crate::Device::rx_key) and [`RxKey::open`](crate::RxKey::open).
    Transport {
        /// Our index of the session it belongs to.
        receiver: SessionIndex,
        /// Its counter; believed only once the packet is opened.
        counter: Counter,
    },
}

/// Why a datagram is no WireGuard message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than the shortest message of its type, or than a type field.
    #[error("too short: {have} bytes, a message of this type has at least {need}")]
    TooShort {
        /// The least length.
        need: usize,
        /// The datagram's length.
        have: usize,
    },
    /// A handshake message of another length than its type has.
    #[error("wrong length: {have} bytes, a message of this type has exactly {need}")]
    WrongLength {
        /// The exact length.
        need: usize,
        /// The datagram's length.
        have: usize,
    },
    /// The type is none of the four.
    #[error("unknown message type {kind}")]
    UnknownType {
        /// The first byte.
        kind: u8,
    },
    /// The three bytes after the type are not zero.
    #[error("reserved bytes are not zero")]
    ReservedBytes,
}

/// Tells what `datagram` claims to be, by type, reserved bytes and length alone: exact lengths for handshake
/// messages (148, 92, 64), at least 32 for transport. No cryptography, constant time, any length of input.
pub fn classify(datagram: &[u8]) -> Result<MessageKind, Malformed> {
    let Some(kind) = datagram.first_chunk::<4>() else {
        return Err(Malformed::TooShort { need: 4, have: datagram.len() });
    };
    match *kind {
        TYPE_TRANSPORT => transport_header(datagram),
        TYPE_INITIATION => exactly(INITIATION_BYTES, datagram, MessageKind::Initiation),
        TYPE_RESPONSE => exactly(RESPONSE_BYTES, datagram, MessageKind::Response),
        TYPE_COOKIE_REPLY => exactly(COOKIE_REPLY_BYTES, datagram, MessageKind::CookieReply),
        [1..=4, ..] => Err(Malformed::ReservedBytes),
        [kind, ..] => Err(Malformed::UnknownType { kind }),
    }
}

fn transport_header(datagram: &[u8]) -> Result<MessageKind, Malformed> {
    match datagram.first_chunk::<OVERHEAD_BYTES>() {
        None => Err(Malformed::TooShort { need: OVERHEAD_BYTES, have: datagram.len() }),
        Some(header) => Ok(MessageKind::Transport {
            receiver: SessionIndex::from_le_bytes(field(header, 4)),
            counter: Counter::new(u64::from_le_bytes(field(header, 8))),
        }),
    }
}

const fn exactly(need: usize, datagram: &[u8], kind: MessageKind) -> Result<MessageKind, Malformed> {
    if datagram.len() == need { Ok(kind) } else { Err(Malformed::WrongLength { need, have: datagram.len() }) }
}

/// Writes the 16 bytes before a transport message's ciphertext.
pub(crate) fn write_transport_header(
    header: &mut [u8; HEADER_BYTES],
    receiver: SessionIndex,
    counter: Counter,
) {
    header[..4].copy_from_slice(&TYPE_TRANSPORT);
    header[4..8].copy_from_slice(&receiver.to_le_bytes());
    header[8..].copy_from_slice(&counter.get().to_le_bytes());
}

/// How long a payload of `len` bytes is on the wire: rounded up to 16, but not past the inner MTU
/// (`mtu_bytes`; 0 = pad freely). A payload longer than the MTU is padded as its last MTU-sized part would be.
pub const fn padded_len(len: usize, mtu_bytes: u16) -> usize {
    if mtu_bytes == 0 {
        return len.next_multiple_of(16);
    }
    let mtu = mtu_bytes as usize;
    let last = if len > mtu { len % mtu } else { len };
    let padded = last.next_multiple_of(16);
    len - last + if padded > mtu { mtu } else { padded }
}

/// A handshake initiation, field by field (whitepaper §5.4.2).
pub(crate) struct Initiation {
    pub(crate) sender: SessionIndex,
    pub(crate) ephemeral: [u8; 32],
    pub(crate) sealed_static: [u8; 48],
    pub(crate) sealed_timestamp: [u8; 28],
}

impl Initiation {
    /// Reads a datagram [`classify`] called an initiation.
    pub(crate) fn read(datagram: &[u8; INITIATION_BYTES]) -> Initiation {
        Initiation {
            sender: SessionIndex::from_le_bytes(field(datagram, 4)),
            ephemeral: field(datagram, 8),
            sealed_static: field(datagram, 40),
            sealed_timestamp: field(datagram, 88),
        }
    }

    /// The datagram, with both MACs still zero.
    pub(crate) fn write(&self) -> [u8; INITIATION_BYTES] {
        let mut datagram = [0; INITIATION_BYTES];
        datagram[..4].copy_from_slice(&TYPE_INITIATION);
        datagram[4..8].copy_from_slice(&self.sender.to_le_bytes());
        datagram[8..40].copy_from_slice(&self.ephemeral);
        datagram[40..88].copy_from_slice(&self.sealed_static);
        datagram[88..116].copy_from_slice(&self.sealed_timestamp);
        datagram
    }
}

/// A handshake response, field by field (whitepaper §5.4.3).
pub(crate) struct Response {
    pub(crate) sender: SessionIndex,
    pub(crate) receiver: SessionIndex,
    pub(crate) ephemeral: [u8; 32],
    pub(crate) sealed_empty: [u8; 16],
}

impl Response {
    /// Reads a datagram [`classify`] called a response.
    pub(crate) fn read(datagram: &[u8; RESPONSE_BYTES]) -> Response {
        Response {
            sender: SessionIndex::from_le_bytes(field(datagram, 4)),
            receiver: SessionIndex::from_le_bytes(field(datagram, 8)),
            ephemeral: field(datagram, 12),
            sealed_empty: field(datagram, 44),
        }
    }

    /// The datagram, with both MACs still zero.
    pub(crate) fn write(&self) -> [u8; RESPONSE_BYTES] {
        let mut datagram = [0; RESPONSE_BYTES];
        datagram[..4].copy_from_slice(&TYPE_RESPONSE);
        datagram[4..8].copy_from_slice(&self.sender.to_le_bytes());
        datagram[8..12].copy_from_slice(&self.receiver.to_le_bytes());
        datagram[12..44].copy_from_slice(&self.ephemeral);
        datagram[44..60].copy_from_slice(&self.sealed_empty);
        datagram
    }
}

/// A cookie reply, field by field (whitepaper §5.4.7).
pub(crate) struct CookieReply {
    pub(crate) receiver: SessionIndex,
    pub(crate) nonce: [u8; 24],
    pub(crate) sealed_cookie: [u8; 32],
}

impl CookieReply {
    /// Reads a datagram [`classify`] called a cookie reply.
    pub(crate) fn read(datagram: &[u8; COOKIE_REPLY_BYTES]) -> CookieReply {
        CookieReply {
            receiver: SessionIndex::from_le_bytes(field(datagram, 4)),
            nonce: field(datagram, 8),
            sealed_cookie: field(datagram, 32),
        }
    }

    /// The datagram.
    pub(crate) fn write(&self) -> [u8; COOKIE_REPLY_BYTES] {
        let mut datagram = [0; COOKIE_REPLY_BYTES];
        datagram[..4].copy_from_slice(&TYPE_COOKIE_REPLY);
        datagram[4..8].copy_from_slice(&self.receiver.to_le_bytes());
        datagram[8..32].copy_from_slice(&self.nonce);
        datagram[32..].copy_from_slice(&self.sealed_cookie);
        datagram
    }
}

/// The sender index of an initiation or a response: whom to address a cookie reply to.
pub(crate) fn sender_of(handshake: &[u8]) -> Option<SessionIndex> {
    handshake.get(4..8)?.try_into().ok().map(SessionIndex::from_le_bytes)
}

/// `N` bytes at `at` of a message whose length is known.
fn field<const N: usize>(message: &[u8], at: usize) -> [u8; N] {
    message[at..at + N].try_into().expect("fields lie inside messages of exact length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_lengths_are_exact() {
        let with = |kind: u8, len: usize| {
            let mut datagram = alloc::vec![0u8; len];
            datagram[0] = kind;
            classify(&datagram)
        };
        for (kind, exact) in [(1, 148), (2, 92), (3, 64)] {
            assert!(with(kind, exact).is_ok());
            for have in [exact - 1, exact + 1, 4, 65_507] {
                assert_eq!(with(kind, have), Err(Malformed::WrongLength { need: exact, have }));
            }
        }
        assert!(with(4, 32).is_ok() && with(4, 33).is_ok() && with(4, 65_535).is_ok());
        assert_eq!(with(4, 31), Err(Malformed::TooShort { need: 32, have: 31 }));
        for kind in [0, 5, 255] {
            assert_eq!(with(kind, 148), Err(Malformed::UnknownType { kind }));
        }
    }

    #[test]
    fn reserved_bytes_are_zero_or_the_message_is_malformed() {
        for (kind, len) in [(1, 148), (2, 92), (3, 64), (4, 32)] {
            for reserved in 1..4 {
                let mut datagram = alloc::vec![0u8; len];
                (datagram[0], datagram[reserved]) = (kind, 1);
                assert_eq!(classify(&datagram), Err(Malformed::ReservedBytes));
            }
        }
    }

    #[test]
    fn datagrams_shorter_than_a_type_are_malformed() {
        for have in 0..4 {
            assert_eq!(classify(&[1; 4][..have]), Err(Malformed::TooShort { need: 4, have }));
        }
    }

    #[test]
    fn padding_rounds_up_to_16_but_not_past_the_mtu() {
        for (len, mtu, padded) in [
            (0, 1420, 0),
            (1, 1420, 16),
            (16, 1420, 16),
            (17, 0, 32),
            (1409, 1420, 1420),
            (1420, 1420, 1420),
            (1420, 0, 1424),
            (1425, 1420, 1436),
            (65_535, 0, 65_536),
            (65_535, 65_535, 65_535),
            (5, 8, 8),
        ] {
            assert_eq!(padded_len(len, mtu), padded, "{len} bytes, MTU {mtu}");
        }
    }
}
