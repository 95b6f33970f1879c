//! The connector's configuration file: parsed table by table, checked as a whole, refused as a whole with every fault
//! told. Called by `run` and `check-config`; `rules` turns the result into what the node enforces.

pub(crate) mod mapping;

#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;

use serde::Deserialize;
use sluice_runtime::host::config::document::{Document, Section};
use sluice_runtime::host::config::environment::{self, Kind};
use sluice_runtime::host::config::node::NodeSettings;
use sluice_runtime::host::config::peer::{Dial, PeerSettings, PeerTable};
use sluice_runtime::host::config::tun::TunSettings;
use sluice_runtime::host::config::unique::Unique;
use sluice_runtime::host::config::{Place, Problems, node, peer, tun, value};

use self::mapping::Mapping;

/// Where `status` finds the connector unless the file says otherwise.
pub(crate) const ADMIN_SOCKET_DEFAULT: &str = "/run/sluice-connector/connector.sock";

/// A connector's configuration, legal in every respect.
#[derive(Clone)]
pub(crate) struct ConnectorConfig {
    pub(crate) node: NodeSettings,
    pub(crate) tun: Option<ConnectorTun>,
    pub(crate) routers: Vec<PeerSettings>,
    pub(crate) mappings: Vec<Mapping>,
}

/// `[tun]` of a connector.
#[derive(Clone)]
pub(crate) struct ConnectorTun {
    pub(crate) common: TunSettings,
    /// Whether devices see an egress address instead of the router's or the client's.
    pub(crate) snat: bool,
}

/// The connector's own key of `[tun]`.
#[derive(Debug, Deserialize)]
struct SnatTable {
    snat: Option<bool>,
}

impl Section for SnatTable {
    const TABLE: &'static str = "tun";
    const KEYS: &'static [(&'static str, Kind)] = &[("snat", Kind::Flag)];
}

impl ConnectorConfig {
    /// Reads `path` with the overrides of this process's environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(path: &Path) -> Result<Self, Problems> {
        Self::read(path, Document::read(path, environment::of_this_process())?)
    }

    /// Whether devices see an egress address instead of the sender's.
    pub(crate) fn snats(&self) -> bool {
        self.tun.as_ref().is_some_and(|tun| tun.snat)
    }

    /// Takes `text` for what stands in `path`, without overrides.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        Self::read(path, Document::parse(path, text, std::iter::empty())?)
    }

    fn read(path: &Path, mut document: Document) -> Result<Self, Problems> {
        let mut problems = Problems::of(path);
        let parsed = parse(&mut document, &mut problems);
        document.finish(&mut problems);
        problems.or(parsed)
    }
}

fn parse(document: &mut Document, problems: &mut Problems) -> Option<ConnectorConfig> {
    let node = node::read(document, ADMIN_SOCKET_DEFAULT, problems);
    let has_tun = document.has("tun");
    let tun = connector_tun(document, problems);
    let routers = routers(document, problems);
    let mappings = mappings(document, problems);
    note_duplicates(node.as_ref(), &routers, &mappings, problems);
    if has_tun && tun.is_none() {
        return None;
    }
    let node = node?;
    for (place, mapping) in &mappings {
        problems.take(place, mapping::reachable(mapping, &node, tun.as_ref()));
    }
    Some(ConnectorConfig { node, tun, routers: values(routers), mappings: values(mappings) })
}

fn values<T>(placed: Vec<(Place, T)>) -> Vec<T> {
    placed.into_iter().map(|(_, value)| value).collect()
}

fn connector_tun(document: &mut Document, problems: &mut Problems) -> Option<ConnectorTun> {
    let common = tun::read(document, problems)?;
    let table: SnatTable = document.section(problems)?;
    Some(ConnectorTun { common, snat: table.snat.unwrap_or(true) })
}

fn routers(document: &mut Document, problems: &mut Problems) -> Vec<(Place, PeerSettings)> {
    let tables: Vec<(Place, PeerTable)> = document.list("router", problems);
    let parsed = tables.into_iter().filter_map(|(place, table)| {
        peer::parse(table, Dial::Connector, document, &place, problems).map(|router| (place, router))
    });
    parsed.collect()
}

fn mappings(document: &mut Document, problems: &mut Problems) -> Vec<(Place, Mapping)> {
    let tables = document.list("mapping", problems);
    let parsed = tables.into_iter().filter_map(|(place, table)| {
        mapping::parse(&table, &place, problems).map(|mapping| (place, mapping))
    });
    parsed.collect()
}

/// One key, one address, one prefix belongs to one peer; one virtual port to one device.
fn note_duplicates(
    node: Option<&NodeSettings>,
    routers: &[(Place, PeerSettings)],
    mappings: &[(Place, Mapping)],
    problems: &mut Problems,
) {
    let (mut names, mut keys, mut prefixes) =
        (Unique::new("router name"), Unique::new("key"), Unique::new("address"));
    if let Some(node) = node {
        let place = Place::table("node");
        keys.see(node.private_key.public_key(), &place.field("private_key_file"), problems);
        for address in &node.addresses {
            prefixes.see(value::host_prefix(*address), &place.field("addresses"), problems);
        }
    }
    for (place, router) in routers {
        names.see(router.name.clone(), &place.field("name"), problems);
        keys.see(router.public_key, &place.field("public_key"), problems);
        for prefix in router.allowed_ips() {
            prefixes.see(prefix, &place.field("addresses"), problems);
        }
    }
    note_duplicate_mappings(mappings, problems);
}

fn note_duplicate_mappings(mappings: &[(Place, Mapping)], problems: &mut Problems) {
    let (mut names, mut ports) = (Unique::new("mapping name"), Unique::new("virtual port"));
    for (place, mapping) in mappings {
        names.see(mapping.name.clone(), &place.field("name"), problems);
        let version = if mapping.device.is_ipv4() { 4 } else { 6 };
        let port = format!("{}/{} over IPv{version}", mapping.virtual_port.get(), mapping.protocol);
        ports.see(port, &place.field("virtual_port"), problems);
    }
}
