//! BLAKE2s in its three uses: hash, keyed MAC, and HMAC for the key derivation.
//! Read first: RFC 7693, RFC 2104, whitepaper §5.4 (Hash, Mac, Hmac, Kdf).

use blake2::digest::block_api::{Buffer, UpdateCore, VariableOutputCore};
use blake2::digest::{Digest, FixedOutput, KeyInit, Update};
use blake2::{Blake2s256, Blake2sVarCore};
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
    MacKey::new(key).mac(parts)
}

/// A key of [`mac`] that is used often: its block is taken in once.
#[derive(Debug, Clone)]
pub(crate) struct MacKey(Blake2sVarCore);

impl MacKey {
    /// The key with these 16 or 32 bytes.
    pub(crate) fn new(key: &[u8]) -> MacKey {
        let mut block = Zeroizing::new([0; 64]);
        block[..key.len()].copy_from_slice(key);
        let mut state = Blake2sVarCore::new_with_params(&[], &[], key.len(), MAC_BYTES);
        state.update_blocks(core::slice::from_ref((&*block).into()));
        MacKey(state)
    }

    /// The MAC of the parts, which are not all empty.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        let (mut state, mut last) = (self.0.clone(), Buffer::<Blake2sVarCore>::default());
        for part in parts {
            last.digest_blocks(part, |blocks| state.update_blocks(blocks));
        }
        let mut output = [0; 32];
        state.finalize_variable_core(&mut last, (&mut output).into());
        *output.first_chunk().expect("a MAC is shorter than a hash")
    }
}

/// Whether two MACs are equal, in constant time.
pub(crate) fn same_mac(left: &[u8; MAC_BYTES], right: &[u8; MAC_BYTES]) -> bool {
    left.ct_eq(right).into()
}

/// HKDF with one output: the next chaining key.
pub(crate) fn kdf1(key: &[u8; 32], input: &[u8]) -> Secret {
    Expander::new(&hmac(key, input)).next(&[], 1)
}

/// HKDF with two outputs.
pub(crate) fn kdf2(key: &[u8; 32], input: &[u8]) -> (Secret, Secret) {
    let expander = Expander::new(&hmac(key, input));
    let first = expander.next(&[], 1);
    let second = expander.next(&*first, 2);
    (first, second)
}

/// HKDF with three outputs.
pub(crate) fn kdf3(key: &[u8; 32], input: &[u8]) -> (Secret, Secret, Secret) {
    let expander = Expander::new(&hmac(key, input));
    let first = expander.next(&[], 1);
    let second = expander.next(&*first, 2);
    let third = expander.next(&*second, 3);
    (first, second, third)
}

/// HMAC-BLAKE2s; of a key and an input, HKDF's first half.
pub(crate) fn hmac(key: &[u8; 32], message: &[u8]) -> Secret {
    let mut hasher: SimpleHmac<Blake2s256> = KeyInit::new_from_slice(key).expect("HMAC takes any key length");
    Update::update(&mut hasher, message);
    Zeroizing::new(hasher.finalize_fixed().into())
}

/// HKDF's second half: HMAC-BLAKE2s under one key, several times. Both its hashes have taken in their block of the key already,
/// as RFC 2104 §4 proposes.
struct Expander {
    inner: Blake2sVarCore,
    outer: Blake2sVarCore,
}

impl Expander {
    fn new(key: &[u8; 32]) -> Expander {
        // The two pads of RFC 2104 §2.
        Expander { inner: after_key(key, 0x36), outer: after_key(key, 0x5c) }
    }

    /// The output with this number, from the one before.
    fn next(&self, previous: &[u8], number: u8) -> Secret {
        let mut message = Zeroizing::new([0; 33]);
        let message = &mut message[..previous.len() + 1];
        message[..previous.len()].copy_from_slice(previous);
        message[previous.len()] = number;
        finish(&self.outer, &*finish(&self.inner, message))
    }
}

/// BLAKE2s after a block that consists of the key and a pad.
fn after_key(key: &[u8; 32], pad: u8) -> Blake2sVarCore {
    let mut block = Zeroizing::new([pad; 64]);
    block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    let mut state = Blake2sVarCore::new(32).expect("BLAKE2s has 32 bytes");
    state.update_blocks(core::slice::from_ref((&*block).into()));
    state
}

/// The hash of what `state` has taken in and `rest`, which is the last block: not empty, and no longer than one.
fn finish(state: &Blake2sVarCore, rest: &[u8]) -> Secret {
    let mut output = Zeroizing::new([0; 32]);
    state.clone().finalize_variable_core(&mut Buffer::<Blake2sVarCore>::new(rest), (&mut *output).into());
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn outputs_are_the_hmac_of_the_one_before_and_their_number(
            key: [u8; 32],
            input in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let extracted = hmac(&key, &input);
            let (first, second, third) = kdf3(&key, &input);
            prop_assert_eq!(&first, &hmac(&extracted, &[1]));
            prop_assert_eq!(&second, &hmac(&extracted, &[&first[..], &[2]].concat()));
            prop_assert_eq!(&third, &hmac(&extracted, &[&second[..], &[3]].concat()));
            prop_assert_eq!(kdf2(&key, &input), (first.clone(), second));
            prop_assert_eq!(kdf1(&key, &input), first);
        }
    }
}
