//! The chain of [`Chain`](crate::topology::Chain) as one builds it without us: plain WireGuard interfaces, and nftables for
//! the translations. Addresses and ports are the same, IPv4 only.
//!
//! ```text
//! client ══ WireGuard ══ router ══ WireGuard ══ connector ── lan ── device
//! 10.77.0.2              10.99.0.1              10.99.0.2           192.168.7.10
//!                        DNAT 10.20.0.5:5201    DNAT :40003
//!                          → 10.99.0.2:40003      → 192.168.7.10:5201
//!                        SNAT to 10.99.0.1      masquerade
//! ```

use std::time::Duration;

use anyhow::Result;

use crate::host::Host;
use crate::keys::KeyPair;
use crate::lab::Lab;
use crate::link::{Mtu, Port};
use crate::peer::{Implementation, InterfaceConfig, WireguardInterface};
use crate::services::Iperf;
use crate::topology::service::{SERVICES, Service, Spot};

/// The running chain. iperf3 runs on the device, nothing else.
#[derive(Debug)]
pub struct PlainChain {
    /// The user's machine.
    pub client: Host,
    /// The interfaces of client, router and connector.
    pub tunnels: [WireguardInterface; 3],
    /// What the connector hides.
    pub device: Host,
    /// On the device.
    pub iperf: Iperf,
}

/// Client, router, connector.
const WAN: [&str; 3] = ["203.0.113.2", "203.0.113.1", "203.0.113.10"];
const OVERLAY: [&str; 3] = ["10.77.0.2", "10.99.0.1", "10.99.0.2"];
const ROLES: [char; 3] = ['c', 'r', 'o'];
const LISTEN_PORTS: [u16; 3] = [0, 51820, 51821];

impl PlainChain {
    /// Builds and starts everything; returns when the client reaches the device.
    pub fn start(lab: &Lab, program: Implementation) -> Result<PlainChain> {
        let nodes = [lab.host("client")?, lab.host("router")?, lab.host("connector")?];
        let device = lab.host("device")?;
        cables(lab, &nodes, &device)?;
        let tunnels = tunnels(lab, &nodes, program)?;
        let [client, router, connector] = nodes;
        translate(&router)?;
        translate_back(&connector)?;
        let iperf = Iperf::start(&device)?;
        let chain = PlainChain { client, tunnels, device, iperf };
        chain.client.wait_for_ping(OVERLAY[1].parse()?, Duration::from_secs(15))?;
        Ok(chain)
    }
}

fn cables(lab: &Lab, nodes: &[Host; 3], device: &Host) -> Result<()> {
    let wan = WAN.map(|address| format!("{address}/24"));
    let wan = wan.each_ref().map(|address| [address.as_str()]);
    let ports: Vec<Port<'_>> =
        nodes.iter().zip(&wan).map(|(host, address)| Port::new(host, "wan0", address)).collect();
    lab.switch("wan", &ports, Mtu::ETHERNET)?;
    let connector = Port::new(&nodes[2], "lan0", &["192.168.7.1/24"]);
    lab.switch("lan", &[connector, Port::new(device, "lan0", &["192.168.7.10/24"])], Mtu::ETHERNET)?;
    nodes[1..].iter().try_for_each(Host::forward)
}

fn tunnels(lab: &Lab, nodes: &[Host; 3], program: Implementation) -> Result<[WireguardInterface; 3]> {
    let keys = [KeyPair::generate(lab)?, KeyPair::generate(lab)?, KeyPair::generate(lab)?];
    let start = |number: usize| {
        let host = &nodes[number];
        let address = format!("{}/32", OVERLAY[number]);
        let config = InterfaceConfig {
            name: &lab.interface(ROLES[number]),
            keys: &keys[number],
            listen_port: LISTEN_PORTS[number],
            addresses: &[&address],
            mtu: 1420,
        };
        WireguardInterface::start(host, program, &config)
    };
    let tunnels = [start(0)?, start(1)?, start(2)?];
    let [client, router, connector] = &tunnels;
    let key = |number: usize| keys[number].public.as_str();
    client.peer(key(1), "endpoint 203.0.113.1:51820 allowed-ips 0.0.0.0/0")?;
    router.peer(key(0), "allowed-ips 10.77.0.2/32")?;
    router.peer(key(2), "endpoint 203.0.113.10:51821 allowed-ips 10.99.0.2/32")?;
    connector.peer(key(1), "allowed-ips 10.99.0.1/32")?;
    for (tunnel, destination) in [
        (client, "10.20.0.0/15"),
        (client, "10.99.0.0/24"),
        (router, "10.77.0.2/32"),
        (router, "10.99.0.2/32"),
        (connector, "10.99.0.1/32"),
    ] {
        tunnel.route(destination)?;
    }
    Ok(tunnels)
}

/// The router: clients' targets become the connector's virtual ports, and the client is hidden.
fn translate(router: &Host) -> Result<()> {
    let [target, _] = Spot::Device.target(0);
    let rules = device_services()
        .map(|service| {
            let Service { protocol, virtual_port, port, .. } = service;
            format!("ip daddr {target} {protocol} dport {port} dnat to 10.99.0.2:{virtual_port}")
        })
        .collect();
    load_rules(router, rules, "ip saddr 10.77.0.0/24 snat to 10.99.0.1")
}

/// The connector: virtual ports become the device's, and the device sees the connector.
fn translate_back(connector: &Host) -> Result<()> {
    let [device, _] = Spot::Device.local();
    let rules = device_services()
        .map(|service| {
            let Service { protocol, virtual_port, port, .. } = service;
            format!("ip daddr 10.99.0.2 {protocol} dport {virtual_port} dnat to {device}:{port}")
        })
        .collect();
    load_rules(connector, rules, "oifname lan0 masquerade")
}

fn device_services() -> impl Iterator<Item = &'static Service> {
    SERVICES.iter().filter(|service| service.spot == Spot::Device)
}

fn load_rules(host: &Host, prerouting: Vec<String>, postrouting: &str) -> Result<()> {
    let prerouting = prerouting.join("\n    ");
    let rules = format!(
        "table ip bench {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    {prerouting}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    {postrouting}
  }}
}}
"
    );
    host.exec_with_input(&["nft", "-f", "-"], rules.as_bytes())?.ok().map(drop)
}
