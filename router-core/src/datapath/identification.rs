//! IPv4 identification of datagrams that leave from a shared address (MAP-11). Read first: RFC 6864 section 5.3,
//! RFC 7739.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use wg_proto::SipHash;

// Our own choice.

/// Counters. Pairs of addresses whose hashes meet share one, so that none can watch another through it for sure.
const COUNTERS: usize = 1024;

/// Counters by pair of addresses, so that hosts behind one address never use one identification at the same time.
#[derive(Debug)]
pub(super) struct Identifications {
    counters: Box<[u16]>,
    hasher: SipHash,
}

impl Identifications {
    pub(super) fn new(seed: [u8; 32]) -> Identifications {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut key = [0; 16];
        random.fill_bytes(&mut key);
        let counters: Vec<u16> = (0..COUNTERS).map(|_| random.next_u32() as u16).collect();
        Identifications { counters: counters.into(), hasher: SipHash::new(&key) }
    }

    /// The next identification between these addresses.
    pub(super) fn next(&mut self, source: IpAddr, destination: IpAddr) -> u16 {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else { return 0 };
        let key = u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits());
        let place = self.hasher.hash(&key.to_ne_bytes()) % COUNTERS as u64;
        let counter = &mut self.counters[place as usize];
        *counter = counter.wrapping_add(1);
        *counter
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    #[test]
    fn map_11_identifications_between_two_addresses_repeat_only_after_all_others() {
        let mut identifications = Identifications::new([1; 32]);
        let mut next =
            || identifications.next(Ipv4Addr::new(1, 2, 3, 4).into(), Ipv4Addr::new(5, 6, 7, 8).into());
        let first = next();
        assert!((0..65_535).all(|_| next() != first));
        assert_eq!(next(), first);
    }

    #[test]
    fn map_11_other_pairs_of_addresses_count_for_themselves() {
        let mut identifications = Identifications::new([1; 32]);
        let (host, others) =
            (Ipv4Addr::new(1, 2, 3, 4), [Ipv4Addr::new(5, 6, 7, 8), Ipv4Addr::new(5, 6, 7, 9)]);
        let mut next =
            |source: Ipv4Addr, destination: Ipv4Addr| identifications.next(source.into(), destination.into());
        let first = next(host, others[0]);
        for (source, destination) in [(host, others[1]), (others[0], host), (others[1], others[0])] {
            next(source, destination);
        }
        assert_eq!(next(host, others[0]), first.wrapping_add(1));
    }
}
