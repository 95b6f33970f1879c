//! `demo`: a client, a router, a connector and two devices in one process, on loopback, without any privilege. The router
//! and the connector are what their own programs run.
//!
//! ```text
//! stage::Client ══ WireGuard ══ router ══ WireGuard ══ connector ── sockets ── device::{Web, Echo}
//! ```

mod address;
mod cast;
mod device;
mod guest;
mod hops;
mod node;
mod papers;
mod stage;
mod steps;
mod story;
mod visit;

use std::time::{Duration, Instant};

use sluice_runtime::host::arguments::LogOptions;
use sluice_runtime::host::failure::Failure;
use sluice_runtime::service::Wakes;

pub(crate) use self::address::Listen;
use self::stage::Stage;
use self::steps::{Steps, Trouble};
use crate::command_line::DemoOptions;
use crate::tasks;
use crate::terminal::{Terminal, duration};

/// How long tasks may take to notice that all is over.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Shows it, then keeps it running unless told otherwise.
pub(crate) fn run(options: &DemoOptions, log: &LogOptions) -> Result<(), Failure> {
    log.start_or("error")?;
    let wakes = Wakes::from_signals().map_err(|error| Failure::of_system("cannot handle signals", &error))?;
    let terminal = Terminal::of_stdout(options.plain);
    let tasks = tasks::start()?;
    let outcome = show(&Steps::new(terminal, &tasks, &wakes), options, &wakes);
    tasks.shutdown_timeout(END_LIMIT);
    outcome
}

fn show(steps: &Steps<'_>, options: &DemoOptions, wakes: &Wakes) -> Result<(), Failure> {
    introduce(&steps.terminal);
    let started = Instant::now();
    let stage = Stage::set(steps, options.listen.port, &wakes.waker())?;
    story::play(steps, &stage)?;
    steps.terminal.title(&format!("All of it took {}.", duration(started.elapsed())));
    if options.once {
        return Ok(());
    }
    for client in [cast::CLIENT, cast::GUEST] {
        steps.open(&stage, client)?;
    }
    guest::invite(&steps.terminal, &stage, options.listen)?;
    guest::watch(&steps.terminal, &stage, wakes)
}

impl Steps<'_> {
    /// Opens access again, without a step of its own.
    fn open(&self, stage: &Stage, client: std::net::IpAddr) -> Result<(), Failure> {
        self.quietly(story::open(stage, client)).map(drop).map_err(Trouble::into_failure)
    }
}

fn introduce(terminal: &Terminal) {
    terminal.title("Sluice: access to devices that no network reaches, while somebody allows it");
    let wide = [
        "",
        "  client ══ WireGuard ══ router ══ WireGuard ══ connector ── devices",
        "  10.77.0.2              10.99.0.1              10.99.0.2    127.0.0.1",
        "",
    ];
    let narrow = [
        "",
        "  client     10.77.0.2",
        "    ║ WireGuard",
        "  router     10.99.0.1",
        "    ║ WireGuard",
        "  connector  10.99.0.2",
        "    │",
        "  devices    127.0.0.1",
        "",
    ];
    let fits = wide.iter().all(|line| line.chars().count() <= terminal.width());
    let lines = if fits { &wide[..] } else { &narrow[..] };
    terminal.picture(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
    terminal.say(&format!(
        "The client finds the devices at {device}, an address that exists nowhere: router and connector translate it. The \
         router lets nobody through without a session. No root, no interface, no firewall rule, nothing to install.",
        device = cast::DEVICE
    ));
}
