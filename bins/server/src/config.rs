//! The server's configuration file: what is fixed while it runs. What administrators change is in the store. Called by `run` and
//! `check-config`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use sluice_runtime::host::config::document::{Document, Section};
use sluice_runtime::host::config::environment::{self, Kind};
use sluice_runtime::host::config::node::NodeSettings;
use sluice_runtime::host::config::operations::OperationsSettings;
use sluice_runtime::host::config::sockets::SocketsSettings;
use sluice_runtime::host::config::tun::TunSettings;
use sluice_runtime::host::config::{Fault, Place, Problems, node, operations, sockets, tun, value};
use sluice_runtime::host::confine::Confinement;

use crate::export::{ExportSettings, NoPlace, SyslogPlace};
use crate::store::{NoStoreUrl, StoreUrl};

/// Where `status` finds the server unless the file says otherwise.
const ADMIN_SOCKET_DEFAULT: &str = "/run/sluice-server/server.sock";
/// In the file's own directory.
const STORE_DEFAULT: &str = "sqlite:sluice.db";
const HTTPS_DEFAULT: &str = "127.0.0.1:8443";
const POOL_DEFAULT: &str = "10.77.0.0/16";
const OVERLAY_DEFAULT: &str = "10.99.0.0/16";

/// A server's configuration, legal in every respect.
#[derive(Clone)]
pub(crate) struct ServerConfig {
    pub(crate) server: ServerSettings,
    pub(crate) node: NodeSettings,
    pub(crate) operations: OperationsSettings,
    pub(crate) audit: ExportSettings,
    /// Files that it names.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) tun: Option<TunSettings>,
    pub(crate) sockets: Option<SocketsSettings>,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub(crate) struct ServerSettings {
    pub(crate) store: StoreUrl,
    /// Where API and console are served.
    pub(crate) https: SocketAddr,
    /// The operator's certificate and its key; `None`: one of our own making, in this directory.
    pub(crate) certificate: Option<[PathBuf; 2]>,
    /// Where the file is, and what belongs to it.
    pub(crate) directory: PathBuf,
    /// Names that browsers may ask for beside the address.
    pub(crate) host_names: Vec<String>,
    /// Clients of the embedded router.
    pub(crate) client_ip_pool: Vec<IpNet>,
    /// Where clients find it from outside.
    pub(crate) endpoint: Option<String>,
    /// Addresses of connectors and further routers come from here.
    pub(crate) overlay: Vec<IpNet>,
    /// Reserved addresses that targets may lead to all the same.
    pub(crate) allowed: Vec<IpNet>,
}

/// `[server]` as written.
#[derive(Debug, Deserialize)]
struct ServerTable {
    store: Option<String>,
    https: Option<String>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    #[serde(default)]
    host_names: Vec<String>,
    #[serde(default)]
    client_ip_pool: Vec<String>,
    endpoint: Option<String>,
    #[serde(default)]
    overlay: Vec<String>,
    #[serde(default)]
    allowed_addresses: Vec<String>,
}

impl Section for ServerTable {
    const TABLE: &'static str = "server";
    const KEYS: &'static [(&'static str, Kind)] = &[
        ("store", Kind::Text),
        ("https", Kind::Text),
        ("tls_certificate", Kind::Text),
        ("tls_key", Kind::Text),
        ("host_names", Kind::List),
        ("client_ip_pool", Kind::List),
        ("endpoint", Kind::Text),
        ("overlay", Kind::List),
        ("allowed_addresses", Kind::List),
    ];
}

/// `[audit]` as written.
#[derive(Debug, Deserialize)]
struct AuditTable {
    syslog: Option<String>,
    file: Option<PathBuf>,
}

impl Section for AuditTable {
    const TABLE: &'static str = "audit";
    const KEYS: &'static [(&'static str, Kind)] = &[("syslog", Kind::Text), ("file", Kind::Text)];
}

/// What can be wrong with `[server]` and `[audit]`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ServerFault {
    /// No store.
    #[error(transparent)]
    Store(#[from] NoStoreUrl),
    /// Not where syslog could be.
    #[error(transparent)]
    Syslog(#[from] NoPlace),
    /// A certificate without its key, or a key without its certificate.
    #[error("a certificate and its key belong together, and one of them is missing")]
    HalfCertificate,
    /// An address of ours that a client could have.
    #[error("{0} is in the client IP pool: a client could have it")]
    OwnAddressInPool(IpAddr),
}

impl Fault for ServerFault {
    fn remedy(&self) -> String {
        match self {
            Self::Store(_) => {
                "Write sqlite:FILE, seen from this file's directory, or postgres://USER@HOST/DATABASE.".into()
            }
            Self::Syslog(_) => {
                "Write udp://HOST:PORT, tcp://HOST:PORT or unix:///dev/log; ports are 514 and 601 unless given.".into()
            }
            Self::HalfCertificate => {
                "Give both tls_certificate and tls_key, or neither: then the server makes its own.".into()
            }
            Self::OwnAddressInPool(_) => "Take an address outside client_ip_pool, or another pool.".into(),
        }
    }
}

impl ServerConfig {
    /// Reads `path` with the overrides of this process's environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(path: &Path) -> Result<Self, Problems> {
        Self::read(path, Document::read(path, environment::of_this_process())?)
    }

    /// Takes `text` for what stands in `path`, without overrides.
    #[cfg(test)]
    fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        Self::read(path, Document::parse(path, text, std::iter::empty())?)
    }

    /// What a server with this configuration, of this file, needs of its system.
    pub(crate) fn confinement(&self, file: &Path) -> Confinement {
        let needs = Confinement::new(file, &self.files, &self.node)
            .writes(&self.server.directory.join("tls.pem"))
            .with_tun(self.tun.is_some())
            .looks_up_names(self.audit.syslog.as_ref().is_some_and(SyslogPlace::has_name))
            .listens(self.server.https.port())
            .listens(self.operations.metrics.map_or(0, |metrics| metrics.port()));
        let needs = self.audit.file.iter().fold(needs, |needs, file| needs.writes(file));
        match &self.server.store {
            StoreUrl::Sqlite(path) => needs.writes(path),
            StoreUrl::Postgres(_) => {
                let password = std::env::var_os("PGPASSFILE").map(PathBuf::from);
                let needs = needs.looks_up_names(true);
                password.iter().fold(needs, |needs, file| needs.reads(file))
            }
        }
    }

    /// What of `new` cannot change while the server runs; `None` if nothing of that kind is different.
    pub(crate) fn fixed_difference(&self, new: &Self) -> Option<&'static str> {
        let (old, new_server) = (&self.server, &new.server);
        let (node, new_node) = (&self.node, &new.node);
        let differs = [
            (old.store != new_server.store, "[server] store"),
            (old.https != new_server.https, "[server] https"),
            (old.host_names != new_server.host_names, "[server] host_names"),
            (old.client_ip_pool != new_server.client_ip_pool, "[server] client_ip_pool"),
            (old.endpoint != new_server.endpoint, "[server] endpoint"),
            (old.overlay != new_server.overlay, "[server] overlay"),
            (old.allowed != new_server.allowed, "[server] allowed_addresses"),
            (node.name != new_node.name, "[node] name"),
            (node.private_key.public_key() != new_node.private_key.public_key(), "[node] private_key_file"),
            (node.listen_port != new_node.listen_port, "[node] listen_port"),
            (node.addresses != new_node.addresses, "[node] addresses"),
            (node.mtu_bytes != new_node.mtu_bytes, "[node] mtu"),
            (node.workers != new_node.workers, "[node] workers"),
            (node.admin_socket != new_node.admin_socket, "[node] admin_socket"),
            (node.status_page != new_node.status_page, "[node] status_page"),
            (self.tun != new.tun, "[tun]"),
            (self.sockets != new.sockets, "[sockets]"),
        ];
        differs.iter().find(|(differs, _)| *differs).map(|(_, what)| *what)
    }

    fn read(path: &Path, mut document: Document) -> Result<Self, Problems> {
        let mut problems = Problems::of(path);
        let parsed = parse(&mut document, &mut problems);
        document.finish(&mut problems);
        problems.or(parsed)
    }
}

fn parse(document: &mut Document, problems: &mut Problems) -> Option<ServerConfig> {
    let server = server(document, problems);
    let node = node::read(document, ADMIN_SOCKET_DEFAULT, problems);
    let (operations, audit) = (operations::read(document, problems), audit(document, problems));
    let (has_tun, has_sockets) = (document.has("tun"), document.has("sockets"));
    let (tun, sockets) = (tun::read(document, problems), sockets::read(document, problems));
    let (server, node, operations, audit) = (server?, node?, operations?, audit?);
    for (index, address) in node.addresses.iter().enumerate() {
        if server.client_ip_pool.iter().any(|prefix| prefix.contains(address)) {
            let place = Place::table("node").field("addresses").index(index);
            problems.note(&place, ServerFault::OwnAddressInPool(*address));
        }
    }
    if has_tun && tun.is_none() || has_sockets && sockets.is_none() {
        return None;
    }
    let files = document.named();
    Some(ServerConfig { server, node, operations, audit, files, tun, sockets })
}

fn audit(document: &mut Document, problems: &mut Problems) -> Option<ExportSettings> {
    let table: AuditTable = document.section(problems)?;
    let place = Place::table(AuditTable::TABLE).field("syslog");
    let syslog = table.syslog.as_deref().map(str::parse::<SyslogPlace>).transpose();
    let syslog = problems.take(&place, syslog.map_err(ServerFault::from))?;
    Some(ExportSettings { syslog, file: table.file.map(|file| document.resolve(&file)) })
}

fn server(document: &mut Document, problems: &mut Problems) -> Option<ServerSettings> {
    let table: ServerTable = document.section(problems)?;
    let place = Place::table(ServerTable::TABLE);
    let store = table.store.as_deref().unwrap_or(STORE_DEFAULT).parse::<StoreUrl>();
    let store = problems.take(&place.field("store"), store.map_err(ServerFault::from));
    let https = value::endpoint(table.https.as_deref().unwrap_or(HTTPS_DEFAULT));
    let https = problems.take(&place.field("https"), https);
    let certificate = match (table.tls_certificate, table.tls_key) {
        (Some(certificate), Some(key)) => Some([document.resolve(&certificate), document.resolve(&key)]),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            problems.note(&place.field("tls_certificate"), ServerFault::HalfCertificate);
            None
        }
    };
    let mut prefixes = |key: &str, given: Vec<String>, default: &[&str]| {
        let given =
            if given.is_empty() { default.iter().map(|text| (*text).to_owned()).collect() } else { given };
        value::each(&given, &place.field(key), problems, value::prefix)
    };
    let client_ip_pool = prefixes("client_ip_pool", table.client_ip_pool, &[POOL_DEFAULT]);
    let overlay = prefixes("overlay", table.overlay, &[OVERLAY_DEFAULT]);
    let allowed = prefixes("allowed_addresses", table.allowed_addresses, &[]);
    let store = match store? {
        StoreUrl::Sqlite(path) => StoreUrl::Sqlite(document.resolve(&path)),
        url @ StoreUrl::Postgres(_) => url,
    };
    Some(ServerSettings {
        store,
        https: https?,
        certificate,
        directory: document.resolve(Path::new("")),
        host_names: table.host_names,
        client_ip_pool,
        endpoint: table.endpoint,
        overlay,
        allowed,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    /// A file whose key is beside it.
    fn read(text: &str) -> Result<ServerConfig, String> {
        use std::io::Write as _;
        let files = tempfile::tempdir().unwrap();
        let key = files.path().join("server.key");
        let mut key = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(key).unwrap();
        writeln!(key, "{}", *wg_proto::PrivateKey::from_bytes([7; 32]).to_base64()).unwrap();
        ServerConfig::parse(&files.path().join("server.toml"), text).map_err(|problems| problems.to_string())
    }

    const NODE: &str =
        "[node]\nname = \"hq\"\nprivate_key_file = \"server.key\"\naddresses = [\"10.99.0.1\"]\n";

    #[test]
    fn all_of_server_has_a_default() {
        let config = read(NODE).unwrap();
        assert_eq!(config.server.https, "127.0.0.1:8443".parse().unwrap());
        assert_eq!(config.server.client_ip_pool, ["10.77.0.0/16".parse::<IpNet>().unwrap()]);
        assert!(
            matches!(&config.server.store, StoreUrl::Sqlite(path) if path.ends_with("sluice.db") && path.is_absolute())
        );
        assert!(config.server.certificate.is_none() && config.tun.is_none() && config.sockets.is_none());
    }

    #[test]
    fn each_fault_is_told_with_its_place_and_what_to_do() {
        let text = format!(
            "[server]\nstore = \"mysql:x\"\nhttps = \"here\"\ntls_key = \"a\"\nclient_ip_pool = [\"10.99.0.0/24\", \"x\"]\nport = 1\n{NODE}"
        );
        let told = read(&text).err().unwrap();
        for place in [
            "[server]: store",
            "[server]: https",
            "[server]: tls_certificate",
            "[server]: client_ip_pool[1]",
            "port",
        ] {
            assert!(told.contains(place), "{told}\n  lacks {place}");
        }
        let own = read(&format!("[server]\nclient_ip_pool = [\"10.99.0.0/24\"]\n{NODE}")).err().unwrap();
        assert!(own.contains("10.99.0.1 is in the client IP pool"), "{own}");
    }
}
