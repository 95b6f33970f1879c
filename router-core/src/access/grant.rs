//! What a session means for a node: the sink of policy. A node makes [`rules`](crate::rules) of it, knowing its own peers and
//! addresses. Everything here is known by what it is (keys, ids), nothing by a number of a process.

use alloc::vec::Vec;
use core::net::IpAddr;

use wg_proto::{PublicKey, UnixTime};

use super::connector::VirtualPort;
use super::decide::Client;
use super::id::ConnectorId;
use super::session::Session;
use super::target::{Destination, NatAddr};
use crate::Refusal;
use crate::flow::Caps;
use crate::packet::{Protocol, Version};
use crate::rules::{Dnat, SessionId};
use crate::selector::{IpRange, PortRange, Selector};

/// What a node enforces for one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which.
    pub session: SessionId,
    /// Who may send.
    pub source: IpAddr,
    /// Through which tunnel.
    pub subject: GrantSubject,
    /// Where to: those of the source's IP version, at least one, in the target's order.
    pub destinations: Vec<GrantDestination>,
    /// Whether devices see an address of the node's instead of the source.
    pub src_nat: bool,
    /// How what the source sends elsewhere is refused; `None`: as the node is configured.
    pub deny: Option<Refusal>,
    /// From when on nothing passes; `None`: as long as the node has a lease.
    pub expires: Option<UnixTime>,
    /// What it may hold at once.
    pub caps: Caps,
}

/// Through which tunnel a session's packets come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantSubject {
    /// The one of this key, and no other.
    Device(PublicKey),
    /// None: from another VPN gateway.
    External,
}

/// One destination of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantDestination {
    /// What the client sends.
    pub selector: Selector,
    /// Where it goes instead.
    pub dnat: Option<Dnat>,
    /// Which way.
    pub via: Via,
}

/// Which way a packet leaves a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// To whoever its destination belongs to.
    Route,
    /// Through this connector's tunnel.
    Connector(ConnectorId),
}

/// A device's service behind a connector, as a destination names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mapped {
    /// Behind which.
    pub connector: ConnectorId,
    /// The device's address there.
    pub device: IpAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The service's port.
    pub port: u16,
}

/// How a device's service is reached now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Through which connector: the one named, or a healthy one of the same site.
    pub via: ConnectorId,
    /// The connector's own address, of the device's IP version.
    pub overlay: IpAddr,
    /// What stands for the service there.
    pub virtual_port: VirtualPort,
}

/// Why a session means nothing to a node. Numbers count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// No connector has a mapping for the device's service.
    #[error("dst[{destination}].nat: no connector has a mapping for it")]
    NoMapping {
        /// Which destination.
        destination: usize,
    },
    /// The connector's address is of another IP version.
    #[error("dst[{destination}].nat: the connector has no address of this IP version")]
    OverlayVersion {
        /// Which destination.
        destination: usize,
    },
    /// None of the destinations is of the source's IP version.
    #[error("no destination of the client's IP version")]
    NoDestination,
}

/// What a session means for a node. `resolve` says how a device's service is reached.
pub fn compile(
    session: &Session,
    caps: Caps,
    resolve: impl Fn(&Mapped) -> Option<Reach>,
) -> Result<Grant, CompileError> {
    let version = IpRange::single(session.client_ip).version();
    let all = session.target.destinations.as_slice().iter().enumerate();
    let destinations: Vec<GrantDestination> = all
        .filter(|(_, destination)| destination.selector().ip().version() == version)
        .map(|(number, destination)| compile_one(number, destination, version, &resolve))
        .collect::<Result<_, _>>()?;
    if destinations.is_empty() {
        return Err(CompileError::NoDestination);
    }
    Ok(Grant {
        session: session.id,
        source: session.client_ip,
        subject: match session.client {
            Client::Device(device) => GrantSubject::Device(device.public_key),
            Client::External => GrantSubject::External,
        },
        destinations,
        src_nat: session.target.src_nat,
        deny: session.target.deny_signal,
        expires: session.expires.map(|expiry| expiry.at),
        caps,
    })
}

fn compile_one(
    number: usize,
    destination: &Destination,
    version: Version,
    resolve: impl Fn(&Mapped) -> Option<Reach>,
) -> Result<GrantDestination, CompileError> {
    let selector = *destination.selector();
    let (dnat, via) = match destination.nat().map(|nat| (nat.addr, nat.ports)) {
        None => (None, Via::Route),
        Some((NatAddr::Range(addr), ports)) => (Some(Dnat { addr, ports }), Via::Route),
        Some((NatAddr::Mapped { connector, device }, _)) => {
            let missing = CompileError::NoMapping { destination: number };
            let (protocol, port) = destination.service().ok_or(missing)?;
            let reach = resolve(&Mapped { connector, device, protocol, port }).ok_or(missing)?;
            let addr = IpRange::single(reach.overlay);
            if addr.version() != version {
                return Err(CompileError::OverlayVersion { destination: number });
            }
            let ports = Some(PortRange::single(reach.virtual_port.number()));
            (Some(Dnat { addr, ports }), Via::Connector(reach.via))
        }
    };
    Ok(GrantDestination { selector, dnat, via })
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::access::target::{Destinations, Nat};
    use crate::access::tests::{World, at, ip, ips, plain, select};

    const TCP: Option<Protocol> = Some(Protocol::TCP);
    const CAPS: Caps = Caps { flows_max: 7, half_open_max: 6, ports_max: 5, new_flows_per_sec: 4 };

    fn session(client_ip: &str, destinations: Vec<Destination>) -> Session {
        let mut world = World::new();
        world.target.destinations = Destinations::new(destinations).unwrap();
        world.target.src_nat = true;
        world.session_from(1, client_ip)
    }

    fn mapped(selected: &str, device: &str) -> Destination {
        let addr = NatAddr::Mapped { connector: ConnectorId(5), device: ip(device) };
        Destination::new(select(selected, TCP, Some((22, 22))), Some(Nat { addr, ports: None })).unwrap()
    }

    fn reach(asked: &Mapped) -> Option<Reach> {
        let overlay = if asked.device.is_ipv4() { ip("10.99.0.3") } else { ip("fd99::3") };
        let known = [ip("192.168.7.9"), ip("fd07::9")].contains(&asked.device);
        let known = known && (asked.protocol, asked.port) == (Protocol::TCP, 22);
        known.then_some(Reach { via: ConnectorId(6), overlay, virtual_port: VirtualPort::FIRST })
    }

    #[test]
    fn a_device_behind_a_connector_becomes_its_virtual_port() {
        for (client_ip, selected, device, overlay) in [
            ("10.77.0.2", "10.20.0.5", "192.168.7.9", "10.99.0.3"),
            ("fd77::2", "fd20::5", "fd07::9", "fd99::3"),
        ] {
            let session = session(client_ip, vec![mapped(selected, device)]);
            let grant = compile(&session, CAPS, reach).unwrap();
            let dnat = Dnat { addr: ips(overlay), ports: Some(PortRange::single(40_000)) };
            let selector = select(selected, TCP, Some((22, 22)));
            let via = Via::Connector(ConnectorId(6));
            assert_eq!(grant.destinations, [GrantDestination { selector, dnat: Some(dnat), via }]);
            assert_eq!((grant.source, grant.session), (ip(client_ip), session.id));
            let Client::Device(device) = session.client else { panic!("{:?}", session.client) };
            assert_eq!(grant.subject, GrantSubject::Device(device.public_key));
            assert_eq!((grant.src_nat, grant.deny, grant.expires, grant.caps), (true, None, None, CAPS));
        }
    }

    #[test]
    fn only_destinations_of_the_clients_version_are_part_of_it() {
        let both = vec![plain("10.20.0.5", 22), plain("fd20::5", 22)];
        let grant = compile(&session("fd77::2", both.clone()), CAPS, reach).unwrap();
        let way = GrantDestination { selector: *both[1].selector(), dnat: None, via: Via::Route };
        assert_eq!(grant.destinations, [way]);
        let mut v6_only = session("fd77::2", both[1..].to_vec());
        v6_only.client_ip = ip("10.77.0.2");
        assert_eq!(compile(&v6_only, CAPS, reach), Err(CompileError::NoDestination));
    }

    #[test]
    fn translation_without_a_connector_is_routed() {
        let addr = NatAddr::Range(ips("192.168.8.1"));
        let nat = Some(Nat { addr, ports: Some(PortRange::single(2222)) });
        let destination = Destination::new(select("10.20.0.5", TCP, Some((22, 22))), nat).unwrap();
        let grant = compile(&session("10.77.0.2", vec![destination]), CAPS, reach).unwrap();
        let dnat = Dnat { addr: ips("192.168.8.1"), ports: Some(PortRange::single(2222)) };
        assert_eq!((grant.destinations[0].dnat, grant.destinations[0].via), (Some(dnat), Via::Route));
    }

    #[test]
    fn a_device_without_a_mapping_is_named_by_its_place() {
        let unknown = session("10.77.0.2", vec![plain("10.20.0.4", 22), mapped("10.20.0.5", "192.168.7.1")]);
        assert_eq!(compile(&unknown, CAPS, reach), Err(CompileError::NoMapping { destination: 1 }));
        let other = |_: &Mapped| {
            Some(Reach { via: ConnectorId(6), overlay: ip("fd99::3"), virtual_port: VirtualPort::FIRST })
        };
        assert_eq!(compile(&unknown, CAPS, other), Err(CompileError::OverlayVersion { destination: 1 }));
    }

    #[test]
    fn a_grant_keeps_the_sessions_end_and_tells_external_clients_apart() {
        let mut session = session("10.77.0.2", vec![plain("10.20.0.5", 22)]);
        session.client = Client::External;
        session.expires = Some(crate::access::Expiry { at: at(99), limit: crate::access::Limit::Requested });
        session.target.deny_signal = Some(Refusal::Reset);
        let grant = compile(&session, CAPS, reach).unwrap();
        assert_eq!((grant.subject, grant.expires), (GrantSubject::External, Some(at(99))));
        assert_eq!(grant.deny, Some(Refusal::Reset));
    }
}
