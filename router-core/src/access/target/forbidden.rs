//! Addresses that no target leads to, unless allowed: through them one would reach the router or the server themselves, the
//! link they are on, or the secrets of the cloud they run in. P20.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wg_proto::IpNet;

use super::destination::{Destination, Nat, NatAddr};
use super::destinations::Destinations;
use crate::selector::IpRange;

/// Which addresses are forbidden here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForbiddenAddresses {
    control: Vec<IpRange>,
    allowed: Vec<IpRange>,
}

/// A destination that leads where none may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("dst[{index}].{part} has {addresses}, {kind}: targets must not lead there unless it is allowed")]
pub struct Forbidden {
    /// Which destination, counted from 0.
    pub index: usize,
    /// Which part of it.
    pub part: ForbiddenPart,
    /// Why.
    pub kind: ForbiddenKind,
    /// Those addresses of it that are forbidden, or a part of them.
    pub addresses: IpRange,
}

/// A part of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForbiddenPart {
    /// What the client sends.
    Selector,
    /// Where it goes instead.
    Nat,
}

/// What a forbidden address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForbiddenKind {
    /// Where clouds hand out credentials to whoever asks.
    Metadata,
    /// The machine itself.
    Loopback,
    /// "This host on this network", RFC 1122 section 3.2.1.3.
    Unspecified,
    /// The link, RFC 3927, RFC 4291.
    LinkLocal,
    /// Many at once.
    Multicast,
    /// All at once.
    Broadcast,
    /// IPv4 in the clothes of IPv6, RFC 4291 section 2.5.5.2: would pass what forbids IPv4 addresses.
    V4Mapped,
    /// A router's or the server's own address inside the tunnels.
    Control,
}

/// Metadata services first: most are link-local, too, and the reader should learn which.
const RESERVED: [(IpRange, ForbiddenKind); 16] = [
    (v4([169, 254, 169, 254], 32), ForbiddenKind::Metadata),
    (v4([169, 254, 170, 2], 32), ForbiddenKind::Metadata),
    (v4([100, 100, 100, 200], 32), ForbiddenKind::Metadata),
    (v4([168, 63, 129, 16], 32), ForbiddenKind::Metadata),
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), ForbiddenKind::Metadata),
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), ForbiddenKind::Metadata),
    (v4([127, 0, 0, 0], 8), ForbiddenKind::Loopback),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), ForbiddenKind::Loopback),
    (v4([0, 0, 0, 0], 8), ForbiddenKind::Unspecified),
    (v6([0; 8], 128), ForbiddenKind::Unspecified),
    (v4([169, 254, 0, 0], 16), ForbiddenKind::LinkLocal),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), ForbiddenKind::LinkLocal),
    (v4([224, 0, 0, 0], 4), ForbiddenKind::Multicast),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), ForbiddenKind::Multicast),
    (v4([255; 4], 32), ForbiddenKind::Broadcast),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), ForbiddenKind::V4Mapped),
];

impl ForbiddenAddresses {
    /// What is reserved everywhere, and the `control` addresses of this installation; `allowed` ones are not forbidden.
    pub fn new(
        control: impl IntoIterator<Item = IpNet>,
        allowed: impl IntoIterator<Item = IpNet>,
    ) -> ForbiddenAddresses {
        let mut allowed: Vec<IpRange> = allowed.into_iter().map(IpRange::from).collect();
        allowed.sort_unstable();
        ForbiddenAddresses { control: control.into_iter().map(IpRange::from).collect(), allowed }
    }

    /// Whether no destination leads where none may: neither what clients send nor where it goes instead.
    pub fn check(&self, destinations: &Destinations) -> Result<(), Forbidden> {
        for (index, destination) in destinations.as_slice().iter().enumerate() {
            for (part, range) in parts(destination) {
                // Behind a connector is another network: our own addresses mean nothing there.
                let is_ours = !matches!(destination.nat(), Some(Nat { addr: NatAddr::Mapped { .. }, .. }));
                let with_control = part == ForbiddenPart::Selector || is_ours;
                if let Some((kind, addresses)) = self.first_in(range, with_control) {
                    return Err(Forbidden { index, part, kind, addresses });
                }
            }
        }
        Ok(())
    }

    fn first_in(&self, range: IpRange, with_control: bool) -> Option<(ForbiddenKind, IpRange)> {
        let control =
            self.control.iter().filter(|_| with_control).map(|range| (*range, ForbiddenKind::Control));
        RESERVED.into_iter().chain(control).find_map(|(forbidden, kind)| {
            let addresses = range.intersection(&forbidden)?;
            (!self.allows(addresses)).then_some((kind, addresses))
        })
    }

    /// Whether all of a range is allowed, by one entry or by several that touch.
    fn allows(&self, range: IpRange) -> bool {
        let (mut from, last) = (number(range.start()), number(range.end()));
        for allowed in self.allowed.iter().filter(|allowed| allowed.version() == range.version()) {
            let (start, end) = (number(allowed.start()), number(allowed.end()));
            if start <= from && from <= end {
                if last <= end {
                    return true;
                }
                from = end + 1;
            }
        }
        false
    }
}

fn parts(destination: &Destination) -> impl Iterator<Item = (ForbiddenPart, IpRange)> {
    let nat = destination.nat().map(|nat| match nat.addr {
        NatAddr::Range(range) => range,
        NatAddr::Mapped { device, .. } => IpRange::single(device),
    });
    let selector = (ForbiddenPart::Selector, destination.selector().ip());
    core::iter::once(selector).chain(nat.map(|nat| (ForbiddenPart::Nat, nat)))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The addresses that share their first `bits` with this one.
const fn v4(octets: [u8; 4], bits: u32) -> IpRange {
    let first = u32::from_be_bytes(octets);
    let last = first
        | match u32::MAX.checked_shr(bits) {
            Some(host_bits) => host_bits,
            None => 0,
        };
    IpRange::between_v4(Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last))
}

const fn v6(groups: [u16; 8], bits: u32) -> IpRange {
    let [a, b, c, d, e, f, g, h] = groups;
    let first = Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits();
    let last = first
        | match u128::MAX.checked_shr(bits) {
            Some(host_bits) => host_bits,
            None => 0,
        };
    IpRange::between_v6(Ipv6Addr::from_bits(first), Ipv6Addr::from_bits(last))
}

impl fmt::Display for ForbiddenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForbiddenPart::Selector => "selector.ip",
            ForbiddenPart::Nat => "nat.addr",
        })
    }
}

impl fmt::Display for ForbiddenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForbiddenKind::Metadata => "a cloud's metadata service",
            ForbiddenKind::Loopback => "the machine itself",
            ForbiddenKind::Unspecified => "no address at all",
            ForbiddenKind::LinkLocal => "link-local",
            ForbiddenKind::Multicast => "multicast",
            ForbiddenKind::Broadcast => "broadcast",
            ForbiddenKind::V4Mapped => "IPv4 written as IPv6",
            ForbiddenKind::Control => "an address of the control plane",
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::access::id::ConnectorId;
    use crate::access::tests::{ip, ips, select};
    use crate::packet::Protocol;

    fn forbidden(control: &[&str], allowed: &[&str]) -> ForbiddenAddresses {
        let nets = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        ForbiddenAddresses::new(nets(control), nets(allowed))
    }

    fn one(selected: &str, nat: Option<NatAddr>) -> Destinations {
        let selector = select(selected, Some(Protocol::TCP), Some((22, 22)));
        let nat = nat.map(|addr| Nat { addr, ports: None });
        Destinations::new(vec![Destination::new(selector, nat).unwrap()]).unwrap()
    }

    fn kind(of: &ForbiddenAddresses, destinations: &Destinations) -> Option<(ForbiddenPart, ForbiddenKind)> {
        of.check(destinations).err().map(|found| (found.part, found.kind))
    }

    #[test]
    fn p20_reserved_addresses_are_forbidden_to_their_edges() {
        let of = forbidden(&[], &[]);
        for (text, expected) in [
            ("169.254.169.254", Some(ForbiddenKind::Metadata)),
            ("169.254.170.2", Some(ForbiddenKind::Metadata)),
            ("100.100.100.200", Some(ForbiddenKind::Metadata)),
            ("168.63.129.16", Some(ForbiddenKind::Metadata)),
            ("fd00:ec2::254", Some(ForbiddenKind::Metadata)),
            ("fd20:ce::254", Some(ForbiddenKind::Metadata)),
            ("127.0.0.0", Some(ForbiddenKind::Loopback)),
            ("127.255.255.255", Some(ForbiddenKind::Loopback)),
            ("126.255.255.255", None),
            ("128.0.0.0", None),
            ("::1", Some(ForbiddenKind::Loopback)),
            ("::2", None),
            ("0.0.0.0", Some(ForbiddenKind::Unspecified)),
            ("1.0.0.0", None),
            ("::", Some(ForbiddenKind::Unspecified)),
            ("169.254.0.0", Some(ForbiddenKind::LinkLocal)),
            ("169.253.255.255", None),
            ("fe80::1", Some(ForbiddenKind::LinkLocal)),
            ("febf::1", Some(ForbiddenKind::LinkLocal)),
            ("fec0::1", None),
            ("224.0.0.1", Some(ForbiddenKind::Multicast)),
            ("239.255.255.255", Some(ForbiddenKind::Multicast)),
            ("240.0.0.0", None),
            ("ff02::1", Some(ForbiddenKind::Multicast)),
            ("255.255.255.255", Some(ForbiddenKind::Broadcast)),
            ("::ffff:127.0.0.1", Some(ForbiddenKind::V4Mapped)),
            ("10.0.0.1", None),
            ("fd00::1", None),
        ] {
            assert_eq!(
                kind(&of, &one(text, None)),
                expected.map(|kind| (ForbiddenPart::Selector, kind)),
                "{text}"
            );
        }
    }

    #[test]
    fn prefixes_are_what_their_text_says() {
        let range = |text: &str| IpRange::from(text.parse::<IpNet>().unwrap());
        assert_eq!(v4([0, 0, 0, 0], 0), range("0.0.0.0/0"));
        assert_eq!(v4([169, 254, 0, 0], 16), range("169.254.0.0/16"));
        assert_eq!(v4([10, 0, 0, 1], 32), range("10.0.0.1/32"));
        assert_eq!(v6([0; 8], 0), range("::/0"));
        assert_eq!(v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), range("fe80::/10"));
        assert_eq!(v6([0, 0, 0, 0, 0, 0, 0, 1], 128), range("::1/128"));
    }

    #[test]
    fn who_wrote_the_target_reads_what_the_address_is() {
        let of = forbidden(&["10.99.0.0/24"], &[]);
        for (text, what) in [
            ("169.254.169.254", "a cloud's metadata service"),
            ("127.0.0.1", "the machine itself"),
            ("0.0.0.0", "no address at all"),
            ("fe80::1", "link-local"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("::ffff:10.0.0.1", "IPv4 written as IPv6"),
            ("10.99.0.1", "an address of the control plane"),
        ] {
            let message = of.check(&one(text, None)).unwrap_err().to_string();
            assert!(message.contains(&[", ", what, ": "].concat()), "{message}");
        }
        let found = of.check(&one("10.20.0.5", Some(NatAddr::Range(ips("127.0.0.1"))))).unwrap_err();
        assert!(found.to_string().starts_with("dst[0].nat.addr has 127.0.0.1, "));
    }

    #[test]
    fn p20_a_range_that_touches_a_forbidden_one_is_forbidden() {
        let of = forbidden(&["10.99.0.0/24"], &[]);
        let found = of.check(&one("10.0.0.0-10.255.255.255", None)).unwrap_err();
        assert_eq!((found.kind, found.addresses), (ForbiddenKind::Control, ips("10.99.0.0-10.99.0.255")));
        assert_eq!(
            found.to_string(),
            "dst[0].selector.ip has 10.99.0.0-10.99.0.255, an address of the control plane: \
             targets must not lead there unless it is allowed"
        );
    }

    #[test]
    fn p20_where_packets_go_instead_is_checked_as_well() {
        let of = forbidden(&["10.99.0.1/32"], &[]);
        let to = |addr: &str| one("10.20.0.5", Some(NatAddr::Range(ips(addr))));
        assert_eq!(kind(&of, &to("127.0.0.1")), Some((ForbiddenPart::Nat, ForbiddenKind::Loopback)));
        assert_eq!(kind(&of, &to("10.99.0.1")), Some((ForbiddenPart::Nat, ForbiddenKind::Control)));
        assert_eq!(kind(&of, &to("10.99.0.2")), None);
    }

    #[test]
    fn p20_behind_a_connector_our_own_addresses_are_somebody_elses() {
        let of = forbidden(&["10.99.0.0/24"], &[]);
        let device = |addr: &str| {
            let mapped = NatAddr::Mapped { connector: ConnectorId(1), device: ip(addr) };
            one("10.20.0.5", Some(mapped))
        };
        assert_eq!(kind(&of, &device("10.99.0.1")), None);
        assert_eq!(kind(&of, &device("127.0.0.1")), Some((ForbiddenPart::Nat, ForbiddenKind::Loopback)));
        let mapped = NatAddr::Mapped { connector: ConnectorId(1), device: ip("192.168.7.9") };
        let selected = one("10.99.0.1", Some(mapped));
        assert_eq!(kind(&of, &selected), Some((ForbiddenPart::Selector, ForbiddenKind::Control)));
    }

    #[test]
    fn p20_what_is_allowed_is_allowed_whole_or_not_at_all() {
        let of = forbidden(&[], &["169.254.10.128/25", "169.254.10.0/25", "fe80::/10"]);
        for (text, allowed) in [
            ("169.254.10.0-169.254.10.255", true),
            ("169.254.10.200", true),
            ("169.254.9.255-169.254.10.0", false),
            ("169.254.10.255-169.254.11.0", false),
            ("fe80::1", true),
            ("127.0.0.1", false),
        ] {
            assert_eq!(of.check(&one(text, None)).is_ok(), allowed, "{text}");
        }
    }
}
