//! Others are invited: what they need, and what they do once they are here.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use sluice_runtime::host::failure::{Exit, Failure};
use sluice_runtime::service::{Wake, Wakes};

use super::address::Listen;
use super::cast;
use super::hops::Ends;
use super::stage::Stage;
use crate::terminal::{Mark, Terminal};

/// How often one looks what the guest does.
const STEP: Duration = Duration::from_millis(300);
/// What the router calls him in its configuration.
const NAME: &str = "guest";

/// Tells others how to join.
///
/// # Errors
/// If there is no address to tell them, or their file cannot be written.
pub(super) fn invite(terminal: &Terminal, stage: &Stage, listen: Listen) -> Result<(), Failure> {
    let ip = listen.reached_at().map_err(|error| {
        Failure::of_system("this machine has no address to tell others", &error)
            .remedy("Name one with --listen, or leave --listen away to stay on this machine.")
    })?;
    let (path, text) = stage.papers.guest(&stage.keys, SocketAddr::new(ip, stage.port))?;
    terminal.title("Now join yourself: all of it keeps running, and a second client has access");
    from_this_machine(terminal, &path);
    with_an_app(terminal, &path, listen, ip);
    if !terminal.is_plain() {
        terminal.qr(&text);
    }
    look_inside(terminal, stage);
    Ok(())
}

fn from_this_machine(terminal: &Terminal, path: &Path) {
    terminal.say("In another terminal, without any privilege:");
    terminal.command(&format!("{} connect {} -L 8080:{}", own_name(), path.display(), cast::WEB));
    terminal.command("curl http://localhost:8080/");
}

fn with_an_app(terminal: &Terminal, path: &Path, listen: Listen, ip: IpAddr) {
    let who = if listen.is_open() {
        "With any WireGuard app in this network: import this file or scan the code, then open"
    } else {
        "With WireGuard on this machine (for others: --listen 0.0.0.0): import this file, then open"
    };
    terminal.say(&format!("{who} http://{}/", cast::DEVICE));
    terminal.command(&path.display().to_string());
    if listen.is_open() {
        terminal.note(&format!("The router is at {ip}; a firewall here has to let its UDP port in."));
    }
}

fn look_inside(terminal: &Terminal, stage: &Stage) {
    terminal.say("To look inside, with the programs that operators use:");
    terminal.command(&format!("sluice-router status --admin-socket {}", stage.router.socket().display()));
    terminal
        .command(&format!("sluice-connector flows --admin-socket {}", stage.connector.socket().display()));
    terminal.say("Ctrl-C ends everything and leaves nothing behind.");
    terminal.say("");
}

/// As one would type it from here.
fn own_name() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| "sluice".into());
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(&path).display().to_string()
}

/// Shows what the guest does until a signal comes.
///
/// # Errors
/// If somebody on stage cannot go on.
pub(super) fn watch(terminal: &Terminal, stage: &Stage, wakes: &Wakes) -> Result<(), Failure> {
    let mut seen = Seen::default();
    loop {
        match wakes.next(STEP) {
            Some(Wake::Stop) => return Ok(()),
            Some(Wake::Failed(why)) => {
                return Err(Failure::new(Exit::Failed, format!("the client stopped: {why}")));
            }
            Some(Wake::Reload) | None => seen.look(terminal, stage)?,
        }
    }
}

/// What was told already.
#[derive(Default)]
struct Seen {
    endpoint: Option<String>,
    flows: HashSet<Ends>,
}

impl Seen {
    fn look(&mut self, terminal: &Terminal, stage: &Stage) -> Result<(), Failure> {
        let guest = stage.router.status()?.peers.into_iter().find(|peer| peer.name == NAME);
        let joined = guest.filter(|peer| peer.handshake_age_secs.is_some()).and_then(|peer| peer.endpoint);
        if joined.is_some() && joined != self.endpoint {
            let from = joined.as_deref().unwrap_or_default();
            terminal.step(Mark::Good, "somebody joined", &format!("from {from}"), None);
            self.endpoint = joined;
        }
        if self.endpoint.is_some() {
            self.look_at_flows(terminal, stage)?;
        }
        Ok(())
    }

    /// Flows that are gone are forgotten, so that this stays as small as the router's own table.
    fn look_at_flows(&mut self, terminal: &Terminal, stage: &Stage) -> Result<(), Failure> {
        let own = format!("{}:", cast::GUEST);
        let flows = stage.router.flows()?;
        let flows: Vec<_> = flows.into_iter().filter(|flow| flow.client.0.starts_with(&own)).collect();
        for flow in flows.iter().filter(|flow| !self.flows.contains(&flow.client)) {
            let what = format!("{} → {}", flow.client.0, flow.client.1);
            terminal.step(
                Mark::Good,
                &what,
                &format!("leaves as {} → {}", flow.device.0, flow.device.1),
                None,
            );
        }
        self.flows = flows.into_iter().map(|flow| flow.client).collect();
        Ok(())
    }
}
