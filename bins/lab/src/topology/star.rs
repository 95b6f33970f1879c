//! One plain WireGuard interface with several peers, each on a host of its own.
//!
//! ```text
//! hub 203.0.113.1 ─┬─ wan ── 203.0.113.11 spoke0        outside
//!     10.9.0.1    ═╪═══════  10.9.0.11                  inside
//!                  └──────── 203.0.113.12 spoke1 …
//! ```

use std::time::Duration;

use anyhow::Result;

use crate::host::Host;
use crate::keys::KeyPair;
use crate::lab::Lab;
use crate::link::{Mtu, Port};
use crate::peer::{Implementation, InterfaceConfig, WireguardInterface};

/// Our own interfaces: the hub with a number of workers, the spokes with one each.
#[derive(Debug)]
pub struct Star {
    /// In the middle.
    pub hub: Host,
    /// Its interface.
    pub tunnel: WireguardInterface,
    /// Around it, each with its interface.
    pub spokes: Vec<(Host, WireguardInterface)>,
}

impl Star {
    /// The hub's address inside.
    pub const HUB: &str = "10.9.0.1";
    /// Interface names have one letter per spoke.
    const SPOKES_MAX: usize = 16;

    /// A spoke's address inside.
    pub fn spoke_address(number: usize) -> String {
        format!("10.9.0.{}", 11 + number)
    }

    /// Builds it with at most 16 spokes; returns when every spoke reaches the hub.
    pub fn start(lab: &Lab, spokes: usize, workers: u16) -> Result<Star> {
        anyhow::ensure!(
            (1..=Star::SPOKES_MAX).contains(&spokes),
            "between 1 and {} spokes",
            Star::SPOKES_MAX
        );
        let hub = lab.host("hub")?;
        let hosts: Vec<Host> =
            (0..spokes).map(|number| lab.host(&format!("spoke{number}"))).collect::<Result<_>>()?;
        cables(lab, &hub, &hosts)?;
        let keys = KeyPair::generate(lab)?;
        let tunnel = interface(lab, &hub, 'h', &keys, "10.9.0.1/24", workers)?;
        let spokes = hosts
            .into_iter()
            .zip('i'..)
            .enumerate()
            .map(|(number, (host, letter))| spoke(lab, &tunnel, &keys.public, number, host, letter))
            .collect::<Result<_>>()?;
        Ok(Star { hub, tunnel, spokes })
    }
}

fn cables(lab: &Lab, hub: &Host, spokes: &[Host]) -> Result<()> {
    let addresses: Vec<String> =
        (0..spokes.len()).map(|number| format!("203.0.113.{}/24", 11 + number)).collect();
    let addresses: Vec<[&str; 1]> = addresses.iter().map(|address| [address.as_str()]).collect();
    let mut ports = vec![Port::new(hub, "wan0", &["203.0.113.1/24"])];
    ports.extend(spokes.iter().zip(&addresses).map(|(host, address)| Port::new(host, "wan0", address)));
    lab.switch("wan", &ports, Mtu::ETHERNET).map(drop)
}

fn spoke(
    lab: &Lab,
    hub: &WireguardInterface,
    hub_key: &str,
    number: usize,
    host: Host,
    letter: char,
) -> Result<(Host, WireguardInterface)> {
    let keys = KeyPair::generate(lab)?;
    let address = Star::spoke_address(number);
    let tunnel = interface(lab, &host, letter, &keys, &format!("{address}/24"), 1)?;
    hub.peer(&keys.public, &format!("allowed-ips {address}/32"))?;
    tunnel.peer(hub_key, "endpoint 203.0.113.1:51820 allowed-ips 10.9.0.0/24")?;
    host.wait_for_ping(Star::HUB.parse()?, Duration::from_secs(15))?;
    Ok((host, tunnel))
}

fn interface(
    lab: &Lab,
    host: &Host,
    letter: char,
    keys: &KeyPair,
    address: &str,
    workers: u16,
) -> Result<WireguardInterface> {
    let config = InterfaceConfig {
        name: &lab.interface(letter),
        keys,
        listen_port: 51820,
        addresses: &[address],
        mtu: 1420,
    };
    let arguments = ["--workers", &workers.to_string()];
    WireguardInterface::start_with(host, Implementation::Sluice, &arguments, &config)
}
