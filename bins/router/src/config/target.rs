//! Network targets: what a session lets a client reach, and what its packets are turned into. Read first:
//! `target_fault`. Called by `config`; calls `ways`, which says where each
//! destination leaves.

use std::net::IpAddr;

use router_core::Refusal;
use router_core::packet::{Protocol, Version};
use router_core::rules::Dnat;
use router_core::selector::{IpRange, PortRange, Selector};
use serde::Deserialize;
use sluice_runtime::host::config::node::required;
use sluice_runtime::host::config::{Place, Problems, value};
use toml::Value;

use super::range;
use super::target_fault::TargetFault;
use super::ways::{self, Way, Ways};

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
    egress: Option<String>,
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
    pub(crate) deny_signal: Option<Refusal>,
    /// Never two that one packet could match.
    pub(crate) destinations: Vec<Destination>,
}

/// One destination of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// What the client sends.
    pub(crate) selector: Selector,
    /// What the destination becomes: one address, or as many as the selector has; the same for ports.
    pub(crate) nat: Option<Dnat>,
    /// Where it leaves.
    pub(crate) way: Way,
}

impl Destination {
    /// Where packets go after translation.
    pub(crate) fn reached(&self) -> IpRange {
        self.nat.map_or(self.selector.ip(), |nat| nat.addr)
    }

    /// Whether one packet could match both: what clients send is compared, before translation.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.selector.overlaps(&other.selector)
    }
}

/// Parses a target; its faults are noted at their fields.
pub(crate) fn parse(
    table: &TargetTable,
    ways: &Ways<'_>,
    place: &Place,
    problems: &mut Problems,
) -> Option<Target> {
    let name = required(table.name.as_deref(), "name", place, problems);
    let name = name.and_then(|name| problems.take(&place.field("name"), value::name(name)));
    let deny_signal = table.deny_signal.as_deref();
    let deny_signal =
        deny_signal.map(|text| problems.take(&place.field("deny_signal"), super::refusal(text)));
    let egress = table.egress.as_deref();
    let egress = egress.map(|word| problems.take(&place.field("egress"), ways::wished(word)));
    let wishes = Wishes { src_nat: table.src_nat, egress: flatten(egress)? };
    let dst = &place.field("dst");
    if table.dst.is_empty() {
        problems.note(dst, TargetFault::NoDestination);
    }
    let selectors: Vec<_> = table
        .dst
        .iter()
        .enumerate()
        .map(|(index, entry)| selector(&entry.selector, &dst.index(index).field("selector"), problems))
        .collect();
    note_overlaps(&selectors, dst, problems);
    let entries = table.dst.iter().zip(selectors).enumerate();
    let destinations: Vec<_> = entries
        .map(|(index, (entry, selector))| {
            destination(selector?, entry.nat.as_ref(), wishes, ways, &dst.index(index), problems)
        })
        .collect();
    let destinations = destinations.into_iter().collect::<Option<Vec<_>>>()?;
    if wishes.egress.is_some() && destinations.iter().all(|destination| destination.way == Way::Connector) {
        problems.note(&place.field("egress"), TargetFault::UnusedEgress);
    }
    Some(Target { name: name?, src_nat: table.src_nat, deny_signal: flatten(deny_signal)?, destinations })
}

/// What a target says of all its destinations.
#[derive(Clone, Copy)]
struct Wishes {
    src_nat: bool,
    /// How those that are behind no connector leave this host.
    egress: Option<Way>,
}

fn note_overlaps(selectors: &[Option<Selector>], place: &Place, problems: &mut Problems) {
    for (index, selector) in selectors.iter().enumerate() {
        let meets = |earlier: &Option<Selector>| earlier.zip(*selector).is_some_and(|(a, b)| a.overlaps(&b));
        if let Some(other) = selectors[..index].iter().position(meets) {
            problems.note(&place.index(index), TargetFault::Overlap { other });
        }
    }
}

fn destination(
    selector: Selector,
    nat: Option<&NatTable>,
    wishes: Wishes,
    ways: &Ways<'_>,
    place: &Place,
    problems: &mut Problems,
) -> Option<Destination> {
    let nat = match nat {
        Some(nat) => Some(nat_of(nat, &selector, ways, &place.field("nat"), problems)?),
        None => None,
    };
    let reached = nat.map_or(selector.ip(), |nat| nat.addr);
    let way = problems.take(place, ways.to(reached, wishes.src_nat, wishes.egress))?;
    Some(Destination { selector, nat, way })
}

fn selector(table: &SelectorTable, place: &Place, problems: &mut Problems) -> Option<Selector> {
    let ip = problems.take(&place.field("ip"), range::addresses(&table.ip).and_then(not_reserved));
    let proto = table.proto.as_deref().map(|text| problems.take(&place.field("proto"), protocol(text)));
    let ports = ports(table.port.as_ref(), proto.is_some(), place, problems);
    let (ip, proto, ports) = (ip?, flatten(proto)?, flatten(ports)?);
    // Ports without a protocol are noted above.
    Selector::new(ip, proto, ports).ok()
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
) -> Option<Option<PortRange>> {
    let place = &place.field("port");
    let ports = problems.take(place, range::ports(given?));
    if !has_protocol {
        problems.note(place, TargetFault::PortsWithoutProtocol);
    }
    Some(ports)
}

fn protocol(text: &str) -> Result<Protocol, TargetFault> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::TCP),
        "udp" => Ok(Protocol::UDP),
        _ => Err(TargetFault::NotAProtocol(text.to_owned())),
    }
}

fn nat_of(
    table: &NatTable,
    selector: &Selector,
    ways: &Ways<'_>,
    place: &Place,
    problems: &mut Problems,
) -> Option<Dnat> {
    let addresses = nat_addresses(table, selector, ways).and_then(|nat| fitting(nat, selector));
    let addresses = problems.take(place, addresses);
    let ports = flatten(ports(table.port.as_ref(), selector.proto().is_some(), place, problems))?;
    let ports = problems.take(&place.field("port"), fitting_ports(ports, selector))?;
    Some(Dnat { addr: addresses?, ports })
}

fn nat_addresses(table: &NatTable, selector: &Selector, ways: &Ways<'_>) -> Result<IpRange, TargetFault> {
    match (&table.addr, &table.connector) {
        (Some(_), Some(_)) => Err(TargetFault::NatTwice),
        (Some(addr), None) => range::addresses(addr).and_then(not_reserved),
        (None, Some(name)) => ways.connector_address(name, selector.ip().version()),
        (None, None) if table.port.is_some() => Ok(selector.ip()),
        (None, None) => Err(TargetFault::NatEmpty),
    }
}

/// One address takes all; a range of equal size takes offset by offset; nothing else has a meaning.
fn fitting(nat: IpRange, selector: &Selector) -> Result<IpRange, TargetFault> {
    let (sent, told) = (selector.ip(), nat.to_string());
    if nat.version() != sent.version() {
        return Err(TargetFault::NatVersion { selector: sent.to_string(), nat: told });
    }
    let size = range::last_offset(&nat);
    let fits = size == 0 || size == range::last_offset(&sent);
    if fits { Ok(nat) } else { Err(TargetFault::NatSize { selector: sent.to_string(), nat: told }) }
}

fn fitting_ports(nat: Option<PortRange>, selector: &Selector) -> Result<Option<PortRange>, TargetFault> {
    let size = |ports: &PortRange| ports.end() - ports.start();
    let Some(ports) = nat.filter(|ports| size(ports) > 0) else { return Ok(nat) };
    if selector.ports().is_some_and(|sent| size(&sent) == size(&ports)) {
        return Ok(nat);
    }
    let sent = selector.ports().map_or("(any)".to_owned(), |sent| sent.to_string());
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

fn not_reserved(range: IpRange) -> Result<IpRange, TargetFault> {
    for (reserved, kind) in RESERVED {
        let reserved = reserved.parse().expect("the table above holds prefixes");
        if range::touches(&range, &reserved) {
            return Err(TargetFault::Reserved { range: range.to_string(), reserved, kind });
        }
    }
    Ok(range)
}

/// Of an address, for messages.
pub(crate) fn version_of(address: IpAddr) -> &'static str {
    name_of(if address.is_ipv4() { Version::V4 } else { Version::V6 })
}

/// Of a version, for messages.
pub(crate) fn name_of(version: Version) -> &'static str {
    match version {
        Version::V4 => "IPv4",
        Version::V6 => "IPv6",
    }
}
