//! `sluice-connector run`.

use anyhow::Result;

use crate::host::Host;
use crate::keys::KeyPair;
use crate::sluice::config::{Egress, Mapping, RouterPeer, Toml};
use crate::sluice::program::{Program, Rights, admin_socket, key_path, write_key};

/// A connector's configuration file, section by section.
#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    /// Its name.
    pub name: String,
    /// Its UDP port.
    pub listen_port: u16,
    /// Its overlay addresses.
    pub addresses: Vec<String>,
    /// Threads; 0 is one per core.
    pub workers: u16,
    /// It has a page at its own addresses.
    pub status_page: bool,
    /// The routers that may speak to it.
    pub routers: Vec<RouterPeer>,
    /// Its way to the devices.
    pub egress: Egress,
    /// What it forwards.
    pub mappings: Vec<Mapping>,
}

impl ConnectorConfig {
    /// The file's text, for a host.
    pub fn text(&self, host: &Host) -> String {
        let mut toml = Toml::new();
        toml.section("[node]");
        toml.string("name", &self.name);
        toml.string("private_key_file", &key_path(host));
        toml.bare("listen_port", self.listen_port);
        toml.strings("addresses", &self.addresses);
        toml.string("admin_socket", &admin_socket(host).display().to_string());
        toml.bare("workers", self.workers);
        toml.bare("status_page", self.status_page);
        self.routers.iter().for_each(|router| toml.router(router));
        toml.egress(&self.egress);
        self.mappings.iter().for_each(|mapping| toml.mapping(mapping));
        toml.text()
    }
}

/// A running connector.
#[derive(Clone, Debug)]
pub struct Connector {
    /// The running program.
    pub program: Program,
    /// What it was started with.
    pub config: ConnectorConfig,
}

impl Connector {
    /// Starts it on a host, with the rights that its egress needs; returns when it answers its operator.
    pub fn start(host: &Host, keys: &KeyPair, config: ConnectorConfig) -> Result<Connector> {
        let rights = match config.egress {
            Egress::Tun(_) => Rights::Administrator,
            Egress::Sockets(_) => Rights::Nobody,
        };
        write_key(host, keys)?;
        let program = Program::start(host, "sluice-connector", &config.text(host), rights)?;
        Ok(Connector { program, config })
    }
}
