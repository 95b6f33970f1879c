//! The keyed hash of every table that strangers' bytes lead into. An unkeyed one would let them choose what collides.
//!
//! SipHash-1-3 (Aumasson and Bernstein, 2012), for one short message whose length the compiler knows: that takes a third
//! of the instructions of a hasher that bytes can be fed to piece by piece. The tests compare it with `siphasher`.

use core::fmt;

/// SipHash-1-3 under a key that is drawn once per table.
#[derive(Clone, Copy)]
pub struct SipHash {
    key: [u64; 2],
}

/// What the rounds work on.
struct State([u64; 4]);

/// "somepseudorandomlygeneratedbytes", as the specification spells the start of the state.
const START: [u64; 4] =
    [0x736f_6d65_7073_6575, 0x646f_7261_6e64_6f6d, 0x6c79_6765_6e65_7261, 0x7465_6462_7974_6573];

impl SipHash {
    /// A hash under this key.
    pub fn new(key: &[u8; 16]) -> SipHash {
        let (words, _) = key.as_chunks::<8>();
        SipHash { key: [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])] }
    }

    /// The hash of the bytes.
    #[inline(always)]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let (words, rest) = bytes.as_chunks::<8>();
        let [k0, k1] = self.key;
        let mut state = State([START[0] ^ k0, START[1] ^ k1, START[2] ^ k0, START[3] ^ k1]);
        for word in words {
            state.take(u64::from_le_bytes(*word));
        }
        state.take(last_word(rest, bytes.len()));
        state.finish()
    }
}

/// The bytes that do not fill a word, and at its upper end the lowest byte of the length.
#[inline(always)]
fn last_word(rest: &[u8], len: usize) -> u64 {
    let length = (len as u64) << 56;
    rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)) | length
}

impl State {
    #[inline(always)]
    fn take(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    #[inline(always)]
    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        (0..3).for_each(|_| self.round());
        let [a, b, c, d] = self.0;
        a ^ b ^ c ^ d
    }

    #[inline(always)]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        (a, c) = (a.wrapping_add(b), c.wrapping_add(d));
        (b, d) = (b.rotate_left(13) ^ a, d.rotate_left(16) ^ c);
        (a, c) = (a.rotate_left(32).wrapping_add(d), c.wrapping_add(b));
        (b, d) = (b.rotate_left(17) ^ c, d.rotate_left(21) ^ a);
        self.0 = [a, b, c.rotate_left(32), d];
    }
}

impl fmt::Debug for SipHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SipHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_somebody_elses_siphash(
            key: [u8; 16], bytes in prop::collection::vec(any::<u8>(), 0..300)
        ) {
            let bytes: Vec<u8> = bytes;
            prop_assert_eq!(SipHash::new(&key).hash(&bytes), SipHasher13::new_with_key(&key).hash(&bytes));
        }
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(alloc::format!("{:?}", SipHash::new(&[1; 16])), "SipHash(..)");
    }
}
