//! What router and connector have in common: a configuration file, a process, an admin socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::binaries;
use crate::host::Host;
use crate::output::Output;
use crate::process::Process;
use crate::sluice::Status;
use crate::wait::retry;

/// A running `sluice-router` or `sluice-connector`.
#[derive(Clone, Debug)]
pub struct Program {
    host: Host,
    binary: String,
    config: PathBuf,
    socket: PathBuf,
    process: Process,
}

impl Program {
    /// Writes the configuration and starts the program; returns when it answers on its admin socket.
    pub(crate) fn start(host: &Host, binary: &str, config: &str) -> Result<Program> {
        let socket = admin_socket(host);
        let config = host.lab().file(&format!("{}.toml", host.name()), config)?;
        let binary = binaries::sluice(binary)?.display().to_string();
        host.sh(&format!("{binary} check-config {}", config.display()))?.ok()?;
        let process = spawn(host, &binary, &config)?;
        let program = Program { host: host.clone(), binary, config, socket, process };
        program.wait_until_ready()?;
        Ok(program)
    }

    fn wait_until_ready(&self) -> Result<()> {
        retry(&format!("the admin socket of {}", self.host.name()), Duration::from_secs(15), || {
            self.process.check_running()?;
            Ok((self.socket.exists() && self.ask("status --json")?.succeeded()).then_some(()))
        })
    }

    /// Kills it, so that its peers are told nothing, and starts it anew with the configuration it had.
    pub fn crash(&mut self) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        self.process.wait(Duration::from_secs(10))?;
        self.process = spawn(&self.host, &self.binary, &self.config)?;
        self.wait_until_ready()
    }

    /// Its host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its configuration file.
    pub fn config(&self) -> &PathBuf {
        &self.config
    }

    /// Runs a subcommand that talks to the running program: `status`, `flows`, `explain …`.
    pub fn ask(&self, subcommand: &str) -> Result<Output> {
        self.host.sh(&self.command_line(subcommand))
    }

    /// How an operator asks the running program.
    pub fn command_line(&self, subcommand: &str) -> String {
        format!("{} {subcommand} --admin-socket {}", self.binary, self.socket.display())
    }

    /// The program's status, parsed.
    pub fn status(&self) -> Result<Status> {
        let output = self.ask("status --json")?.ok()?;
        Ok(Status::new(serde_json::from_str(&output.stdout).with_context(|| output.stdout)?))
    }

    /// Writes another configuration and has it loaded. Returns the time until the program says that it is in force.
    pub fn reload(&self, config: &str) -> Result<Duration> {
        std::fs::write(&self.config, config)?;
        let before = self.reloads();
        let started = std::time::Instant::now();
        self.process.signal(Signal::HUP)?;
        retry("the reload", Duration::from_secs(10), || {
            self.process.check_running()?;
            Ok((self.reloads() > before).then_some(()))
        })?;
        Ok(started.elapsed())
    }

    /// How many reloads the log tells of, accepted or refused.
    fn reloads(&self) -> usize {
        self.process.log().matches("reload").count()
    }

    /// Ends it with SIGTERM; fails if it does not end by itself, or not with exit code 0.
    pub fn stop(&self) -> Result<()> {
        let status = self.process.stop()?;
        ensure!(status.success(), "{} ended with {status}:\n{}", self.host.name(), self.process.log());
        Ok(())
    }
}

fn spawn(host: &Host, binary: &str, config: &Path) -> Result<Process> {
    let level = if host.lab().is_quiet() { "error" } else { "debug" };
    host.spawn_with(&[binary, "run", "--config", &config.display().to_string()], &[("RUST_LOG", level)])
}

/// Where a host's program listens for its operator.
pub(crate) fn admin_socket(host: &Host) -> PathBuf {
    host.lab().directory().join(format!("{}.sock", host.name()))
}
