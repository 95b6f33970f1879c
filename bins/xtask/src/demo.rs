//! `cargo xtask lab`: the main picture, live.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use sluice_lab::services::{Direction, Dns, Nginx};
use sluice_lab::sluice::Dial;
use sluice_lab::topology::{Chain, ChainConfig, Spot};
use sluice_lab::{Lab, probe, wait_until};

use crate::run::Log;
use crate::{release, setup};

const PICTURE: &str = "
    client (wireguard-go, curl, ssh, dig, iperf3, traceroute)
      ══ WireGuard ══ sluice-router ══ WireGuard ══ sluice-connector ── LAN ── device (nginx, sshd, dnsmasq, iperf3)
";

/// Arguments of `cargo xtask lab`.
#[derive(Debug, Args)]
#[command(
    after_help = "Builds release programs, then needs about half a minute. Everything happens in network namespaces of its \
    own; nothing of this machine's network is touched, and all of it goes at the end.\n\n\
    sudo -E env PATH=\"$PATH\" cargo xtask lab --keep   then look around: ip netns, and the commands shown"
)]
pub(crate) struct Arguments {
    /// Leave everything running until Enter is pressed
    #[arg(long)]
    keep: bool,
    /// Only with the server dialling, not once more with the connector dialling
    #[arg(long)]
    once: bool,
}

/// Builds, shows, cleans up.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    setup::prepare_lab()?;
    build()?;
    println!("{PICTURE}");
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop))?;
    let dials: &[Dial] = if arguments.once { &[Dial::Server] } else { &[Dial::Server, Dial::Connector] };
    for &dial in dials {
        show(dial, arguments.keep, &stop)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn build() -> Result<()> {
    print!("Building release programs … ");
    std::io::stdout().flush()?;
    let started = Instant::now();
    release::build(&["sluice-router", "sluice-connector", "sluice-lab"], &Log::new("lab-build")?)?;
    println!("{:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Points 1 to 4: services, errors, refusals, rules at run time.
fn show(dial: Dial, keep: bool, stop: &AtomicBool) -> Result<()> {
    let lab = Lab::new()?;
    println!("{}", bold(&format!("The {dial} dials")));
    let started = Instant::now();
    let config = ChainConfig { dial, far: true, ..ChainConfig::default() };
    let chain = Chain::start(&lab, &config)?;
    line("network, tunnels and servers are up", &format!("{} namespaces", lab.size()), started.elapsed());
    for (title, show) in [
        ("1. The client uses the device's services", services as fn(&Chain) -> Result<()>),
        ("2. Errors reach the client's own stack", errors),
        ("3. What no rule allows is refused and counted", refusals),
        ("4. A session ends while it is used", ending),
    ] {
        ensure!(!stop.load(Ordering::Relaxed), "stopped");
        println!("{}", bold(title));
        show(&chain)?;
    }
    if keep {
        look_around(&chain)?;
    }
    println!();
    Ok(())
}

fn services(chain: &Chain) -> Result<()> {
    let site = &chain.sites[0];
    for (family, address) in ["v4", "v6"].into_iter().zip(Spot::Device.target(0)) {
        let url = format!("http://{}/", bracketed(&address));
        let page = chain.client.sh(&format!("curl -sS --max-time 10 {url}"))?.ok()?;
        ensure!(page.stdout == Nginx::greeting("device0"), "{page}");
        line(&format!("{family} curl {url}"), page.stdout.trim(), page.took);
        let login = site.sshd.log_in(&chain.client, &address, 22, "echo $SSH_CONNECTION", b"")?.ok()?;
        let sees = login.stdout.split_whitespace().next().unwrap_or_default().to_owned();
        line(&format!("{family} ssh {address}"), &format!("logged in; the device sees {sees}"), login.took);
        let name = chain.client.sh(&format!("dig +short @{address} {}", Dns::NAME))?.ok()?;
        line(&format!("{family} dig @{address} {}", Dns::NAME), name.stdout.trim(), name.took);
        for direction in [Direction::Upload, Direction::Download] {
            let report = site.iperf.measure(&chain.client, &address, 5201, 2, direction)?;
            let way = format!("{direction:?}").to_lowercase();
            let rate = format!("{way} at {:.2} Gbit/s", report.bits_per_second / 1e9);
            line(&format!("{family} iperf3 {address}"), &rate, Duration::from_secs(2));
        }
    }
    Ok(())
}

fn errors(chain: &Chain) -> Result<()> {
    let [device, _] = Spot::Device.target(0);
    let [dead, _] = Spot::Dead.target(0);
    let [far, _] = Spot::Far.target(0);
    timed("a datagram to a closed port", || probe::udp(&chain.client, &device, 9))?;
    timed("a connection to a closed port", || probe::tcp(&chain.client, &device, 81))?;
    timed("a connection to a dead host", || probe::tcp(&chain.client, &dead, 80))?;
    let page = chain.client.sh(&format!("curl -sS --max-time 20 http://{far}/megabyte | wc -c"))?.ok()?;
    line("1 MB over a hop with an MTU of 1280", &format!("{} bytes", page.stdout.trim()), page.took);
    let trace = chain.client.sh(&format!("traceroute -n -q 1 -w 2 -m 8 -U -p 9 {far}"))?.ok()?;
    let hops: Vec<&str> =
        trace.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    line("traceroute to the far device", &hops.join(" → "), trace.took);
    Ok(())
}

fn refusals(chain: &Chain) -> Result<()> {
    let [device, _] = Spot::Device.target(0);
    let inject =
        |kind: &str, source: &str, port| probe::inject(&chain.client, kind, source, &device, port).map(drop);
    timed("a connection that no rule allows", || probe::tcp(&chain.client, &device, 4444))?;
    counted(chain, "a packet with somebody else's source", || inject("udp", "10.77.0.99", 53))?;
    counted(chain, "a reply that nobody asked for", || inject("tcp-syn-ack", Chain::CLIENT[0], 80))
}

/// Sends what gets no answer, and waits until the router has counted it.
fn counted(chain: &Chain, what: &str, send: impl FnOnce() -> Result<()>) -> Result<()> {
    let drops = || anyhow::Ok(chain.router.program.status()?.all_drops());
    let (started, before) = (Instant::now(), drops()?);
    send()?;
    wait_until("one more counted drop", Duration::from_secs(5), || Ok(drops()? > before))?;
    line(what, "dropped without an answer, and counted", started.elapsed());
    Ok(())
}

fn ending(chain: &Chain) -> Result<()> {
    let [device, _] = Spot::Device.target(0);
    let server = probe::accept(&chain.sites[0].device, 7000)?;
    let client = probe::hold(&chain.client, &device, 7000)?;
    let mut without = chain.router.config.clone();
    without.sessions.clear();
    let took = chain.router.reload(&without)?;
    line("the session is taken out of the configuration", "reloaded", took);
    for (whose, process) in [("client", &client), ("device", &server)] {
        timed(&format!("the {whose}'s end of its connection"), || {
            process.wait_for_log("ended: ", Duration::from_secs(10))?;
            Ok(process.log().lines().last().unwrap_or_default().to_owned())
        })?;
    }
    timed("another connection", || probe::tcp(&chain.client, &device, 80))
}

fn look_around(chain: &Chain) -> Result<()> {
    println!("\nEverything runs until you press Enter. Try, in another terminal:");
    println!("  ip netns exec {} curl http://{}/", chain.client.namespace(), Spot::Device.target(0)[0]);
    println!("  {}", chain.router.program.command_line("status"));
    println!("  {}", chain.router.program.command_line("flows"));
    chain.router.reload(&chain.router.config)?;
    std::io::stdin().read_line(&mut String::new()).map(drop)?;
    Ok(())
}

fn timed(what: &str, action: impl FnOnce() -> Result<String>) -> Result<()> {
    let started = Instant::now();
    let outcome = action()?;
    line(what, outcome.trim(), started.elapsed());
    Ok(())
}

fn line(what: &str, outcome: &str, took: Duration) {
    let time = if took.is_zero() { String::new() } else { format!("{:.0} ms", took.as_secs_f64() * 1e3) };
    println!("   {what:<48} {outcome:<52} {time:>8}");
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

fn bold(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}
