//! `wireguard IFACE`: a plain WireGuard interface, to be used where wireguard-go is. No rules, no translation.
//! Read first: the README of wireguard-go, `uapi`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use router_core::{Node, NodeConfig};
use sluice_runtime::host::arguments::LogOptions;
use sluice_runtime::host::failure::{Exit, Failure};
use sluice_runtime::host::{daemon, egress};
use sluice_runtime::service::{Wake, Waker, Wakes};
use sluice_runtime::tun::{InterfaceName, Tun, TunConfig};
use sluice_runtime::uapi::server::Answering;
use sluice_runtime::uapi::{self, Live};
use sluice_runtime::{Runtime, RuntimeConfig, entropy, net, worker_count};

use crate::cli::WireguardOptions;

/// The main thread only waits; it looks around this often in any case.
const LOOK_AROUND: Duration = Duration::from_secs(60);
/// How wireguard-go is told where to write the name of the interface it made.
const NAME_FILE_VARIABLE: &str = "WG_TUN_NAME_FILE";
const LOG_LEVEL_VARIABLE: &str = "LOG_LEVEL";

/// Runs the interface until it or its socket is removed, or a signal ends it.
///
/// In the background unless told otherwise: then this returns as soon as both are there.
pub(crate) fn run(options: &WireguardOptions, log: &LogOptions) -> Result<ExitCode, Failure> {
    let name = interface_name(&options.interface)?;
    if !options.foreground && !told_foreground() {
        return daemon::start_in_background()
            .map_err(|error| Failure::of_system("cannot start a process in the background", &error));
    }
    start_log(log)?;
    let wakes = Wakes::from_signals().map_err(|error| Failure::of_system("cannot handle signals", &error))?;
    let interface = Running::start(name, options.workers, &wakes.waker())?;
    write_name_file(name)?;
    release_parent()?;
    tracing::info!(interface = %name, port = interface.runtime.listen_port(), "up");
    wait(&wakes, name)
}

/// An interface with its socket. Dropping it takes both away.
struct Running {
    /// First, so that nobody configures what is ending.
    _socket: Answering,
    runtime: Arc<Runtime>,
}

impl Running {
    fn start(name: InterfaceName, workers: u16, waker: &Waker) -> Result<Self, Failure> {
        let tun = open_tun(name, workers)?;
        let socket = uapi::Server::bind(name.as_str())
            .map_err(|error| Failure::of_system(format!("cannot bind the socket of {name}"), &error))?;
        let runtime = Arc::new(start_runtime(tun, workers, waker.clone())?);
        let removed = waker.clone();
        let socket = socket
            .start(Arc::new(Live::new(Arc::clone(&runtime))), move || removed.wake(Wake::Stop))
            .map_err(|error| Failure::of_system("cannot answer on the socket", &error))?;
        Ok(Self { _socket: socket, runtime })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.runtime.stop() {
            tracing::error!(%error, "the interface did not stop in time");
        }
    }
}

fn interface_name(text: &str) -> Result<InterfaceName, Failure> {
    text.parse().map_err(|error| Failure::new(Exit::Failed, "cannot make this interface").because(&error))
}

fn told_foreground() -> bool {
    std::env::var_os(daemon::FOREGROUND_VARIABLE).is_some_and(|value| value == "1")
}

/// LOG_LEVEL counts where our own option and variables say nothing.
fn start_log(log: &LogOptions) -> Result<(), Failure> {
    let theirs = match std::env::var(LOG_LEVEL_VARIABLE).as_deref() {
        Ok("verbose" | "debug") => "debug",
        Ok("silent") => "off",
        Ok(_) | Err(_) => "error",
    };
    log.start_or(theirs)
}

fn open_tun(name: InterfaceName, workers: u16) -> Result<Tun, Failure> {
    let config = TunConfig { name, queues: worker_count(workers), mtu_bytes: None, offload: true };
    Tun::open(&config).map_err(|error| egress::tun_failure(name, &error))
}

fn start_runtime(tun: Tun, workers: u16, waker: Waker) -> Result<Runtime, Failure> {
    let seed =
        entropy::seed().map_err(|error| Failure::of_system("the system gives no randomness", &error))?;
    let config = RuntimeConfig {
        workers,
        listen_port: 0,
        fwmark: 0,
        tun: Some(tun),
        udp_offload: true,
        tunnel_mtu_bytes: None,
        stack: None,
        waker: Some(waker),
        on_event: None,
    };
    Runtime::start(config, Node::new(NodeConfig::interface(), seed))
        .map_err(|error| Failure::new(Exit::Failed, "cannot start").because(&error))
}

fn write_name_file(name: InterfaceName) -> Result<(), Failure> {
    let Some(path) = std::env::var_os(NAME_FILE_VARIABLE) else { return Ok(()) };
    std::fs::write(&path, format!("{name}\n"))
        .map_err(|error| Failure::of_system(format!("cannot write {}", path.display()), &error))
}

/// Like wireguard-go, the process in the background keeps standard error only if LOG_LEVEL asks for messages.
fn release_parent() -> Result<(), Failure> {
    if !daemon::is_awaited() {
        return Ok(());
    }
    let wants_log = std::env::var_os(LOG_LEVEL_VARIABLE).is_some_and(|level| level != "silent");
    daemon::tell_ready(wants_log).map_err(|error| Failure::of_system("cannot go to the background", &error))
}

/// The end of the interface, by `ip link del`, is a way to end us; anything else that stops the node is a failure.
fn wait(wakes: &Wakes, name: InterfaceName) -> Result<ExitCode, Failure> {
    loop {
        match wakes.next(LOOK_AROUND) {
            None | Some(Wake::Reload) => {}
            Some(Wake::Stop) => return Ok(ExitCode::SUCCESS),
            Some(Wake::Failed(_)) if net::index_of(&name).is_err() => return Ok(ExitCode::SUCCESS),
            Some(Wake::Failed(why)) => {
                return Err(Failure::new(Exit::Failed, format!("{name} stopped: {why}")));
            }
        }
    }
}
