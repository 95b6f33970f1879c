//! What can be wrong with a network target. Read first: docs/adr on translations, `target`.

use std::net::IpAddr;

use ipnet::IpNet;
use sluice_runtime::host::config::Fault;
use sluice_runtime::host::config::value::ValueFault;
use thiserror::Error;

/// Why a destination is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum TargetFault {
    /// A single value is wrong.
    #[error(transparent)]
    Value(ValueFault),
    /// Not an address, prefix or range.
    #[error("{0} is not a range of addresses")]
    NotARange(String),
    /// Not a port or range.
    #[error("{0} is not a port or a range of ports")]
    NotPorts(String),
    /// The end lies before the start.
    #[error("the range from {start} to {end} is empty")]
    EmptyRange { start: String, end: String },
    /// One end v4, the other v6.
    #[error("{start} and {end} are of different IP versions")]
    MixedVersions { start: IpAddr, end: IpAddr },
    /// Neither `tcp` nor `udp`.
    #[error("\"{0}\" is not a protocol with ports")]
    NotAProtocol(String),
    /// Ports of what?
    #[error("ports are given, but no protocol they belong to")]
    PortsWithoutProtocol,
    /// Such addresses never lie behind a tunnel.
    #[error("{range} touches {reserved} ({kind}), which is never a target")]
    Reserved { range: String, reserved: IpNet, kind: &'static str },
    /// One of our own addresses.
    #[error("{range} holds {address}, an address of this node or of a client")]
    OwnAddress { range: String, address: IpAddr },
    /// No destination at all.
    #[error("there is no destination")]
    NoDestination,
    /// Two destinations a packet could go to.
    #[error("it overlaps dst[{other}]: a packet could match both")]
    Overlap { other: usize },
    /// v4 cannot become v6.
    #[error("nat.addr {nat} and selector.ip {selector} are of different IP versions")]
    NatVersion { selector: String, nat: String },
    /// Neither one address nor as many as the selector has.
    #[error("nat.addr {nat} has another size than selector.ip {selector}, and is not one address")]
    NatSize { selector: String, nat: String },
    /// Neither one port nor as many as the selector has.
    #[error("nat.port {nat} has another size than selector.port {selector}, and is not one port")]
    NatPorts { selector: String, nat: String },
    /// `nat = {}`.
    #[error("nat translates nothing")]
    NatEmpty,
    /// Two ways to say where.
    #[error("nat.addr and nat.connector both say where packets go")]
    NatTwice,
    /// Nobody is called so.
    #[error("no connector is called \"{0}\"")]
    UnknownConnector(String),
    /// The connector has no address of the selector's version.
    #[error("connector \"{connector}\" has no {version} overlay address")]
    ConnectorVersion { connector: String, version: &'static str },
    /// No peer owns the address, and this host is not left.
    #[error("{range} is behind no connector, and there is neither [tun] nor [sockets] to leave by")]
    NoWayOut { range: String },
    /// A way that is asked for and not there.
    #[error("egress is \"{egress}\", and there is no [{egress}]")]
    NoSuchEgress { egress: &'static str },
    /// A way that is asked for and not taken.
    #[error("egress says how to leave this host, and all destinations are behind connectors")]
    UnusedEgress,
    /// Our own stack tells conversations apart by an address of ours.
    #[error("what leaves by [sockets] needs an {version} address in [node] addresses")]
    NoStackAddress { version: &'static str },
    /// Part of it behind one peer, part of it elsewhere.
    #[error("{range} is partly behind connector \"{connector}\", partly elsewhere")]
    SplitWay { range: String, connector: String },
    /// Source NAT without an address to turn sources into.
    #[error("src_nat is on, but there is no {version} address in {field} to turn sources into")]
    NoSourceAddress { version: &'static str, field: &'static str },
}

impl Fault for TargetFault {
    fn remedy(&self) -> String {
        match self {
            Self::Value(fault) => fault.remedy(),
            Self::NotARange(_) => {
                "Write an address, a prefix, \"A-B\" or { start = \"A\", end = \"B\" }.".into()
            }
            Self::NotPorts(_) => "Write a number, \"8000-8080\" or { start = 8000, end = 8080 }.".into(),
            Self::EmptyRange { start, end } => format!("Write it from {end} to {start}."),
            Self::MixedVersions { .. } | Self::NatVersion { .. } => {
                "Use one IP version per destination; write two destinations for both.".into()
            }
            Self::NotAProtocol(_) => "Write proto = \"tcp\" or \"udp\", or leave it out for any.".into(),
            Self::PortsWithoutProtocol => "Add selector.proto, \"tcp\" or \"udp\".".into(),
            Self::Reserved { .. } | Self::OwnAddress { .. } => {
                "Leave these addresses out of the range.".into()
            }
            Self::NoDestination => "Add dst = [ { selector = { ip = \"…\" } } ].".into(),
            Self::Overlap { .. } => {
                "Make their addresses, protocols or ports disjoint, or merge them.".into()
            }
            Self::NatSize { selector, .. } => {
                format!("Write one address, to which all are turned, or a range as large as {selector}.")
            }
            Self::NatPorts { selector, .. } => {
                format!("Write one port, to which all are turned, or a range as large as {selector}.")
            }
            Self::NatEmpty => "Add nat.addr, nat.connector or nat.port, or remove nat.".into(),
            Self::NatTwice => "Remove one of them.".into(),
            Self::UnknownConnector(_) => "Correct the name, or add a [[connector]].".into(),
            Self::ConnectorVersion { version, .. } => {
                format!("Give the connector a {version} address, or use the other version in the selector.")
            }
            Self::NoWayOut { .. } => {
                "Add nat.connector, put the network into a connector's networks, or add [tun] or [sockets]."
                    .into()
            }
            Self::NoSuchEgress { egress } => format!("Add [{egress}], or remove egress."),
            Self::UnusedEgress => "Remove egress.".into(),
            Self::NoStackAddress { version } => format!("Add an {version} address to [node] addresses."),
            Self::SplitWay { .. } => "Write one destination for each part.".into(),
            Self::NoSourceAddress { version, field } => {
                format!(
                    "Add a {version} address to {field}, or set src_nat = false and route the replies back here."
                )
            }
        }
    }
}
