//! The first look at a control message: form and `mac1`. Needs no device, so threads take it without the device's lock.
//! Read first: whitepaper §5.4.4. Called by device, and by callers that keep a queue of control messages.

use crate::crypto::hash::{MAC_BYTES, MacKey, hash, same_mac};
use crate::error::NotAdmitted;
use crate::key::PublicKey;
use crate::message::{COOKIE_REPLY_BYTES, INITIATION_BYTES, MessageKind, RESPONSE_BYTES, classify};

const LABEL_MAC1: &[u8] = b"mac1----";

/// Tells control messages worth queueing from noise. What passes was made by somebody who knows our public key, which no
/// blind flood does. Clones are cheap and may go to other threads; [`Device::is_current`](crate::Device::is_current) says
/// whether one is still up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mac1Filter(Option<Ours>);

/// Whom a message must know.
#[derive(Debug, Clone)]
struct Ours {
    public_key: PublicKey,
    mac1_key: MacKey,
}

/// The other key follows from the public one.
impl PartialEq for Ours {
    fn eq(&self, other: &Ours) -> bool {
        self.public_key == other.public_key
    }
}

impl Eq for Ours {}

/// A control message of right form, whose `mac1` is right if it has one. Owns a copy, so that it can wait in a queue.
#[derive(Debug, Clone, Copy)]
pub struct Admitted {
    kind: ControlKind,
    bytes: [u8; INITIATION_BYTES],
    /// Whose `mac1` was found right.
    checked_for: Option<PublicKey>,
}

/// The three messages that have no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlKind {
    Initiation,
    Response,
    CookieReply,
}

impl Mac1Filter {
    /// The filter of the device with this key; without one, no handshake message passes.
    pub(crate) fn new(public_key: Option<PublicKey>) -> Mac1Filter {
        Mac1Filter(public_key.map(|public_key| Ours { mac1_key: mac1_key(&public_key), public_key }))
    }

    /// Checks form and `mac1` of a datagram of any content and length. Half a microsecond at most, no secret used.
    ///
    /// Cookie replies have no `mac1` and pass by form: the device compares them with what it sent.
    pub fn admit(&self, datagram: &[u8]) -> Result<Admitted, NotAdmitted> {
        let kind = control_kind(datagram)?;
        let checked_for = match kind {
            ControlKind::Initiation | ControlKind::Response => Some(self.check(datagram)?),
            ControlKind::CookieReply => None,
        };
        let mut bytes = [0; INITIATION_BYTES];
        bytes[..datagram.len()].copy_from_slice(datagram);
        Ok(Admitted { kind, bytes, checked_for })
    }

    /// Checks again what another filter admitted: our key may have changed since. Free if it has not.
    pub(crate) fn admit_again(&self, message: &Admitted) -> Result<(), NotAdmitted> {
        let same_key = message.checked_for == self.0.as_ref().map(|ours| ours.public_key);
        if same_key || message.kind == ControlKind::CookieReply {
            return Ok(());
        }
        self.check(message.bytes()).map(drop)
    }

    fn check(&self, message: &[u8]) -> Result<PublicKey, NotAdmitted> {
        let ours = self.0.as_ref().ok_or(NotAdmitted::NoPrivateKey)?;
        let valid =
            split_mac1(message).is_some_and(|(body, mac1)| same_mac(&ours.mac1_key.mac(&[body]), mac1));
        valid.then_some(ours.public_key).ok_or(NotAdmitted::Mac1)
    }
}

impl Admitted {
    pub(crate) const fn kind(&self) -> ControlKind {
        self.kind
    }

    /// The message as it came.
    pub fn bytes(&self) -> &[u8] {
        let len = match self.kind {
            ControlKind::Initiation => INITIATION_BYTES,
            ControlKind::Response => RESPONSE_BYTES,
            ControlKind::CookieReply => COOKIE_REPLY_BYTES,
        };
        &self.bytes[..len]
    }
}

/// The key of the `mac1` of messages to the holder of `public_key`.
pub(crate) fn mac1_key(public_key: &PublicKey) -> MacKey {
    MacKey::new(&hash(&[LABEL_MAC1, public_key.as_bytes()]))
}

fn control_kind(datagram: &[u8]) -> Result<ControlKind, NotAdmitted> {
    match classify(datagram).map_err(NotAdmitted::Malformed)? {
        MessageKind::Initiation => Ok(ControlKind::Initiation),
        MessageKind::Response => Ok(ControlKind::Response),
        MessageKind::CookieReply => Ok(ControlKind::CookieReply),
        MessageKind::Transport { .. } => Err(NotAdmitted::NotControl),
    }
}

/// What `mac1` covers, and `mac1`: the message ends in it and in `mac2`.
fn split_mac1(message: &[u8]) -> Option<(&[u8], &[u8; MAC_BYTES])> {
    let (rest, _mac2) = message.split_last_chunk::<MAC_BYTES>()?;
    rest.split_last_chunk()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookie::CookieJar;
    use crate::message::Malformed;
    use crate::time::Instant;

    fn key(byte: u8) -> PublicKey {
        PublicKey::from_bytes([byte; 32])
    }

    fn signed(kind: u8, len: usize, to: &PublicKey) -> alloc::vec::Vec<u8> {
        let mut message = alloc::vec![0x55; len];
        message[..4].copy_from_slice(&[kind, 0, 0, 0]);
        CookieJar::default().sign(Instant::from_nanos(0), to, &mut message);
        message
    }

    #[test]
    fn p13_only_who_knows_our_key_is_admitted() {
        let (ours, other) = (Mac1Filter::new(Some(key(1))), Mac1Filter::new(Some(key(2))));
        for (kind, len) in [(1, 148), (2, 92)] {
            let message = signed(kind, len, &key(1));
            assert_eq!(ours.admit(&message).unwrap().bytes(), message);
            assert_eq!(other.admit(&message).unwrap_err(), NotAdmitted::Mac1);
            for byte in (4..len - 16).step_by(7) {
                let mut forged = message.clone();
                forged[byte] ^= 0x10;
                assert_eq!(ours.admit(&forged).unwrap_err(), NotAdmitted::Mac1, "byte {byte} of {len}");
            }
        }
    }

    #[test]
    fn without_a_private_key_only_cookie_replies_pass() {
        let closed = Mac1Filter::new(None);
        let refused = closed.admit(&signed(1, 148, &key(1)));
        assert_eq!(refused.unwrap_err(), NotAdmitted::NoPrivateKey);
        let mut cookie = [7; 64];
        cookie[..4].copy_from_slice(&[3, 0, 0, 0]);
        assert_eq!(closed.admit(&cookie).unwrap().bytes(), cookie);
    }

    #[test]
    fn what_is_no_control_message_is_named() {
        let filter = Mac1Filter::new(Some(key(1)));
        let mut transport = [0; 32];
        transport[0] = 4;
        assert_eq!(filter.admit(&transport).unwrap_err(), NotAdmitted::NotControl);
        let short = Malformed::TooShort { need: 4, have: 0 };
        assert_eq!(filter.admit(&[]).unwrap_err(), NotAdmitted::Malformed(short));
    }

    #[test]
    fn p13_a_message_admitted_for_an_old_key_is_checked_again() {
        let (before, after) = (Mac1Filter::new(Some(key(1))), Mac1Filter::new(Some(key(2))));
        let message = before.admit(&signed(1, 148, &key(1))).unwrap();
        assert_eq!(before.admit_again(&message), Ok(()));
        assert_eq!(after.admit_again(&message), Err(NotAdmitted::Mac1));
        assert_eq!(Mac1Filter::new(None).admit_again(&message), Err(NotAdmitted::NoPrivateKey));
    }
}
