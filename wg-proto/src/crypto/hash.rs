//! BLAKE2s in its three uses: hash, keyed MAC, and HMAC for the key derivation.
//! Read first: RFC 7693, RFC 2104, whitepaper §5.4 (Hash, Mac, Hmac, Kdf).

use blake2::digest::consts::U16;
use blake2::digest::{Digest, FixedOutput, KeyInit, Update};
use blake2::{Blake2s256, Blake2sMac};
use hmac::SimpleHmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Secret;

/// Length of `mac1` and `mac2`, and of a cookie.
pub(crate) const MAC_BYTES: usize = 16;

/// BLAKE2s-256 over the parts, one after the other.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Blake2s256::new();
    for part in parts {
        Update::update(&mut hasher, part);
    }
    hasher.finalize().into()
}

/// Keyed BLAKE2s with a 16-byte result, over the parts one after the other. Keys are 16 or 32 bytes.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; MAC_BYTES] {
    let mut hasher: Blake2sMac<U16> = KeyInit::new_from_slice(key).expect("keys are at most 32 bytes");
    for part in parts {
        Update::update(&mut hasher, part);
    }
    hasher.finalize_fixed().into()
}

/// Whether two MACs are equal, in constant time.
pub(crate) fn same_mac(left: &[u8; MAC_BYTES], right: &[u8; MAC_BYTES]) -> bool {
    left.ct_eq(right).into()
}

/// HMAC-BLAKE2s over the parts, one after the other.
pub(crate) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Secret {
    let mut hasher: SimpleHmac<Blake2s256> = KeyInit::new_from_slice(key).expect("HMAC takes any key length");
    for part in parts {
        Update::update(&mut hasher, part);
    }
    Zeroizing::new(hasher.finalize_fixed().into())
}

/// HKDF with one output: the next chaining key.
pub(crate) fn kdf1(key: &[u8; 32], input: &[u8]) -> Secret {
    hmac(&hmac(key, &[input]), &[&[1]])
}

/// HKDF with two outputs.
pub(crate) fn kdf2(key: &[u8; 32], input: &[u8]) -> (Secret, Secret) {
    let extracted = hmac(key, &[input]);
    let first = hmac(&extracted, &[&[1]]);
    let second = hmac(&extracted, &[&*first, &[2]]);
    (first, second)
}

/// HKDF with three outputs.
pub(crate) fn kdf3(key: &[u8; 32], input: &[u8]) -> (Secret, Secret, Secret) {
    let extracted = hmac(key, &[input]);
    let first = hmac(&extracted, &[&[1]]);
    let second = hmac(&extracted, &[&*first, &[2]]);
    let third = hmac(&extracted, &[&*second, &[3]]);
    (first, second, third)
}
