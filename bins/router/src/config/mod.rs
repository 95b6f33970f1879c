//! The router's configuration file: parsed table by table, checked as a whole, refused as a whole with every fault
//! told. Called by `run`, `check-config` and reloads; `rules` turns the result into what the node enforces.

pub(crate) mod client;
pub(crate) mod granted;
mod indexed;
pub(crate) mod range;
pub(crate) mod session;
pub(crate) mod target;
pub(crate) mod target_fault;
pub(crate) mod ways;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use router_core::Refusal;
use serde::Deserialize;
use sluice_runtime::host::config::document::{Document, Section};
use sluice_runtime::host::config::environment::{self, Kind};
use sluice_runtime::host::config::node::NodeSettings;
use sluice_runtime::host::config::operations::OperationsSettings;
use sluice_runtime::host::config::peer::{Dial, PeerSettings, PeerTable};
use sluice_runtime::host::config::sockets::SocketsSettings;
use sluice_runtime::host::config::tun::TunSettings;
use sluice_runtime::host::config::unique::Unique;
use sluice_runtime::host::config::value::ValueFault;
use sluice_runtime::host::config::{Place, Problems, node, operations, peer, sockets, tun, value};
use sluice_runtime::host::confine::Confinement;

use self::client::Client;
use self::indexed::Indexed;
use self::session::Session;
use self::target::Target;
use self::target_fault::TargetFault;
use self::ways::Ways;

/// Where `status` and the others find the router unless the file says otherwise.
pub(crate) const ADMIN_SOCKET_DEFAULT: &str = "/run/sluice/router.sock";

/// Clients, found by their addresses.
pub(crate) type Clients = Indexed<IpAddr, Client>;

/// Targets, found by their names.
pub(crate) type Targets = Indexed<String, Target>;

/// A router's configuration, legal in every respect.
#[derive(Clone)]
pub(crate) struct RouterConfig {
    pub(crate) node: NodeSettings,
    pub(crate) operations: OperationsSettings,
    /// Files that it names.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) client_ip_pool: Vec<IpNet>,
    pub(crate) deny_signal: Refusal,
    pub(crate) tun: Option<RouterTun>,
    pub(crate) sockets: Option<SocketsSettings>,
    pub(crate) clients: Clients,
    pub(crate) connectors: Vec<PeerSettings>,
    pub(crate) targets: Targets,
    pub(crate) sessions: Vec<Session>,
}

/// `[tun]` of a router.
#[derive(Clone)]
pub(crate) struct RouterTun {
    pub(crate) common: TunSettings,
    /// Whether clients arrive here unencrypted, from a foreign VPN gateway.
    pub(crate) accept_clients: bool,
    /// What the host is to route here.
    pub(crate) routes: Vec<IpNet>,
}

/// How refused packets are answered, for people.
pub(crate) fn refusal_in_words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Silent => "dropped silently",
        Refusal::Prohibited => "answered: administratively prohibited",
        Refusal::Reset => "answered: TCP reset, else administratively prohibited",
    }
}

/// `silent`, `prohibited` or `reset`.
///
/// # Errors
/// [`ValueFault::NotAWord`].
pub(crate) fn refusal(text: &str) -> Result<Refusal, ValueFault> {
    match text {
        "silent" => Ok(Refusal::Silent),
        "prohibited" => Ok(Refusal::Prohibited),
        "reset" => Ok(Refusal::Reset),
        _ => Err(ValueFault::NotAWord { given: text.to_owned(), known: "silent, prohibited, reset" }),
    }
}

/// The router's own keys of `[node]`.
#[derive(Debug, Deserialize)]
struct ClientsTable {
    #[serde(default)]
    client_ip_pool: Vec<String>,
    deny_signal: Option<String>,
}

impl Section for ClientsTable {
    const TABLE: &'static str = "node";
    const KEYS: &'static [(&'static str, Kind)] =
        &[("client_ip_pool", Kind::List), ("deny_signal", Kind::Text)];
}

/// The router's own keys of `[tun]`.
#[derive(Debug, Deserialize)]
struct ArrivalTable {
    #[serde(default)]
    accept_clients: bool,
    #[serde(default)]
    routes: Vec<String>,
}

impl Section for ArrivalTable {
    const TABLE: &'static str = "tun";
    const KEYS: &'static [(&'static str, Kind)] = &[("accept_clients", Kind::Flag), ("routes", Kind::List)];
}

impl RouterConfig {
    /// Reads `path` with the overrides of this process's environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(path: &Path) -> Result<Self, Problems> {
        Self::read(path, Document::read(path, environment::of_this_process())?)
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

    /// What a router with this configuration, of this file, needs of its system.
    pub(crate) fn confinement(&self, file: &Path) -> Confinement {
        Confinement::new(file, &self.files, &self.node)
            .with_tun(self.tun.is_some())
            .listens(self.operations.metrics.map_or(0, |metrics| metrics.port()))
    }

    /// Whose address this is; `None` if it arrives on the TUN.
    pub(crate) fn client_at(&self, address: IpAddr) -> Option<&Client> {
        self.clients.get(&address)
    }

    /// The target of this name.
    pub(crate) fn target(&self, name: &str) -> Option<&Target> {
        self.targets.get(name)
    }

    /// Addresses that no destination may have: ours and our clients'.
    fn own_addresses(&self) -> BTreeSet<IpAddr> {
        let clients = self.clients.iter().flat_map(|client| &client.addresses);
        self.node.addresses.iter().chain(clients).copied().collect()
    }

    /// Whether packets of this address may come from a client.
    pub(crate) fn knows_client(&self, address: IpAddr) -> bool {
        self.client_at(address).is_some() || arrives_on_tun(self.tun.as_ref(), &self.client_ip_pool, address)
    }
}

fn parse(document: &mut Document, problems: &mut Problems) -> Option<RouterConfig> {
    let node = node::read(document, ADMIN_SOCKET_DEFAULT, problems);
    let operations = operations::read(document, problems);
    let (client_ip_pool, deny_signal) = pool_and_signal(document, problems)?;
    let (has_tun, has_sockets) = (document.has("tun"), document.has("sockets"));
    let sockets = sockets::read(document, problems);
    let tun = router_tun(document, &client_ip_pool, problems);
    let placed_clients = clients(document, &client_ip_pool, problems);
    let placed_connectors = connectors(document, problems);
    let clients = Clients::new(values(&placed_clients), |client| client.addresses.clone());
    let connectors = values(&placed_connectors);
    let overlay = node.as_ref().map_or(&[][..], |node| &node.addresses);
    let egress = tun.as_ref().map(|tun| tun.common.egress_addresses.as_slice());
    let placed_targets = targets(document, &Ways::new(&connectors, overlay, egress, has_sockets), problems);
    let targets = Targets::new(values(&placed_targets), |target| [target.name.clone()]);
    let from_tun = |address| arrives_on_tun(tun.as_ref(), &client_ip_pool, address);
    let known = |address| clients.get(&address).is_some() || from_tun(address);
    let sessions = sessions(document, known, &targets, problems);
    if has_tun && tun.is_none() || has_sockets && sockets.is_none() {
        return None;
    }
    let config = RouterConfig {
        node: node?,
        operations: operations?,
        files: document.named(),
        client_ip_pool,
        deny_signal,
        tun,
        sockets,
        clients,
        connectors,
        targets,
        sessions,
    };
    note_duplicates(&config, &placed_clients, &placed_connectors, &placed_targets, problems);
    note_own_addresses(&config, &placed_targets, problems);
    Some(config)
}

fn values<T: Clone>(placed: &[(Place, T)]) -> Vec<T> {
    placed.iter().map(|(_, value)| value.clone()).collect()
}

fn pool_and_signal(document: &mut Document, problems: &mut Problems) -> Option<(Vec<IpNet>, Refusal)> {
    let table: ClientsTable = document.section(problems)?;
    let place = Place::table(ClientsTable::TABLE);
    let pool = value::each(&table.client_ip_pool, &place.field("client_ip_pool"), problems, value::prefix);
    let signal = table.deny_signal.as_deref().map_or(Ok(Refusal::default()), refusal);
    let signal = problems.take(&place.field("deny_signal"), signal);
    Some((pool, signal.unwrap_or_default()))
}

fn router_tun(document: &mut Document, pool: &[IpNet], problems: &mut Problems) -> Option<RouterTun> {
    let common = tun::read(document, problems)?;
    let table: ArrivalTable = document.section(problems)?;
    let place = Place::table(ArrivalTable::TABLE).field("routes");
    let routes = value::each(&table.routes, &place, problems, value::prefix);
    if table.accept_clients {
        problems.take(&place, client::not_routed_back(&routes, pool));
    }
    Some(RouterTun { common, accept_clients: table.accept_clients, routes })
}

fn clients(document: &mut Document, pool: &[IpNet], problems: &mut Problems) -> Vec<(Place, Client)> {
    let tables = document.list("client", problems);
    let parsed = tables.into_iter().filter_map(|(place, table)| {
        client::parse(&table, pool, document, &place, problems).map(|client| (place, client))
    });
    parsed.collect()
}

fn connectors(document: &mut Document, problems: &mut Problems) -> Vec<(Place, PeerSettings)> {
    let tables: Vec<(Place, PeerTable)> = document.list("connector", problems);
    let parsed = tables.into_iter().filter_map(|(place, table)| {
        peer::parse(table, Dial::Server, document, &place, problems).map(|connector| (place, connector))
    });
    parsed.collect()
}

fn targets(document: &mut Document, ways: &Ways<'_>, problems: &mut Problems) -> Vec<(Place, Target)> {
    let tables = document.list("target", problems);
    let parsed = tables.into_iter().filter_map(|(place, table)| {
        target::parse(&table, ways, &place, problems).map(|target| (place, target))
    });
    parsed.collect()
}

fn sessions(
    document: &mut Document,
    known_client: impl Fn(IpAddr) -> bool,
    targets: &Targets,
    problems: &mut Problems,
) -> Vec<Session> {
    let tables = document.list("session", problems);
    let parsed = tables.into_iter().filter_map(|(place, table)| {
        session::parse(&table, &known_client, targets, &place, problems).map(|session| (place, session))
    });
    let placed: Vec<_> = parsed.collect();
    session::note_overlaps(&placed, targets, problems);
    values(&placed)
}

fn arrives_on_tun(tun: Option<&RouterTun>, pool: &[IpNet], address: IpAddr) -> bool {
    tun.is_some_and(|tun| tun.accept_clients) && client::in_pool(address, pool).is_ok()
}

/// One key, one address, one prefix belongs to one peer; one name to one thing of its kind.
fn note_duplicates(
    config: &RouterConfig,
    clients: &[(Place, Client)],
    connectors: &[(Place, PeerSettings)],
    targets: &[(Place, Target)],
    problems: &mut Problems,
) {
    let node = Place::table("node");
    let (mut names, mut keys, mut prefixes) =
        (Unique::new("peer name"), Unique::new("key"), Unique::new("address"));
    keys.see(config.node.private_key.public_key(), &node.field("private_key_file"), problems);
    for address in &config.node.addresses {
        prefixes.see(value::host_prefix(*address), &node.field("addresses"), problems);
    }
    for address in config.tun.iter().flat_map(|tun| &tun.common.egress_addresses) {
        prefixes.see(value::host_prefix(*address), &Place::table("tun").field("egress_addresses"), problems);
    }
    for (place, client) in clients {
        names.see(client.name.clone(), &place.field("name"), problems);
        keys.see(client.public_key, &place.field("public_key"), problems);
        for address in &client.addresses {
            prefixes.see(value::host_prefix(*address), &place.field("addresses"), problems);
        }
    }
    for (place, connector) in connectors {
        names.see(connector.name.clone(), &place.field("name"), problems);
        keys.see(connector.public_key, &place.field("public_key"), problems);
        for prefix in connector.allowed_ips() {
            prefixes.see(prefix, &place.field("addresses"), problems);
        }
    }
    let mut target_names = Unique::new("target name");
    for (place, target) in targets {
        target_names.see(target.name.clone(), &place.field("name"), problems);
    }
}

/// No destination holds an address of ours or of a client.
fn note_own_addresses(config: &RouterConfig, targets: &[(Place, Target)], problems: &mut Problems) {
    let own = config.own_addresses();
    for (place, target) in targets {
        for (index, destination) in target.destinations.iter().enumerate() {
            problems.take(&place.field("dst").index(index), not_ours(&own, destination));
        }
    }
}

fn not_ours(own: &BTreeSet<IpAddr>, destination: &target::Destination) -> Result<(), TargetFault> {
    for range in [destination.selector.ip(), destination.reached()] {
        // Addresses are ordered by version first, so a range never holds one of the other version.
        if let Some(address) = own.range(range.start()..=range.end()).next() {
            return Err(TargetFault::OwnAddress { range: range.to_string(), address: *address });
        }
    }
    Ok(())
}
