//! Cryptokey routing: which peer owns an inner address. One table over all peers, longest prefix first, so that
//! nobody can speak for a more specific prefix of somebody else.
//! Read first: whitepaper §2. Called by device for sources and destinations alike.

use core::net::IpAddr;

use alloc::vec::Vec;

use hashbrown::HashTable;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::index::{HashKey, PeerIndex};

/// Prefixes and their owners. Prefixes are stored masked; each has exactly one owner.
pub(crate) struct AllowedIps {
    v4: Prefixes<[u8; 4]>,
    v6: Prefixes<[u8; 16]>,
    changes: u64,
}

impl AllowedIps {
    pub(crate) fn new(hash_key: HashKey) -> AllowedIps {
        AllowedIps { v4: Prefixes::new(hash_key.clone()), v6: Prefixes::new(hash_key), changes: 0 }
    }

    /// Gives `prefix` to `peer`. Returns who had exactly this prefix before: a prefix moves in one step.
    pub(crate) fn insert(&mut self, prefix: IpNet, peer: PeerIndex) -> Option<PeerIndex> {
        self.changes += 1;
        match prefix {
            IpNet::V4(prefix) => self.v4.insert(prefix.into(), peer),
            IpNet::V6(prefix) => self.v6.insert(prefix.into(), peer),
        }
    }

    /// Takes `prefix` from `peer`. Does nothing if it belongs to somebody else.
    pub(crate) fn remove(&mut self, prefix: IpNet, peer: PeerIndex) -> bool {
        self.changes += 1;
        match prefix {
            IpNet::V4(prefix) => self.v4.remove(prefix.into(), peer),
            IpNet::V6(prefix) => self.v6.remove(prefix.into(), peer),
        }
    }

    /// The owner of the longest prefix that holds `addr`. No allocation.
    #[inline]
    pub(crate) fn owner_of(&self, addr: IpAddr) -> Option<PeerIndex> {
        match addr {
            IpAddr::V4(addr) => self.v4.longest(addr.octets()),
            IpAddr::V6(addr) => self.v6.longest(addr.octets()),
        }
    }

    /// How often anything has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }
}

/// An address of one family.
trait Octets: Copy + Eq {
    /// Its first `len` bits, the others 0.
    fn cut(self, len: u8) -> Self;

    /// The hash of the prefix of `len` bits, over as few bytes as say it.
    fn hash(&self, len: u8, hash_key: &HashKey) -> u64;
}

impl Octets for [u8; 4] {
    #[inline]
    fn cut(self, len: u8) -> [u8; 4] {
        let mask = u32::MAX.checked_shl(u32::BITS - u32::from(len)).unwrap_or(0);
        (u32::from_be_bytes(self) & mask).to_be_bytes()
    }

    #[inline]
    fn hash(&self, len: u8, hash_key: &HashKey) -> u64 {
        let [a, b, c, d] = *self;
        hash_key.hash(&[a, b, c, d, len])
    }
}

impl Octets for [u8; 16] {
    #[inline]
    fn cut(self, len: u8) -> [u8; 16] {
        let mask = u128::MAX.checked_shl(u128::BITS - u32::from(len)).unwrap_or(0);
        (u128::from_be_bytes(self) & mask).to_be_bytes()
    }

    #[inline]
    fn hash(&self, len: u8, hash_key: &HashKey) -> u64 {
        let mut bytes = [len; 17];
        bytes[..16].copy_from_slice(self);
        hash_key.hash(&bytes)
    }
}

/// A masked prefix: its address, and how many bits of that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix<A> {
    address: A,
    len: u8,
}

impl<A: Octets> Prefix<A> {
    /// The prefix of `len` bits that holds an address.
    #[inline]
    fn of(address: A, len: u8) -> Prefix<A> {
        Prefix { address: address.cut(len), len }
    }

    #[inline]
    fn hash(&self, hash_key: &HashKey) -> u64 {
        self.address.hash(self.len, hash_key)
    }
}

impl From<Ipv4Net> for Prefix<[u8; 4]> {
    fn from(prefix: Ipv4Net) -> Prefix<[u8; 4]> {
        Prefix::of(prefix.addr().octets(), prefix.prefix_len())
    }
}

impl From<Ipv6Net> for Prefix<[u8; 16]> {
    fn from(prefix: Ipv6Net) -> Prefix<[u8; 16]> {
        Prefix::of(prefix.addr().octets(), prefix.prefix_len())
    }
}

/// The prefixes of one family in one table, asked once for each *length* that occurs, longest first. Few lengths
/// occur (host routes, a subnet or two, a default), so this takes one or two probes whatever the number of
/// prefixes; at most 33 (IPv4) or 129 (IPv6) if somebody configures them all.
struct Prefixes<A> {
    table: HashTable<(Prefix<A>, PeerIndex)>,
    /// The lengths that occur, longest first, each with the number of its prefixes.
    lengths: Vec<(u8, usize)>,
    hash_key: HashKey,
}

impl<A: Octets> Prefixes<A> {
    const fn new(hash_key: HashKey) -> Prefixes<A> {
        Prefixes { table: HashTable::new(), lengths: Vec::new(), hash_key }
    }

    #[inline]
    fn longest(&self, address: A) -> Option<PeerIndex> {
        self.lengths.iter().find_map(|(len, _)| self.get(&Prefix::of(address, *len)))
    }

    #[inline]
    fn get(&self, prefix: &Prefix<A>) -> Option<PeerIndex> {
        self.table.find(prefix.hash(&self.hash_key), |entry| entry.0 == *prefix).map(|entry| entry.1)
    }

    fn insert(&mut self, prefix: Prefix<A>, peer: PeerIndex) -> Option<PeerIndex> {
        let hash = prefix.hash(&self.hash_key);
        if let Some(entry) = self.table.find_mut(hash, |entry| entry.0 == prefix) {
            return Some(core::mem::replace(&mut entry.1, peer));
        }
        let hash_key = &self.hash_key;
        self.table.insert_unique(hash, (prefix, peer), |entry| entry.0.hash(hash_key));
        match self.place_of(prefix.len) {
            Ok(at) => self.lengths[at].1 += 1,
            Err(at) => self.lengths.insert(at, (prefix.len, 1)),
        }
        None
    }

    fn remove(&mut self, prefix: Prefix<A>, peer: PeerIndex) -> bool {
        let hash = prefix.hash(&self.hash_key);
        let Ok(entry) = self.table.find_entry(hash, |entry| *entry == (prefix, peer)) else {
            return false;
        };
        entry.remove();
        if let Ok(at) = self.place_of(prefix.len) {
            self.lengths[at].1 -= 1;
            self.lengths.retain(|(_, count)| *count > 0);
        }
        true
    }

    /// Where `len` stands among the lengths, or where it belongs.
    fn place_of(&self, len: u8) -> Result<usize, usize> {
        self.lengths.binary_search_by(|(other, _)| len.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    /// The slow twin: a list, searched from end to end.
    #[derive(Default)]
    struct List(Vec<(IpNet, PeerIndex)>);

    impl List {
        fn insert(&mut self, prefix: IpNet, peer: PeerIndex) -> Option<PeerIndex> {
            let prefix = prefix.trunc();
            let old = self.0.iter().position(|entry| entry.0 == prefix).map(|at| self.0.swap_remove(at).1);
            self.0.push((prefix, peer));
            old
        }

        fn remove(&mut self, prefix: IpNet, peer: PeerIndex) -> bool {
            let before = self.0.len();
            self.0.retain(|entry| *entry != (prefix.trunc(), peer));
            self.0.len() < before
        }

        fn owner_of(&self, addr: IpAddr) -> Option<PeerIndex> {
            let holding = self.0.iter().filter(|entry| entry.0.contains(&addr));
            holding.max_by_key(|entry| entry.0.prefix_len()).map(|entry| entry.1)
        }
    }

    fn table() -> AllowedIps {
        AllowedIps::new(HashKey::new([3; 16]))
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn peer(slot: u32) -> PeerIndex {
        PeerIndex::new(slot)
    }

    #[test]
    fn p01_the_longest_prefix_over_all_peers_owns_an_address() {
        let mut table = table();
        for (prefix, owner) in
            [("0.0.0.0/0", 1), ("10.0.0.0/8", 2), ("10.1.2.3/32", 3), ("::/0", 4), ("2001:db8::/64", 5)]
        {
            table.insert(net(prefix), peer(owner));
        }
        for (addr, owner) in [
            ("192.0.2.1", 1),
            ("10.255.0.1", 2),
            ("10.1.2.3", 3),
            ("10.1.2.4", 2),
            ("2001:db8::1", 5),
            ("2001:db8:0:1::", 4),
            ("::ffff:10.1.2.3", 4),
        ] {
            assert_eq!(table.owner_of(addr.parse().unwrap()), Some(peer(owner)), "{addr}");
        }
    }

    #[test]
    fn prefixes_are_stored_masked() {
        let mut table = table();
        table.insert(net("10.1.2.3/8"), peer(1));
        assert_eq!(table.insert(net("10.9.9.9/8"), peer(2)), Some(peer(1)));
        assert!(table.remove(net("10.0.0.1/8"), peer(2)));
        assert_eq!(table.owner_of("10.0.0.1".parse().unwrap()), None);
    }

    #[test]
    fn a_prefix_is_removed_only_for_its_owner() {
        let mut table = table();
        table.insert(net("10.0.0.0/8"), peer(1));
        assert!(!table.remove(net("10.0.0.0/8"), peer(2)));
        assert_eq!(table.owner_of("10.0.0.1".parse().unwrap()), Some(peer(1)));
    }

    #[test]
    fn only_lengths_that_occur_are_asked_longest_first() {
        let mut table = table();
        for prefix in ["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16", "0.0.0.0/0", "10.0.0.1/32"] {
            table.insert(net(prefix), peer(1));
        }
        assert_eq!(table.v4.lengths, [(32, 1), (16, 2), (8, 1), (0, 1)]);
        table.remove(net("10.0.0.0/8"), peer(1));
        table.remove(net("10.1.0.0/16"), peer(1));
        table.insert(net("10.2.0.0/16"), peer(2));
        assert_eq!(table.v4.lengths, [(32, 1), (16, 1), (0, 1)]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(IpNet, u32),
        Remove(IpNet, u32),
        Ask(IpAddr),
    }

    /// Few distinct bits, so that prefixes nest and collide.
    fn addr() -> impl Strategy<Value = IpAddr> {
        let v4 = (0u8..2, 0u8..3, 0u8..4).prop_map(|(a, b, c)| IpAddr::from(Ipv4Addr::new(10, a, b << 6, c)));
        let v6 = (0u16..2, 0u16..3, 0u16..4)
            .prop_map(|(a, b, c)| IpAddr::from(Ipv6Addr::new(0x2001, a, b << 14, 0, 0, 0, 0, c)));
        prop_oneof![v4, v6]
    }

    fn prefix() -> impl Strategy<Value = IpNet> {
        (addr(), any::<u8>()).prop_map(|(addr, len)| {
            let max = if addr.is_ipv4() { 32 } else { 128 };
            IpNet::new(addr, len % (max + 1)).unwrap()
        })
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (prefix(), 0u32..4).prop_map(|(prefix, peer)| Step::Insert(prefix, peer)),
            2 => (prefix(), 0u32..4).prop_map(|(prefix, peer)| Step::Remove(prefix, peer)),
            4 => addr().prop_map(Step::Ask),
        ]
    }

    proptest! {
        #[test]
        fn p01_owners_agree_with_the_slow_twin(steps in prop::collection::vec(step(), 1..200)) {
            let (mut table, mut list) = (table(), List::default());
            for step in steps {
                match step {
                    Step::Insert(prefix, owner) => {
                        prop_assert_eq!(table.insert(prefix, peer(owner)), list.insert(prefix, peer(owner)));
                    }
                    Step::Remove(prefix, owner) => {
                        prop_assert_eq!(table.remove(prefix, peer(owner)), list.remove(prefix, peer(owner)));
                    }
                    Step::Ask(addr) => prop_assert_eq!(table.owner_of(addr), list.owner_of(addr), "{}", addr),
                }
            }
        }
    }
}
