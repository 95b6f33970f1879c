//! A router with a leg in a network of its own: `tun` egress, no connector.
//!
//! ```text
//! client ══ WireGuard ══ router ── 192.168.7.0/24 ──┬── device .10
//! 10.77.0.2              .1        fd07::/64        └── hop .254 ── 192.168.9.0/24 ── far .10
//! ```
//! With [`Entry::Gateway`] the client's packets reach the router's host as ordinary packets, from a gateway that is of no
//! account here, and ask for the device under another address, since the host knows the way to its own.

use std::time::Duration;

use anyhow::Result;

use crate::host::Host;
use crate::keys::KeyPair;
use crate::lab::Lab;
use crate::link::{Mtu, Port};
use crate::peer::{Implementation, InterfaceConfig, WireguardInterface};
use crate::services::{Iperf, Nginx};
use crate::sluice::{Client, Destination, Rights, Router, RouterConfig, Session, Sockets, Target, Tun};
use crate::topology::chain::Entry;
use crate::wait::wait_until;

/// What may differ.
#[derive(Clone, Copy, Debug)]
pub struct LanConfig {
    /// The router hides the client behind an egress address in the network.
    pub src_nat: bool,
    /// How the client comes in.
    pub entry: Entry,
    /// The router has no privileges, and reaches the network by connections of its own; then the network sees its host.
    pub by_sockets: bool,
}

/// The running picture.
#[derive(Debug)]
pub struct Lan {
    /// The user's machine.
    pub client: Host,
    /// Its tunnel, if the client comes in by one.
    pub tunnel: Option<WireguardInterface>,
    /// The router.
    pub router: Router,
    /// In the router's network.
    pub device: Host,
    /// Behind another router in that network.
    pub far: Host,
    /// On the device.
    pub nginx: Nginx,
    /// On the device.
    pub iperf: Iperf,
}

impl Lan {
    /// The SNAT addresses.
    pub const EGRESS: [&str; 2] = ["192.168.7.200", "fd07::200"];
    /// The client's addresses.
    pub const CLIENT: [&str; 2] = ["10.77.0.2", "fd77::2"];
    /// The device's addresses.
    pub const DEVICE: [&str; 2] = ["192.168.7.10", "fd07::10"];
    /// What a client that comes through a gateway calls the device.
    pub const TARGET: [&str; 2] = ["10.20.0.5", "fd20::5"];
    /// The far device's addresses.
    pub const FAR: [&str; 2] = ["192.168.9.10", "fd09::10"];

    /// Builds and starts everything; returns when the first page could be fetched over both families.
    pub fn start(lab: &Lab, config: &LanConfig) -> Result<Lan> {
        let (client, router_host) = (lab.host("client")?, lab.host("router")?);
        lab.cable(
            Port::new(&client, "wan0", &["203.0.113.2/24"]),
            Port::new(&router_host, "wan0", &["203.0.113.1/24"]),
            Mtu::ETHERNET,
        )?;
        if !config.by_sockets {
            router_host.forward()?;
        }
        let (device, far) = network(lab, &router_host, config)?;
        let (client_keys, router_keys) = (KeyPair::generate(lab)?, KeyPair::generate(lab)?);
        let tunnel = match config.entry {
            Entry::Tunnel => Some(client_tunnel(lab, &client, &client_keys, &router_keys)?),
            Entry::Gateway => foreign_gateway(lab, &client, &router_host).map(|()| None)?,
        };
        let router = Router::start(&router_host, &router_keys, router_config(config, &client_keys))?;
        let (nginx, iperf) = (Nginx::start(&device)?, Iperf::start(&device)?);
        let lan = Lan { client, tunnel, router, device, far, nginx, iperf };
        for address in Lan::device(config.entry) {
            let line = format!("curl -sS --max-time 2 http://{}/", super::chain::bracketed(address));
            wait_until(&format!("a page from {address}"), Duration::from_secs(20), || {
                Ok(lan.client.sh(&line)?.succeeded())
            })?;
        }
        Ok(lan)
    }

    /// The device's addresses, as the client knows them.
    pub fn device(entry: Entry) -> [&'static str; 2] {
        match entry {
            Entry::Tunnel => Lan::DEVICE,
            Entry::Gateway => Lan::TARGET,
        }
    }
}

/// Without SNAT the network routes the clients' addresses back to the router's host, as with any router.
fn network(lab: &Lab, router: &Host, config: &LanConfig) -> Result<(Host, Host)> {
    let (device, hop, far) = (lab.host("device")?, lab.host("hop")?, lab.host("far")?);
    lab.switch(
        "lan",
        &[
            Port::new(router, "lan0", &["192.168.7.1/24", "fd07::1/64"]),
            Port::new(&device, "lan0", &["192.168.7.10/24", "fd07::10/64"]),
            Port::new(&hop, "lan0", &["192.168.7.254/24", "fd07::254/64"]),
        ],
        Mtu::ETHERNET,
    )?;
    lab.cable(
        Port::new(&hop, "far0", &["192.168.9.1/24", "fd09::1/64"]),
        Port::new(&far, "lan0", &["192.168.9.10/24", "fd09::10/64"]),
        Mtu::ETHERNET,
    )?;
    hop.forward()?;
    for (host, destination, next) in [
        (router, "192.168.9.0/24", "192.168.7.254"),
        (router, "fd09::/64", "fd07::254"),
        (&far, "default", "192.168.9.1"),
        (&far, "default", "fd09::1"),
        (&device, "192.168.9.0/24", "192.168.7.254"),
        (&device, "fd09::/64", "fd07::254"),
    ] {
        host.route(destination, next)?;
    }
    if !config.src_nat {
        for host in [&device, &hop] {
            host.route("10.77.0.0/24", "192.168.7.1")?;
            host.route("fd77::/64", "fd07::1")?;
        }
    }
    Ok((device, far))
}

fn client_tunnel(
    lab: &Lab,
    client: &Host,
    keys: &KeyPair,
    router_keys: &KeyPair,
) -> Result<WireguardInterface> {
    let config = InterfaceConfig {
        name: &lab.interface('c'),
        keys,
        listen_port: 0,
        addresses: &["10.77.0.2/32", "fd77::2/128"],
        mtu: 1420,
    };
    let tunnel = WireguardInterface::start(client, Implementation::WireguardGo, &config)?;
    tunnel.peer(&router_keys.public, "endpoint 203.0.113.1:51820 allowed-ips 0.0.0.0/0,::/0")?;
    for destination in
        ["192.168.7.0/24", "192.168.9.0/24", "10.99.0.0/24", "fd07::/64", "fd09::/64", "fd99::/64"]
    {
        tunnel.route(destination)?;
    }
    Ok(tunnel)
}

/// All that is seen of the gateway: the client's packets come by a cable of their own, and its answers leave by it.
fn foreign_gateway(lab: &Lab, client: &Host, router: &Host) -> Result<()> {
    lab.cable(
        Port::new(client, "vpn0", &["10.77.0.2/24", "fd77::2/64"]),
        Port::new(router, "vpn0", &["10.77.0.1/24", "fd77::1/64"]),
        Mtu(1420),
    )?;
    client.route("10.20.0.0/24", "10.77.0.1")?;
    client.route("fd20::/64", "fd77::1")
}

fn destinations(entry: Entry) -> Vec<Destination> {
    let destination = |ip: &str, nat| Destination { ip: ip.to_owned(), protocol: None, port: None, nat };
    match entry {
        Entry::Tunnel => {
            let all = [
                "192.168.7.0-192.168.7.255",
                "192.168.9.0-192.168.9.255",
                "fd07::-fd07::ffff",
                "fd09::-fd09::ffff",
            ];
            all.map(|ip| destination(ip, None)).to_vec()
        }
        Entry::Gateway => {
            let pairs = Lan::TARGET.iter().zip(Lan::DEVICE);
            pairs.map(|(target, device)| destination(target, Some((device.to_owned(), None)))).collect()
        }
    }
}

fn router_config(config: &LanConfig, client_keys: &KeyPair) -> RouterConfig {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<String>>();
    let through_gateway = config.entry == Entry::Gateway;
    let routes: &[&str] = match (config.entry, config.src_nat) {
        (Entry::Gateway, _) => &["10.20.0.0/24", "fd20::/64"],
        (Entry::Tunnel, true) => &[],
        (Entry::Tunnel, false) => &["10.77.0.0/24", "fd77::/64"],
    };
    let client = Client {
        name: "alice".into(),
        public_key: client_keys.public.clone(),
        addresses: owned(&Lan::CLIENT),
    };
    RouterConfig {
        name: "router".into(),
        listen_port: 51820,
        addresses: owned(&["10.99.0.1", "fd99::1"]),
        client_ip_pool: owned(&["10.77.0.0/24", "fd77::/64"]),
        deny_signal: "prohibited".into(),
        workers: 0,
        status_page: false,
        tun: (!config.by_sockets).then(|| Tun {
            name: "sluice0".into(),
            egress_addresses: owned(&Lan::EGRESS),
            proxy_neighbours_on: Some("lan0".into()),
            accept_clients: through_gateway,
            routes: owned(routes),
            ..Tun::default()
        }),
        sockets: config.by_sockets.then(Sockets::default),
        rights: if config.by_sockets { Rights::Nobody } else { Rights::Administrator },
        clients: if through_gateway { Vec::new() } else { vec![client] },
        connectors: Vec::new(),
        targets: vec![Target {
            name: "network".into(),
            src_nat: config.src_nat,
            destinations: destinations(config.entry),
        }],
        sessions: Lan::CLIENT
            .map(|address| Session { client_ip: address.into(), target: "network".into() })
            .to_vec(),
    }
}
