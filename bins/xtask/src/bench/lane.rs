//! One implementation's network, ready to be measured.

use std::time::Duration;

use anyhow::{Context, Result};
use sluice_lab::peer::Implementation;
use sluice_lab::services::{Direction, Iperf};
use sluice_lab::sluice::Sockets;
use sluice_lab::topology::{Chain, ChainConfig, Forwarder, Pair, PairConfig, PlainChain, Spot};
use sluice_lab::{Host, Lab, Mtu, Port, Process};

/// What has a name in tables and messages.
pub(crate) trait Named {
    fn name(&self) -> &str;
}

/// A client, a server, and the programs between them.
#[derive(Debug)]
pub(crate) struct Lane {
    name: &'static str,
    /// `None` without a tunnel.
    pub(crate) program: Option<Implementation>,
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) iperf: Iperf,
    /// Where the client reaches the server.
    pub(crate) address: String,
    /// Where the server reaches the client, if nothing is translated.
    client_address: String,
    programs: Vec<Process>,
    // Dropped last: it owns what the others use.
    pub(crate) lab: Lab,
}

impl Named for Lane {
    fn name(&self) -> &str {
        self.name
    }
}

impl Lane {
    /// Two plain interfaces, back to back.
    pub(crate) fn pair(program: Implementation) -> Result<Lane> {
        Lane::pair_with_key(program).map(|(lane, _)| lane)
    }

    /// The same, and the public key of the server's side.
    pub(crate) fn pair_with_key(program: Implementation) -> Result<(Lane, String)> {
        let (lab, pair) = start_pair(program).context(program.name())?;
        let iperf = Iperf::start(&pair.right.host)?;
        let lane = Lane {
            name: program.name(),
            program: Some(program),
            client: pair.left.host,
            server: pair.right.host,
            iperf,
            address: Pair::RIGHT[0].to_owned(),
            client_address: Pair::LEFT[0].to_owned(),
            programs: vec![pair.left.tunnel.process().clone(), pair.right.tunnel.process().clone()],
            lab,
        };
        Ok((lane, pair.right.keys.public))
    }

    /// The cable between two hosts, without a tunnel.
    pub(crate) fn bare() -> Result<Lane> {
        let lab = quiet_lab()?;
        let (client, server) = (lab.host("left")?, lab.host("right")?);
        lab.cable(
            Port::new(&client, "wan0", &["203.0.113.1/24"]),
            Port::new(&server, "wan0", &["203.0.113.2/24"]),
            Mtu::ETHERNET,
        )?;
        let iperf = Iperf::start(&server)?;
        let address = "203.0.113.2".to_owned();
        Ok(Lane {
            name: "bare veth",
            program: None,
            client,
            server,
            iperf,
            address,
            client_address: "203.0.113.1".to_owned(),
            programs: Vec::new(),
            lab,
        })
    }

    /// Client, router, connector, device: our own programs, or plain interfaces and nftables.
    pub(crate) fn chain(program: Implementation) -> Result<Lane> {
        let lab = quiet_lab()?;
        match program {
            Implementation::Sluice => own_chain(lab, program.name(), None),
            Implementation::Gotatun | Implementation::WireguardGo | Implementation::Boringtun => {
                plain_chain(lab, program)
            }
        }
        .context(program.name())
    }

    /// Our own chain, with one egress or the other at the connector.
    pub(crate) fn chain_by(name: &'static str, sockets: Option<Sockets>) -> Result<Lane> {
        own_chain(quiet_lab()?, name, sockets).context(name)
    }

    /// Somebody else's forwarder without privileges, and a plain interface of ours behind it.
    pub(crate) fn forwarder() -> Result<Lane> {
        let lab = quiet_lab()?;
        let Forwarder { client, tunnel, process, device, iperf, .. } = Forwarder::start(&lab)?;
        Ok(Lane {
            name: Forwarder::PROGRAM,
            program: None,
            programs: vec![tunnel.process().clone(), process],
            client,
            server: device,
            iperf,
            address: Forwarder::ADDRESS.to_owned(),
            client_address: "10.9.0.2".to_owned(),
            lab,
        })
    }

    /// The sender, the receiver, and where the sender reaches it. For lanes without a translation.
    pub(crate) fn ends(&self, direction: Direction) -> (&Host, &Host, &str) {
        match direction {
            Direction::Upload => (&self.client, &self.server, &self.address),
            Direction::Download => (&self.server, &self.client, &self.client_address),
        }
    }

    /// Processor time that all programs of the lane have used so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        self.programs.iter().map(Process::cpu_time).sum()
    }
}

/// Logs would be measured, too.
pub(crate) fn quiet_lab() -> Result<Lab> {
    let lab = Lab::new()?;
    lab.quiet();
    Ok(lab)
}

fn start_pair(program: Implementation) -> Result<(Lab, Pair)> {
    let lab = quiet_lab()?;
    let pair = Pair::start(&lab, &PairConfig::new(program, program))?;
    pair.wait_until_up()?;
    Ok((lab, pair))
}

fn own_chain(lab: Lab, name: &'static str, sockets: Option<Sockets>) -> Result<Lane> {
    let program = Implementation::Sluice;
    let mut chain = Chain::start(&lab, &ChainConfig { client: program, sockets, ..ChainConfig::default() })?;
    let site = chain.sites.pop().context("a chain has a site")?;
    let programs = [chain.tunnel.process(), chain.router.program.process(), site.connector.program.process()];
    Ok(Lane {
        name,
        program: Some(program),
        programs: programs.map(Process::clone).to_vec(),
        client: chain.client,
        server: site.device,
        iperf: site.iperf,
        address: Spot::Device.target(site.number)[0].clone(),
        client_address: Chain::CLIENT[0].to_owned(),
        lab,
    })
}

fn plain_chain(lab: Lab, program: Implementation) -> Result<Lane> {
    let chain = PlainChain::start(&lab, program)?;
    Ok(Lane {
        name: program.name(),
        program: Some(program),
        programs: chain.tunnels.iter().map(|tunnel| tunnel.process().clone()).collect(),
        client: chain.client,
        server: chain.device,
        iperf: chain.iperf,
        address: Spot::Device.target(0)[0].clone(),
        client_address: Chain::CLIENT[0].to_owned(),
        lab,
    })
}
