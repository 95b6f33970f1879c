//! Somebody else's tunnel server with services behind it, and a machine where nobody may install anything.
//!
//! ```text
//! client 203.0.113.1 ──── wan ──── 203.0.113.2 office      wireguard-go; nginx, sshd, dnsmasq at each of these addresses:
//!        10.9.0.1 fd09::1 ══════════ 10.9.0.2 fd09::2      and 192.0.2.77, 2001:db8::77, which is what the one name leads to
//! ```

use std::time::Duration;

use anyhow::{Context, Result};
use sluice_lab::peer::{Implementation, InterfaceConfig, WireguardInterface};
use sluice_lab::services::{Dns, Nginx, Sshd};
use sluice_lab::{Host, KeyPair, Lab, Mtu, Port, Process};

/// The running office.
pub(crate) struct Office {
    pub(crate) client: Host,
    pub(crate) office: Host,
    pub(crate) sshd: Sshd,
    pub(crate) tunnel: WireguardInterface,
    _nginx: Nginx,
    _dns: Dns,
    /// The client's.
    pub(crate) keys: KeyPair,
    office_key: String,
}

impl Office {
    const PORT: u16 = 51820;

    pub(crate) fn open(lab: &Lab) -> Result<Office> {
        let (client, office) = (lab.host("client")?, lab.host("office")?);
        lab.cable(
            Port::new(&client, "wan0", &["203.0.113.1/24"]),
            Port::new(&office, "wan0", &["203.0.113.2/24"]),
            Mtu::ETHERNET,
        )?;
        let (keys, office_keys) = (KeyPair::generate(lab)?, KeyPair::generate(lab)?);
        let name = lab.interface('o');
        let config = InterfaceConfig {
            name: &name,
            keys: &office_keys,
            listen_port: Office::PORT,
            addresses: &["10.9.0.2/24", "fd09::2/64"],
            mtu: 1420,
        };
        let tunnel = WireguardInterface::start(&office, Implementation::WireguardGo, &config)?;
        tunnel.peer(&keys.public, "allowed-ips 10.9.0.1/32,fd09::1/128")?;
        for address in [format!("{}/32", Dns::ADDRESS), format!("{}/128", Dns::ADDRESS_V6)] {
            office.address("lo", &address)?;
        }
        let (nginx, sshd, dns) = (Nginx::start(&office)?, Sshd::start(&office)?, Dns::start(&office)?);
        let office_key = office_keys.public;
        Ok(Office { client, office, sshd, tunnel, _nginx: nginx, _dns: dns, keys, office_key })
    }

    /// The client's file, with lines of [Interface] and the server's key and address as they are, or others.
    pub(crate) fn file(&self, more: &str, key: Option<&str>, endpoint: &str) -> Result<String> {
        let text = format!(
            "[Interface]\nPrivateKey = {}\nAddress = 10.9.0.1/24, fd09::1/64\n{more}\n\
             [Peer]\nPublicKey = {}\nEndpoint = {endpoint}\n\
             AllowedIPs = 10.9.0.0/24, fd09::/64, {}/32, {}/128\n",
            self.keys.private,
            key.unwrap_or(&self.office_key),
            Dns::ADDRESS,
            Dns::ADDRESS_V6,
        );
        let path = self.client.lab().file("client.conf", text)?;
        crate::give(&self.client, &path)?;
        Ok(path.display().to_string())
    }

    /// Starts `sluice connect` there, and waits until it serves.
    pub(crate) fn connect(&self, arguments: &[&str]) -> Result<Process> {
        let file = self.file(&format!("DNS = {}", Office::DNS), None, Office::ENDPOINT)?;
        let argv = [&["connect", &file, "--plain"], arguments].concat();
        let process = crate::spawn(&self.client, &argv)?;
        process.wait_for_log("Ctrl-C ends it.", Duration::from_secs(15))?;
        Ok(process)
    }

    pub(crate) const ENDPOINT: &str = "203.0.113.2:51820";
    const DNS: &str = "10.9.0.2";
}

/// The local port that leads to what `text` says.
pub(crate) fn port(process: &Process, text: &str) -> Result<u16> {
    let log = process.log();
    let line = log.lines().find(|line| line.contains(text) && line.contains("localhost:"));
    let line = line.with_context(|| format!("no port leads to {text}: {log}"))?;
    let port = line.split("localhost:").nth(1).and_then(|rest| rest.split_whitespace().next());
    Ok(port.context("no port")?.parse()?)
}
