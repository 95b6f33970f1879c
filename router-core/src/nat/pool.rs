//! External addresses: which pools there are, and which address a host gets.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use wg_proto::SipHash;

use super::space::PortSpace;
use crate::flow::{Address, Tuple};
use crate::packet::Protocol;

// Our own choice.

/// The most addresses a pool may have: a new flow looks at each of them once.
pub const POOL_ADDRESSES_MAX: usize = 256;

/// Names a pool of external addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u16);

/// When an inside end keeps its external port. MAP-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mapping {
    /// Whoever it talks to: for peer-to-peer protocols. RFC 4787 REQ-1. Each port has one inside end.
    EndpointIndependent,
    /// Per far end: once all ports are in use, a port is given again towards another far end.
    PerDestination,
}

/// Why a pool is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// More than [`POOL_ADDRESSES_MAX`].
    #[error("a pool has at most {POOL_ADDRESSES_MAX} addresses")]
    TooManyAddresses,
    /// Another pool uses one of the addresses with the other mapping.
    #[error("an address is in a pool with another mapping")]
    MappingDiffers,
}

/// All pools and external addresses of one IP version.
#[derive(Debug)]
pub(super) struct Pools<A> {
    pools: BTreeMap<PoolId, Pool<A>>,
    /// Ascending. They are few, and each new flow searches them.
    externals: Vec<External<A>>,
    hasher: SipHash,
}

#[derive(Debug)]
pub(super) struct Pool<A> {
    addresses: Vec<A>,
    /// Of each address, so that a new flow hashes its host only.
    hashes: Vec<u64>,
    pub(super) mapping: Mapping,
}

/// One external address. It outlives its pools while flows use it, so that a port given back goes where it came from.
#[derive(Debug)]
pub(super) struct External<A> {
    address: A,
    spaces: [Option<Box<PortSpace<A>>>; 3],
    flows_used: u32,
}

impl<A: Address> Pools<A> {
    pub(super) fn new(key: &[u8; 16]) -> Pools<A> {
        Pools { pools: BTreeMap::new(), externals: Vec::new(), hasher: SipHash::new(key) }
    }

    /// Adds a pool or changes one. Flows keep the addresses and ports they have.
    pub(super) fn set(&mut self, id: PoolId, addresses: &[A], mapping: Mapping) -> Result<(), PoolError> {
        if addresses.len() > POOL_ADDRESSES_MAX {
            return Err(PoolError::TooManyAddresses);
        }
        let differs = |(other, pool): (&PoolId, &Pool<A>)| {
            *other != id && pool.mapping != mapping && pool.addresses.iter().any(|a| addresses.contains(a))
        };
        if self.pools.iter().any(differs) {
            return Err(PoolError::MappingDiffers);
        }
        let hashes = addresses.iter().map(|address| self.hash(*address)).collect();
        self.pools.insert(id, Pool { addresses: addresses.to_vec(), hashes, mapping });
        self.forget_unused();
        Ok(())
    }

    pub(super) fn remove(&mut self, id: PoolId) {
        self.pools.remove(&id);
        self.forget_unused();
    }

    pub(super) fn pool(&self, id: PoolId) -> Option<&Pool<A>> {
        self.pools.get(&id)
    }

    /// The one external address that this host has in the pool. MAP-2: chosen by a keyed hash of host and address, the
    /// highest wins, so that nothing need be remembered and an added address moves few hosts.
    pub(super) fn address_for(&self, pool: &Pool<A>, host: A) -> Option<A> {
        if let [only] = *pool.addresses {
            return Some(only);
        }
        let (host, first) = (self.hash(host), *pool.addresses.first()?);
        let weights = pool.hashes.iter().map(|hash| weight(host ^ hash));
        let highest = |(most, chosen), (weight, address): (u64, &A)| {
            if weight > most { (weight, *address) } else { (most, chosen) }
        };
        Some(weights.zip(&pool.addresses).fold((0, first), highest).1)
    }

    /// An address of a pool, with its ports, which are made when first needed.
    pub(super) fn external(&mut self, address: A) -> &mut External<A> {
        let place = self.place_of(address).unwrap_or_else(|place| {
            self.externals.insert(place, External::new(address));
            place
        });
        &mut self.externals[place]
    }

    /// The ports of an address and protocol, if any was ever taken.
    pub(super) fn existing_space_mut(&mut self, address: A, protocol: Protocol) -> Option<&mut PortSpace<A>> {
        let place = self.place_of(address).ok()?;
        self.externals[place].spaces[space_index(protocol)?].as_deref_mut()
    }

    /// As [`existing_space_mut`](Pools::existing_space_mut), to look at.
    pub(super) fn existing_space(&self, address: A, protocol: Protocol) -> Option<&PortSpace<A>> {
        let place = self.place_of(address).ok()?;
        self.externals[place].spaces[space_index(protocol)?].as_deref()
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn spaces_mut(&mut self) -> impl Iterator<Item = &mut PortSpace<A>> {
        self.externals.iter_mut().flat_map(|external| &mut external.spaces).flatten().map(Box::as_mut)
    }

    /// One flow fewer has a port of the address, which goes with the last one if no pool has it.
    pub(super) fn remove_flow(&mut self, address: A) {
        let Ok(place) = self.place_of(address) else { return };
        let external = &mut self.externals[place];
        external.flows_used = external.flows_used.saturating_sub(1);
        if external.flows_used == 0 && !is_pooled(&self.pools, address) {
            self.externals.remove(place);
        }
    }

    /// Where the address stands, or where it belongs.
    fn place_of(&self, address: A) -> Result<usize, usize> {
        self.externals.binary_search_by_key(&address, |external| external.address)
    }

    fn forget_unused(&mut self) {
        let pools = &self.pools;
        self.externals.retain(|external| external.flows_used > 0 || is_pooled(pools, external.address));
    }

    fn hash(&self, address: A) -> u64 {
        A::with_key(&Tuple::portless(Protocol(0), address, address), |bytes| self.hasher.hash(bytes))
    }
}

impl<A: Copy + Ord> External<A> {
    fn new(address: A) -> External<A> {
        External { address, spaces: [const { None }; 3], flows_used: 0 }
    }

    /// The ports of a protocol, made when first needed.
    pub(super) fn space(&mut self, protocol: Protocol) -> Option<&mut PortSpace<A>> {
        let space = &mut self.spaces[space_index(protocol)?];
        Some(space.get_or_insert_with(|| Box::new(PortSpace::new())))
    }

    /// One more flow has one of its ports.
    pub(super) fn add_flow(&mut self) {
        self.flows_used += 1;
    }
}

/// Orders addresses anew for each host. The bits come from a keyed hash, so nobody can choose them, and one multiplication
/// brings all of them to bear on the upper ones, which decide.
const fn weight(bits: u64) -> u64 {
    bits.wrapping_mul(0xd6e8_feb8_6659_fd93)
}

fn is_pooled<A: Address>(pools: &BTreeMap<PoolId, Pool<A>>, address: A) -> bool {
    pools.values().any(|pool| pool.addresses.contains(&address))
}

/// Which protocols have ports to choose from.
fn space_index(protocol: Protocol) -> Option<usize> {
    match protocol {
        Protocol::TCP => Some(0),
        Protocol::UDP => Some(1),
        Protocol::ICMP | Protocol::ICMPV6 => Some(2),
        Protocol(_) => None,
    }
}

/// Whether flows of this protocol have a port, or an identifier that stands for one.
pub(super) fn has_ports(protocol: Protocol) -> bool {
    space_index(protocol).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    use core::net::Ipv4Addr;

    const OLD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const NEW: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    fn pools() -> Pools<Ipv4Addr> {
        let mut pools = Pools::new(&[1; 16]);
        pools.set(PoolId(1), &[OLD], Mapping::PerDestination).unwrap();
        pools.external(OLD).space(Protocol::TCP).unwrap();
        pools
    }

    #[test]
    fn an_address_without_pool_and_flows_takes_no_memory() {
        let mut pools = pools();
        assert!(pools.existing_space(OLD, Protocol::TCP).is_some());
        pools.set(PoolId(1), &[NEW], Mapping::PerDestination).unwrap();
        assert!(pools.existing_space(OLD, Protocol::TCP).is_none());
    }

    #[test]
    fn an_address_without_pool_stays_until_its_last_flow_goes() {
        let mut pools = pools();
        (0..2).for_each(|_| pools.external(OLD).add_flow());
        pools.remove(PoolId(1));
        for is_there in [true, false] {
            pools.remove_flow(OLD);
            assert_eq!(pools.existing_space(OLD, Protocol::TCP).is_some(), is_there);
        }
    }

    #[test]
    fn an_address_of_a_pool_stays_without_flows() {
        let mut pools = pools();
        pools.external(OLD).add_flow();
        pools.remove_flow(OLD);
        assert!(pools.existing_space(OLD, Protocol::TCP).is_some());
    }
}
