//! `[[mapping]]`: a virtual port of this connector and the device behind it.

use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::Deserialize;
use sluice_runtime::host::config::node::{NodeSettings, required};
use sluice_runtime::host::config::value::{self, ValueFault};
use sluice_runtime::host::config::{Fault, Place, Problems};
use thiserror::Error;

use super::Egress;

/// `[[mapping]]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappingTable {
    name: Option<String>,
    virtual_port: Option<i64>,
    proto: Option<String>,
    device: Option<String>,
    port: Option<i64>,
}

/// A mapping, legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) name: String,
    pub(crate) virtual_port: VirtualPort,
    pub(crate) protocol: Protocol,
    pub(crate) device: IpAddr,
    pub(crate) port: NonZeroU16,
}

/// A port of the connector's overlay address, on which routers find one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VirtualPort(NonZeroU16);

impl VirtualPort {
    /// The port's number.
    pub(crate) fn get(self) -> u16 {
        self.0.get()
    }
}

/// What devices speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// What can be wrong with a mapping.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum MappingFault {
    /// Nothing leaves without one of them.
    #[error("there is neither [tun] nor [sockets] to reach the device by")]
    NoEgress,
    /// Routers could not address it.
    #[error("the device is {version}, but [node] addresses has no {version} address")]
    NoOverlayAddress { version: &'static str },
    /// Sources could not be translated.
    #[error("the device is {version} and [tun] snat is on, but egress_addresses has no {version} address")]
    NoEgressAddress { version: &'static str },
    /// Reaching it would reach this machine, or a cloud's metadata service.
    #[error("{0} is link-local")]
    LinkLocal(IpAddr),
}

impl Fault for MappingFault {
    fn remedy(&self) -> String {
        match self {
            Self::NoEgress => {
                "Add [tun] with egress_addresses, or [sockets], which needs no privilege.".into()
            }
            Self::NoOverlayAddress { version } => format!("Add an {version} address to [node] addresses."),
            Self::NoEgressAddress { version } => {
                format!(
                    "Add an {version} address to [tun] egress_addresses, or set snat = false and route replies here."
                )
            }
            Self::LinkLocal(_) => "Use an address of the device's network.".into(),
        }
    }
}

/// Parses a mapping. With sockets the device may be this very host.
pub(crate) fn parse(
    table: &MappingTable,
    by_sockets: bool,
    place: &Place,
    problems: &mut Problems,
) -> Option<Mapping> {
    let name = required(table.name.as_deref(), "name", place, problems);
    let name = name.and_then(|name| problems.take(&place.field("name"), value::name(name)));
    let virtual_port = required(table.virtual_port, "virtual_port", place, problems);
    let virtual_port =
        virtual_port.and_then(|port| problems.take(&place.field("virtual_port"), value::port(port)));
    let protocol = required(table.proto.as_deref(), "proto", place, problems);
    let protocol = protocol.and_then(|text| problems.take(&place.field("proto"), protocol_of(text)));
    let device = device(table, by_sockets, place, problems);
    let port = required(table.port, "port", place, problems);
    let port = port.and_then(|port| problems.take(&place.field("port"), value::port(port)));
    let virtual_port = VirtualPort(virtual_port?);
    Some(Mapping { name: name?, virtual_port, protocol: protocol?, device: device?, port: port? })
}

fn device(table: &MappingTable, by_sockets: bool, place: &Place, problems: &mut Problems) -> Option<IpAddr> {
    let field = &place.field("device");
    let device = required(table.device.as_deref(), "device", place, problems)?;
    let device = if by_sockets { value::host_or_loopback(device) } else { value::host(device) };
    let device = problems.take(field, device)?;
    problems.take(field, not_link_local(device))
}

fn protocol_of(text: &str) -> Result<Protocol, ValueFault> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err(ValueFault::NotAWord { given: text.to_owned(), known: "tcp, udp" }),
    }
}

fn not_link_local(address: IpAddr) -> Result<IpAddr, MappingFault> {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if link_local { Err(MappingFault::LinkLocal(address)) } else { Ok(address) }
}

/// Whether routers can address the mapping and the device can be reached.
///
/// # Errors
/// What is missing.
pub(crate) fn reachable(
    mapping: &Mapping,
    node: &NodeSettings,
    egress: Option<&Egress>,
) -> Result<(), MappingFault> {
    let same_version =
        |addresses: &[IpAddr]| addresses.iter().any(|own| own.is_ipv4() == mapping.device.is_ipv4());
    let version = if mapping.device.is_ipv4() { "IPv4" } else { "IPv6" };
    let egress = egress.ok_or(MappingFault::NoEgress)?;
    if !same_version(&node.addresses) {
        return Err(MappingFault::NoOverlayAddress { version });
    }
    match egress {
        Egress::Tun(tun) if tun.snat && !same_version(&tun.common.egress_addresses) => {
            Err(MappingFault::NoEgressAddress { version })
        }
        Egress::Tun(_) | Egress::Sockets(_) => Ok(()),
    }
}
