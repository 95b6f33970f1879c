//! Network targets: what a session lets a client reach, and what its packets are turned into. Read first:
//! `target_fault`. Called by `config`; `ways` then says where each destination leaves.

use std::net::IpAddr;

use serde::Deserialize;
use sluice_runtime::host::config::node::required;
use sluice_runtime::host::config::peer::PeerSettings;
use sluice_runtime::host::config::{Place, Problems, value};
use toml::Value;

use super::DenySignal;
use super::range::{AddressRange, Ports};
use super::target_fault::TargetFault;

/// `[[target]]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetTable {
    name: Option<String>,
    #[serde(default, rename = "comment")]
    _comment: Option<String>,
    #[serde(default)]
    src_nat: bool,
    deny_signal: Option<String>,
    #[serde(default)]
    dst: Vec<DestinationTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DestinationTable {
    selector: SelectorTable,
    nat: Option<NatTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SelectorTable {
    ip: Value,
    proto: Option<String>,
    port: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NatTable {
    addr: Option<Value>,
    connector: Option<String>,
    port: Option<Value>,
}

/// A network target, legal in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) src_nat: bool,
    /// The node's, unless the target has its own.
    pub(crate) deny_signal: Option<DenySignal>,
    /// Never two that one packet could match.
    pub(crate) destinations: Vec<Destination>,
}

/// One destination of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) selector: Selector,
    pub(crate) nat: Option<Nat>,
}

/// What the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) addresses: AddressRange,
    pub(crate) protocol: Option<Protocol>,
    /// Only with a protocol.
    pub(crate) ports: Option<Ports>,
}

/// The protocols selectors name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What the destination becomes: one address, or as many as the selector has; the same for ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nat {
    pub(crate) addresses: AddressRange,
    pub(crate) ports: Option<Ports>,
}

impl Destination {
    /// Where packets go after translation.
    pub(crate) fn reached(&self) -> AddressRange {
        self.nat.map_or(self.selector.addresses, |nat| nat.addresses)
    }

    /// Whether one packet could match both: what clients send is compared, before translation.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.selector, &other.selector);
        ours.addresses.overlaps(theirs.addresses)
            && both(ours.protocol, theirs.protocol, |a, b| a == b)
            && both(ours.ports, theirs.ports, Ports::overlaps)
    }
}

/// Whether two constraints agree; an absent one agrees with everything.
fn both<T>(a: Option<T>, b: Option<T>, agree: impl FnOnce(T, T) -> bool) -> bool {
    a.zip(b).is_none_or(|(a, b)| agree(a, b))
}

/// Parses a target; its faults are noted at their fields.
pub(crate) fn parse(
    table: &TargetTable,
    connectors: &[PeerSettings],
    place: &Place,
    problems: &mut Problems,
) -> Option<Target> {
    let name = required(table.name.as_deref(), "name", place, problems);
    let name = name.and_then(|name| problems.take(&place.field("name"), value::name(name)));
    let deny_signal = table.deny_signal.as_deref();
    let deny_signal =
        deny_signal.map(|text| problems.take(&place.field("deny_signal"), DenySignal::parse(text)));
    let dst = &place.field("dst");
    if table.dst.is_empty() {
        problems.note(dst, TargetFault::NoDestination);
    }
    let parsed = table.dst.iter().enumerate();
    let parsed = parsed.map(|(index, table)| destination(table, connectors, &dst.index(index), problems));
    let destinations: Vec<_> = parsed.collect();
    note_overlaps(&destinations, dst, problems);
    let destinations = destinations.into_iter().collect::<Option<Vec<_>>>()?;
    Some(Target { name: name?, src_nat: table.src_nat, deny_signal: flatten(deny_signal)?, destinations })
}

fn note_overlaps(destinations: &[Option<Destination>], place: &Place, problems: &mut Problems) {
    for (index, destination) in destinations.iter().enumerate() {
        let earlier = destinations[..index].iter().position(|earlier| {
            earlier.as_ref().zip(destination.as_ref()).is_some_and(|(a, b)| a.overlaps(b))
        });
        if let Some(other) = earlier {
            problems.note(&place.index(index), TargetFault::Overlap { other });
        }
    }
}

fn destination(
    table: &DestinationTable,
    connectors: &[PeerSettings],
    place: &Place,
    problems: &mut Problems,
) -> Option<Destination> {
    let selector = selector(&table.selector, &place.field("selector"), problems)?;
    let Some(nat) = &table.nat else { return Some(Destination { selector, nat: None }) };
    let nat = nat_of(nat, &selector, connectors, &place.field("nat"), problems)?;
    Some(Destination { selector, nat: Some(nat) })
}

fn selector(table: &SelectorTable, place: &Place, problems: &mut Problems) -> Option<Selector> {
    let addresses =
        problems.take(&place.field("ip"), AddressRange::from_toml(&table.ip).and_then(not_reserved));
    let protocol = table.proto.as_deref().map(|text| problems.take(&place.field("proto"), protocol(text)));
    let ports = ports(table.port.as_ref(), protocol.is_some(), place, problems);
    Some(Selector { addresses: addresses?, protocol: flatten(protocol)?, ports: flatten(ports)? })
}

/// `None` if a value was given and is wrong, `Some(None)` if none was given.
fn flatten<T>(parsed: Option<Option<T>>) -> Option<Option<T>> {
    match parsed {
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
        None => Some(None),
    }
}

fn ports(
    given: Option<&Value>,
    has_protocol: bool,
    place: &Place,
    problems: &mut Problems,
) -> Option<Option<Ports>> {
    let place = &place.field("port");
    let ports = problems.take(place, Ports::from_toml(given?));
    if !has_protocol {
        problems.note(place, TargetFault::PortsWithoutProtocol);
    }
    Some(ports)
}

fn protocol(text: &str) -> Result<Protocol, TargetFault> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err(TargetFault::NotAProtocol(text.to_owned())),
    }
}

fn nat_of(
    table: &NatTable,
    selector: &Selector,
    connectors: &[PeerSettings],
    place: &Place,
    problems: &mut Problems,
) -> Option<Nat> {
    let addresses = nat_addresses(table, selector, connectors).and_then(|nat| fitting(nat, selector));
    let addresses = problems.take(place, addresses);
    let ports = flatten(ports(table.port.as_ref(), selector.protocol.is_some(), place, problems))?;
    let ports = problems.take(&place.field("port"), fitting_ports(ports, selector))?;
    Some(Nat { addresses: addresses?, ports })
}

fn nat_addresses(
    table: &NatTable,
    selector: &Selector,
    connectors: &[PeerSettings],
) -> Result<AddressRange, TargetFault> {
    match (&table.addr, &table.connector) {
        (Some(_), Some(_)) => Err(TargetFault::NatTwice),
        (Some(addr), None) => AddressRange::from_toml(addr).and_then(not_reserved),
        (None, Some(name)) => connector_address(name, selector.addresses.is_ipv4(), connectors),
        (None, None) if table.port.is_some() => Ok(selector.addresses),
        (None, None) => Err(TargetFault::NatEmpty),
    }
}

fn connector_address(name: &str, v4: bool, connectors: &[PeerSettings]) -> Result<AddressRange, TargetFault> {
    let unknown = || TargetFault::UnknownConnector(name.to_owned());
    let connector = connectors.iter().find(|connector| connector.name == name).ok_or_else(unknown)?;
    let address = connector.addresses.iter().find(|address| address.is_ipv4() == v4);
    let version = version_name(v4);
    address
        .map(|address| AddressRange::single(*address))
        .ok_or_else(|| TargetFault::ConnectorVersion { connector: name.to_owned(), version })
}

/// One address takes all; a range of equal size takes offset by offset; nothing else has a meaning.
fn fitting(nat: AddressRange, selector: &Selector) -> Result<AddressRange, TargetFault> {
    let (told, sent) = (nat.to_string(), selector.addresses.to_string());
    if nat.is_ipv4() != selector.addresses.is_ipv4() {
        return Err(TargetFault::NatVersion { selector: sent, nat: told });
    }
    let fits = nat.is_single() || nat.last_offset() == selector.addresses.last_offset();
    if fits { Ok(nat) } else { Err(TargetFault::NatSize { selector: sent, nat: told }) }
}

fn fitting_ports(nat: Option<Ports>, selector: &Selector) -> Result<Option<Ports>, TargetFault> {
    let Some(ports) = nat.filter(|ports| !ports.is_single()) else { return Ok(nat) };
    if selector.ports.is_some_and(|sent| sent.last_offset() == ports.last_offset()) {
        return Ok(nat);
    }
    let sent = selector.ports.map_or("(any)".to_owned(), |sent| sent.to_string());
    Err(TargetFault::NatPorts { selector: sent, nat: ports.to_string() })
}

/// Addresses that never lie behind a tunnel: reaching them would reach this machine, or a cloud's metadata service.
const RESERVED: [(&str, &str); 9] = [
    ("0.0.0.0/8", "this network"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local, where clouds keep metadata"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved and broadcast"),
    ("::/127", "unspecified and loopback"),
    ("::ffff:0:0/96", "v4-mapped"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
];

fn not_reserved(range: AddressRange) -> Result<AddressRange, TargetFault> {
    for (reserved, kind) in RESERVED {
        let reserved = reserved.parse().expect("the table above holds prefixes");
        if range.touches(&reserved) {
            return Err(TargetFault::Reserved { range: range.to_string(), reserved, kind });
        }
    }
    Ok(range)
}

/// Of an address, for messages.
pub(crate) fn version_of(address: IpAddr) -> &'static str {
    version_name(address.is_ipv4())
}

fn version_name(v4: bool) -> &'static str {
    if v4 { "IPv4" } else { "IPv6" }
}
