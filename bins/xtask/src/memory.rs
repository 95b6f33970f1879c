//! `cargo xtask memory`: what running programs hold in memory, idle and with many peers, and what peers and flows take by
//! themselves.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::Table;

use sluice_lab::peer::{Implementation, InterfaceConfig, WireguardInterface};
use sluice_lab::sluice::{Rights, Router, RouterConfig};
use sluice_lab::{KeyPair, Lab, Process};

use crate::cargo::{cargo, root};
use crate::run::Log;
use crate::{release, setup};

/// What the plain programs may take before anybody uses them.
const IDLE_MIB_MAX: f64 = 15.0;
/// Bytes that a peer may take which was never spoken to: `wg_proto::constants::PEER_BYTES`, which this program does not link.
const PEER_BYTES_MAX: f64 = 864.0;
/// Adding many peers is one command for `wg`.
const CONFIGURE_LIMIT: Duration = Duration::from_secs(120);

/// Arguments of `cargo xtask memory`.
#[derive(Debug, Args)]
#[command(
    after_help = "Other implementations are measured beside ours where `cargo xtask setup` has built them."
)]
pub(crate) struct Arguments {
    /// Peers of the interface
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    peers: u32,
}

/// Resident sets of one program, in MiB.
struct Line {
    program: &'static str,
    idle: f64,
    with_peers: Option<f64>,
}

/// Measures and prints; fails if our own programs take more than they may.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    setup::prepare_lab()?;
    release::build(&["sluice-router"], &Log::new("memory-build")?)?;
    let mut lines = vec![router()?];
    for program in [
        Implementation::Sluice,
        Implementation::Gotatun,
        Implementation::WireguardGo,
        Implementation::Boringtun,
    ] {
        if program.command("any").is_ok() {
            lines.push(interface(program, arguments.peers).context(program.name())?);
        }
    }
    println!("{}", table(&lines, arguments.peers));
    // Ours come first.
    let ours = lines.iter().take(2).all(|line| line.is_within(arguments.peers));
    let tables = cargo(&["bench", "--locked", "--package", "sluice-benches", "--bench", "memory"])
        .current_dir(root())
        .status()
        .context("start cargo")?;
    Ok(if ours && tables.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Line {
    fn peer_bytes(&self, peers: u32) -> Option<f64> {
        self.with_peers.map(|with_peers| (with_peers - self.idle) * 1_048_576.0 / f64::from(peers))
    }

    fn is_within(&self, peers: u32) -> bool {
        self.idle <= IDLE_MIB_MAX && self.peer_bytes(peers).is_none_or(|bytes| bytes <= PEER_BYTES_MAX)
    }
}

/// `sluice-router run` with a configuration that names nobody.
fn router() -> Result<Line> {
    let lab = Lab::new()?;
    let host = lab.host("router")?;
    let config = RouterConfig {
        workers: 0,
        status_page: false,
        name: "router".to_owned(),
        listen_port: 51820,
        addresses: vec!["10.99.0.1".to_owned()],
        client_ip_pool: vec!["10.64.0.0/16".to_owned()],
        deny_signal: "silent".to_owned(),
        tun: None,
        sockets: None,
        rights: Rights::Administrator,
        clients: Vec::new(),
        connectors: Vec::new(),
        targets: Vec::new(),
        sessions: Vec::new(),
    };
    let router = Router::start(&host, &KeyPair::generate(&lab)?, config)?;
    Ok(Line { program: "sluice-router run", idle: resident_mib(router.program.process())?, with_peers: None })
}

/// A plain interface, alone and with peers.
fn interface(program: Implementation, peers: u32) -> Result<Line> {
    let lab = Lab::new()?;
    let (host, keys) = (lab.host("memory")?, KeyPair::generate(&lab)?);
    let name = lab.interface('m');
    let config = InterfaceConfig {
        name: &name,
        keys: &keys,
        listen_port: 51820,
        addresses: &["10.9.0.1/24"],
        mtu: 1420,
    };
    let interface = WireguardInterface::start(&host, program, &config)?;
    let idle = resident_mib(interface.process())?;
    let file = lab.file("peers.conf", peer_sections(peers))?;
    let added = host.sh_within(&format!("wg addconf {name} {}", file.display()), CONFIGURE_LIMIT)?.ok();
    let with_peers = match added {
        Ok(_) => Some(resident_mib(interface.process())?),
        Err(why) if program == Implementation::Sluice => return Err(why),
        Err(why) => {
            eprintln!("{} does not take {peers} peers: {why:#}", program.name());
            None
        }
    };
    Ok(Line { program: program.name(), idle, with_peers })
}

/// Peers as `wg addconf` reads them. Decimal digits are base64, too, and what ends in `A=` has 32 bytes.
fn peer_sections(peers: u32) -> String {
    let section = |number: u32| {
        let (high, low) = (number / 256, number % 256);
        format!(
            "[Peer]\nPublicKey = 1{number:0>41}A=\nAllowedIPs = 10.{}.{}.{low}/32\n",
            64 + high / 256,
            high % 256
        )
    };
    (0..peers).map(section).collect()
}

fn resident_mib(process: &Process) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no resident set")?;
    let kib: f64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kib / 1024.0)
}

fn table(lines: &[Line], peers: u32) -> Table {
    let mut table = Table::new();
    table.set_header([
        "resident set".to_owned(),
        "idle, MiB".to_owned(),
        format!("{peers} peers, MiB"),
        "bytes a peer".to_owned(),
    ]);
    let number = |number: Option<f64>, digits| number.map_or(String::new(), |it| format!("{it:.digits$}"));
    for line in lines {
        table.add_row([
            line.program.to_owned(),
            number(Some(line.idle), 1),
            number(line.with_peers, 1),
            number(line.peer_bytes(peers), 0),
        ]);
    }
    table
}
