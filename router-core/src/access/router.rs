//! Routers, and the pools that client IPs come from. Routers with one pool are a group: a session is at all of them.

use alloc::vec::Vec;
use core::net::IpAddr;

use wg_proto::IpNet;

use super::id::RouterId;
use super::name::Name;

/// The most prefixes of a pool.
const PREFIXES_MAX: usize = 64;

/// A node that enforces sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// Which.
    pub id: RouterId,
    /// What it is called.
    pub name: Name,
    /// What stands behind it.
    pub kind: RouterKind,
    /// The client IPs that it serves.
    pub client_ip_pool: Pool,
    /// Whether clients of another VPN gateway are served: addresses of the pool that are no device's.
    pub external_clients: bool,
}

/// What a router is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouterKind {
    /// The one in the server's process.
    Embedded,
    /// A program of ours elsewhere.
    Sluice,
    /// Writes down what it would do, and does nothing.
    Logger,
}

/// Prefixes that client IPs come from: sorted, disjoint, as few as say it, without host bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pool(Vec<IpNet>);

/// Why a pool is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// No prefix.
    #[error("a pool has at least one prefix")]
    Empty,
    /// More than 64.
    #[error("a pool has at most {PREFIXES_MAX} prefixes")]
    TooManyPrefixes,
    /// Bits behind the prefix length: a network and an address of it are two things.
    #[error("{prefix} has host bits: did you mean {}?", prefix.trunc())]
    HostBits {
        /// Which.
        prefix: IpNet,
    },
}

/// Two pools that share addresses and are not equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{one} and {other} overlap: pools of two routers are equal or have no address in common")]
pub struct PartialOverlap {
    /// A prefix of one pool.
    pub one: IpNet,
    /// The prefix of the other pool that meets it.
    pub other: IpNet,
}

impl Pool {
    /// The pool of these prefixes, in any order.
    pub fn new(mut prefixes: Vec<IpNet>) -> Result<Pool, PoolError> {
        if prefixes.is_empty() {
            return Err(PoolError::Empty);
        }
        if prefixes.len() > PREFIXES_MAX {
            return Err(PoolError::TooManyPrefixes);
        }
        if let Some(prefix) = prefixes.iter().find(|prefix| prefix.trunc() != **prefix) {
            return Err(PoolError::HostBits { prefix: *prefix });
        }
        prefixes.sort_unstable();
        let mut aggregated = IpNet::aggregate(&prefixes);
        aggregated.sort_unstable();
        Ok(Pool(aggregated))
    }

    /// Its prefixes, sorted.
    pub fn prefixes(&self) -> &[IpNet] {
        &self.0
    }

    /// Whether this address is one of it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|prefix| prefix.contains(&address))
    }
}

/// Whether two routers may have these pools: equal ones make them a group, others must not meet.
pub fn pools_agree(one: &Pool, other: &Pool) -> Result<(), PartialOverlap> {
    if one == other {
        return Ok(());
    }
    let pairs = one.0.iter().flat_map(|a| other.0.iter().map(move |b| (a, b)));
    match pairs.into_iter().find(|(a, b)| a.contains(*b) || b.contains(*a)) {
        Some((one, other)) => Err(PartialOverlap { one: *one, other: *other }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn pool(prefixes: &[&str]) -> Pool {
        Pool::new(prefixes.iter().map(|text| net(text)).collect()).unwrap()
    }

    #[test]
    fn one_set_of_addresses_is_one_pool_however_it_is_written() {
        let halves = pool(&["10.0.0.128/25", "fd00::/64", "10.0.0.0/25", "10.0.0.7/32"]);
        assert_eq!(halves, pool(&["fd00::/64", "10.0.0.0/24"]));
        assert_eq!(halves.prefixes().len(), 2);
        assert!(halves.contains("10.0.0.200".parse().unwrap()));
        assert!(!halves.contains("10.0.1.0".parse().unwrap()));
    }

    #[test]
    fn a_pool_is_legal_by_birth() {
        assert_eq!(Pool::new(vec![]), Err(PoolError::Empty));
        assert_eq!(Pool::new(vec![net("10.0.0.0/24"); 65]), Err(PoolError::TooManyPrefixes));
        let prefix = net("10.0.0.1/24");
        assert_eq!(Pool::new(vec![prefix]), Err(PoolError::HostBits { prefix }));
    }

    #[test]
    fn pools_are_disjoint_or_equal() {
        let one = pool(&["10.0.0.0/24", "fd00::/64"]);
        for (other, agrees) in [
            (pool(&["fd00::/64", "10.0.0.0/24"]), true),
            (pool(&["10.0.1.0/24", "fd00:1::/64"]), true),
            (pool(&["10.0.0.0/24"]), false),
            (pool(&["10.0.0.0/16"]), false),
            (pool(&["10.0.0.7/32"]), false),
            (pool(&["10.0.1.0/24", "fd00::/65"]), false),
        ] {
            assert_eq!(pools_agree(&one, &other).is_ok(), agrees, "{other:?}");
            assert_eq!(pools_agree(&other, &one).is_ok(), agrees, "{other:?}");
        }
    }
}
