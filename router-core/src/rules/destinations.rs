//! The destinations of one session, immutable and sorted, so that finding one takes a binary search.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::rule::{Destination, EgressChoice, RuleError};
use crate::flow::Address;
use crate::nat;
use crate::packet::{Protocol, Version};
use crate::selector::{AddressRange, IpRange, PortRange, Selector};

/// All destinations of a session. A session has one source, so they are of one IP version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destinations {
    V4(Sorted<Ipv4Addr>),
    V6(Sorted<Ipv6Addr>),
}

/// Destinations of one version. Keys and actions lie apart: a search reads keys only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sorted<A> {
    keys: Box<[Key<A>]>,
    actions: Box<[Action<A>]>,
}

/// What a packet is compared with, ordered by where the addresses start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key<A> {
    range: AddressRange<A>,
    /// The highest end of this and all keys before: a search backwards stops where it is too low.
    end_max: A,
    ports: PortRange,
    /// `None`: any.
    protocol: Option<Protocol>,
}

/// What is done with a packet that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Action<A> {
    pub(crate) dnat: Option<nat::Dnat<A>>,
    pub(crate) egress: EgressChoice,
    /// Which destination of the rule it was.
    pub(crate) position: u16,
}

/// A destination that is one address, one protocol, one port: found by hash instead of by search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exact {
    pub(super) address: u128,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
}

/// An address version, to get from a number of the version to its destinations.
pub(crate) trait Selected: Address {
    fn of(destinations: &Destinations) -> Option<&Sorted<Self>>;
    fn range(ip: IpRange) -> Option<AddressRange<Self>>;
}

impl Selected for Ipv4Addr {
    #[inline]
    fn of(destinations: &Destinations) -> Option<&Sorted<Ipv4Addr>> {
        match destinations {
            Destinations::V4(sorted) => Some(sorted),
            Destinations::V6(_) => None,
        }
    }

    fn range(ip: IpRange) -> Option<AddressRange<Ipv4Addr>> {
        match ip {
            IpRange::V4(range) => Some(range),
            IpRange::V6(_) => None,
        }
    }
}

impl Selected for Ipv6Addr {
    #[inline]
    fn of(destinations: &Destinations) -> Option<&Sorted<Ipv6Addr>> {
        match destinations {
            Destinations::V6(sorted) => Some(sorted),
            Destinations::V4(_) => None,
        }
    }

    fn range(ip: IpRange) -> Option<AddressRange<Ipv6Addr>> {
        match ip {
            IpRange::V6(range) => Some(range),
            IpRange::V4(_) => None,
        }
    }
}

/// Memory of a destination of the larger version.
pub(super) const DESTINATION_BYTES: usize = size_of::<Key<Ipv6Addr>>() + size_of::<Action<Ipv6Addr>>();

impl Destinations {
    /// Compiles those destinations that are of `version`.
    pub(super) fn new(version: Version, all: &[Destination]) -> Result<Destinations, RuleError> {
        match version {
            Version::V4 => Sorted::new(all).map(Destinations::V4),
            Version::V6 => Sorted::new(all).map(Destinations::V6),
        }
    }

    /// The only destination, if it is exact.
    pub(super) fn exact(&self) -> Option<Exact> {
        match self {
            Destinations::V4(sorted) => sorted.exact(),
            Destinations::V6(sorted) => sorted.exact(),
        }
    }

    /// Peers that destinations name as their egress.
    pub(super) fn egresses(&self) -> impl Iterator<Item = EgressChoice> + '_ {
        let (v4, v6): (&[Action<Ipv4Addr>], &[Action<Ipv6Addr>]) = match self {
            Destinations::V4(sorted) => (&sorted.actions, &[]),
            Destinations::V6(sorted) => (&[], &sorted.actions),
        };
        v4.iter().map(|action| action.egress).chain(v6.iter().map(|action| action.egress))
    }
}

impl<A: Selected> Sorted<A> {
    fn new(all: &[Destination]) -> Result<Sorted<A>, RuleError> {
        let mut compiled: Vec<(Key<A>, Action<A>)> = Vec::with_capacity(all.len());
        for (destination, position) in all.iter().zip(0_u16..) {
            if let Some(range) = A::range(destination.selector.ip()) {
                let action = Action::new(range, destination, position)?;
                compiled.push((Key::new(range, &destination.selector), action));
            }
        }
        if compiled.is_empty() {
            return Err(RuleError::NoDestination);
        }
        // Wide ranges before narrow ones of the same start: the search comes from behind.
        compiled.sort_by_key(|(key, action)| {
            (key.range.start(), core::cmp::Reverse(key.range.end()), action.position)
        });
        let mut end_max = compiled[0].0.end_max;
        for (key, _) in &mut compiled {
            end_max = end_max.max(key.end_max);
            key.end_max = end_max;
        }
        let (keys, actions): (Vec<_>, Vec<_>) = compiled.into_iter().unzip();
        Ok(Sorted { keys: keys.into(), actions: actions.into() })
    }

    /// The destination that a packet means: of several the one that starts last.
    #[inline]
    pub(super) fn find(&self, destination: A, protocol: Protocol, port: u16) -> Option<&Action<A>> {
        let behind = self.keys.partition_point(|key| key.range.start() <= destination);
        for at in (0..behind).rev() {
            let key = &self.keys[at];
            if key.end_max < destination {
                return None;
            }
            if key.matches(destination, protocol, port) {
                return self.actions.get(at);
            }
        }
        None
    }

    /// Reads what [`find`](Sorted::find) will end with, to bring it into the cache.
    pub(super) fn touch(&self, destination: A) -> u64 {
        let behind = self.keys.partition_point(|key| key.range.start() <= destination);
        self.actions.get(behind.saturating_sub(1)).map_or(0, |action| u64::from(action.position))
    }

    fn exact(&self) -> Option<Exact> {
        let [key] = &*self.keys else { return None };
        let is_one = key.range.start() == key.range.end() && key.ports.start() == key.ports.end();
        let protocol = key.protocol.filter(|_| is_one)?;
        Some(Exact { address: key.range.start().to_number(), protocol, port: key.ports.start() })
    }
}

impl<A: Address> Key<A> {
    fn new(range: AddressRange<A>, selector: &Selector) -> Key<A> {
        let all_ports = PortRange::new(0, u16::MAX).expect("not empty");
        Key {
            range,
            end_max: range.end(),
            ports: selector.ports().unwrap_or(all_ports),
            protocol: selector.proto(),
        }
    }

    #[inline]
    fn matches(&self, destination: A, protocol: Protocol, port: u16) -> bool {
        self.range.end() >= destination
            && self.protocol.is_none_or(|mine| mine == protocol)
            && self.ports.contains(port)
    }
}

impl<A: Selected> Action<A> {
    fn new(range: AddressRange<A>, destination: &Destination, position: u16) -> Result<Action<A>, RuleError> {
        let selector = &destination.selector;
        let dnat = match destination.dnat {
            None => None,
            Some(dnat) => {
                let to = A::range(dnat.addr).ok_or(RuleError::DnatVersion)?;
                if dnat.ports.is_some() && selector.proto().is_none() {
                    return Err(RuleError::DnatPortsWithoutProtocol);
                }
                let ports = |ports: PortRange| ports.start()..=ports.end();
                Some(nat::Dnat::new(
                    &(range.start()..=range.end()),
                    selector.ports().map(ports).as_ref(),
                    &(to.start()..=to.end()),
                    dnat.ports.map(ports).as_ref(),
                )?)
            }
        };
        Ok(Action { dnat, egress: destination.egress, position })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn destination(ips: (u8, u8), proto: Option<Protocol>, ports: Option<(u16, u16)>) -> Destination {
        let ip = IpRange::new(ip(ips.0.min(ips.1)).into(), ip(ips.0.max(ips.1)).into()).unwrap();
        let ports = ports.map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap());
        let selector = Selector::new(ip, proto, ports.filter(|_| proto.is_some())).unwrap();
        Destination { selector, dnat: None, egress: EgressChoice::Route }
    }

    fn destinations() -> impl Strategy<Value = Vec<Destination>> {
        let proto = prop_oneof![Just(None), Just(Some(Protocol::TCP)), Just(Some(Protocol::UDP))];
        let one = ((0..8_u8, 0..8_u8), proto, prop::option::of((0..5_u16, 0..5_u16)))
            .prop_map(|(ips, proto, ports)| destination(ips, proto, ports));
        prop::collection::vec(one, 1..12)
    }

    /// The slow twin: look at all, take the one that starts last, then the narrowest, then the last in the list.
    fn slow_find(all: &[Destination], address: Ipv4Addr, protocol: Protocol, port: u16) -> Option<usize> {
        let matching = all
            .iter()
            .enumerate()
            .filter(|(_, destination)| destination.selector.matches(address.into(), protocol, port));
        let order = |(position, destination): &(usize, &Destination)| {
            let ip = destination.selector.ip();
            (ip.start(), core::cmp::Reverse(ip.end()), *position)
        };
        matching.max_by_key(order).map(|(position, _)| position)
    }

    proptest! {
        #[test]
        fn finds_what_a_linear_scan_finds(
            all in destinations(), address in 0..9_u8, udp in any::<bool>(), port in 0..6_u16
        ) {
            let protocol = if udp { Protocol::UDP } else { Protocol::TCP };
            let sorted = Sorted::<Ipv4Addr>::new(&all).unwrap();
            let found = sorted.find(ip(address), protocol, port).map(|action| usize::from(action.position));
            prop_assert_eq!(found, slow_find(&all, ip(address), protocol, port));
        }
    }

    #[test]
    fn only_a_single_destination_with_one_address_protocol_and_port_is_exact() {
        let exact = |all: &[Destination]| Destinations::new(Version::V4, all).unwrap().exact().is_some();
        let one = destination((1, 1), Some(Protocol::TCP), Some((22, 22)));
        assert!(exact(&[one]));
        assert!(!exact(&[one, destination((2, 2), Some(Protocol::TCP), Some((22, 22)))]));
        assert!(!exact(&[destination((1, 2), Some(Protocol::TCP), Some((22, 22)))]));
        assert!(!exact(&[destination((1, 1), Some(Protocol::TCP), Some((22, 23)))]));
        assert!(!exact(&[destination((1, 1), Some(Protocol::TCP), None)]));
        assert!(!exact(&[destination((1, 1), None, None)]));
    }

    #[test]
    fn dnat_into_another_version_or_size_is_refused() {
        use super::super::rule::Dnat;
        let to = |addr: IpRange, ports| Destination {
            dnat: Some(Dnat { addr, ports }),
            ..destination((1, 4), None, None)
        };
        let compile = |destination| Sorted::<Ipv4Addr>::new(&[destination]).err();
        let v6 = IpRange::single(Ipv6Addr::LOCALHOST.into());
        assert_eq!(compile(to(v6, None)), Some(RuleError::DnatVersion));
        let three = IpRange::new(ip(1).into(), ip(3).into()).unwrap();
        assert_eq!(compile(to(three, None)), Some(RuleError::Dnat(nat::DnatError::AddressCounts)));
        let one = IpRange::single(ip(9).into());
        assert_eq!(compile(to(one, Some(PortRange::single(1)))), Some(RuleError::DnatPortsWithoutProtocol));
        assert_eq!(compile(to(one, None)), None);
    }
}
