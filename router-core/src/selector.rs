//! Traffic selectors: which packets a destination of a target means, compared with what the client sends (pre-NAT).
//!
//! Everything here is legal by birth: a range holds at least one element, ports come with a protocol that has them.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wg_proto::IpNet;

use crate::flow::Address;
use crate::packet::{Protocol, Version};

/// A range of addresses of one version, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange<A> {
    start: A,
    end: A,
}

/// A range of IP addresses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpRange {
    /// IPv4 addresses.
    V4(AddressRange<Ipv4Addr>),
    /// IPv6 addresses.
    V6(AddressRange<Ipv6Addr>),
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    start: u16,
    end: u16,
}

/// Which packets are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    ip: IpRange,
    proto: Option<Protocol>,
    ports: Option<PortRange>,
}

/// Why a range or a selector is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The range ends before it starts.
    #[error("the range ends before it starts")]
    EmptyRange,
    /// One end is an IPv4 address, the other an IPv6 address.
    #[error("the range starts in one IP version and ends in the other")]
    MixedVersions,
    /// Ports without a protocol that has them.
    #[error("ports need the protocol tcp or udp")]
    PortsWithoutProtocol,
}

impl<A: Address> AddressRange<A> {
    /// The addresses from `start` to `end`.
    pub fn new(start: A, end: A) -> Result<AddressRange<A>, SelectorError> {
        if start <= end { Ok(AddressRange { start, end }) } else { Err(SelectorError::EmptyRange) }
    }

    /// The first address.
    pub fn start(&self) -> A {
        self.start
    }

    /// The last address.
    pub fn end(&self) -> A {
        self.end
    }

    /// Whether the range has this address.
    pub fn contains(&self, address: A) -> bool {
        self.start <= address && address <= self.end
    }

    /// Whether both ranges have an address in common.
    pub fn overlaps(&self, other: &AddressRange<A>) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// The addresses that both have.
    pub fn intersection(&self, other: &AddressRange<A>) -> Option<AddressRange<A>> {
        AddressRange::new(self.start.max(other.start), self.end.min(other.end)).ok()
    }
}

impl IpRange {
    /// The addresses from `start` to `end`.
    pub fn new(start: IpAddr, end: IpAddr) -> Result<IpRange, SelectorError> {
        match (start, end) {
            (IpAddr::V4(start), IpAddr::V4(end)) => AddressRange::new(start, end).map(IpRange::V4),
            (IpAddr::V6(start), IpAddr::V6(end)) => AddressRange::new(start, end).map(IpRange::V6),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                Err(SelectorError::MixedVersions)
            }
        }
    }

    /// One address.
    pub const fn single(address: IpAddr) -> IpRange {
        match address {
            IpAddr::V4(address) => IpRange::V4(AddressRange { start: address, end: address }),
            IpAddr::V6(address) => IpRange::V6(AddressRange { start: address, end: address }),
        }
    }

    /// The addresses between two, which stand in order: for tables of constants.
    pub(crate) const fn between_v4(start: Ipv4Addr, end: Ipv4Addr) -> IpRange {
        assert!(start.to_bits() <= end.to_bits());
        IpRange::V4(AddressRange { start, end })
    }

    /// The addresses between two, which stand in order: for tables of constants.
    pub(crate) const fn between_v6(start: Ipv6Addr, end: Ipv6Addr) -> IpRange {
        assert!(start.to_bits() <= end.to_bits());
        IpRange::V6(AddressRange { start, end })
    }

    /// The first address.
    pub fn start(&self) -> IpAddr {
        match self {
            IpRange::V4(range) => range.start.into(),
            IpRange::V6(range) => range.start.into(),
        }
    }

    /// The last address.
    pub fn end(&self) -> IpAddr {
        match self {
            IpRange::V4(range) => range.end.into(),
            IpRange::V6(range) => range.end.into(),
        }
    }

    /// The version of all its addresses.
    pub fn version(&self) -> Version {
        match self {
            IpRange::V4(_) => Version::V4,
            IpRange::V6(_) => Version::V6,
        }
    }

    /// Whether the range has this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address) {
            (IpRange::V4(range), IpAddr::V4(address)) => range.contains(address),
            (IpRange::V6(range), IpAddr::V6(address)) => range.contains(address),
            (IpRange::V4(_), IpAddr::V6(_)) | (IpRange::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether both ranges have an address in common.
    pub fn overlaps(&self, other: &IpRange) -> bool {
        match (self, other) {
            (IpRange::V4(one), IpRange::V4(other)) => one.overlaps(other),
            (IpRange::V6(one), IpRange::V6(other)) => one.overlaps(other),
            (IpRange::V4(_), IpRange::V6(_)) | (IpRange::V6(_), IpRange::V4(_)) => false,
        }
    }

    /// The addresses that both have.
    pub fn intersection(&self, other: &IpRange) -> Option<IpRange> {
        match (self, other) {
            (IpRange::V4(one), IpRange::V4(other)) => one.intersection(other).map(IpRange::V4),
            (IpRange::V6(one), IpRange::V6(other)) => one.intersection(other).map(IpRange::V6),
            (IpRange::V4(_), IpRange::V6(_)) | (IpRange::V6(_), IpRange::V4(_)) => None,
        }
    }
}

impl From<IpNet> for IpRange {
    fn from(prefix: IpNet) -> IpRange {
        match prefix {
            IpNet::V4(prefix) => {
                IpRange::V4(AddressRange { start: prefix.network(), end: prefix.broadcast() })
            }
            IpNet::V6(prefix) => {
                IpRange::V6(AddressRange { start: prefix.network(), end: prefix.broadcast() })
            }
        }
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.start(), self.end()) {
            (start, end) if start == end => write!(f, "{start}"),
            (start, end) => write!(f, "{start}-{end}"),
        }
    }
}

impl PortRange {
    /// The ports from `start` to `end`.
    pub const fn new(start: u16, end: u16) -> Result<PortRange, SelectorError> {
        if start <= end { Ok(PortRange { start, end }) } else { Err(SelectorError::EmptyRange) }
    }

    /// One port.
    pub const fn single(port: u16) -> PortRange {
        PortRange { start: port, end: port }
    }

    /// The first port.
    pub const fn start(&self) -> u16 {
        self.start
    }

    /// The last port.
    pub const fn end(&self) -> u16 {
        self.end
    }

    /// Whether the range has this port.
    pub const fn contains(&self, port: u16) -> bool {
        self.start <= port && port <= self.end
    }

    /// Whether both ranges have a port in common.
    pub const fn overlaps(&self, other: &PortRange) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.start, self.end) {
            (start, end) if start == end => write!(f, "{start}"),
            (start, end) => write!(f, "{start}-{end}"),
        }
    }
}

impl Selector {
    /// Packets to these addresses: of one protocol, or of any (`proto` absent); to these ports, or to any.
    pub fn new(
        ip: IpRange,
        proto: Option<Protocol>,
        ports: Option<PortRange>,
    ) -> Result<Selector, SelectorError> {
        match (proto, ports) {
            (Some(Protocol::TCP | Protocol::UDP), _) | (_, None) => Ok(Selector { ip, proto, ports }),
            (Some(_) | None, Some(_)) => Err(SelectorError::PortsWithoutProtocol),
        }
    }

    /// The addresses.
    pub fn ip(&self) -> IpRange {
        self.ip
    }

    /// The protocol; `None`: any.
    pub fn proto(&self) -> Option<Protocol> {
        self.proto
    }

    /// The ports; `None`: any, and protocols without ports as well.
    pub fn ports(&self) -> Option<PortRange> {
        self.ports
    }

    /// Whether a packet to this address and port is meant. Protocols without ports have port 0, which no selector with
    /// ports asks about: it names a protocol that has them (EXT-1).
    pub fn matches(&self, destination: IpAddr, protocol: Protocol, port: u16) -> bool {
        self.ip.contains(destination)
            && self.proto.is_none_or(|proto| proto == protocol)
            && self.ports.is_none_or(|ports| ports.contains(port))
    }

    /// Whether some packet is meant by both: same IP version, intersecting ranges, protocols equal or one absent, ports
    /// intersecting or one absent.
    pub fn overlaps(&self, other: &Selector) -> bool {
        let protocols_meet = match (self.proto, other.proto) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        };
        let ports_meet = match (self.ports, other.ports) {
            (Some(one), Some(other)) => one.overlaps(&other),
            (None, _) | (_, None) => true,
        };
        self.ip.overlaps(&other.ip) && protocols_meet && ports_meet
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ip)?;
        match (self.proto, self.ports) {
            (None, _) => Ok(()),
            (Some(proto), None) => write!(f, " {proto}"),
            (Some(proto), Some(ports)) => write!(f, " {proto} {ports}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn ips(start: u8, end: u8) -> IpRange {
        IpRange::new(ip(start), ip(end)).unwrap()
    }

    #[test]
    fn ranges_and_selectors_are_legal_by_birth() {
        assert_eq!(PortRange::new(2, 1), Err(SelectorError::EmptyRange));
        assert_eq!(IpRange::new(ip(2), ip(1)), Err(SelectorError::EmptyRange));
        assert_eq!(IpRange::new(ip(2), Ipv6Addr::LOCALHOST.into()), Err(SelectorError::MixedVersions));
        for proto in [None, Some(Protocol::ICMP), Some(Protocol::ESP)] {
            let refused = Selector::new(ips(1, 1), proto, Some(PortRange::single(1)));
            assert_eq!(refused, Err(SelectorError::PortsWithoutProtocol));
        }
    }

    #[test]
    fn ext_1_protocols_without_ports_match_only_selectors_without_ports() {
        let ports = Some(PortRange::new(0, u16::MAX).unwrap());
        let with_ports = Selector::new(ips(1, 1), Some(Protocol::UDP), ports).unwrap();
        let without = Selector::new(ips(1, 1), None, None).unwrap();
        assert!(!with_ports.matches(ip(1), Protocol::ESP, 0));
        assert!(without.matches(ip(1), Protocol::ESP, 0));
    }

    #[test]
    fn a_selector_prints_as_one_would_say_it() {
        let selector = Selector::new(ips(1, 9), Some(Protocol::TCP), Some(PortRange::single(22))).unwrap();
        assert_eq!(alloc::format!("{selector}"), "10.0.0.1-10.0.0.9 tcp 22");
        assert_eq!(alloc::format!("{}", PortRange::new(22, 25).unwrap()), "22-25");
        let all: IpRange = "10.0.0.0/24".parse::<IpNet>().unwrap().into();
        assert_eq!(alloc::format!("{all}"), "10.0.0.0-10.0.0.255");
        assert_eq!(alloc::format!("{}", IpRange::single(ip(7))), "10.0.0.7");
    }

    #[test]
    fn the_intersection_of_two_ranges_is_what_both_have() {
        for (one, other, common) in [
            (ips(1, 5), ips(3, 9), Some(ips(3, 5))),
            (ips(1, 5), ips(5, 5), Some(ips(5, 5))),
            (ips(1, 5), ips(6, 9), None),
            (ips(1, 5), IpRange::single(Ipv6Addr::LOCALHOST.into()), None),
        ] {
            assert_eq!(one.intersection(&other), common);
            assert_eq!(other.intersection(&one), common);
        }
        let v6 = IpRange::single(Ipv6Addr::LOCALHOST.into());
        assert_eq!(v6.intersection(&v6), Some(v6));
    }

    fn selectors() -> impl Strategy<Value = Selector> {
        let proto = prop_oneof![Just(None), Just(Some(Protocol::TCP)), Just(Some(Protocol::UDP))];
        let ports = prop::option::of((0..4_u16, 0..4_u16));
        ((0..4_u8, 0..4_u8), proto, ports).prop_map(|((a, b), proto, ports)| {
            let ports =
                ports.filter(|_| proto.is_some()).map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap());
            Selector::new(ips(a.min(b), a.max(b)), proto, ports).unwrap()
        })
    }

    proptest! {
        /// The slow twin of overlap: look for a packet that both match.
        #[test]
        fn selectors_overlap_exactly_if_some_packet_matches_both(a in selectors(), b in selectors()) {
            let protocols = [Protocol::TCP, Protocol::UDP, Protocol::GRE];
            let common = (0..4).any(|address| {
                protocols.into_iter().any(|protocol| {
                    let ports = if protocol == Protocol::GRE { 0..=0 } else { 0..=4 };
                    ports.into_iter().any(|port| {
                        a.matches(ip(address), protocol, port) && b.matches(ip(address), protocol, port)
                    })
                })
            });
            prop_assert_eq!(a.overlaps(&b), common);
            prop_assert_eq!(b.overlaps(&a), common);
        }
    }
}
