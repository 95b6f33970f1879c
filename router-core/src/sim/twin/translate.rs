//! Destination translation, offset by offset (DESIGN, decision 1).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::packet::Protocol;
use crate::rules::Destination;

/// Where a packet goes that `choice` selects.
pub(super) fn destination(
    choice: &Destination,
    protocol: Protocol,
    (address, port): (IpAddr, u16),
) -> (IpAddr, u16) {
    let Some(dnat) = choice.dnat else { return (address, port) };
    let to = if dnat.addr.start() == dnat.addr.end() {
        dnat.addr.start()
    } else {
        shifted(address, choice.selector.ip().start(), dnat.addr.start())
    };
    let has_ports = matches!(protocol, Protocol::TCP | Protocol::UDP);
    let to_port = match (dnat.ports.filter(|_| has_ports), choice.selector.ports()) {
        (None, _) => port,
        (Some(ports), Some(from)) if ports.start() != ports.end() => port - from.start() + ports.start(),
        (Some(ports), _) => ports.start(),
    };
    (to, to_port)
}

/// As far from `to` as `address` is from `from`.
fn shifted(address: IpAddr, from: IpAddr, to: IpAddr) -> IpAddr {
    let number = number(address) - number(from) + number(to);
    match to {
        IpAddr::V4(_) => Ipv4Addr::from(number as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from(number).into(),
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
