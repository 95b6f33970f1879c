//! Destination translation: arithmetic over what a selector selects. Legal by birth, so that it cannot fail per packet.

use core::ops::RangeInclusive;

use crate::flow::Address;
use crate::packet::Protocol;

/// Where selected destinations are sent instead.
///
/// A single target takes all that is selected; a range of the same size takes it offset by offset. The same for ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dnat<A> {
    address: Shift<A>,
    port: Option<Shift<u16>>,
}

/// How one coordinate is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shift<T> {
    /// All to one.
    Collapse(T),
    /// `from + n` to `to + n`.
    Offset { from: T, to: T },
}

/// Why a destination translation is refused at configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnatError {
    /// A range ends before it starts.
    #[error("a range ends before it starts")]
    EmptyRange,
    /// The target is neither one address nor as many as are selected.
    #[error("the target must be one address or as many as are selected")]
    AddressCounts,
    /// The target is neither one port nor as many as are selected.
    #[error("the target must be one port or as many as are selected")]
    PortCounts,
}

impl<A: Address> Dnat<A> {
    /// Maps the selected addresses and ports (`None`: all) to `to` and `to_ports` (`None`: unchanged).
    pub fn new(
        selected: &RangeInclusive<A>,
        selected_ports: Option<&RangeInclusive<u16>>,
        to: &RangeInclusive<A>,
        to_ports: Option<&RangeInclusive<u16>>,
    ) -> Result<Dnat<A>, DnatError> {
        let address =
            Shift::between(*selected.start(), last(selected)?, *to.start(), last(to)?, A::to_number)
                .ok_or(DnatError::AddressCounts)?;
        let port = to_ports.map(|to| port_shift(selected_ports, to)).transpose()?;
        Ok(Dnat { address, port })
    }

    /// The destination that takes the place of a selected one. Ports change for protocols that have them only.
    #[inline]
    pub fn apply(&self, protocol: Protocol, dst: A, dst_port: u16) -> (A, u16) {
        let address = match self.address {
            Shift::Collapse(to) => to,
            Shift::Offset { from, to } => {
                let offset = dst.to_number().saturating_sub(from.to_number());
                A::from_number(to.to_number().saturating_add(offset))
            }
        };
        (address, self.apply_port(protocol, dst_port))
    }

    fn apply_port(&self, protocol: Protocol, dst_port: u16) -> u16 {
        match self.port {
            Some(_) if !protocol.is_tcp_or_udp() => dst_port,
            Some(Shift::Collapse(to)) => to,
            Some(Shift::Offset { from, to }) => to.saturating_add(dst_port.saturating_sub(from)),
            None => dst_port,
        }
    }
}

impl<T: Copy> Shift<T> {
    /// `None` if the target is neither one nor as many as are selected.
    fn between(start: T, end: T, to_start: T, to_end: T, number: impl Fn(T) -> u128) -> Option<Shift<T>> {
        let (selected, targets) = (number(end) - number(start), number(to_end) - number(to_start));
        match targets {
            0 => Some(Shift::Collapse(to_start)),
            _ if targets == selected => Some(Shift::Offset { from: start, to: to_start }),
            _ => None,
        }
    }
}

fn port_shift(
    selected: Option<&RangeInclusive<u16>>,
    to: &RangeInclusive<u16>,
) -> Result<Shift<u16>, DnatError> {
    let selected = selected.unwrap_or(&(0..=u16::MAX));
    Shift::between(*selected.start(), last(selected)?, *to.start(), last(to)?, u128::from)
        .ok_or(DnatError::PortCounts)
}

fn last<T: Copy + PartialOrd>(range: &RangeInclusive<T>) -> Result<T, DnatError> {
    if range.start() <= range.end() { Ok(*range.end()) } else { Err(DnatError::EmptyRange) }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn v4(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn dnat(
        selected: (u8, u8),
        ports: Option<(u16, u16)>,
        to: (u8, u8),
        to_ports: Option<(u16, u16)>,
    ) -> Result<Dnat<Ipv4Addr>, DnatError> {
        let ports = ports.map(|(start, end)| start..=end);
        let to_ports = to_ports.map(|(start, end)| start..=end);
        let (selected, to) = (v4(selected.0)..=v4(selected.1), v4(to.0)..=v4(to.1));
        Dnat::new(&selected, ports.as_ref(), &to, to_ports.as_ref())
    }

    #[test]
    fn dnat_single_target_takes_every_selected_address_and_port() {
        let dnat = dnat((1, 9), Some((20, 30)), (99, 99), Some((7, 7))).unwrap();
        for (address, port) in [(1, 20), (5, 25), (9, 30)] {
            assert_eq!(dnat.apply(Protocol::TCP, v4(address), port), (v4(99), 7));
        }
    }

    #[test]
    fn dnat_range_of_equal_size_maps_offset_by_offset() {
        let dnat = dnat((1, 9), Some((20, 30)), (101, 109), Some((1020, 1030))).unwrap();
        for (address, port) in [(1, 20), (5, 25), (9, 30)] {
            assert_eq!(dnat.apply(Protocol::UDP, v4(address), port), (v4(100 + address), 1000 + port));
        }
    }

    #[test]
    fn dnat_any_other_combination_is_refused_at_configuration() {
        for (selected, ports, to, to_ports, error) in [
            ((1, 9), None, (1, 8), None, DnatError::AddressCounts),
            ((1, 9), None, (1, 10), None, DnatError::AddressCounts),
            ((1, 1), None, (1, 2), None, DnatError::AddressCounts),
            ((1, 1), Some((1, 10)), (1, 1), Some((1, 9)), DnatError::PortCounts),
            ((1, 1), Some((1, 1)), (1, 1), Some((1, 2)), DnatError::PortCounts),
            ((1, 1), None, (1, 1), Some((1, 2)), DnatError::PortCounts),
            ((2, 1), None, (1, 1), None, DnatError::EmptyRange),
            ((1, 1), None, (2, 1), None, DnatError::EmptyRange),
            ((1, 1), Some((2, 1)), (1, 1), Some((1, 1)), DnatError::EmptyRange),
        ] {
            assert_eq!(
                dnat(selected, ports, to, to_ports),
                Err(error),
                "{selected:?} {ports:?} {to:?} {to_ports:?}"
            );
        }
    }

    #[test]
    fn dnat_without_target_ports_keeps_them_and_protocols_without_ports_keep_theirs() {
        let address_only = dnat((1, 1), Some((22, 22)), (9, 9), None).unwrap();
        assert_eq!(address_only.apply(Protocol::TCP, v4(1), 22), (v4(9), 22));
        let with_port = dnat((1, 1), None, (9, 9), Some((40000, 40000))).unwrap();
        assert_eq!(with_port.apply(Protocol::TCP, v4(1), 22), (v4(9), 40000));
        for protocol in [Protocol::ICMP, Protocol::GRE] {
            assert_eq!(with_port.apply(protocol, v4(1), 0), (v4(9), 0));
        }
    }

    #[test]
    fn dnat_of_all_v6_addresses_onto_themselves_does_not_overflow() {
        let all = Ipv6Addr::from_bits(0)..=Ipv6Addr::from_bits(u128::MAX);
        let dnat = Dnat::new(&all, None, &all, None).unwrap();
        for address in [Ipv6Addr::from_bits(0), Ipv6Addr::from_bits(u128::MAX), Ipv6Addr::LOCALHOST] {
            assert_eq!(dnat.apply(Protocol::TCP, address, 1), (address, 1));
        }
    }
}
