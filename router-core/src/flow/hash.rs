//! The keyed hash of a tuple. Peers choose tuples, so an unkeyed one would let them choose collisions.
//!
//! SipHash-1-3 (Aumasson and Bernstein, 2012) written out for keys of whole words, whose length the compiler knows: half
//! the instructions of one for any bytes, on the path of every packet. The tests compare it with `siphasher`.

use super::tuple::{Address, Tuple};

/// SipHash-1-3 under a key that is drawn once per table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TupleHasher {
    key: [u64; 2],
}

/// What the rounds of SipHash work on.
struct State([u64; 4]);

/// "somepseudorandomlygeneratedbytes", as the specification spells the start of the state.
const START: [u64; 4] =
    [0x736f_6d65_7073_6575, 0x646f_7261_6e64_6f6d, 0x6c79_6765_6e65_7261, 0x7465_6462_7974_6573];

impl TupleHasher {
    pub(crate) fn new(key: &[u8; 16]) -> TupleHasher {
        let (words, _) = key.as_chunks::<8>();
        TupleHasher { key: [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])] }
    }

    /// The upper half of the hash: what the index stores and places by.
    #[inline(always)]
    pub(crate) fn tag<A: Address>(&self, tuple: &Tuple<A>) -> u32 {
        (A::with_key(tuple, |bytes| self.hash(bytes)) >> 32) as u32
    }

    /// The hash of whole words.
    #[inline(always)]
    fn hash(&self, bytes: &[u8]) -> u64 {
        let (words, rest) = bytes.as_chunks::<8>();
        debug_assert!(rest.is_empty(), "keys are padded to whole words");
        let [k0, k1] = self.key;
        let mut state = State([START[0] ^ k0, START[1] ^ k1, START[2] ^ k0, START[3] ^ k1]);
        for word in words {
            state.take(u64::from_le_bytes(*word));
        }
        state.take((bytes.len() as u64) << 56);
        state.finish()
    }
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

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    use super::*;
    use crate::packet::Protocol;

    fn reference<A: Address>(key: &[u8; 16], tuple: &Tuple<A>) -> u32 {
        (A::with_key(tuple, |bytes| SipHasher13::new_with_key(key).hash(bytes)) >> 32) as u32
    }

    proptest! {
        #[test]
        fn agrees_with_somebody_elses_siphash(
            key: [u8; 16], addresses: [u128; 2], ports: [u16; 2], protocol: u8
        ) {
            let (hasher, [a, b], protocol) = (TupleHasher::new(&key), addresses, Protocol(protocol));
            let v4 = |bits: u128| Ipv4Addr::from_bits(bits as u32);
            let v4 = Tuple::ports(protocol, (v4(a), ports[0]), (v4(b), ports[1]));
            let v6 = Tuple::ports(protocol, (Ipv6Addr::from(a), ports[0]), (Ipv6Addr::from(b), ports[1]));
            prop_assert_eq!(hasher.tag(&v4), reference(&key, &v4));
            prop_assert_eq!(hasher.tag(&v6), reference(&key, &v6));
        }
    }
}
