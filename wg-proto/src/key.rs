//! Keys as users write them: 32 bytes, in base64 (`wg genkey`) or hexadecimal (the UAPI socket).
//! Secrets are wiped on drop, never printed, and read and written without secret-dependent branches.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use base64ct::{Base64, Encoding};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crypto::{DhSecret, DiffieHellman};
use crate::hex;

/// Length of every key.
pub const KEY_BYTES: usize = 32;
const BASE64_CHARS: usize = 44;

/// A peer's identity: its Curve25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

/// A Curve25519 private key, clamped at birth, so that what is read back equals what `wg` shows.
///
/// It cannot be printed:
/// ```compile_fail,E0277
/// println!("{:?}", wg_proto::PrivateKey::from_bytes([1; 32]));
/// ```
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey([u8; KEY_BYTES]);

/// A symmetric key shared by two peers beside the handshake. All zero means none.
///
/// It cannot be printed:
/// ```compile_fail,E0277
/// println!("{:?}", wg_proto::PresharedKey::from_bytes([1; 32]));
/// ```
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; KEY_BYTES]);

/// Text that is not a key: wrong length, wrong alphabet, or bits left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key: expected 32 bytes as 44 characters of base64 or 64 of hexadecimal")]
pub struct NotAKey;

impl PublicKey {
    /// The key with these bytes. Every 32-byte string is one; low-order points never complete a handshake.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> PublicKey {
        PublicKey(bytes)
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Reads standard, padded base64.
    pub fn from_base64(text: &str) -> Result<PublicKey, NotAKey> {
        parse_base64(text).map(|bytes| PublicKey(*bytes))
    }

    /// Reads 64 hexadecimal digits of either case.
    pub fn from_hex(text: &str) -> Result<PublicKey, NotAKey> {
        hex::decode(text).map(|bytes| PublicKey(*bytes)).ok_or(NotAKey)
    }

    /// The key as 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64::encode_string(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<PublicKey, NotAKey> {
        PublicKey::from_base64(text)
    }
}

impl PrivateKey {
    /// The key with these bytes, clamped (RFC 7748 §5). Draw them from the operating system's generator.
    pub fn from_bytes(mut bytes: [u8; KEY_BYTES]) -> PrivateKey {
        bytes[0] &= 0b1111_1000;
        bytes[31] = (bytes[31] & 0b0111_1111) | 0b0100_0000;
        let key = PrivateKey(bytes);
        bytes.zeroize();
        key
    }

    /// The clamped bytes.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The public key that belongs to this private key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(DhSecret::new(&self.0).public())
    }
}

impl PresharedKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> PresharedKey {
        PresharedKey(bytes)
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// What both secrets share: parsing, formatting and comparing without secret-dependent branches.
macro_rules! secret_text {
    ($key:ident) => {
        impl $key {
            /// Reads standard, padded base64.
            pub fn from_base64(text: &str) -> Result<$key, NotAKey> {
                parse_base64(text).map(|bytes| $key::from_bytes(*bytes))
            }

            /// Reads 64 hexadecimal digits of either case.
            pub fn from_hex(text: &str) -> Result<$key, NotAKey> {
                hex::decode(text).map(|bytes| $key::from_bytes(*bytes)).ok_or(NotAKey)
            }

            /// The key in base64, in memory that is wiped on drop.
            pub fn to_base64(&self) -> Zeroizing<String> {
                Zeroizing::new(Base64::encode_string(&self.0))
            }

            /// The key as 64 lower-case hexadecimal digits, in memory that is wiped on drop.
            pub fn to_hex(&self) -> Zeroizing<String> {
                Zeroizing::new(hex::encode(&self.0))
            }
        }

        /// Constant time.
        impl PartialEq for $key {
            fn eq(&self, other: &$key) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $key {}
    };
}

secret_text!(PrivateKey);
secret_text!(PresharedKey);

fn parse_base64(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, NotAKey> {
    if text.len() != BASE64_CHARS {
        return Err(NotAKey);
    }
    let mut buffer = Zeroizing::new([0; KEY_BYTES + 1]);
    let bytes = Base64::decode(text, &mut *buffer).map_err(|_| NotAKey)?;
    bytes.try_into().map(Zeroizing::new).map_err(|_| NotAKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";

    #[test]
    fn base64_and_hexadecimal_survive_the_round_trip() {
        let key = PublicKey::from_base64(TEXT).unwrap();
        assert_eq!(key, PublicKey::from_hex(&key.to_hex()).unwrap());
        assert_eq!(key.to_hex().len(), 64);
        assert_eq!(alloc::format!("{key}"), TEXT);
        let psk = PresharedKey::from_base64(TEXT).unwrap();
        assert_eq!(psk.to_base64().as_str(), TEXT);
        assert!(psk == PresharedKey::from_hex(&psk.to_hex()).unwrap());
    }

    #[test]
    fn text_that_is_not_a_key_is_refused() {
        let long = [TEXT, "A"].concat();
        for text in ["", "short", &TEXT[1..], &long, &TEXT.replace('H', "!"), &TEXT.replace('=', "A")] {
            assert_eq!(PublicKey::from_base64(text), Err(NotAKey), "{text}");
        }
        let hex = PublicKey::from_base64(TEXT).unwrap().to_hex();
        for text in ["", &hex[1..], &hex.replace('1', "g"), &hex.replace('1', "é")] {
            assert_eq!(PublicKey::from_hex(text), Err(NotAKey), "{text}");
        }
    }

    #[test]
    fn private_keys_are_clamped_on_read_back() {
        let key = PrivateKey::from_bytes([0xff; 32]);
        assert_eq!((key.as_bytes()[0], key.as_bytes()[31]), (0xf8, 0x7f));
        assert_eq!(PrivateKey::from_bytes([0; 32]).as_bytes()[31], 0x40);
    }
}
