//! One IP version's half of the data path: the road is written once, over the address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::flow::{Leg, Tuple};
use crate::packet::{Addresses, Ends, PacketMut, ParseError, Ports, Protocol, Version};
use crate::rules::Selected;
use crate::verdict::{Egress, Ingress};
use wg_proto::PeerIndex;

/// An address of a version that packets can be routed by.
pub(crate) trait Family: Selected + Into<IpAddr> {
    const VERSION: Version;

    /// Parses a packet that claims to be of this version.
    fn parse(bytes: &mut [u8]) -> Result<PacketMut<'_>, ParseError>;

    /// The pair's addresses, if they are of this version.
    fn pair(addresses: Addresses) -> Option<(Self, Self)>;

    /// A packet's addresses.
    fn addresses(source: Self, destination: Self) -> Addresses;

    /// Whether no host has this address as a source (FLT-3).
    fn is_martian_source(self) -> bool;

    /// Whether no single host can be reached by this address.
    fn is_martian_destination(self) -> bool;
}

impl Family for Ipv4Addr {
    const VERSION: Version = Version::V4;

    #[inline(always)]
    fn parse(bytes: &mut [u8]) -> Result<PacketMut<'_>, ParseError> {
        PacketMut::parse_v4(bytes)
    }

    #[inline]
    fn pair(addresses: Addresses) -> Option<(Ipv4Addr, Ipv4Addr)> {
        match addresses {
            Addresses::V4 { source, destination } => Some((source, destination)),
            Addresses::V6 { .. } => None,
        }
    }

    #[inline]
    fn addresses(source: Ipv4Addr, destination: Ipv4Addr) -> Addresses {
        Addresses::V4 { source, destination }
    }

    #[inline]
    fn is_martian_source(self) -> bool {
        let [first, second, ..] = self.octets();
        matches!(first, 0 | 127 | 224..=255) || (first, second) == (169, 254)
    }

    #[inline]
    fn is_martian_destination(self) -> bool {
        self.is_martian_source()
    }
}

impl Family for Ipv6Addr {
    const VERSION: Version = Version::V6;

    #[inline(always)]
    fn parse(bytes: &mut [u8]) -> Result<PacketMut<'_>, ParseError> {
        PacketMut::parse_v6(bytes)
    }

    #[inline]
    fn pair(addresses: Addresses) -> Option<(Ipv6Addr, Ipv6Addr)> {
        match addresses {
            Addresses::V6 { source, destination } => Some((source, destination)),
            Addresses::V4 { .. } => None,
        }
    }

    #[inline]
    fn addresses(source: Ipv6Addr, destination: Ipv6Addr) -> Addresses {
        Addresses::V6 { source, destination }
    }

    /// `::`, `::1`, IPv4-compatible and IPv4-mapped addresses, link-local and multicast ones.
    #[inline]
    fn is_martian_source(self) -> bool {
        let segments = self.segments();
        let is_v4_in_v6 = segments[..5] == [0; 5] && matches!(segments[5], 0 | 0xffff);
        is_v4_in_v6 || segments[0] & 0xffc0 == 0xfe80 || segments[0] & 0xff00 == 0xff00
    }

    #[inline]
    fn is_martian_destination(self) -> bool {
        self.is_martian_source()
    }
}

/// A packet's tuple as it stands now.
#[inline]
pub(super) fn tuple_of<A: Family>(packet: &PacketMut<'_>) -> Tuple<A> {
    tuple_from(packet.addresses(), packet.ports(), packet.protocol())
}

/// A tuple of this version.
#[inline]
pub(super) fn tuple_from<A: Family>(addresses: Addresses, ports: Ports, protocol: Protocol) -> Tuple<A> {
    let (src, dst) = A::pair(addresses).expect("each version has its own half of the path");
    Tuple { src, dst, src_port: ports.source, dst_port: ports.destination, protocol }
}

/// What a packet with this tuple carries.
#[inline]
pub(super) fn ends_of<A: Family>(tuple: &Tuple<A>) -> Ends {
    Ends {
        addresses: A::addresses(tuple.src, tuple.dst),
        ports: Ports { source: tuple.src_port, destination: tuple.dst_port },
    }
}

/// The TUN is leg 0, the sockets are leg 1, peers count from 2.
#[inline]
pub(super) fn leg_in(ingress: Ingress) -> Leg {
    match ingress {
        Ingress::Tun => Leg(0),
        Ingress::Sockets => Leg(1),
        Ingress::Peer(peer) => Leg(peer.get() + 2),
    }
}

/// As [`leg_in`].
#[inline]
pub(super) fn leg_out(egress: Egress) -> Leg {
    match egress {
        Egress::Tun => Leg(0),
        Egress::Sockets => Leg(1),
        Egress::Peer(peer) => Leg(peer.get() + 2),
    }
}

/// Where packets to this leg leave.
#[inline]
pub(super) fn egress_of(leg: Leg) -> Egress {
    match leg.0 {
        0 => Egress::Tun,
        1 => Egress::Sockets,
        peer => Egress::Peer(PeerIndex::new(peer - 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Address;

    #[test]
    fn flt_3_martians_of_both_versions_are_known() {
        for address in
            ["0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"]
        {
            assert!(address.parse::<Ipv4Addr>().unwrap().is_martian_source(), "{address}");
        }
        for address in ["10.0.0.1", "100.64.0.1", "192.168.1.1", "8.8.8.8", "223.255.255.255"] {
            assert!(!address.parse::<Ipv4Addr>().unwrap().is_martian_source(), "{address}");
        }
        for address in ["::", "::1", "::ffff:10.0.0.1", "::10.0.0.1", "fe80::1", "febf::1", "ff02::1"] {
            assert!(address.parse::<Ipv6Addr>().unwrap().is_martian_source(), "{address}");
        }
        for address in ["fd00::1", "2001:db8::1", "64:ff9b::1", "fec0::1"] {
            assert!(!address.parse::<Ipv6Addr>().unwrap().is_martian_source(), "{address}");
        }
    }

    #[test]
    fn legs_and_sides_are_the_same_thing() {
        let peer = |number| (Ingress::Peer(PeerIndex::new(number)), Egress::Peer(PeerIndex::new(number)));
        for (ingress, egress) in
            [(Ingress::Tun, Egress::Tun), (Ingress::Sockets, Egress::Sockets), peer(0), peer(7)]
        {
            assert_eq!(leg_in(ingress), leg_out(egress));
            assert_eq!(egress_of(leg_in(ingress)), egress);
        }
    }

    #[test]
    fn address_numbers_keep_their_version() {
        fn version<A: Family>() -> Version {
            A::VERSION
        }
        assert_eq!((version::<Ipv4Addr>(), version::<Ipv6Addr>()), (Version::V4, Version::V6));
        assert_eq!(Ipv4Addr::ICMP, Protocol::ICMP);
    }
}
