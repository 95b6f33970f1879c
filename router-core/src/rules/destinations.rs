//! The destinations of one session, immutable and sorted, so that finding one takes a binary search.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::rule::{Destination, Dnat, EgressChoice, RuleError};
use crate::flow::{Address, Tuple};
use crate::nat;
use crate::packet::{Protocol, Version};
use crate::selector::{AddressRange, IpRange, PortRange, Selector};

/// All destinations of a session. A session has one source, so they are of one IP version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destinations {
    V4(Sorted<Ipv4Addr>),
    V6(Sorted<Ipv6Addr>),
}

/// Destinations of one version, ordered by where their addresses start. Starts lie apart: a search reads them only, and those
/// of ten destinations over IPv4 are one cache line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sorted<A> {
    starts: Box<[A]>,
    ways: Box<[Way<A>]>,
}

/// All but its start: what a packet is compared with when the start fits, and what is done with it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Way<A> {
    end: A,
    /// The highest end of this and all before: a search backwards stops where it is too low.
    end_max: A,
    ports: PortRange,
    /// `None`: any.
    protocol: Option<Protocol>,
    action: Action<A>,
}

/// What is done with a packet that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Action<A> {
    dnat: Option<nat::Dnat<A>>,
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
pub(super) const DESTINATION_BYTES: usize = size_of::<Ipv6Addr>() + size_of::<Way<Ipv6Addr>>();

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
        let (v4, v6): (&[Way<Ipv4Addr>], &[Way<Ipv6Addr>]) = match self {
            Destinations::V4(sorted) => (&sorted.ways, &[]),
            Destinations::V6(sorted) => (&[], &sorted.ways),
        };
        v4.iter().map(|way| way.action.egress).chain(v6.iter().map(|way| way.action.egress))
    }
}

impl<A: Selected> Sorted<A> {
    fn new(all: &[Destination]) -> Result<Sorted<A>, RuleError> {
        let mut compiled: Vec<(A, Way<A>)> = Vec::with_capacity(all.len());
        for (destination, position) in all.iter().zip(0_u16..) {
            if let Some(range) = A::range(destination.selector.ip()) {
                let action = Action::new(range, destination, position)?;
                compiled.push((range.start(), Way::new(range, &destination.selector, action)));
            }
        }
        if compiled.is_empty() {
            return Err(RuleError::NoDestination);
        }
        // Wide ranges before narrow ones of the same start: the search comes from behind.
        compiled.sort_by_key(|(start, way)| (*start, core::cmp::Reverse(way.end), way.action.position));
        let mut end_max = compiled[0].1.end_max;
        for (_, way) in &mut compiled {
            end_max = end_max.max(way.end_max);
            way.end_max = end_max;
        }
        let (starts, ways): (Vec<_>, Vec<_>) = compiled.into_iter().unzip();
        Ok(Sorted { starts: starts.into(), ways: ways.into() })
    }

    /// The destination that a packet means: of several the one that starts last.
    #[inline]
    pub(super) fn find(&self, destination: A, protocol: Protocol, port: u16) -> Option<&Action<A>> {
        for way in self.starting_up_to(destination).iter().rev() {
            if way.end_max < destination {
                return None;
            }
            if way.matches(destination, protocol, port) {
                return Some(&way.action);
            }
        }
        None
    }

    /// Reads what [`find`](Sorted::find) will read first, to bring it into the cache.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        self.starts.first().map_or(0, |start| start.to_number() as u64)
    }

    /// What [`find`](Sorted::find) will nearly always end with; nothing of it is read.
    #[inline]
    pub(super) fn likely(&self, destination: A) -> Option<&Way<A>> {
        self.starting_up_to(destination).last()
    }

    #[inline]
    fn starting_up_to(&self, destination: A) -> &[Way<A>] {
        &self.ways[..self.starts.partition_point(|start| *start <= destination)]
    }

    fn exact(&self) -> Option<Exact> {
        let ([start], [way]) = (&*self.starts, &*self.ways) else { return None };
        let is_one = *start == way.end && way.ports.start() == way.ports.end();
        let protocol = way.protocol.filter(|_| is_one)?;
        Some(Exact { address: start.to_number(), protocol, port: way.ports.start() })
    }
}

impl<A: Address> Way<A> {
    fn new(range: AddressRange<A>, selector: &Selector, action: Action<A>) -> Way<A> {
        let all_ports = PortRange::new(0, u16::MAX).expect("not empty");
        Way {
            end: range.end(),
            end_max: range.end(),
            ports: selector.ports().unwrap_or(all_ports),
            protocol: selector.proto(),
            action,
        }
    }

    /// Reads both ends, which may lie in two cache lines.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        self.end.to_number() as u64 ^ u64::from(self.action.position)
    }

    /// Where a packet that matches goes.
    #[inline]
    pub(super) fn destination(&self, packet: &Tuple<A>) -> (A, u16) {
        self.action.destination(packet)
    }

    #[inline]
    pub(super) fn matches(&self, destination: A, protocol: Protocol, port: u16) -> bool {
        self.end >= destination
            && self.protocol.is_none_or(|mine| mine == protocol)
            && self.ports.contains(port)
    }
}

impl<A: Address> Action<A> {
    /// Where a packet that matches goes.
    #[inline]
    pub(crate) fn destination(&self, packet: &Tuple<A>) -> (A, u16) {
        match &self.dnat {
            Some(dnat) => dnat.apply(packet.protocol, packet.dst, packet.dst_port),
            None => (packet.dst, packet.dst_port),
        }
    }
}

impl<A: Selected> Action<A> {
    fn new(range: AddressRange<A>, destination: &Destination, position: u16) -> Result<Action<A>, RuleError> {
        let dnat =
            destination.dnat.map(|dnat| translation(range, &destination.selector, dnat)).transpose()?;
        Ok(Action { dnat, egress: destination.egress, position })
    }
}

impl Dnat {
    /// Whether all that is selected can go there: one address takes all of it, as many as are selected take one each, and
    /// anything else is refused; the same for ports, which need a protocol that has them.
    pub fn check(&self, selector: &Selector) -> Result<(), RuleError> {
        match selector.ip() {
            IpRange::V4(range) => translation(range, selector, *self).map(drop),
            IpRange::V6(range) => translation(range, selector, *self).map(drop),
        }
    }
}

fn translation<A: Selected>(
    range: AddressRange<A>,
    selector: &Selector,
    dnat: Dnat,
) -> Result<nat::Dnat<A>, RuleError> {
    let to = A::range(dnat.addr).ok_or(RuleError::DnatVersion)?;
    if dnat.ports.is_some() && !selector.proto().is_some_and(Protocol::is_tcp_or_udp) {
        return Err(RuleError::DnatPortsWithoutProtocol);
    }
    let ports = |ports: PortRange| ports.start()..=ports.end();
    let translation = nat::Dnat::new(
        &(range.start()..=range.end()),
        selector.ports().map(ports).as_ref(),
        &(to.start()..=to.end()),
        dnat.ports.map(ports).as_ref(),
    )?;
    Ok(translation)
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
        let to = |addr: IpRange, ports| Destination {
            dnat: Some(Dnat { addr, ports }),
            ..destination((1, 4), None, None)
        };
        let compile = |destination: Destination| {
            let refused = Sorted::<Ipv4Addr>::new(&[destination]).err();
            assert_eq!(destination.dnat.unwrap().check(&destination.selector).err(), refused);
            refused
        };
        let v6 = IpRange::single(Ipv6Addr::LOCALHOST.into());
        assert_eq!(compile(to(v6, None)), Some(RuleError::DnatVersion));
        let three = IpRange::new(ip(1).into(), ip(3).into()).unwrap();
        assert_eq!(compile(to(three, None)), Some(RuleError::Dnat(nat::DnatError::AddressCounts)));
        let one = IpRange::single(ip(9).into());
        assert_eq!(compile(to(one, Some(PortRange::single(1)))), Some(RuleError::DnatPortsWithoutProtocol));
        assert_eq!(compile(to(one, None)), None);
    }
}
