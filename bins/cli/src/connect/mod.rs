//! `connect`: a client without privileges. What is behind the tunnel becomes local ports and a SOCKS5 proxy.
//!
//! ```text
//! local programs ── Listener ── {forward, socks} ── Dialer ── Stack ── node ══ WireGuard ══ the peer
//! ```

mod datagrams;
mod dial;
mod dialer;
mod dns;
mod forward;
mod listener;
mod names;
pub(crate) mod place;
mod pump;
mod socks;
mod tunnel;

use std::time::{Duration, Instant};

use sluice_runtime::host::arguments::LogOptions;
use sluice_runtime::host::failure::{Exit, Failure};
use sluice_runtime::service::{Wake, Wakes};
use sluice_runtime::stack::Stack;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

pub(crate) use self::dial::{Dial, DialFault};
pub(crate) use self::dialer::Dialer;
use self::forward::Ports;
use self::tunnel::News;
pub(crate) use self::tunnel::Tunnel;
use crate::command_line::ConnectOptions;
use crate::tasks;
use crate::terminal::{Mark, Terminal};
use crate::wg_quick::{self, Guard, TunnelFile};

/// A connection through the tunnel.
pub(crate) type FarStream = sluice_runtime::stack::TcpStream;

/// How often the main thread looks for signals while it waits for a handshake.
const STEP: Duration = Duration::from_millis(100);
/// How often it looks around later.
const LOOK_AROUND: Duration = Duration::from_secs(1);
/// How long the far ends of connections may take to be told that all is over. Those that both ends have finished are waited
/// for as well, so it is short.
const FAREWELL_LIMIT: Duration = Duration::from_millis(300);
const FAREWELL_STEP: Duration = Duration::from_millis(10);
/// How long tasks may take to notice that all is over.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Runs until a signal ends it.
pub(crate) fn run(options: &ConnectOptions, log: &LogOptions) -> Result<(), Failure> {
    let (text, guard) = wg_quick::read(&options.config)?;
    let file = wg_quick::parse(&options.config, &text)?;
    drop(text);
    log.start_or("error")?;
    let wakes = Wakes::from_signals().map_err(|error| Failure::of_system("cannot handle signals", &error))?;
    let terminal = Terminal::of_stdout(options.plain);
    warn(&terminal, options, &file, guard);
    let tasks = tasks::start()?;
    let outcome = carry(&terminal, options, &file, &tasks, &wakes);
    tasks.shutdown_timeout(END_LIMIT);
    outcome
}

fn warn(terminal: &Terminal, options: &ConnectOptions, file: &TunnelFile, guard: Guard) {
    let name = options.config.display();
    match guard {
        Guard::Kept => {}
        Guard::WorldAccessible => {
            let remedy = format!("it holds a private key: chmod 600 {name}");
            terminal.step(Mark::Warning, &format!("{name} is world accessible"), &remedy, None);
        }
    }
    for aside in &file.left_aside {
        let what = format!("{name}, line {}: {}", aside.line, aside.key);
        terminal.step(Mark::Warning, &what, aside.why, None);
    }
}

/// Ports come first: one that is in use is told before anything is sent.
fn carry(
    terminal: &Terminal,
    options: &ConnectOptions,
    file: &TunnelFile,
    tasks: &Runtime,
    wakes: &Wakes,
) -> Result<(), Failure> {
    let ports = tasks.block_on(async { Ports::bind(options) })?;
    let mut tunnel = tasks.block_on(Tunnel::start(file, wakes.waker()))?;
    if !wait_for_handshake(terminal, options, file, &mut tunnel, tasks, wakes)? {
        return Ok(());
    }
    let serving = tasks.block_on(async { ports.serve(terminal, &tunnel) });
    terminal.say("Ctrl-C ends it.");
    let (terminal, stack) = (*terminal, tunnel.stack());
    tasks.block_on(async move {
        let telling = tokio::spawn(tell(terminal, tunnel));
        let outcome = wait(wakes).await;
        serving.end();
        farewell(&stack).await;
        telling.abort();
        // It is gone only when its task is.
        let _ = telling.await;
        outcome
    })
}

/// False if a signal came first.
fn wait_for_handshake(
    terminal: &Terminal,
    options: &ConnectOptions,
    file: &TunnelFile,
    tunnel: &mut Tunnel,
    tasks: &Runtime,
    wakes: &Wakes,
) -> Result<bool, Failure> {
    let started = Instant::now();
    let working = terminal.working("waiting for the peer's answer");
    loop {
        if let Ok(peer) = tasks.block_on(async { timeout(STEP, tunnel.handshake()).await }) {
            drop(working);
            let took = Some(started.elapsed());
            terminal.step(Mark::Good, &format!("tunnel to {peer}"), "handshake completed", took);
            return Ok(true);
        }
        match wakes.next(Duration::ZERO) {
            Some(Wake::Stop) => return Ok(false),
            Some(Wake::Failed(why)) => return Err(stopped(&why)),
            Some(Wake::Reload) | None => {}
        }
        if options.timeout != 0 && started.elapsed() >= Duration::from_secs(options.timeout) {
            return Err(silent(options, file));
        }
    }
}

fn silent(options: &ConnectOptions, file: &TunnelFile) -> Failure {
    let endpoints = file.peers.iter().filter_map(|peer| peer.endpoint.as_ref());
    let endpoints = endpoints.map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let whom = if endpoints.is_empty() {
        "no peer has called".to_owned()
    } else {
        format!("no answer from {endpoints}")
    };
    Failure::new(Exit::Unreachable, format!("{whom} within {} s", options.timeout))
        .because_text(
            "WireGuard is silent towards whom it does not know: the endpoint or a key is wrong, a firewall drops UDP on \
             the way, or the peer is down",
        )
        .remedy(format!(
            "Check Endpoint and PublicKey, and that the peer knows our key {}.",
            tunnel::own_key(file)
        ))
}

/// The far ends of connections that were broken off are to hear of it while there is a tunnel.
async fn farewell(stack: &Stack) {
    let limit = Instant::now() + FAREWELL_LIMIT;
    while stack.stats().flows > 0 && Instant::now() < limit {
        sleep(FAREWELL_STEP).await;
    }
    // What was said last is on its way to the worker.
    sleep(FAREWELL_STEP).await;
}

/// The main thread waits for signals; it does nothing else.
async fn wait(wakes: &Wakes) -> Result<(), Failure> {
    loop {
        match wakes.next(LOOK_AROUND) {
            Some(Wake::Stop) => return Ok(()),
            Some(Wake::Failed(why)) => return Err(stopped(&why)),
            Some(Wake::Reload) | None => {}
        }
    }
}

fn stopped(why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("the tunnel stopped: {why}"))
}

/// Says when the peer goes silent, and when it is back.
async fn tell(terminal: Terminal, mut tunnel: Tunnel) {
    let mut silent = false;
    loop {
        match tunnel.news().await {
            News::Up(peer) if silent => {
                terminal.step(Mark::Good, &format!("tunnel to {peer}"), "answers again", None);
                silent = false;
            }
            News::Up(_) => {}
            News::Silent(peer) => {
                terminal.step(Mark::Warning, &format!("tunnel to {peer}"), "does not answer any more", None);
                silent = true;
            }
        }
    }
}
