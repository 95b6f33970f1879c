//! Two plain WireGuard interfaces, back to back.
//!
//! ```text
//! left 203.0.113.1 ─────── wan ─────── 203.0.113.2 right       outside, also 2001:db8:1::1 and ::2
//!      10.9.0.1    ══════ tunnel ═════ 10.9.0.2                inside, also fd09::1 and fd09::2
//! ```

use std::time::Duration;

use anyhow::Result;

use crate::host::Host;
use crate::keys::KeyPair;
use crate::lab::Lab;
use crate::link::{Mtu, Port};
use crate::peer::{Implementation, InterfaceConfig, WireguardInterface};

/// What may differ from pair to pair.
#[derive(Clone, Copy, Debug)]
pub struct PairConfig {
    /// The program on the left. It knows where the right one is.
    pub left: Implementation,
    /// The program on the right. It learns where the left one is.
    pub right: Implementation,
    /// The largest inner packet.
    pub mtu: u32,
    /// The largest packet on the wire.
    pub wire_mtu: Mtu,
    /// Outside addresses are IPv6.
    pub over_v6: bool,
    /// Both sides share a preshared key.
    pub preshared_key: bool,
    /// The left side's persistent keepalive; 0 is none.
    pub keepalive_seconds: u16,
}

impl PairConfig {
    /// An ordinary pair: MTU 1420 over Ethernet and IPv4.
    pub fn new(left: Implementation, right: Implementation) -> PairConfig {
        PairConfig {
            left,
            right,
            mtu: 1420,
            wire_mtu: Mtu::ETHERNET,
            over_v6: false,
            preshared_key: false,
            keepalive_seconds: 0,
        }
    }
}

/// One side of a pair.
#[derive(Clone, Debug)]
pub struct Side {
    /// What runs there.
    pub program: Implementation,
    /// Where it runs.
    pub host: Host,
    /// Its interface.
    pub tunnel: WireguardInterface,
    /// Its keys.
    pub keys: KeyPair,
    /// Its addresses inside.
    pub inside: [&'static str; 2],
}

/// Two interfaces that know each other.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Knows the right side's endpoint.
    pub left: Side,
    /// Knows the left side's key only.
    pub right: Side,
}

impl Pair {
    /// The right side's UDP port.
    pub const RIGHT_PORT: u16 = 51820;
    /// Inside addresses of the left side.
    pub const LEFT: [&str; 2] = ["10.9.0.1", "fd09::1"];
    /// Inside addresses of the right side.
    pub const RIGHT: [&str; 2] = ["10.9.0.2", "fd09::2"];

    /// Builds hosts, cable and tunnel; no handshake has taken place yet.
    pub fn start(lab: &Lab, config: &PairConfig) -> Result<Pair> {
        let (left, right) = (lab.host("left")?, lab.host("right")?);
        lab.cable(
            Port::new(&left, "wan0", &["203.0.113.1/24", "2001:db8:1::1/64"]),
            Port::new(&right, "wan0", &["203.0.113.2/24", "2001:db8:1::2/64"]),
            config.wire_mtu,
        )?;
        let left = side(lab, &left, config.left, 0, &["10.9.0.1/24", "fd09::1/64"], config.mtu)?;
        let right =
            side(lab, &right, config.right, Pair::RIGHT_PORT, &["10.9.0.2/24", "fd09::2/64"], config.mtu)?;
        let pair = Pair { left, right };
        pair.introduce(lab, config)?;
        Ok(pair)
    }

    fn introduce(&self, lab: &Lab, config: &PairConfig) -> Result<()> {
        let mut secret = String::new();
        if config.preshared_key {
            let path = lab.file("preshared.key", KeyPair::preshared(lab)?)?;
            secret = format!(" preshared-key {}", path.display());
        }
        let address = if config.over_v6 { "[2001:db8:1::2]" } else { "203.0.113.2" };
        let keepalive = match config.keepalive_seconds {
            0 => String::new(),
            seconds => format!(" persistent-keepalive {seconds}"),
        };
        let options = format!(
            "endpoint {address}:{} allowed-ips 10.9.0.2/32,fd09::2/128{secret}{keepalive}",
            Pair::RIGHT_PORT
        );
        self.left.tunnel.peer(&self.right.keys.public, &options)?;
        self.right
            .tunnel
            .peer(&self.left.keys.public, &format!("allowed-ips 10.9.0.1/32,fd09::1/128{secret}"))
    }

    /// When the newest handshake was, in seconds of Unix time, as our own side shows it if there is one; 0 if there was none.
    pub fn latest_handshake(&self) -> Result<u64> {
        let (own, far) = self.own_and_far();
        own.tunnel.latest_handshake(&far.keys.public)
    }

    /// Our own side, then the other one. Where both or none are ours, the right one comes first.
    pub fn own_and_far(&self) -> (&Side, &Side) {
        match (self.left.program, self.right.program) {
            (_, Implementation::Sluice) => (&self.right, &self.left),
            (Implementation::Sluice, _) => (&self.left, &self.right),
            (_, _) => (&self.right, &self.left),
        }
    }

    /// Waits until pings from left to right are answered, v4 and v6.
    pub fn wait_until_up(&self) -> Result<()> {
        for address in Pair::RIGHT {
            self.left.host.wait_for_ping(address.parse()?, Duration::from_secs(15))?;
        }
        Ok(())
    }
}

fn side(
    lab: &Lab,
    host: &Host,
    program: Implementation,
    listen_port: u16,
    addresses: &[&str],
    mtu: u32,
) -> Result<Side> {
    let keys = KeyPair::generate(lab)?;
    let name = lab.interface(host.name().chars().next().unwrap_or('x'));
    let config = InterfaceConfig { name: &name, keys: &keys, listen_port, addresses, mtu };
    let tunnel = WireguardInterface::start(host, program, &config)?;
    let inside = if host.name() == "left" { Pair::LEFT } else { Pair::RIGHT };
    Ok(Side { program, host: host.clone(), tunnel, keys, inside })
}
