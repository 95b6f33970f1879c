//! The connector's configuration file: parsed table by table, checked as a whole, refused as a whole with every fault
//! told. Called by `run` and `check-config`; `rules` turns the result into what the node enforces.

pub(crate) mod mapping;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sluice_runtime::host::config::document::{Document, Section};
use sluice_runtime::host::config::environment::{self, Kind};
use sluice_runtime::host::config::node::NodeSettings;
use sluice_runtime::host::config::operations::OperationsSettings;
use sluice_runtime::host::config::peer::{Dial, PeerSettings, PeerTable};
use sluice_runtime::host::config::sockets::SocketsSettings;
use sluice_runtime::host::config::tun::TunSettings;
use sluice_runtime::host::config::unique::Unique;
use sluice_runtime::host::config::{Fault, Place, Problems, node, operations, peer, sockets, tun, value};
use sluice_runtime::host::confine::Confinement;
use thiserror::Error;

use self::mapping::Mapping;

/// Where `status` finds the connector unless the file says otherwise.
pub(crate) const ADMIN_SOCKET_DEFAULT: &str = "/run/sluice-connector/connector.sock";

/// A connector's configuration, legal in every respect.
#[derive(Clone)]
pub(crate) struct ConnectorConfig {
    pub(crate) node: NodeSettings,
    pub(crate) operations: OperationsSettings,
    /// Files that it names.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) egress: Option<Egress>,
    pub(crate) routers: Vec<PeerSettings>,
    pub(crate) mappings: Vec<Mapping>,
}

/// How devices are reached.
#[derive(Clone)]
pub(crate) enum Egress {
    /// `[tun]`: packets, into the host's network.
    Tun(ConnectorTun),
    /// `[sockets]`: connections of this process.
    Sockets(SocketsSettings),
}

/// `[tun]` of a connector.
#[derive(Clone)]
pub(crate) struct ConnectorTun {
    pub(crate) common: TunSettings,
    /// Whether devices see an egress address instead of the router's or the client's.
    pub(crate) snat: bool,
}

/// What can be wrong with the way out.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum EgressFault {
    /// A device cannot be reached both ways.
    #[error("[tun] and [sockets] are both there, and each reaches all devices")]
    Both,
}

impl Fault for EgressFault {
    fn remedy(&self) -> String {
        match self {
            Self::Both => "Remove one: [tun] carries any protocol and needs CAP_NET_ADMIN, [sockets] carries TCP, UDP and pings and needs nothing.".into(),
        }
    }
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

    /// What a connector with this configuration, of this file, needs of its system.
    pub(crate) fn confinement(&self, file: &Path) -> Confinement {
        Confinement::new(file, &self.files, &self.node)
            .with_tun(self.tun().is_some())
            .listens(self.operations.metrics.map_or(0, |metrics| metrics.port()))
    }

    /// Whether devices see an address of ours instead of the sender's.
    pub(crate) fn snats(&self) -> bool {
        match &self.egress {
            Some(Egress::Tun(tun)) => tun.snat,
            Some(Egress::Sockets(_)) => true,
            None => false,
        }
    }

    /// `[tun]`.
    pub(crate) fn tun(&self) -> Option<&ConnectorTun> {
        match &self.egress {
            Some(Egress::Tun(tun)) => Some(tun),
            Some(Egress::Sockets(_)) | None => None,
        }
    }

    /// `[sockets]`.
    pub(crate) fn sockets(&self) -> Option<&SocketsSettings> {
        match &self.egress {
            Some(Egress::Sockets(sockets)) => Some(sockets),
            Some(Egress::Tun(_)) | None => None,
        }
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
    let operations = operations::read(document, problems);
    let by_sockets = document.has("sockets");
    let egress = egress(document, problems);
    let routers = routers(document, problems);
    let mappings = mappings(document, by_sockets, problems);
    note_duplicates(node.as_ref(), &routers, &mappings, problems);
    let (node, operations, egress) = (node?, operations?, egress?);
    for (place, mapping) in &mappings {
        problems.take(place, mapping::reachable(mapping, &node, egress.as_ref()));
    }
    let files = document.named();
    Some(ConnectorConfig {
        node,
        operations,
        files,
        egress,
        routers: values(routers),
        mappings: values(mappings),
    })
}

/// `None` if something of it is wrong, `Some(None)` if there is no way out.
fn egress(document: &mut Document, problems: &mut Problems) -> Option<Option<Egress>> {
    let (has_tun, has_sockets) = (document.has("tun"), document.has("sockets"));
    let tun = connector_tun(document, problems);
    let sockets = sockets::read(document, problems);
    match (has_tun, has_sockets) {
        (false, false) => Some(None),
        (true, false) => tun.map(Egress::Tun).map(Some),
        (false, true) => sockets.map(Egress::Sockets).map(Some),
        (true, true) => {
            problems.note(&Place::file(), EgressFault::Both);
            None
        }
    }
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

fn mappings(document: &mut Document, by_sockets: bool, problems: &mut Problems) -> Vec<(Place, Mapping)> {
    let tables = document.list("mapping", problems);
    let parsed = tables.into_iter().filter_map(|(place, table)| {
        mapping::parse(&table, by_sockets, &place, problems).map(|mapping| (place, mapping))
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
