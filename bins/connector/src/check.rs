//! `check-config`: what a configuration says, in words, or everything that is wrong with it.

use std::path::Path;

use router_core::Node;
use sluice_runtime::host::admin::table;
use sluice_runtime::host::config::Problems;
use sluice_runtime::host::failure::Failure;
use sluice_runtime::host::moment::Moment;
use sluice_runtime::host::program::{self, ReloadFault};

use crate::config::ConnectorConfig;
use crate::plan::plan;
use crate::rules;

/// A configuration without a fault.
pub struct Checked(ConnectorConfig);

/// Reads `file`, sees whether a node takes it, and prints what it says.
pub(crate) fn run(file: &Path) -> Result<(), Failure> {
    let checked = Checked(ConnectorConfig::load(file)?);
    checked.node(Moment::now(), SEED_OF_NOBODY)?;
    print!("{}", checked.summary());
    println!("\n{}: in order", file.display());
    Ok(())
}

/// The node of a check sends nothing, so nobody has anything to guess.
const SEED_OF_NOBODY: [u8; 32] = [0; 32];

impl Checked {
    /// Takes `text` for what stands in `path`, without overrides from the environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        ConnectorConfig::parse(path, text).map(Self)
    }

    /// The configuration for people to read once more.
    pub fn summary(&self) -> String {
        summary(&self.0)
    }

    /// The node it makes, with its peers and rules, connected to nothing.
    ///
    /// # Errors
    /// What only the node can tell.
    pub fn node(&self, moment: Moment, seed: [u8; 32]) -> Result<Node, ReloadFault> {
        let config = &self.0;
        program::node(&plan(config), moment, seed, |peers, _| rules::snapshot(config, peers))
    }
}

fn summary(config: &ConnectorConfig) -> String {
    let mut text = format!("connector {}\n{}", config.node.name, table::pairs(&head(config)));
    for (title, table) in [("Routers", routers(config)), ("Mappings", mappings(config))] {
        if !table.is_empty() {
            text += &format!("\n{title}\n{table}\n");
        }
    }
    text
}

fn head(config: &ConnectorConfig) -> Vec<(&'static str, String)> {
    let node = &config.node;
    let mut rows = vec![
        ("public key", node.private_key.public_key().to_string()),
        ("listens on", format!("UDP port {}", node.listen_port)),
        ("addresses", join(&node.addresses)),
        ("MTU", format!("{} bytes", node.mtu_bytes)),
        ("admin socket", node.admin_socket.display().to_string()),
    ];
    if let Some(tun) = config.tun() {
        rows.push(("interface", tun.common.name.clone()));
        rows.push(("egress addresses", join(&tun.common.egress_addresses)));
        rows.push((
            "devices see",
            if tun.snat { "an egress address" } else { "the sender itself" }.to_owned(),
        ));
    }
    rows.extend(config.sockets().into_iter().flat_map(table::sockets));
    rows
}

fn routers(config: &ConnectorConfig) -> comfy_table::Table {
    let mut table = table::table(&["router", "may send from", "dials"]);
    for router in &config.routers {
        let dials = router.endpoint.map_or("the router".to_owned(), |at| format!("we, to {at}"));
        table.add_row([&router.name, &join(&router.allowed_ips()), &dials]);
    }
    table
}

fn mappings(config: &ConnectorConfig) -> comfy_table::Table {
    let mut table = table::table(&["mapping", "virtual port", "device", "port"]);
    for mapping in &config.mappings {
        let virtual_port = format!("{}/{}", mapping.virtual_port.get(), mapping.protocol);
        table.add_row([&mapping.name, &virtual_port, &mapping.device.to_string(), &mapping.port.to_string()]);
    }
    table
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
