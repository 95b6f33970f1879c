//! A tenant's network: a connector, a device with real servers, a far device behind a narrow link.
//!
//! ```text
//! wan ── connector ── 192.168.7.0/24 ──┬── device .10          nginx, sshd, dnsmasq, iperf3
//!                     fd07::/64        └── hop1 .254 ── MTU 1280 ── hop2 ── 192.168.9.0/24 ── far .10
//! ```
//! Every site looks the same from inside: tenants' networks overlap, as they do in life.

use anyhow::Result;

use crate::host::Host;
use crate::keys::KeyPair;
use crate::lab::Lab;
use crate::link::{Mtu, Port};
use crate::services::{Dns, Iperf, Nginx, Sshd};
use crate::sluice::{Connector, ConnectorConfig, ConnectorPeer, Dial, Egress, RouterPeer, Sockets, Tun};
use crate::topology::service::SERVICES;

/// What may differ from site to site.
#[derive(Clone, Debug)]
pub struct SiteConfig {
    /// Who dials.
    pub dial: Dial,
    /// The connector hides the sender behind its egress address.
    pub snat: bool,
    /// With the far device and the narrow link.
    pub far: bool,
    /// The connector's threads; 0 is one per core.
    pub workers: u16,
    /// The connector has a page at its own addresses.
    pub status_page: bool,
    /// The connector has no privileges, and reaches devices by connections of its own.
    pub sockets: Option<Sockets>,
}

/// A built and running site.
#[derive(Debug)]
pub struct Site {
    /// Its number, from 0.
    pub number: usize,
    /// The connector.
    pub connector: Connector,
    /// The device.
    pub device: Host,
    /// The far device.
    pub far: Option<Host>,
    /// On the device.
    pub nginx: Nginx,
    /// On the device.
    pub sshd: Sshd,
    /// On the device.
    pub dns: Dns,
    /// On the device.
    pub iperf: Iperf,
    /// On the far device.
    pub far_nginx: Option<Nginx>,
    /// On the far device.
    pub far_sshd: Option<Sshd>,
}

/// A site's hosts before its connector runs: addresses and keys are known, so that the router can be told.
#[derive(Debug)]
pub(crate) struct Ground {
    number: usize,
    config: SiteConfig,
    keys: KeyPair,
    pub(crate) connector: Host,
    device: Host,
    far: Option<Host>,
}

impl Ground {
    /// The connector's and devices' hosts and cables; the connector has no way out yet.
    pub(crate) fn prepare(lab: &Lab, number: usize, config: &SiteConfig) -> Result<Ground> {
        let name = |role: &str| format!("{role}{number}");
        let (connector, device) = (lab.host(&name("connector"))?, lab.host(&name("device"))?);
        if config.sockets.is_none() {
            connector.forward()?;
        }
        let mut ports = vec![
            Port::new(&connector, "lan0", &["192.168.7.1/24", "fd07::1/64"]),
            Port::new(&device, "lan0", &["192.168.7.10/24", "fd07::10/64"]),
        ];
        let hop = if config.far { Some(lab.host(&name("hop-a"))?) } else { None };
        if let Some(hop) = &hop {
            ports.push(Port::new(hop, "lan0", &["192.168.7.254/24", "fd07::254/64"]));
        }
        lab.switch(&name("lan"), &ports, Mtu::ETHERNET)?;
        let far = hop.as_ref().map(|hop| far_network(lab, number, hop, &connector)).transpose()?;
        if !config.snat {
            let senders = ["10.77.0.0/24", "fd77::/64", "10.99.0.0/24", "fd99::/64"];
            senders.iter().try_for_each(|sender| device.route(sender, gateway(sender)))?;
        }
        Ok(Ground { number, config: config.clone(), keys: KeyPair::generate(lab)?, connector, device, far })
    }

    /// The connector's overlay addresses.
    pub(crate) fn overlay(number: usize) -> [String; 2] {
        [format!("10.99.0.{}", 2 + number), format!("fd99::{}", 2 + number)]
    }

    /// The connector's address in the wan.
    pub(crate) fn outside(number: usize) -> [String; 2] {
        [format!("203.0.113.{}", 10 + number), format!("2001:db8:1::1{number}")]
    }

    /// How the router knows the connector.
    pub(crate) fn as_peer(&self) -> ConnectorPeer {
        let server_dials = self.config.dial == Dial::Server;
        ConnectorPeer {
            name: self.connector.name().to_owned(),
            public_key: self.keys.public.clone(),
            addresses: Ground::overlay(self.number).to_vec(),
            dial: self.config.dial,
            endpoint: server_dials.then(|| format!("{}:51821", Ground::outside(self.number)[0])),
            networks: Vec::new(),
        }
    }

    /// Starts the servers and the connector.
    pub(crate) fn open(self, router: RouterPeer) -> Result<Site> {
        let connector = Connector::start(
            &self.connector,
            &self.keys,
            ConnectorConfig {
                name: self.connector.name().to_owned(),
                listen_port: 51821,
                addresses: Ground::overlay(self.number).to_vec(),
                workers: self.config.workers,
                status_page: self.config.status_page,
                routers: vec![router],
                egress: match self.config.sockets {
                    Some(sockets) => Egress::Sockets(sockets),
                    None => Egress::Tun(tun(self.config.snat)),
                },
                mappings: SERVICES.iter().flat_map(|service| service.mappings()).collect(),
            },
        )?;
        Ok(Site {
            number: self.number,
            connector,
            nginx: Nginx::start(&self.device)?,
            sshd: Sshd::start(&self.device)?,
            dns: Dns::start(&self.device)?,
            iperf: Iperf::start(&self.device)?,
            far_nginx: self.far.as_ref().map(Nginx::start).transpose()?,
            far_sshd: self.far.as_ref().map(Sshd::start).transpose()?,
            device: self.device,
            far: self.far,
        })
    }
}

fn tun(snat: bool) -> Tun {
    Tun {
        name: "sluice0".into(),
        egress_addresses: vec!["192.168.7.200".into(), "fd07::200".into()],
        proxy_neighbours_on: Some("lan0".into()),
        snat: Some(snat),
        ..Tun::default()
    }
}

/// hop1 == 1280 == hop2 -- far
fn far_network(lab: &Lab, number: usize, hop: &Host, connector: &Host) -> Result<Host> {
    let (second, far) = (lab.host(&format!("hop-b{number}"))?, lab.host(&format!("far{number}"))?);
    hop.forward()?;
    second.forward()?;
    lab.cable(
        Port::new(hop, "narrow", &["192.168.8.1/24", "fd08::1/64"]),
        Port::new(&second, "narrow", &["192.168.8.2/24", "fd08::2/64"]),
        Mtu(1280),
    )?;
    lab.cable(
        Port::new(&second, "lan0", &["192.168.9.1/24", "fd09::1/64"]),
        Port::new(&far, "lan0", &["192.168.9.10/24", "fd09::10/64"]),
        Mtu::ETHERNET,
    )?;
    for (host, destination, next) in [
        (connector, "192.168.8.0/23", "192.168.7.254"),
        (connector, "fd08::/15", "fd07::254"),
        (hop, "192.168.9.0/24", "192.168.8.2"),
        (hop, "fd09::/64", "fd08::2"),
        (&second, "default", "192.168.8.1"),
        (&second, "default", "fd08::1"),
        (&far, "default", "192.168.9.1"),
        (&far, "default", "fd09::1"),
    ] {
        host.route(destination, next)?;
    }
    Ok(far)
}

/// The connector, in the family of `destination`.
fn gateway(destination: &str) -> &'static str {
    if destination.contains(':') { "fd07::1" } else { "192.168.7.1" }
}
