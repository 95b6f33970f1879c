//! Strategies: well-formed packets of every kind, over both versions.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use crate::packet::{Addresses, Ends, Ports, TcpFlags, made};

/// Addresses of either version.
pub(super) fn any_addresses() -> impl Strategy<Value = Addresses> {
    prop_oneof![any::<(u32, u32)>().prop_map(v4), any::<(u128, u128)>().prop_map(v6)]
}

/// Addresses of the version that `like` has.
pub(super) fn addresses_like(like: Addresses) -> BoxedStrategy<Addresses> {
    match like {
        Addresses::V4 { .. } => any::<(u32, u32)>().prop_map(v4).boxed(),
        Addresses::V6 { .. } => any::<(u128, u128)>().prop_map(v6).boxed(),
    }
}

fn v4((source, destination): (u32, u32)) -> Addresses {
    Addresses::new(IpAddr::V4(Ipv4Addr::from(source)), IpAddr::V4(Ipv4Addr::from(destination))).unwrap()
}

fn v6((source, destination): (u128, u128)) -> Addresses {
    Addresses::new(IpAddr::V6(Ipv6Addr::from(source)), IpAddr::V6(Ipv6Addr::from(destination))).unwrap()
}

/// Ports.
pub(super) fn any_ports() -> impl Strategy<Value = Ports> {
    any::<(u16, u16)>().prop_map(|(source, destination)| Ports { source, destination })
}

/// Both ends of either version.
pub(super) fn any_ends() -> impl Strategy<Value = Ends> {
    (any_addresses(), any_ports()).prop_map(|(addresses, ports)| Ends { addresses, ports })
}

/// Both ends of one version, twice.
pub(super) fn any_translation() -> impl Strategy<Value = (Ends, Ends)> {
    any_ends().prop_flat_map(|from| {
        let to = (addresses_like(from.addresses), any_ports());
        (Just(from), to.prop_map(|(addresses, ports)| Ends { addresses, ports }))
    })
}

/// What a made packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Udp,
    EchoRequest,
    EchoReply,
    Gre,
}

/// Every kind.
pub(super) fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Tcp),
        Just(Kind::Udp),
        Just(Kind::EchoRequest),
        Just(Kind::EchoReply),
        Just(Kind::Gre)
    ]
}

/// A packet of that kind.
pub(super) fn packet(kind: Kind, ends: &Ends, payload: &[u8]) -> Vec<u8> {
    match kind {
        Kind::Tcp => made::tcp(ends, TcpFlags::ACK, 5, &[], payload),
        Kind::Udp => made::udp(ends, payload),
        Kind::EchoRequest => made::echo_request(ends, payload),
        Kind::EchoReply => made::echo_reply(ends, payload),
        Kind::Gre => made::ip(&ends.addresses, 47, payload),
    }
}

/// A packet of any kind and its ends.
pub(super) fn any_packet() -> impl Strategy<Value = (Kind, Ends, Vec<u8>)> {
    (any_kind(), any_ends(), proptest::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(kind, ends, payload)| (kind, ends, packet(kind, &ends, &payload)))
}
