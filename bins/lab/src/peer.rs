//! Plain WireGuard interfaces from any userspace implementation.

use std::path::Path;

use anyhow::{Context, Result};

use crate::binaries;
use crate::host::Host;
use crate::keys::KeyPair;
use crate::output::Output;
use crate::process::Process;
use crate::stale::UAPI_DIRECTORY;
use crate::wait::wait_until;

/// A userspace WireGuard program. All take an interface name and are configured by `wg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// Debian's `wireguard-go`.
    WireguardGo,
    /// Our own `sluice-router wireguard`.
    Sluice,
    /// `gotatun` of gotatun-cli, if installed.
    Gotatun,
    /// `boringtun-cli`, if installed.
    Boringtun,
}

impl Implementation {
    /// A short name for tables.
    pub fn name(self) -> &'static str {
        match self {
            Implementation::WireguardGo => "wireguard-go",
            Implementation::Sluice => "sluice",
            Implementation::Gotatun => "gotatun",
            Implementation::Boringtun => "boringtun",
        }
    }

    /// The file name of its program.
    pub fn program(self) -> &'static str {
        match self {
            Implementation::WireguardGo => "wireguard-go",
            Implementation::Sluice => "sluice-router",
            Implementation::Gotatun => "gotatun",
            Implementation::Boringtun => "boringtun-cli",
        }
    }

    /// The command line that runs it in the foreground.
    pub fn command(self, interface: &str) -> Result<Vec<String>> {
        let owned = |argv: &[&str]| argv.iter().map(|&argument| argument.to_owned()).collect();
        let installed = || {
            let path = binaries::peer(self.program());
            let path =
                path.with_context(|| format!("{} is not installed: cargo xtask setup", self.program()));
            path.map(|path| path.display().to_string())
        };
        Ok(match self {
            Implementation::WireguardGo => owned(&["wireguard-go", "-f", interface]),
            Implementation::Sluice => {
                let program = binaries::sluice("sluice-router")?.display().to_string();
                owned(&[&program, "wireguard", "--foreground", interface])
            }
            Implementation::Gotatun | Implementation::Boringtun => {
                owned(&[&installed()?, "--foreground", "--disable-drop-privileges", interface])
            }
        })
    }
}

/// What one end of a tunnel looks like before it has peers.
#[derive(Clone, Debug)]
pub struct InterfaceConfig<'a> {
    /// The interface's name; unique among all namespaces.
    pub name: &'a str,
    /// Its key.
    pub keys: &'a KeyPair,
    /// The UDP port; 0 lets the system choose.
    pub listen_port: u16,
    /// Addresses with prefix lengths.
    pub addresses: &'a [&'a str],
    /// The largest inner packet.
    pub mtu: u32,
}

/// A running plain WireGuard interface on a host.
#[derive(Clone, Debug)]
pub struct WireguardInterface {
    host: Host,
    name: String,
    process: Process,
}

impl WireguardInterface {
    /// Starts the program, gives the interface key, port and addresses, and brings it up.
    pub fn start(
        host: &Host,
        program: Implementation,
        config: &InterfaceConfig<'_>,
    ) -> Result<WireguardInterface> {
        WireguardInterface::start_with(host, program, &[], config)
    }

    /// The same with further arguments for the program.
    pub fn start_with(
        host: &Host,
        program: Implementation,
        arguments: &[&str],
        config: &InterfaceConfig<'_>,
    ) -> Result<WireguardInterface> {
        let argv = program.command(config.name)?;
        let argv: Vec<&str> = argv.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        let (level, rust_level) =
            if host.lab().is_quiet() { ("error", "error") } else { ("verbose", "info") };
        let process = host.spawn_with(&argv, &[("LOG_LEVEL", level), ("WG_LOG_LEVEL", rust_level)])?;
        let interface = WireguardInterface { host: host.clone(), name: config.name.to_owned(), process };
        interface.wait_for_socket()?;
        let key = host.lab().file(&format!("{}.key", config.name), &config.keys.private)?;
        interface.set(&format!("listen-port {} private-key {}", config.listen_port, key.display()))?;
        host.ip(&format!("link set {} mtu {} up", config.name, config.mtu))?;
        config.addresses.iter().try_for_each(|address| host.address(config.name, address))?;
        Ok(interface)
    }

    /// Adds or changes a peer; `options` as `wg set … peer KEY` takes them.
    pub fn peer(&self, public_key: &str, options: &str) -> Result<()> {
        self.set(&format!("peer {public_key} {options}"))
    }

    /// `wg set INTERFACE ARGUMENTS`.
    pub fn set(&self, arguments: &str) -> Result<()> {
        self.host.sh(&format!("wg set {} {arguments}", self.name))?.ok().map(drop)
    }

    /// `wg show INTERFACE ARGUMENTS`.
    pub fn show(&self, arguments: &str) -> Result<Output> {
        self.host.sh(&format!("wg show {} {arguments}", self.name))?.ok()
    }

    /// When the newest handshake with a peer was, in seconds of Unix time; 0 if there was none.
    pub fn latest_handshake(&self, public_key: &str) -> Result<u64> {
        let text = self.show("latest-handshakes")?.stdout;
        let line = text.lines().find(|line| line.starts_with(public_key)).context("peer is not shown")?;
        Ok(line.split_whitespace().nth(1).context("no time is shown")?.parse()?)
    }

    /// Routes a prefix into the tunnel.
    pub fn route(&self, destination: &str) -> Result<()> {
        let family = if destination.contains(':') { "-6" } else { "-4" };
        self.host.ip(&format!("{family} route add {destination} dev {}", self.name))
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program behind it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    fn wait_for_socket(&self) -> Result<()> {
        let socket = Path::new(UAPI_DIRECTORY).join(format!("{}.sock", self.name));
        wait_until(&format!("{}", socket.display()), std::time::Duration::from_secs(15), || {
            self.process.check_running()?;
            Ok(socket.exists())
        })?;
        self.host.wait_for_interface(&self.name, &self.process)
    }
}
