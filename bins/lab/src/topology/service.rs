//! What clients can reach behind a connector, and under which numbers.

use crate::sluice::{Destination, Mapping, Protocol};

/// Where something stands in a site's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// The device in the connector's own network.
    Device,
    /// A device two hops on, behind a link with an MTU of 1280.
    Far,
    /// An address that nobody has.
    Dead,
}

impl Spot {
    /// Its v4 and v6 address in the site's network.
    pub fn local(self) -> [&'static str; 2] {
        match self {
            Spot::Device => ["192.168.7.10", "fd07::10"],
            Spot::Far => ["192.168.9.10", "fd09::10"],
            Spot::Dead => ["192.168.7.99", "fd07::99"],
        }
    }

    /// The v4 and v6 address under which clients reach it in a site of this number.
    pub fn target(self, site: usize) -> [String; 2] {
        let host = match self {
            Spot::Device => 5,
            Spot::Far => 6,
            Spot::Dead => 7,
        };
        [format!("10.{}.0.{host}", 20 + site), format!("fd{}::{host}", 20 + site)]
    }
}

/// One thing that clients may reach.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The mapping's name.
    pub name: &'static str,
    /// Where it is.
    pub spot: Spot,
    /// Its protocol: selectors name exactly one.
    pub protocol: Protocol,
    /// The port on both ends.
    pub port: u16,
    /// The connector's virtual port for v4; that for v6 is 1000 higher.
    pub virtual_port: u16,
}

const fn service(
    name: &'static str,
    spot: Spot,
    protocol: Protocol,
    port: u16,
    virtual_port: u16,
) -> Service {
    Service { name, spot, protocol, port, virtual_port }
}

/// All of them. Nothing listens on the ports named closed.
pub const SERVICES: [Service; 13] = [
    service("web", Spot::Device, Protocol::Tcp, 80, 40000),
    service("ssh", Spot::Device, Protocol::Tcp, 22, 40001),
    service("dns", Spot::Device, Protocol::Udp, 53, 40002),
    service("iperf", Spot::Device, Protocol::Tcp, 5201, 40003),
    service("iperf-udp", Spot::Device, Protocol::Udp, 5201, 40004),
    service("closed-udp", Spot::Device, Protocol::Udp, 9, 40005),
    service("closed-tcp", Spot::Device, Protocol::Tcp, 81, 40006),
    service("hold", Spot::Device, Protocol::Tcp, 7000, 40007),
    service("dead-tcp", Spot::Dead, Protocol::Tcp, 80, 40008),
    service("dead-udp", Spot::Dead, Protocol::Udp, 9, 40009),
    service("far-web", Spot::Far, Protocol::Tcp, 80, 40010),
    service("far-ssh", Spot::Far, Protocol::Tcp, 22, 40011),
    service("far-udp", Spot::Far, Protocol::Udp, 9, 40012),
];

impl Service {
    /// The connector's two mappings, v4 and v6.
    pub(crate) fn mappings(&self) -> [Mapping; 2] {
        let [v4, v6] = self.spot.local();
        let mapping = |suffix: &str, device: &str, virtual_port| Mapping {
            name: format!("{}{suffix}", self.name),
            virtual_port,
            protocol: self.protocol,
            device: device.to_owned(),
            port: self.port,
        };
        [mapping("", v4, self.virtual_port), mapping("-v6", v6, self.virtual_port + 1000)]
    }

    /// The target's two destinations in a site of this number, whose connector has these overlay addresses.
    pub(crate) fn destinations(&self, site: usize, connector: &[String; 2]) -> [Destination; 2] {
        let [v4, v6] = self.spot.target(site);
        let destination = |ip, address: &String, port| Destination {
            ip,
            protocol: Some(self.protocol),
            port: Some(self.port.to_string()),
            nat: Some((address.clone(), Some(port))),
        };
        [
            destination(v4, &connector[0], self.virtual_port),
            destination(v6, &connector[1], self.virtual_port + 1000),
        ]
    }
}
