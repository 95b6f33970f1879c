//! The keyed hash of a tuple. Peers choose tuples, so an unkeyed one would let them choose collisions.

use siphasher::sip::SipHasher13;

use super::tuple::{Address, Tuple};

/// SipHash-1-3 under a key that is drawn once per table.
#[derive(Clone, Debug)]
pub(crate) struct TupleHasher(SipHasher13);

impl TupleHasher {
    pub(crate) fn new(key: &[u8; 16]) -> TupleHasher {
        TupleHasher(SipHasher13::new_with_key(key))
    }

    /// The upper half of the hash: what the index stores and places by.
    pub(crate) fn tag<A: Address>(&self, tuple: &Tuple<A>) -> u32 {
        (A::with_key(tuple, |bytes| self.0.hash(bytes)) >> 32) as u32
    }
}
