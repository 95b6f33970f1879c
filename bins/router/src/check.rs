//! `check-config`: what a configuration says, in words, or everything that is wrong with it.

use std::path::Path;

use ipnet::IpNet;
use router_core::Node;
use router_core::selector::PortRange;
use sluice_runtime::host::admin::table;
use sluice_runtime::host::config::Problems;
use sluice_runtime::host::config::peer::PeerSettings;
use sluice_runtime::host::failure::Failure;
use sluice_runtime::host::moment::Moment;
use sluice_runtime::host::program::{self, ReloadFault};

use crate::config::target::Destination;
use crate::config::ways::Way;
use crate::config::{RouterConfig, refusal_in_words};
use crate::plan::plan;
use crate::rules;

/// A configuration without a fault.
pub struct Checked(RouterConfig);

/// Reads `file`, sees whether a node takes it, and prints what it says.
pub(crate) fn run(file: &Path) -> Result<(), Failure> {
    let checked = Checked(RouterConfig::load(file)?);
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
        RouterConfig::parse(path, text).map(Self)
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
        let rules = |peers: &_, moment| rules::snapshot(config, &config.sessions, peers, moment);
        program::node(&plan(config), moment, seed, rules)
    }
}

fn summary(config: &RouterConfig) -> String {
    let mut text = format!("router {}\n{}", config.node.name, table::pairs(&head(config)));
    section(&mut text, "Peers", &peers(config));
    section(&mut text, "Targets", &targets(config));
    section(&mut text, "Sessions", &sessions(config));
    text
}

fn section(text: &mut String, title: &str, table: &comfy_table::Table) {
    if !table.is_empty() {
        *text += &format!("\n{title}\n{table}\n");
    }
}

fn head(config: &RouterConfig) -> Vec<(&'static str, String)> {
    let node = &config.node;
    let mut rows = vec![
        ("public key", node.private_key.public_key().to_string()),
        ("listens on", format!("UDP port {}", node.listen_port)),
        ("addresses", join(&node.addresses)),
        ("client pool", join(&config.client_ip_pool)),
        ("MTU", format!("{} bytes", node.mtu_bytes)),
        ("denied packets", refusal_in_words(config.deny_signal).to_owned()),
        ("admin socket", node.admin_socket.display().to_string()),
    ];
    if let Some(tun) = &config.tun {
        rows.push(("interface", tun.common.name.clone()));
        rows.push(("egress addresses", join(&tun.common.egress_addresses)));
        rows.push(("clients on it", if tun.accept_clients { "accepted" } else { "refused" }.to_owned()));
    }
    rows.extend(config.sockets.iter().flat_map(table::sockets));
    rows
}

fn peers(config: &RouterConfig) -> comfy_table::Table {
    let mut table = table::table(&["name", "kind", "addresses", "dials"]);
    for client in config.clients.iter() {
        table.add_row([&client.name, "client", &join(&client.addresses), "the client"]);
    }
    for connector in &config.connectors {
        let dials = connector.endpoint.map_or("the connector".to_owned(), |at| format!("we, to {at}"));
        table.add_row([&connector.name, "connector", &allowed(connector), &dials]);
    }
    table
}

fn allowed(peer: &PeerSettings) -> String {
    let nets = peer.allowed_ips();
    let text = |net: &IpNet| {
        if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
    };
    nets.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn targets(config: &RouterConfig) -> comfy_table::Table {
    let mut table = table::table(&["target", "client sends to", "becomes", "leaves by", "snat"]);
    for target in config.targets.iter() {
        for destination in &target.destinations {
            let way = match destination.way {
                Way::Connector => "tunnel",
                Way::Tun => "interface",
                Way::Sockets => "sockets",
            };
            let snat = if target.src_nat || destination.way == Way::Sockets { "on" } else { "off" };
            let (sent, becomes) = in_words(destination);
            table.add_row([&target.name, &sent, &becomes, way, snat]);
        }
    }
    table
}

fn sessions(config: &RouterConfig) -> comfy_table::Table {
    let mut table = table::table(&["client", "address", "target", "expires"]);
    for session in &config.sessions {
        let client = config.client_at(session.client_ip).map_or("(on the interface)", |client| &client.name);
        let expires = session.expires.map_or("never".to_owned(), |at| at.to_string());
        table.add_row([client, &session.client_ip.to_string(), &session.target, &expires]);
    }
    table
}

/// What the client sends to, and what that becomes.
pub(crate) fn in_words(destination: &Destination) -> (String, String) {
    let selector = &destination.selector;
    let protocol = selector.proto().map_or("any".to_owned(), |protocol| protocol.to_string());
    let becomes = destination.nat.map(|nat| format!("{}{}", nat.addr, ports_in_words(nat.ports)));
    let sent = format!("{protocol} {}{}", selector.ip(), ports_in_words(selector.ports()));
    (sent, becomes.unwrap_or_else(|| "the same".to_owned()))
}

fn ports_in_words(ports: Option<PortRange>) -> String {
    ports.map_or(String::new(), |ports| format!(" port {ports}"))
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
