//! `sluice-router run`.

use anyhow::Result;

use crate::host::Host;
use crate::keys::KeyPair;
use crate::sluice::config::{Client, ConnectorPeer, Session, Sockets, Target, Toml, Tun};
use crate::sluice::program::{Program, Rights, admin_socket, key_path, write_key};

/// A router's configuration file, section by section.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// Its name.
    pub name: String,
    /// Its UDP port.
    pub listen_port: u16,
    /// Its overlay addresses.
    pub addresses: Vec<String>,
    /// Where clients' addresses come from.
    pub client_ip_pool: Vec<String>,
    /// `silent`, `prohibited` or `reset`.
    pub deny_signal: String,
    /// Threads; 0 is one per core.
    pub workers: u16,
    /// It has a page at its own addresses.
    pub status_page: bool,
    /// With a TUN interface.
    pub tun: Option<Tun>,
    /// With connections of its own.
    pub sockets: Option<Sockets>,
    /// What it is started with.
    pub rights: Rights,
    /// Clients with tunnels of their own.
    pub clients: Vec<Client>,
    /// Connectors.
    pub connectors: Vec<ConnectorPeer>,
    /// Targets.
    pub targets: Vec<Target>,
    /// Sessions.
    pub sessions: Vec<Session>,
}

impl RouterConfig {
    /// The file's text, for a host.
    pub fn text(&self, host: &Host) -> String {
        let mut toml = Toml::new();
        toml.section("[node]");
        toml.string("name", &self.name);
        toml.string("private_key_file", &key_path(host));
        toml.bare("listen_port", self.listen_port);
        toml.strings("addresses", &self.addresses);
        toml.string("admin_socket", &admin_socket(host).display().to_string());
        toml.strings("client_ip_pool", &self.client_ip_pool);
        toml.string("deny_signal", &self.deny_signal);
        toml.bare("workers", self.workers);
        toml.bare("status_page", self.status_page);
        self.tun.iter().for_each(|tun| toml.tun(tun));
        self.sockets.iter().for_each(|sockets| toml.sockets(sockets));
        self.clients.iter().for_each(|client| toml.client(client));
        self.connectors.iter().for_each(|connector| toml.connector(connector));
        self.targets.iter().for_each(|target| toml.target(target));
        self.sessions.iter().for_each(|session| toml.session(session));
        toml.text()
    }
}

/// A running router.
#[derive(Clone, Debug)]
pub struct Router {
    /// The running program.
    pub program: Program,
    /// What it was started with.
    pub config: RouterConfig,
}

impl Router {
    /// Starts it on a host, with its rights; returns when it answers its operator.
    pub fn start(host: &Host, keys: &KeyPair, config: RouterConfig) -> Result<Router> {
        write_key(host, keys)?;
        let program = Program::start(host, "sluice-router", &config.text(host), config.rights)?;
        Ok(Router { program, config })
    }

    /// Loads another configuration at run time.
    pub fn reload(&self, config: &RouterConfig) -> Result<std::time::Duration> {
        self.program.reload(&config.text(self.program.host()))
    }
}
