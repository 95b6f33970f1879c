//! What router and connector have in common: a configuration file, a process, an admin socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::binaries;
use crate::host::Host;
use crate::keys::KeyPair;
use crate::output::Output;
use crate::process::Process;
use crate::sluice::Status;
use crate::wait::retry;

/// What a program may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    Administrator,
    /// What any user may: it runs as nobody, with no capability to gain.
    Nobody,
}

impl Rights {
    /// What goes before a command line. The process's death with ours has to be asked for anew: it ends with the user.
    const NOBODY: [&str; 12] = [
        "setpriv",
        "--reuid",
        "nobody",
        "--regid",
        "nogroup",
        "--clear-groups",
        "--bounding-set",
        "-all",
        "--inh-caps",
        "-all",
        "--no-new-privs",
        "--pdeathsig=KILL",
    ];

    fn prefix(self) -> &'static [&'static str] {
        match self {
            Rights::Administrator => &[],
            Rights::Nobody => &Rights::NOBODY,
        }
    }
}

/// A running `sluice-router` or `sluice-connector`.
#[derive(Clone, Debug)]
pub struct Program {
    host: Host,
    binary: String,
    config: PathBuf,
    socket: PathBuf,
    process: Process,
    rights: Rights,
}

impl Program {
    /// Writes the configuration and starts the program; returns when it answers on its admin socket.
    pub(crate) fn start(host: &Host, binary: &str, config: &str, rights: Rights) -> Result<Program> {
        let socket = admin_socket(host);
        let config = host.lab().file(&in_home(host, "toml"), config)?;
        let binary = binaries::sluice(binary)?.display().to_string();
        host.sh(&format!("{binary} check-config {}", config.display()))?.ok()?;
        if rights == Rights::Nobody {
            host.sh(&format!("chown -R nobody:nogroup {}", home(host)?.display()))?.ok()?;
        }
        let process = spawn(host, &binary, &config, rights)?;
        let program = Program { host: host.clone(), binary, config, socket, process, rights };
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
        self.process = spawn(&self.host, &self.binary, &self.config, self.rights)?;
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

fn spawn(host: &Host, binary: &str, config: &Path, rights: Rights) -> Result<Process> {
    let level = if host.lab().is_quiet() { "error" } else { "debug" };
    let config = config.display().to_string();
    let argv = [rights.prefix(), &[binary, "run", "--config", &config]].concat();
    host.spawn_with(&argv, &[("RUST_LOG", level)])
}

/// Where a host's program listens for its operator.
pub(crate) fn admin_socket(host: &Host) -> PathBuf {
    host.lab().directory().join(in_home(host, "sock"))
}

/// Where a host's program has its key.
pub(crate) fn key_path(host: &Host) -> String {
    host.lab().directory().join(in_home(host, "key")).display().to_string()
}

/// Puts it there.
pub(crate) fn write_key(host: &Host, keys: &KeyPair) -> Result<()> {
    home(host)?;
    host.lab().file(&in_home(host, "key"), format!("{}\n", keys.private)).map(drop)
}

/// The directory of a host's program, which it may write to whoever it runs as.
fn home(host: &Host) -> Result<PathBuf> {
    host.lab().subdirectory(&format!("home-{}", host.name()))
}

/// A file there, as seen from the lab's directory.
fn in_home(host: &Host, ending: &str) -> String {
    format!("home-{}/{}.{ending}", host.name(), host.name())
}
