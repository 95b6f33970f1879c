//! Somebody else's way through WireGuard without privileges, for comparison: onetun, which forwards local ports to a peer.
//!
//! ```text
//! client ── 127.0.0.1 ── onetun 10.9.0.2 ══ WireGuard ══ 10.9.0.1 device
//! ```

use std::time::Duration;

use anyhow::{Context, Result};

use crate::binaries;
use crate::host::Host;
use crate::keys::KeyPair;
use crate::lab::Lab;
use crate::link::{Mtu, Port};
use crate::peer::{Implementation, InterfaceConfig, WireguardInterface};
use crate::process::Process;
use crate::services::{Iperf, Nginx};
use crate::wait::wait_until;

/// The running forwarder.
#[derive(Debug)]
pub struct Forwarder {
    /// The user's machine, where onetun runs.
    pub client: Host,
    /// onetun.
    pub process: Process,
    /// What it leads to.
    pub device: Host,
    /// The device's end of the tunnel, a plain interface of ours.
    pub tunnel: WireguardInterface,
    /// On the device.
    pub iperf: Iperf,
    /// On the device.
    pub nginx: Nginx,
}

impl Forwarder {
    /// The program.
    pub const PROGRAM: &str = "onetun";
    /// Where the client reaches the device's ports.
    pub const ADDRESS: &str = "127.0.0.1";
    /// Where it reaches them without onetun.
    pub const DIRECT: &str = "203.0.113.1";

    /// Builds and starts everything; returns when the client has fetched a page.
    pub fn start(lab: &Lab) -> Result<Forwarder> {
        let program = binaries::peer(Forwarder::PROGRAM).context("onetun is not installed")?;
        let program = program.to_str().context("the path of onetun is not UTF-8")?;
        let (client, device) = (lab.host("client")?, lab.host("device")?);
        lab.cable(
            Port::new(&client, "wan0", &["203.0.113.2/24"]),
            Port::new(&device, "wan0", &["203.0.113.1/24"]),
            Mtu::ETHERNET,
        )?;
        let (ours, theirs) = (KeyPair::generate(lab)?, KeyPair::generate(lab)?);
        let tunnel = tunnel(lab, &device, &ours, &theirs.public)?;
        let (iperf, nginx) = (Iperf::start(&device)?, Nginx::start(&device)?);
        let process = client.spawn(&[
            program,
            "127.0.0.1:5201:10.9.0.1:5201",
            "127.0.0.1:80:10.9.0.1:80",
            "--private-key",
            &theirs.private,
            "--endpoint-public-key",
            &ours.public,
            "--endpoint-addr",
            "203.0.113.1:51820",
            "--source-peer-ip",
            "10.9.0.2",
            "--log",
            "error",
        ])?;
        let forwarder = Forwarder { client, process, device, tunnel, iperf, nginx };
        let line = format!("curl -sS --max-time 2 http://{}/", Forwarder::ADDRESS);
        wait_until("a page through onetun", Duration::from_secs(20), || {
            Ok(forwarder.client.sh(&line)?.succeeded())
        })?;
        Ok(forwarder)
    }
}

fn tunnel(lab: &Lab, device: &Host, keys: &KeyPair, peer: &str) -> Result<WireguardInterface> {
    let config = InterfaceConfig {
        name: &lab.interface('d'),
        keys,
        listen_port: 51820,
        addresses: &["10.9.0.1/24"],
        mtu: 1420,
    };
    let tunnel = WireguardInterface::start(device, Implementation::Sluice, &config)?;
    tunnel.peer(peer, "allowed-ips 10.9.0.2/32")?;
    Ok(tunnel)
}
