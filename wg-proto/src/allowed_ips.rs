//! Cryptokey routing: which peer owns an inner address. One table over all peers, longest prefix first, so that
//! nobody can speak for a more specific prefix of somebody else.
//! Read first: whitepaper §2. Called by device for sources and destinations alike.

use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use crate::index::PeerIndex;

/// Prefixes and their owners. Prefixes are stored masked; each has exactly one owner.
#[derive(Default)]
pub(crate) struct AllowedIps {
    v4: PrefixMap<Ipv4Net, PeerIndex>,
    v6: PrefixMap<Ipv6Net, PeerIndex>,
}

impl AllowedIps {
    /// Gives `prefix` to `peer`. Returns who had exactly this prefix before: a prefix moves in one step.
    pub(crate) fn insert(&mut self, prefix: IpNet, peer: PeerIndex) -> Option<PeerIndex> {
        match prefix {
            IpNet::V4(prefix) => self.v4.insert(prefix.trunc(), peer),
            IpNet::V6(prefix) => self.v6.insert(prefix.trunc(), peer),
        }
    }

    /// Takes `prefix` from `peer`. Does nothing if it belongs to somebody else.
    pub(crate) fn remove(&mut self, prefix: IpNet, peer: PeerIndex) -> bool {
        match prefix.trunc() {
            IpNet::V4(prefix) => self.v4.get(&prefix) == Some(&peer) && self.v4.remove(&prefix).is_some(),
            IpNet::V6(prefix) => self.v6.get(&prefix) == Some(&peer) && self.v6.remove(&prefix).is_some(),
        }
    }

    /// The owner of the longest prefix that holds `addr`. No allocation.
    pub(crate) fn owner_of(&self, addr: IpAddr) -> Option<PeerIndex> {
        match addr {
            IpAddr::V4(addr) => self.v4.get_lpm(&Ipv4Net::from(addr)).map(|(_, peer)| *peer),
            IpAddr::V6(addr) => self.v6.get_lpm(&Ipv6Net::from(addr)).map(|(_, peer)| *peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
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

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn peer(slot: u32) -> PeerIndex {
        PeerIndex::new(slot)
    }

    #[test]
    fn p01_the_longest_prefix_over_all_peers_owns_an_address() {
        let mut table = AllowedIps::default();
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
        let mut table = AllowedIps::default();
        table.insert(net("10.1.2.3/8"), peer(1));
        assert_eq!(table.insert(net("10.9.9.9/8"), peer(2)), Some(peer(1)));
        assert!(table.remove(net("10.0.0.1/8"), peer(2)));
        assert_eq!(table.owner_of("10.0.0.1".parse().unwrap()), None);
    }

    #[test]
    fn a_prefix_is_removed_only_for_its_owner() {
        let mut table = AllowedIps::default();
        table.insert(net("10.0.0.0/8"), peer(1));
        assert!(!table.remove(net("10.0.0.0/8"), peer(2)));
        assert_eq!(table.owner_of("10.0.0.1".parse().unwrap()), Some(peer(1)));
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
            let (mut table, mut list) = (AllowedIps::default(), List::default());
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
