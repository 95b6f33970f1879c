//! Names of peers and of sessions, and the table that finds a session by the index a packet carries.

use hashbrown::HashTable;
use rand_core::Rng;

use crate::rng::DeviceRng;
use crate::session::RxKey;
use crate::siphash::SipHash;

/// A peer's slot in its device. Stable as long as the peer exists; reused, oldest first, after it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIndex(u32);

impl PeerIndex {
    /// The slot with this number.
    pub const fn new(slot: u32) -> PeerIndex {
        PeerIndex(slot)
    }

    /// The slot's number.
    pub const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn slot(self) -> usize {
        self.0 as usize
    }
}

/// The random number by which one side of a handshake or session is addressed in packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionIndex(u32);

impl SessionIndex {
    /// The index with this value.
    pub const fn new(value: u32) -> SessionIndex {
        SessionIndex(value)
    }

    /// The value.
    pub const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_le_bytes(bytes: [u8; 4]) -> SessionIndex {
        SessionIndex(u32::from_le_bytes(bytes))
    }

    pub(crate) const fn to_le_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }
}

/// A keyed hash, so that nobody outside can choose what collides.
#[derive(Clone)]
pub(crate) struct HashKey(SipHash);

impl HashKey {
    pub(crate) fn new(key: [u8; 16]) -> HashKey {
        HashKey(SipHash::new(&key))
    }

    /// The hash of the bytes.
    #[inline]
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        self.0.hash(bytes)
    }
}

/// What a session index stands for.
pub(crate) enum Holder {
    /// An initiation of ours that waits for its response.
    Handshake(PeerIndex),
    /// A session, with what opens its packets.
    Session(RxKey),
}

impl Holder {
    pub(crate) fn peer(&self) -> PeerIndex {
        match self {
            Holder::Handshake(peer) => *peer,
            Holder::Session(key) => key.peer(),
        }
    }
}

/// All session indices in use. At most four per peer (a handshake and three sessions), so the table is bounded
/// by the number of peers; lookups take constant time whatever indices strangers send.
pub(crate) struct SessionTable {
    entries: HashTable<(SessionIndex, Holder)>,
    hash_key: HashKey,
}

impl SessionTable {
    pub(crate) fn new(hash_key: HashKey) -> SessionTable {
        SessionTable { entries: HashTable::new(), hash_key }
    }

    pub(crate) fn get(&self, index: SessionIndex) -> Option<&Holder> {
        self.entries.find(self.hash(index), |entry| entry.0 == index).map(|(_, holder)| holder)
    }

    /// A random index nobody holds. With a million peers a draw fails once in a thousand.
    pub(crate) fn draw(&self, rng: &mut DeviceRng) -> SessionIndex {
        loop {
            let index = SessionIndex(rng.next_u32());
            if self.get(index).is_none() {
                return index;
            }
        }
    }

    /// Gives `index` to `holder`; a handshake's index passes on to its session this way.
    pub(crate) fn insert(&mut self, index: SessionIndex, holder: Holder) {
        self.remove(index);
        let (hash, hash_key) = (self.hash(index), &self.hash_key);
        self.entries.insert_unique(hash, (index, holder), |entry| hash_key.hash(&entry.0.to_le_bytes()));
    }

    /// Frees `index`. Does nothing if nobody holds it.
    pub(crate) fn remove(&mut self, index: SessionIndex) {
        let hash = self.hash(index);
        if let Ok(entry) = self.entries.find_entry(hash, |entry| entry.0 == index) {
            entry.remove();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn hash(&self, index: SessionIndex) -> u64 {
        self.hash_key.hash(&index.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_unique_while_held_and_free_afterwards() {
        let mut rng = DeviceRng::new([7; 32]);
        let mut table = SessionTable::new(HashKey::new([1; 16]));
        let held: alloc::vec::Vec<_> = (0..1000)
            .map(|peer| {
                let index = table.draw(&mut rng);
                assert!(table.get(index).is_none());
                table.insert(index, Holder::Handshake(PeerIndex::new(peer)));
                index
            })
            .collect();
        assert_eq!(table.len(), 1000);
        held.iter().for_each(|index| table.remove(*index));
        assert_eq!(table.len(), 0);
    }
}
