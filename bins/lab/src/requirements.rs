//! What a lab needs from the machine, and what happens when it is not there.

use std::path::Path;

use anyhow::Result;

use crate::lab::Lab;
use crate::peer::Implementation;

/// A tool and the Debian package that brings it.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// The program's name.
    pub program: &'static str,
    /// The Debian package.
    pub package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// All programs that labs use and the base system may lack.
pub const TOOLS: [Tool; 26] = [
    tool("ip", "iproute2"),
    tool("ss", "iproute2"),
    tool("setpriv", "util-linux"),
    tool("curl", "curl"),
    tool("ssh", "openssh-client"),
    tool("sshd", "openssh-server"),
    tool("nginx", "nginx"),
    tool("iperf3", "iperf3"),
    tool("dnsmasq", "dnsmasq-base"),
    tool("dig", "bind9-dnsutils"),
    tool("tcpdump", "tcpdump"),
    tool("ping", "iputils-ping"),
    tool("tracepath", "iputils-tracepath"),
    tool("traceroute", "traceroute"),
    tool("wg", "wireguard-tools"),
    tool("wg-quick", "wireguard-tools"),
    tool("wireguard-go", "wireguard-go"),
    tool("nft", "nftables"),
    tool("conntrack", "conntrack"),
    tool("promtool", "prometheus"),
    tool("sqlite3", "sqlite3"),
    tool("rsyslogd", "rsyslog"),
    tool("strace", "strace"),
    // The console is used as people use it.
    tool("chromium", "chromium"),
    tool("chromedriver", "chromium-driver"),
    // Its own programs are in a directory that is on no path; this one is always.
    tool("psql", "postgresql"),
];

/// What is missing on this machine, one sentence each; empty when a lab can run.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing
            .push("root privileges (namespaces, TUN devices): run as root, for example with sudo".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        missing.push("/dev/net/tun: load the kernel module with `modprobe tun`".to_owned());
    }
    for tool in missing_tools() {
        missing.push(format!(
            "{}: apt-get install {} (or `cargo xtask setup` as root)",
            tool.program, tool.package
        ));
    }
    missing
}

/// The tools that are not on the path.
pub fn missing_tools() -> Vec<Tool> {
    TOOLS.into_iter().filter(|tool| !is_installed(tool.program)).collect()
}

/// True under continuous integration, where a missing requirement is a failure.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

/// True if this program is here to be tested with. Where it is missing, that is said, loudly.
///
/// # Panics
/// When it is missing in CI.
pub fn has_peer(program: Implementation) -> bool {
    match program.command("any") {
        Ok(_) => true,
        Err(why) => {
            assert!(!in_ci(), "{why:#}");
            eprintln!("SKIPPED, nothing was tested with {}: {why:#}", program.name());
            false
        }
    }
}

/// Runs an end-to-end test's body in a fresh lab. Where the machine lacks something, the test fails in CI and is skipped,
/// loudly, elsewhere. When the body fails, the logs of all the lab's processes are printed.
///
/// # Panics
/// When the body fails, or when something is missing in CI.
pub fn lab_test(body: impl FnOnce(&Lab) -> Result<()>) {
    let missing = missing();
    if !missing.is_empty() {
        let text = missing.join("\n  - ");
        assert!(!in_ci(), "this machine lacks what the test needs:\n  - {text}");
        eprintln!("SKIPPED, nothing was tested. Missing:\n  - {text}");
        return;
    }
    let lab = Lab::new().expect("a lab can be made where nothing is missing");
    if let Err(error) = body(&lab) {
        // Unwinding drops the lab, which prints its logs first.
        panic!("{error:#}");
    }
}

/// True if a program is on the path or in sbin: Debian puts daemons there, which is not on every user's path.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|place| place.join(program).is_file())
}
