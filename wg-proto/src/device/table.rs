//! Peers by slot and by key.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::constants::PEERS_MAX;
use crate::index::{HashKey, PeerIndex};
use crate::key::PublicKey;
use crate::peer::Peer;

/// At most [`PEERS_MAX`] peers. Freed slots are used again oldest first, so that an index somebody forgot to
/// drop names a stranger as late as possible.
pub(crate) struct PeerTable {
    slots: Vec<Option<Box<Peer>>>,
    free: VecDeque<PeerIndex>,
    by_key: HashTable<(PublicKey, PeerIndex)>,
    hash_key: HashKey,
}

impl PeerTable {
    pub(crate) fn new(hash_key: HashKey) -> PeerTable {
        PeerTable { slots: Vec::new(), free: VecDeque::new(), by_key: HashTable::new(), hash_key }
    }

    /// Adds a peer whose key is not in the table. `None` when full.
    pub(crate) fn insert(&mut self, peer: Box<Peer>) -> Option<PeerIndex> {
        if self.len() >= PEERS_MAX {
            return None;
        }
        let key = peer.public_key;
        let index = match self.free.pop_front() {
            Some(index) => index,
            None => self.new_slot()?,
        };
        self.slots[index.slot()] = Some(peer);
        let (hash, hash_key) = (self.hash(&key), &self.hash_key);
        self.by_key.insert_unique(hash, (key, index), |entry| hash_key.hash(entry.0.as_bytes()));
        Some(index)
    }

    pub(crate) fn remove(&mut self, index: PeerIndex) -> Option<Box<Peer>> {
        let peer = self.slots.get_mut(index.slot())?.take()?;
        let hash = self.hash(&peer.public_key);
        if let Ok(entry) = self.by_key.find_entry(hash, |entry| entry.1 == index) {
            entry.remove();
        }
        self.free.push_back(index);
        Some(peer)
    }

    pub(crate) fn find(&self, key: &PublicKey) -> Option<PeerIndex> {
        self.by_key.find(self.hash(key), |entry| entry.0 == *key).map(|entry| entry.1)
    }

    pub(crate) fn get(&self, index: PeerIndex) -> Option<&Peer> {
        self.slots.get(index.slot())?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, index: PeerIndex) -> Option<&mut Peer> {
        self.slots.get_mut(index.slot())?.as_deref_mut()
    }

    /// The peers' indices, ascending.
    pub(crate) fn indices(&self) -> impl Iterator<Item = PeerIndex> {
        let occupied = (0u32..).zip(&self.slots).filter(|(_, slot)| slot.is_some());
        occupied.map(|(slot, _)| PeerIndex::new(slot))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// How many slots there are, free ones included.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    fn new_slot(&mut self) -> Option<PeerIndex> {
        let index = u32::try_from(self.slots.len()).ok().map(PeerIndex::new)?;
        self.slots.push(None);
        Some(index)
    }

    fn hash(&self, key: &PublicKey) -> u64 {
        self.hash_key.hash(key.as_bytes())
    }
}
