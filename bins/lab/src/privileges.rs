//! What the threads of a process may still do, as the kernel tells it.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

/// The bit of CAP_NET_ADMIN in the kernel's sets of capabilities.
pub const NET_ADMIN: u64 = 1 << 12;

/// What a thread has, by `/proc/PID/task/TID/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Privileges {
    /// Capabilities in force.
    pub effective: u64,
    /// Capabilities that it could put in force.
    pub permitted: u64,
    /// Capabilities that could come with another program.
    pub bounding: u64,
    /// Whether another program could bring none.
    pub no_new_privs: bool,
    /// 2: its system calls are filtered.
    pub seccomp: u64,
}

impl Privileges {
    /// What a hardened program has left when it keeps these capabilities.
    pub fn hardened(kept: u64) -> Privileges {
        Privileges { effective: kept, permitted: kept, bounding: kept, no_new_privs: true, seccomp: 2 }
    }

    /// Of all threads of a process, each kind once.
    pub fn of(pid: u32) -> Result<BTreeSet<Privileges>> {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task"))?;
        let mut found = BTreeSet::new();
        for thread in threads {
            // One that has ended meanwhile may do nothing at all.
            let Ok(status) = std::fs::read_to_string(thread?.path().join("status")) else { continue };
            found.insert(Privileges::read(&status)?);
        }
        Ok(found)
    }

    fn read(status: &str) -> Result<Privileges> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).with_context(|| format!("{name} in {status}"))
        };
        let set = |name: &str| Ok::<_, anyhow::Error>(u64::from_str_radix(field(name)?, 16)?);
        Ok(Privileges {
            effective: set("CapEff")?,
            permitted: set("CapPrm")?,
            bounding: set("CapBnd")?,
            no_new_privs: field("NoNewPrivs")? == "1",
            seccomp: field("Seccomp")?.parse()?,
        })
    }
}
