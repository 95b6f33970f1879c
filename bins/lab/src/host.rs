//! A host: one network namespace, and what one does on it.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::Lab;
use crate::output::Output;
use crate::process::{Process, ProcessInner, run};
use crate::stale::end_processes_in;
use crate::wait::wait_until;

/// How long a command may take when its caller says nothing else.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    short: String,
    full: String,
}

impl Namespace {
    pub(crate) fn create(short: &str, full: String) -> Result<Namespace> {
        let mut command = Command::new("ip");
        command.args(["netns", "add", &full]);
        run(command, format!("ip netns add {full}"), b"", COMMAND_LIMIT)?.ok()?;
        Ok(Namespace { short: short.to_owned(), full })
    }

    /// Removes it, and daemons that still run in it.
    pub(crate) fn remove(&self) {
        end_processes_in(&self.full);
        let _ = Command::new("ip").args(["netns", "del", &self.full]).output();
    }
}

/// A host in a lab. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    lab: Lab,
    namespace: Arc<Namespace>,
}

impl Host {
    pub(crate) fn new(lab: Lab, namespace: Arc<Namespace>) -> Host {
        Host { lab, namespace }
    }

    pub(crate) fn prepare(&self) -> Result<()> {
        self.sysctl(&[
            ("net.ipv6.conf.all.accept_dad", "0"),
            ("net.ipv6.conf.default.accept_dad", "0"),
            ("net.ipv6.conf.default.accept_ra", "0"),
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.default.rp_filter", "0"),
            ("net.ipv4.icmp_ratelimit", "0"),
            ("net.ipv6.icmp.ratelimit", "0"),
        ])?;
        self.ip("link set lo up")
    }

    /// Its name inside the lab.
    pub fn name(&self) -> &str {
        &self.namespace.short
    }

    /// Its name for `ip netns exec`.
    pub fn namespace(&self) -> &str {
        &self.namespace.full
    }

    /// The lab it belongs to.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Forwards packets between its interfaces, v4 and v6.
    pub fn forward(&self) -> Result<()> {
        self.sysctl(&[("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")])
    }

    /// Sets kernel parameters of this namespace.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        let mut script = String::new();
        for (key, value) in settings {
            script.push_str(&format!("echo {value} > /proc/sys/{}\n", key.replace('.', "/")));
        }
        self.sh(&script)?.ok().map(drop)
    }

    /// `ip ARGUMENTS` in this namespace.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.namespace.full]).args(arguments.split_whitespace());
        let shown = format!("{}# ip {arguments}", self.name());
        run(command, shown, b"", COMMAND_LIMIT)?.ok().map(drop)
    }

    /// Gives an interface an address, `192.0.2.1/24` or `2001:db8::1/64`.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        self.ip(&format!("address add {address} dev {interface}{nodad}"))
    }

    /// Adds a route: `destination` by way of `gateway`.
    pub fn route(&self, destination: &str, gateway: &str) -> Result<()> {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        self.ip(&format!("{family} route add {destination} via {gateway}"))
    }

    /// Runs a shell command line to its end, at most 30 seconds.
    pub fn sh(&self, line: &str) -> Result<Output> {
        self.sh_within(line, COMMAND_LIMIT)
    }

    /// Runs a shell command line to its end, at most `limit`.
    pub fn sh_within(&self, line: &str, limit: Duration) -> Result<Output> {
        let command = self.command("sh", &["-c", line]);
        run(command, format!("{}# {line}", self.name()), b"", limit)
    }

    /// Runs a program with `stdin` as its standard input.
    pub fn exec_with_input(&self, argv: &[&str], stdin: &[u8]) -> Result<Output> {
        let command = self.command(argv[0], &argv[1..]);
        run(command, format!("{}# {}", self.name(), argv.join(" ")), stdin, COMMAND_LIMIT)
    }

    /// Starts a program that stays; its log is kept with the lab.
    pub fn spawn(&self, argv: &[&str]) -> Result<Process> {
        self.spawn_with(argv, &[])
    }

    /// Starts a program that stays, with environment variables of its own.
    pub fn spawn_with(&self, argv: &[&str], environment: &[(&str, &str)]) -> Result<Process> {
        let mut command = self.command(argv[0], &argv[1..]);
        command.envs(environment.iter().copied());
        let program = argv[0].rsplit('/').next().unwrap_or(argv[0]);
        let name = format!("{}-{program}", self.name());
        Ok(self.lab.register(Arc::new(ProcessInner::start(&name, command, self.lab.directory())?)))
    }

    /// The ids of all processes on this host.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let text = self.lab.exec(&["ip", "netns", "pids", self.namespace()], "")?.ok()?.stdout;
        Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
    }

    /// Waits until a TCP or UDP port of this host is bound.
    pub fn wait_for_port(&self, protocol: &str, port: u16, process: &Process) -> Result<()> {
        let flag = if protocol == "tcp" { "-Htln" } else { "-Huln" };
        let line = format!("ss {flag} sport = :{port}");
        wait_until(&format!("{protocol} port {port} on {}", self.name()), Duration::from_secs(15), || {
            process.check_running()?;
            Ok(!self.sh(&line)?.ok()?.stdout.trim().is_empty())
        })
    }

    /// Waits until an interface of this name is there.
    pub fn wait_for_interface(&self, interface: &str, process: &Process) -> Result<()> {
        let line = format!("ip link show dev {interface}");
        wait_until(&format!("interface {interface} on {}", self.name()), Duration::from_secs(15), || {
            process.check_running()?;
            Ok(self.sh(&line)?.succeeded())
        })
    }

    /// Waits until one ping to `address` is answered.
    pub fn wait_for_ping(&self, address: IpAddr, limit: Duration) -> Result<()> {
        wait_until(&format!("an answer from {address} to {}", self.name()), limit, || {
            Ok(self.sh(&format!("ping -n -c 1 -W 1 {address}"))?.succeeded())
        })
    }

    /// Bytes and packets that an interface has sent or received, by the kernel's counter's name.
    pub fn interface_counter(&self, interface: &str, counter: &str) -> Result<u64> {
        let text = self.sh(&format!("cat /sys/class/net/{interface}/statistics/{counter}"))?.ok()?.stdout;
        text.trim().parse().with_context(|| format!("{counter} of {interface}: {text:?}"))
    }

    /// `setpriv` ties the program's life to ours, so that nothing outlives a killed test; `ip netns exec` keeps the id.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "ip", "netns", "exec", &self.namespace.full, program]);
        command.args(arguments).env("LC_ALL", "C");
        command
    }
}
