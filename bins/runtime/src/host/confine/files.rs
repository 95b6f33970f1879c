//! Files, by Landlock: what this thread and those it starts may open. Read first: landlock(7). Called by confine.
//!
//! The kernel does what it knows of: each version of it more. Rules are about directories, because files are replaced by
//! renaming; nothing may be executed.

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::Confinement;

/// The newest whose rights about files are known here.
const FILES: ABI = ABI::V5;
/// Since then signals and abstract sockets stay inside.
const SCOPES: ABI = ABI::V6;

/// What a program finds out about its processors, itself and nothing else.
const ALWAYS_READ: [&str; 3] = ["/proc/self", "/sys/fs/cgroup", "/sys/devices/system/cpu"];
/// What the C library reads to look a name up, and certificates to trust.
const NAMES_READ: [&str; 6] =
    ["/etc", "/lib", "/lib64", "/usr/lib", "/usr/share/ca-certificates", "/run/systemd/resolve"];
const DEVICES: [&str; 3] = ["/dev/null", "/dev/urandom", "/dev/random"];
const TUN: &str = "/dev/net/tun";
const NET_SWITCHES: &str = "/proc/sys/net";

/// Rules are about what was found under a name when they were made. In `/proc` that is found anew where nobody holds it.
pub(super) struct Held {
    _open: Vec<PathFd>,
    status: RulesetStatus,
}

impl Held {
    /// Whether the kernel keeps to it.
    #[cfg(test)]
    pub(super) fn is_enforced(&self) -> bool {
        self.status != RulesetStatus::NotEnforced
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.status {
            RulesetStatus::FullyEnforced => "all but the program's own",
            RulesetStatus::PartiallyEnforced => "all but the program's own, as far as this kernel can",
            RulesetStatus::NotEnforced => "none: this kernel has no Landlock",
        })
    }
}

/// Opens nothing from here on but what is needed.
pub(super) fn restrict(needs: &Confinement) -> Result<Held, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(FILES))?
        .scope(Scope::from_all(SCOPES))?
        .create()?;
    let mut rules = Rules { open: Vec::new(), rights: Vec::new() };
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let change = AccessFs::from_all(FILES)
        & !(AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev);
    for path in &needs.write {
        make(path);
        rules.allow(path, change);
    }
    needs.read.iter().for_each(|path| rules.allow(path, read));
    ALWAYS_READ.iter().for_each(|path| rules.allow(Path::new(path), read));
    DEVICES.iter().for_each(|path| rules.allow(Path::new(path), AccessFs::ReadFile | AccessFs::WriteFile));
    if needs.looks_up_names {
        NAMES_READ.iter().for_each(|path| rules.allow(Path::new(path), read));
    }
    if needs.has_tun {
        rules.allow(Path::new(TUN), AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev);
        rules.allow(Path::new(NET_SWITCHES), read | AccessFs::WriteFile | AccessFs::Truncate);
    }
    let allowed =
        rules.open.iter().zip(&rules.rights).map(|(open, rights)| Ok(PathBeneath::new(open, *rights)));
    let status = ruleset.add_rules(allowed.collect::<Vec<Result<_, RulesetError>>>())?.restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced {
        tracing::warn!("this kernel has no Landlock: files are guarded by their modes alone");
    }
    Ok(Held { _open: rules.open, status: status.ruleset })
}

struct Rules {
    open: Vec<PathFd>,
    rights: Vec<BitFlags<AccessFs>>,
}

impl Rules {
    /// What is not there needs no rule. Of rights that a file cannot have the library keeps quiet.
    fn allow(&mut self, path: &Path, rights: impl Into<BitFlags<AccessFs>>) {
        if let Ok(open) = PathFd::new(path) {
            let of_kind = if path.is_dir() { AccessFs::from_all(FILES) } else { AccessFs::from_file(FILES) };
            self.open.push(open);
            self.rights.push(rights.into() & of_kind);
        }
    }
}

/// The directory of a socket is made by whoever binds it; from now on nobody could.
fn make(directory: &Path) {
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o755).create(directory) {
        tracing::debug!(directory = %directory.display(), %error, "cannot be made");
    }
}
