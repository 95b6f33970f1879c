//! One destination: a traffic selector and where its packets go instead. DESIGN decision 1.

use core::net::IpAddr;

use crate::access::id::ConnectorId;
use crate::packet::Protocol;
use crate::rules::{Dnat, RuleError};
use crate::selector::{IpRange, PortRange, Selector};

/// Where a target leads, in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Destination {
    selector: Selector,
    nat: Option<Nat>,
}

/// Where selected packets go instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nat {
    /// The new address.
    pub addr: NatAddr,
    /// The new ports; `None`: they stay.
    pub ports: Option<PortRange>,
}

/// Which address selected packets get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NatAddr {
    /// This one, or one of as many as are selected, offset by offset.
    Range(IpRange),
    /// A device's behind a connector, which must have a mapping for its service.
    Mapped {
        /// Behind which.
        connector: ConnectorId,
        /// Its address in that network.
        device: IpAddr,
    },
}

/// Why a destination is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// What is selected does not fit where it goes.
    #[error("{0}")]
    Nat(#[from] RuleError),
    /// A device's address of another IP version than what is selected.
    #[error("the device's address is of another IP version than what is selected")]
    DeviceVersion,
    /// A device mapping is for one of TCP and UDP.
    #[error("a device behind a connector is reached by the protocol tcp or udp: the selector must say which")]
    MappedProtocol,
    /// A device mapping is for one port.
    #[error("a device behind a connector is reached at one port: say it in nat.port, or select one")]
    MappedPort,
}

impl Destination {
    /// What is selected, going to where it was sent or to `nat`.
    pub fn new(selector: Selector, nat: Option<Nat>) -> Result<Destination, DestinationError> {
        match nat {
            None => {}
            Some(Nat { addr: NatAddr::Range(addr), ports }) => Dnat { addr, ports }.check(&selector)?,
            Some(Nat { addr: NatAddr::Mapped { device, .. }, ports }) => {
                if device.is_ipv4() != selector.ip().start().is_ipv4() {
                    return Err(DestinationError::DeviceVersion);
                }
                if !selector.proto().is_some_and(Protocol::is_tcp_or_udp) {
                    return Err(DestinationError::MappedProtocol);
                }
                one_port(ports.or(selector.ports())).ok_or(DestinationError::MappedPort)?;
            }
        }
        Ok(Destination { selector, nat })
    }

    /// What the client sends.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Where it goes instead.
    pub fn nat(&self) -> Option<Nat> {
        self.nat
    }

    /// The service of a device behind a connector, if that is where it goes: protocol and port.
    pub fn service(&self) -> Option<(Protocol, u16)> {
        let nat = self.nat.filter(|nat| matches!(nat.addr, NatAddr::Mapped { .. }))?;
        Some((self.selector.proto()?, one_port(nat.ports.or(self.selector.ports()))?))
    }
}

fn one_port(ports: Option<PortRange>) -> Option<u16> {
    ports.filter(|ports| ports.start() == ports.end()).map(|ports| ports.start())
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::access::tests::{ip, ips, select};

    const TCP: Option<Protocol> = Some(Protocol::TCP);

    fn mapped(device: &str, port: Option<u16>) -> Option<Nat> {
        let addr = NatAddr::Mapped { connector: ConnectorId(1), device: ip(device) };
        Some(Nat { addr, ports: port.map(PortRange::single) })
    }

    fn to(addr: &str, ports: Option<(u16, u16)>) -> Option<Nat> {
        let ports = ports.map(|(start, end)| PortRange::new(start, end).unwrap());
        Some(Nat { addr: NatAddr::Range(ips(addr)), ports })
    }

    #[test]
    fn one_address_takes_all_and_a_range_of_equal_size_takes_them_one_by_one() {
        let selector = select("10.0.0.0-10.0.0.9", TCP, Some((20, 29)));
        let address_counts =
            "destination translation: the target must be one address or as many as are selected";
        let port_counts = "destination translation: the target must be one port or as many as are selected";
        for (nat, error) in [
            (None, None),
            (to("10.1.0.1", None), None),
            (to("10.1.0.0-10.1.0.9", Some((1020, 1029))), None),
            (to("10.1.0.1", Some((22, 22))), None),
            (to("10.1.0.0-10.1.0.8", None), Some(address_counts)),
            (to("10.1.0.1", Some((20, 28))), Some(port_counts)),
            (to("fd00::1", None), Some("a destination is translated into another IP version")),
        ] {
            let made = Destination::new(selector, nat);
            assert_eq!(made.err().map(|error| error.to_string()).as_deref(), error, "{nat:?}");
        }
        let any = select("10.0.0.1", None, None);
        let refused = Destination::new(any, to("10.1.0.1", Some((22, 22))));
        assert_eq!(refused, Err(DestinationError::Nat(RuleError::DnatPortsWithoutProtocol)));
    }

    #[test]
    fn a_device_behind_a_connector_is_one_service() {
        let one = Some((22, 22));
        for (ips, proto, ports, nat, expected) in [
            ("10.0.0.1", TCP, one, mapped("192.168.7.9", None), Ok(22)),
            ("10.0.0.1", TCP, one, mapped("192.168.7.9", Some(2222)), Ok(2222)),
            ("10.0.0.0-10.0.0.9", TCP, Some((20, 29)), mapped("192.168.7.9", Some(22)), Ok(22)),
            ("10.0.0.1", TCP, None, mapped("192.168.7.9", Some(22)), Ok(22)),
            ("fd00::1", TCP, one, mapped("fd07::9", None), Ok(22)),
            ("10.0.0.1", TCP, None, mapped("192.168.7.9", None), Err(DestinationError::MappedPort)),
            ("10.0.0.1", TCP, Some((20, 29)), mapped("192.168.7.9", None), Err(DestinationError::MappedPort)),
            ("10.0.0.1", None, None, mapped("192.168.7.9", Some(22)), Err(DestinationError::MappedProtocol)),
            ("10.0.0.1", TCP, one, mapped("fd07::9", None), Err(DestinationError::DeviceVersion)),
            ("fd00::1", TCP, one, mapped("192.168.7.9", None), Err(DestinationError::DeviceVersion)),
        ] {
            let made = Destination::new(select(ips, proto, ports), nat);
            let service = made.map(|made| made.service().unwrap());
            assert_eq!(
                service,
                expected.map(|port| (Protocol::TCP, port)),
                "{ips} {proto:?} {ports:?} {nat:?}"
            );
        }
    }

    #[test]
    fn only_a_device_behind_a_connector_is_a_service() {
        let selector = select("10.0.0.1", TCP, Some((22, 22)));
        let plain = Destination::new(selector, to("10.1.0.1", None)).unwrap();
        assert_eq!((plain.service(), plain.selector()), (None, &selector));
        assert_eq!(Destination::new(selector, None).unwrap().service(), None);
    }
}
