//! The main picture: a client reaches devices through a router and connectors.
//!
//! ```text
//! client ══ WireGuard ══ router ══ WireGuard ══ connector0 ── site 0          10.20.0.0/24, fd20::/64 for the client
//! 10.77.0.2              10.99.0.1     ╚═══════ connector1 ── site 1          10.21.0.0/24, fd21::/64
//! fd77::2                fd99::1
//! ```
//! Outside they share one wan, 203.0.113.0/24. With [`Entry::Gateway`] the client's tunnel ends at somebody else's gateway, and
//! its packets reach the router's host as ordinary packets.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use crate::host::Host;
use crate::keys::KeyPair;
use crate::lab::Lab;
use crate::link::{Mtu, Port};
use crate::peer::{Implementation, InterfaceConfig, WireguardInterface};
use crate::sluice::{
    Client, Destination, Dial, Protocol, Rights, Router, RouterConfig, RouterPeer, Session, Sockets, Target,
    Tun,
};
use crate::stale::UAPI_DIRECTORY;
use crate::topology::service::SERVICES;
use crate::topology::site::{Ground, Site, SiteConfig};
use crate::wait::wait_until;

/// How the client's packets reach the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// In the client's own tunnel.
    Tunnel,
    /// Unencrypted on the router's TUN, from another VPN's gateway.
    Gateway,
}

/// What may differ from chain to chain.
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// Who dials between router and connectors.
    pub dial: Dial,
    /// The router hides the client behind its own overlay address.
    pub src_nat: bool,
    /// The connectors hide the sender behind their egress address.
    pub connector_snat: bool,
    /// With far devices behind narrow links.
    pub far: bool,
    /// The number of sites, 1 or 2.
    pub sites: usize,
    /// How the client comes in.
    pub entry: Entry,
    /// What the client's tunnel runs.
    pub client: Implementation,
    /// `silent`, `prohibited` or `reset`.
    pub deny_signal: &'static str,
    /// Threads of the router and of each connector; 0 is one per core.
    pub workers: u16,
    /// Router and connectors have a page of their own, the connectors' being reached as [`Chain::connector_page`].
    pub status_page: bool,
    /// Router and connectors have no privileges, and the connectors reach devices by connections of their own.
    pub sockets: Option<Sockets>,
}

impl Default for ChainConfig {
    fn default() -> ChainConfig {
        ChainConfig {
            dial: Dial::Server,
            src_nat: true,
            connector_snat: true,
            far: false,
            sites: 1,
            entry: Entry::Tunnel,
            client: Implementation::WireguardGo,
            deny_signal: "prohibited",
            workers: 0,
            status_page: false,
            sockets: None,
        }
    }
}

/// The running chain.
#[derive(Debug)]
pub struct Chain {
    /// The user's machine.
    pub client: Host,
    /// Its tunnel: to the router, or to the foreign gateway.
    pub tunnel: WireguardInterface,
    /// The router.
    pub router: Router,
    /// The tenants' networks.
    pub sites: Vec<Site>,
    client_keys: KeyPair,
    router_key: String,
    client_program: Implementation,
}

impl Chain {
    /// The client's addresses in the tunnel.
    pub const CLIENT: [&str; 2] = ["10.77.0.2", "fd77::2"];
    /// The router's addresses in the tunnels.
    pub const ROUTER: [&str; 2] = ["10.99.0.1", "fd99::1"];

    /// Builds and starts everything; returns when the first page could be fetched over both families.
    pub fn start(lab: &Lab, config: &ChainConfig) -> Result<Chain> {
        let (dial, snat) = (config.dial, config.connector_snat);
        let (far, workers, status_page) = (config.far, config.workers, config.status_page);
        let site_config =
            SiteConfig { dial, snat, far, workers, status_page, sockets: config.sockets.clone() };
        let grounds: Vec<Ground> = (0..config.sites)
            .map(|number| Ground::prepare(lab, number, &site_config))
            .collect::<Result<_>>()?;
        let (client, router) = (lab.host("client")?, lab.host("router")?);
        wan(lab, &client, &router, &grounds)?;
        let (client_keys, router_keys) = (KeyPair::generate(lab)?, KeyPair::generate(lab)?);
        let tunnel = match config.entry {
            Entry::Tunnel => {
                let key = &router_keys.public;
                client_tunnel(lab, &client, config.client, &client_keys, key, "203.0.113.1")?
            }
            Entry::Gateway => foreign_gateway(lab, &client, &client_keys, &router)?,
        };
        let (router_text, peer) =
            (router_config(config, &client_keys, &grounds), router_peer(config, &router_keys));
        let open = || grounds.into_iter().map(|ground| ground.open(peer.clone())).collect::<Result<_>>();
        // Who answers starts first: a dialler that is not answered waits five seconds before it tries again.
        let (router, sites) = match config.dial {
            Dial::Server => {
                let sites = open()?;
                (Router::start(&router, &router_keys, router_text)?, sites)
            }
            Dial::Connector => (Router::start(&router, &router_keys, router_text)?, open()?),
        };
        let router_key = router_keys.public;
        let chain =
            Chain { client, client_program: config.client, tunnel, router, sites, client_keys, router_key };
        chain.wait_until_up()?;
        Ok(chain)
    }

    /// Kills the client's program, so that its peer is told nothing, and starts it anew. For [`Entry::Tunnel`].
    pub fn restart_client(&mut self) -> Result<()> {
        let (lab, name) = (self.client.lab().clone(), self.tunnel.name().to_owned());
        self.tunnel.process().signal(Signal::KILL)?;
        wait_until(&format!("the end of {name}"), Duration::from_secs(10), || {
            let is_there = self.client.sh(&format!("ip link show {name}"))?.succeeded();
            Ok(!is_there && !self.tunnel.process().is_running())
        })?;
        // A killed program leaves its socket, which would pass for that of the new one, unless another lab has cleaned up.
        match std::fs::remove_file(Path::new(UAPI_DIRECTORY).join(format!("{name}.sock"))) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let (program, keys, peer) = (self.client_program, &self.client_keys, &self.router_key);
        self.tunnel = client_tunnel(&lab, &self.client, program, keys, peer, "203.0.113.1")?;
        Ok(())
    }

    /// Where the client finds the status page of a site's connector.
    pub fn connector_page(site: usize) -> String {
        format!("10.{}.0.99", 20 + site)
    }

    /// The router's public key.
    pub fn router_key(&self) -> &str {
        &self.router_key
    }

    fn wait_until_up(&self) -> Result<()> {
        for site in &self.sites {
            for address in crate::topology::Spot::Device.target(site.number) {
                self.wait_for_page(&address)?;
            }
        }
        Ok(())
    }

    fn wait_for_page(&self, address: &str) -> Result<()> {
        let line = format!("curl -sS --max-time 2 http://{}/", bracketed(address));
        wait_until(&format!("a page from {address}"), Duration::from_secs(20), || {
            Ok(self.client.sh(&line)?.succeeded())
        })
    }
}

/// An address as it stands in a URL.
pub(crate) fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

fn wan(lab: &Lab, client: &Host, router: &Host, grounds: &[Ground]) -> Result<()> {
    let outside: Vec<[String; 2]> = (0..grounds.len())
        .map(|number| {
            let [v4, v6] = Ground::outside(number);
            [format!("{v4}/24"), format!("{v6}/64")]
        })
        .collect();
    let outside: Vec<[&str; 2]> = outside.iter().map(|[v4, v6]| [v4.as_str(), v6.as_str()]).collect();
    let mut ports = vec![
        Port::new(client, "wan0", &["203.0.113.2/24", "2001:db8:1::2/64"]),
        Port::new(router, "wan0", &["203.0.113.1/24", "2001:db8:1::1/64"]),
    ];
    for (ground, addresses) in grounds.iter().zip(&outside) {
        ports.push(Port::new(&ground.connector, "wan0", addresses));
    }
    lab.switch("wan", &ports, Mtu::ETHERNET).map(drop)
}

/// As a user's machine would run it.
fn client_tunnel(
    lab: &Lab,
    client: &Host,
    program: Implementation,
    keys: &KeyPair,
    peer: &str,
    endpoint: &str,
) -> Result<WireguardInterface> {
    let tunnel = WireguardInterface::start(
        client,
        program,
        &InterfaceConfig {
            name: &lab.interface('c'),
            keys,
            listen_port: 0,
            addresses: &["10.77.0.2/32", "fd77::2/128"],
            mtu: 1420,
        },
    )?;
    tunnel.peer(peer, &format!("endpoint {endpoint}:51820 allowed-ips 0.0.0.0/0,::/0"))?;
    for destination in ["10.20.0.0/15", "10.99.0.0/24", "fd20::/15", "fd99::/64"] {
        tunnel.route(destination)?;
    }
    Ok(tunnel)
}

/// A gateway that knows nothing of us: wireguard-go, and routes to the router's host.
fn foreign_gateway(lab: &Lab, client: &Host, keys: &KeyPair, router: &Host) -> Result<WireguardInterface> {
    let gateway = lab.host("gateway")?;
    gateway.forward()?;
    router.forward()?;
    lab.cable(
        Port::new(client, "isp0", &["198.51.100.2/24"]),
        Port::new(&gateway, "wan0", &["198.51.100.1/24"]),
        Mtu::ETHERNET,
    )?;
    lab.cable(
        Port::new(&gateway, "back0", &["172.16.0.1/24", "fd16::1/64"]),
        Port::new(router, "back0", &["172.16.0.2/24", "fd16::2/64"]),
        Mtu::ETHERNET,
    )?;
    for (host, destination, next) in [
        (&gateway, "10.20.0.0/15", "172.16.0.2"),
        (&gateway, "fd20::/15", "fd16::2"),
        (router, "10.77.0.0/24", "172.16.0.1"),
        (router, "fd77::/64", "fd16::1"),
    ] {
        host.route(destination, next)?;
    }
    let gateway_keys = KeyPair::generate(lab)?;
    let far = WireguardInterface::start(
        &gateway,
        Implementation::WireguardGo,
        &InterfaceConfig {
            name: &lab.interface('g'),
            keys: &gateway_keys,
            listen_port: 51820,
            addresses: &["10.77.0.1/32", "fd77::1/128"],
            mtu: 1420,
        },
    )?;
    far.peer(&keys.public, "allowed-ips 10.77.0.2/32,fd77::2/128")?;
    far.route("10.77.0.2/32")?;
    far.route("fd77::2/128")?;
    client_tunnel(lab, client, Implementation::WireguardGo, keys, &gateway_keys.public, "198.51.100.1")
}

fn router_config(config: &ChainConfig, client_keys: &KeyPair, grounds: &[Ground]) -> RouterConfig {
    let owned = |addresses: [&str; 2]| addresses.map(str::to_owned).to_vec();
    let client = Client {
        name: "alice".into(),
        public_key: client_keys.public.clone(),
        addresses: owned(Chain::CLIENT),
    };
    let targets: Vec<Target> = (0..grounds.len()).map(|number| target(config, number)).collect();
    let sessions = targets
        .iter()
        .flat_map(|target| Chain::CLIENT.map(|address| session(address, &target.name)))
        .collect();
    let through_gateway = config.entry == Entry::Gateway;
    RouterConfig {
        name: "router".into(),
        listen_port: 51820,
        addresses: owned(Chain::ROUTER),
        client_ip_pool: owned(["10.77.0.0/24", "fd77::/64"]),
        deny_signal: config.deny_signal.into(),
        workers: config.workers,
        status_page: config.status_page,
        tun: through_gateway.then(|| Tun {
            name: "sluice0".into(),
            accept_clients: true,
            routes: owned(["10.20.0.0/15", "fd20::/15"]),
            ..Tun::default()
        }),
        sockets: None,
        rights: if config.sockets.is_some() { Rights::Nobody } else { Rights::Administrator },
        clients: if through_gateway { Vec::new() } else { vec![client] },
        connectors: grounds.iter().map(Ground::as_peer).collect(),
        targets,
        sessions,
    }
}

fn target(config: &ChainConfig, number: usize) -> Target {
    let overlay = Ground::overlay(number);
    let services = SERVICES.iter().flat_map(|service| service.destinations(number, &overlay));
    let page = config.status_page.then(|| Destination {
        ip: Chain::connector_page(number),
        protocol: Some(Protocol::Tcp),
        port: Some("80".into()),
        nat: Some((overlay[0].clone(), Some(80))),
    });
    Target {
        name: format!("site{number}"),
        src_nat: config.src_nat,
        destinations: services.chain(page).collect(),
    }
}

fn session(address: &str, target: &str) -> Session {
    Session { client_ip: address.to_owned(), target: target.to_owned() }
}

fn router_peer(config: &ChainConfig, keys: &KeyPair) -> RouterPeer {
    let connector_dials = config.dial == Dial::Connector;
    RouterPeer {
        name: "router".into(),
        public_key: keys.public.clone(),
        addresses: Chain::ROUTER.map(str::to_owned).to_vec(),
        dial: config.dial,
        endpoint: connector_dials.then(|| "203.0.113.1:51820".to_owned()),
        networks: if config.src_nat { Vec::new() } else { vec!["10.77.0.0/24".into(), "fd77::/64".into()] },
    }
}
