//! Removal of what dead runs left behind: only names with our prefix, and only where the process in the name is gone.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{DIRECTORY_PREFIX, NAMESPACE_PREFIX};

/// Where iproute2 keeps named namespaces.
const NAMESPACES: &str = "/run/netns";
/// Where WireGuard's userspace implementations keep their sockets.
pub(crate) const UAPI_DIRECTORY: &str = "/var/run/wireguard";

/// Removes namespaces, their processes, directories and UAPI sockets of runs whose process is gone.
pub fn remove_stale_labs() -> Result<()> {
    for name in names_in(Path::new(NAMESPACES)) {
        if is_stale(&name, NAMESPACE_PREFIX) {
            end_processes_in(&name);
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
    for name in names_in(&std::env::temp_dir()) {
        if is_stale(&name, DIRECTORY_PREFIX) {
            let _ = std::fs::remove_dir_all(std::env::temp_dir().join(&name));
            remove_sockets(name.rsplit('-').next().unwrap_or_default());
        }
    }
    Ok(())
}

/// `PREFIX<pid>-…` with a pid that no process has.
fn is_stale(name: &str, prefix: &str) -> bool {
    let pid = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next());
    let pid: Option<u32> = pid.and_then(|pid| pid.parse().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// Whatever runs inside a namespace of ours was started there by us, or by a program of ours that became a daemon.
pub(crate) fn end_processes_in(namespace: &str) {
    let Ok(output) = Command::new("ip").args(["netns", "pids", namespace]).output() else { return };
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(pid) = line.trim().parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Removes the UAPI sockets that a run's interfaces left behind.
pub(crate) fn remove_sockets(tag: &str) {
    if tag.len() != 5 {
        return;
    }
    for name in names_in(Path::new(UAPI_DIRECTORY)) {
        if name.starts_with(&format!("wg-{tag}-")) {
            let _ = std::fs::remove_file(Path::new(UAPI_DIRECTORY).join(name));
        }
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_runs_with_our_prefix_are_stale() {
        let own = std::process::id();
        for (name, stale) in [
            (format!("sluice-lab-{own}-abcde-client"), false),
            ("sluice-lab-999999999-abcde-client".to_owned(), true),
            ("sluice-lab-x-abcde".to_owned(), false),
            ("other-999999999-abcde".to_owned(), false),
        ] {
            assert_eq!(is_stale(&name, NAMESPACE_PREFIX), stale, "{name}");
        }
    }
}
