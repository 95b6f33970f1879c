//! What happens during a long run: flows, rules and peers that come and go, loss, a client that moves, programs that die.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::probe;
use crate::services::Dns;
use crate::soak::guest::Guest;
use crate::topology::{Chain, Spot};
use crate::wait::wait_until;

/// How long a single request may take; a lost SYN is sent again after one second and after three.
const REQUEST_SECONDS: u32 = 5;
/// Of a hundred packets to the client while the wire is bad.
const LOSS_PERCENT: u32 = 5;
/// Every so many steps one of these happens; coprime, so that all combinations occur.
const RELOAD_EVERY: u64 = 5;
const ROAM_EVERY: u64 = 7;
const LOSS_EVERY: u64 = 11;
const BURST_EVERY: u64 = 3;
const RESTART_EVERY: u64 = 23;
const CRASH_EVERY: u64 = 31;

/// Flows of a burst, each of a few datagrams.
const BURST_FLOWS: u32 = 250;
const BURST_DATAGRAMS: u32 = 1000;

/// The site whose connector is killed now and then. That of the other one is watched.
const CRASHING_SITE: usize = 1;
/// Until a connector that was started anew has a tunnel again: the router still sends to the old one's session, and
/// notices after KEEPALIVE_TIMEOUT + REKEY_TIMEOUT (paper §6.2, §6.5), 15 s.
const HEALING_LIMIT: Duration = Duration::from_secs(25);

/// How often what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were not.
    pub unanswered: u64,
    /// Reloads that added or removed a peer and its session.
    pub reloads: u64,
    /// Moves of the client to another address and port.
    pub moves: u64,
    /// Changes between a good wire and a bad one.
    pub weather: u64,
    /// Client programs that were killed and started again.
    pub restarts: u64,
    /// Flows of the bursts.
    pub flows: u64,
    /// Visits of the guest's that were answered; each comes after a reload that invites it.
    pub visits: u64,
    /// Connectors that were killed and started again.
    pub crashes: u64,
}

/// A chain and what is done to it.
#[derive(Debug)]
pub(crate) struct Churn {
    chain: Chain,
    guest: Guest,
    steps: u64,
    tally: Tally,
}

impl Churn {
    pub(crate) fn new(chain: Chain) -> Result<Churn> {
        let guest = Guest::arrive(&chain)?;
        Ok(Churn { chain, guest, steps: 0, tally: Tally::default() })
    }

    /// A few requests, and what is due.
    pub(crate) fn step(&mut self) -> Result<()> {
        self.steps += 1;
        let is_due = |every: u64| self.steps.is_multiple_of(every);
        let (reload, roam, burst) = (is_due(RELOAD_EVERY), is_due(ROAM_EVERY), is_due(BURST_EVERY));
        let (weather, restart, crash) = (is_due(LOSS_EVERY), is_due(RESTART_EVERY), is_due(CRASH_EVERY));
        if reload {
            self.reload()?;
        }
        if roam {
            self.roam()?;
        }
        if weather {
            self.change_weather()?;
        }
        if restart {
            self.restart_client()?;
        }
        if crash {
            self.crash_connector()?;
        }
        if burst {
            self.burst()?;
        }
        self.requests()
    }

    /// Ends the churn; the programs go on until the last handle is gone.
    pub(crate) fn finish(self) -> Result<Tally> {
        self.chain.router.program.process().check_running()?;
        self.chain.sites[0].connector.program.process().check_running()?;
        Ok(self.tally)
    }

    fn requests(&mut self) -> Result<()> {
        let [v4, v6] = Spot::Device.target(0);
        for line in [
            format!("curl -sS --max-time {REQUEST_SECONDS} http://{v4}/"),
            format!("curl -sS --max-time {REQUEST_SECONDS} http://[{v6}]/"),
            format!("dig +time=1 +tries={REQUEST_SECONDS} @{v4} {}", Dns::NAME),
        ] {
            let limit = Duration::from_secs(u64::from(REQUEST_SECONDS) + 5);
            match self.chain.client.sh_within(&line, limit)?.succeeded() {
                true => self.tally.answered += 1,
                false => self.tally.unanswered += 1,
            }
        }
        Ok(())
    }

    /// With the guest and its session, without, with …
    fn reload(&mut self) -> Result<()> {
        self.tally.reloads += 1;
        let mut config = self.chain.router.config.clone();
        if self.tally.reloads % 2 == 1 {
            self.guest.invite(&mut config);
            self.chain.router.reload(&config)?;
            self.tally.visits += u64::from(self.guest.visit()?);
        } else {
            self.chain.router.reload(&config)?;
            ensure!(!self.guest.intrude()?, "the guest was let in after the session had been taken away");
        }
        Ok(())
    }

    /// Datagrams to a port where nobody listens: every flow gets an ICMP error back, too.
    fn burst(&mut self) -> Result<()> {
        let [v4, v6] = Spot::Device.target(0);
        let address = if self.steps.is_multiple_of(2) { v4 } else { v6 };
        probe::sequence(&self.chain.client, &address, 9, BURST_FLOWS, BURST_DATAGRAMS, 1)?;
        self.tally.flows += u64::from(BURST_FLOWS);
        Ok(())
    }

    /// The connector of the other site ends without a word, is started anew, and its devices are reached again.
    fn crash_connector(&mut self) -> Result<()> {
        self.tally.crashes += 1;
        self.chain.sites[CRASHING_SITE].connector.program.crash()?;
        let [v4, _] = Spot::Device.target(CRASHING_SITE);
        let line = format!("curl -sS --max-time 2 http://{v4}/");
        wait_until("the site of a connector that was started anew", HEALING_LIMIT, || {
            Ok(self.chain.client.sh(&line)?.succeeded())
        })
    }

    fn roam(&mut self) -> Result<()> {
        let (old, new) = if self.tally.moves.is_multiple_of(2) { (2, 77) } else { (77, 2) };
        self.tally.moves += 1;
        // The new one first: with its last address an interface loses its routes.
        self.chain.client.address("wan0", &format!("203.0.113.{new}/24"))?;
        self.chain.client.ip(&format!("address del 203.0.113.{old}/24 dev wan0"))?;
        // A kernel that promotes no second address takes both away.
        let _ = self.chain.client.ip(&format!("address replace 203.0.113.{new}/24 dev wan0"));
        self.chain.tunnel.set(&format!("listen-port {}", 40_000 + self.tally.moves % 1000))
    }

    fn change_weather(&mut self) -> Result<()> {
        self.tally.weather += 1;
        self.chain.client.lose("wan0", if self.tally.weather % 2 == 1 { LOSS_PERCENT } else { 0 })
    }

    fn restart_client(&mut self) -> Result<()> {
        self.tally.restarts += 1;
        self.chain.restart_client().context("restart of the client")
    }
}
