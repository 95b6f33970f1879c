//! All destinations of a target.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::destination::Destination;
use crate::packet::Protocol;

/// The most destinations of a target.
pub const DESTINATIONS_MAX: usize = 256;

/// The destinations of a target: 1 to [`DESTINATIONS_MAX`], no two of which one packet could mean.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destinations(Box<[Destination]>);

/// Why destinations are refused. Numbers count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DestinationsError {
    /// None.
    #[error("a target has at least one destination")]
    Empty,
    /// More than [`DESTINATIONS_MAX`].
    #[error("a target has at most {DESTINATIONS_MAX} destinations, this one has {count}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// One packet could mean two of them.
    #[error("dst[{second}].selector overlaps dst[{first}].selector: a packet must mean one destination")]
    Overlap {
        /// The earlier one.
        first: usize,
        /// The later one.
        second: usize,
    },
}

impl Destinations {
    /// These destinations, in their order.
    pub fn new(all: Vec<Destination>) -> Result<Destinations, DestinationsError> {
        if all.is_empty() {
            return Err(DestinationsError::Empty);
        }
        if all.len() > DESTINATIONS_MAX {
            return Err(DestinationsError::TooMany { count: all.len() });
        }
        for (second, later) in all.iter().enumerate() {
            let meets = |earlier: &Destination| earlier.selector().overlaps(later.selector());
            if let Some(first) = all[..second].iter().position(meets) {
                return Err(DestinationsError::Overlap { first, second });
            }
        }
        Ok(Destinations(all.into()))
    }

    /// In their order.
    pub fn as_slice(&self) -> &[Destination] {
        &self.0
    }

    /// The one that a packet means, and its place.
    pub fn selecting(
        &self,
        destination: IpAddr,
        protocol: Protocol,
        port: u16,
    ) -> Option<(usize, &Destination)> {
        let is_meant = |at: &Destination| at.selector().matches(destination, protocol, port);
        self.0.iter().enumerate().find(|(_, at)| is_meant(at))
    }

    /// Whether one packet could mean one of each. DESIGN decision 2: what clients send is compared, before translation.
    pub fn overlap(&self, other: &Destinations) -> bool {
        self.0.iter().any(|one| other.0.iter().any(|other| one.selector().overlaps(other.selector())))
    }

    /// Whether any of them can be reached from a client IP of this version.
    pub fn has_version_of(&self, client_ip: IpAddr) -> bool {
        self.0.iter().any(|at| at.selector().ip().start().is_ipv4() == client_ip.is_ipv4())
    }

    /// Whether both are the same in any order.
    pub fn are_same(&self, other: &Destinations) -> bool {
        // No two of either overlap, so none stands twice.
        self.0.len() == other.0.len() && self.0.iter().all(|one| other.0.contains(one))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::access::tests::{ip, plain};

    #[test]
    fn destinations_do_not_overlap_and_the_error_says_which_two_do() {
        let (a, b, c) = (plain("10.0.0.1", 22), plain("10.0.0.1", 23), plain("10.0.0.0-10.0.0.9", 23));
        assert_eq!(Destinations::new(vec![a, b]).unwrap().as_slice(), [a, b]);
        let refused = Destinations::new(vec![a, b, c]);
        assert_eq!(refused, Err(DestinationsError::Overlap { first: 1, second: 2 }));
        let refused = Destinations::new(vec![a, c, a]);
        assert_eq!(refused, Err(DestinationsError::Overlap { first: 0, second: 2 }));
    }

    #[test]
    fn a_target_has_1_to_256_destinations() {
        let many = |count: u16| Destinations::new((0..count).map(|port| plain("10.0.0.1", port)).collect());
        assert_eq!(many(0), Err(DestinationsError::Empty));
        assert!(many(1).is_ok() && many(256).is_ok());
        assert_eq!(many(257), Err(DestinationsError::TooMany { count: 257 }));
    }

    #[test]
    fn a_packet_means_at_most_one_destination() {
        let all = Destinations::new(vec![plain("10.0.0.1", 22), plain("10.0.0.1", 23)]).unwrap();
        let place = |port| all.selecting(ip("10.0.0.1"), Protocol::TCP, port).map(|(place, _)| place);
        assert_eq!([22, 23, 24].map(place), [Some(0), Some(1), None]);
    }

    #[test]
    fn the_order_makes_no_difference() {
        let (a, b, c) = (plain("10.0.0.1", 22), plain("10.0.0.1", 23), plain("fd00::1", 22));
        let all = |list: &[Destination]| Destinations::new(list.to_vec()).unwrap();
        assert!(all(&[a, b]).are_same(&all(&[b, a])));
        assert!(!all(&[a, b]).are_same(&all(&[a, c])));
        assert!(!all(&[a]).are_same(&all(&[a, b])) && !all(&[a, b]).are_same(&all(&[a])));
        assert!(all(&[a, b]).overlap(&all(&[c, b])) && !all(&[a, b]).overlap(&all(&[c])));
        assert!(all(&[a, c]).has_version_of(ip("fd77::1")) && !all(&[a]).has_version_of(ip("fd77::1")));
    }
}
