//! What a program gives up once it knows what it needs (P30), so that whoever takes it over has little in hand: capabilities,
//! files, system calls. Read first: capabilities(7), landlock(7), seccomp(2). Called by the programs' `run`.
//!
//! ```text
//! configuration read -> Confinement::begin: capabilities, no_new_privs, Landlock     one thread; the others inherit
//! everything started -> Confined::finish: seccomp                                    all threads at once
//! ```
//! Capabilities and files are given up before anything from outside is listened to. The system calls come last: the filter is
//! of what a running program does, not of what starting takes.

mod calls;
mod capabilities;
mod files;

use std::path::{Path, PathBuf};

use self::files::Held;
use super::config::node::NodeSettings;
use super::failure::{Exit, Failure};

/// What a program needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Files it reads, each with the directory around it: files are replaced by renaming.
    read: Vec<PathBuf>,
    /// Directories it writes in.
    write: Vec<PathBuf>,
    /// Whether it makes an interface and changes the host's network.
    has_tun: bool,
    /// Whether it listens below port 1024.
    has_low_port: bool,
    /// Whether it looks names up.
    looks_up_names: bool,
}

/// What is left to give up.
#[must_use = "what is not finished leaves all system calls"]
pub struct Confined {
    #[cfg_attr(not(test), expect(dead_code, reason = "held for as long as the program runs"))]
    held: Held,
}

impl Confinement {
    /// Of a program with this configuration file and the files named in it.
    pub fn new(file: &Path, named: &[PathBuf], node: &NodeSettings) -> Confinement {
        let mut needs = Confinement::default().reads(file).writes(&node.admin_socket);
        needs.has_low_port = (1..1024).contains(&node.listen_port);
        named.iter().fold(needs, |needs, named| needs.reads(named))
    }

    /// It reads this file, and what comes in its place.
    #[must_use]
    pub fn reads(mut self, file: &Path) -> Confinement {
        self.read.push(directory_of(file));
        // A name may lead elsewhere, as certificates' names do.
        self.read.extend(std::fs::canonicalize(file).ok().map(|file| directory_of(&file)));
        self
    }

    /// It makes and changes this file and others beside it.
    #[must_use]
    pub fn writes(mut self, file: &Path) -> Confinement {
        self.write.push(directory_of(file));
        self
    }

    /// It makes an interface.
    #[must_use]
    pub fn with_tun(mut self, has_tun: bool) -> Confinement {
        self.has_tun = has_tun;
        self
    }

    /// It listens on this port of TCP.
    #[must_use]
    pub fn listens(mut self, port: u16) -> Confinement {
        self.has_low_port |= (1..1024).contains(&port);
        self
    }

    /// It looks names up.
    #[must_use]
    pub fn looks_up_names(mut self, names: bool) -> Confinement {
        self.looks_up_names = names;
        self
    }

    /// Whether nothing of `other` is lacking here.
    pub(super) fn covers(&self, other: &Confinement) -> bool {
        let all = |own: &[PathBuf], needed: &[PathBuf]| needed.iter().all(|path| own.contains(path));
        all(&self.read, &other.read)
            && all(&self.write, &other.write)
            && self.has_tun >= other.has_tun
            && self.has_low_port >= other.has_low_port
            && self.looks_up_names >= other.looks_up_names
    }

    /// Gives up capabilities and files, for this thread and those it will start: call it before there are others.
    ///
    /// # Errors
    /// If the system does not take them. A kernel without Landlock is a warning.
    pub fn begin(&self) -> Result<Confined, Failure> {
        let kept = capabilities::keep(self.has_tun, self.has_low_port)
            .map_err(|error| failure("capabilities cannot be given up", &error))?;
        let held = files::restrict(self).map_err(|error| failure("files cannot be given up", &error))?;
        tracing::info!(capabilities = %kept, files = %held, "given up what is not needed");
        Ok(Confined { held })
    }
}

impl Confined {
    /// Whether files are guarded beyond their modes.
    #[cfg(test)]
    fn has_landlock(&self) -> bool {
        self.held.is_enforced()
    }

    /// Gives up the system calls that a running program does not make, in all threads.
    ///
    /// # Errors
    /// If the system does not take them.
    pub fn finish(&self) -> Result<(), Failure> {
        calls::restrict().map_err(|error| failure("system calls cannot be given up", &error))
    }
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => file.to_owned(),
    }
}

fn failure(what: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Exit::Missing, what).because(error).remedy(
        "See that the kernel has seccomp filters; hardening = false in [operations] runs without all of this.",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::Command;

    use super::*;

    #[test]
    fn a_file_without_a_directory_is_in_this_one() {
        assert_eq!(directory_of(Path::new("router.toml")), Path::new("."));
        assert_eq!(directory_of(Path::new("/etc/sluice/router.toml")), Path::new("/etc/sluice"));
    }

    #[test]
    fn what_was_given_up_is_not_covered() {
        let now = Confinement::default().reads(Path::new("/etc/sluice/router.toml")).with_tun(true);
        assert!(now.covers(&Confinement::default().reads(Path::new("/etc/sluice/other.toml"))));
        for more in [
            now.clone().reads(Path::new("/etc/shadow")),
            now.clone().writes(Path::new("/etc/sluice/x")),
            now.clone().listens(443),
            now.clone().looks_up_names(true),
        ] {
            assert!(!now.covers(&more), "{more:?}");
        }
    }

    /// Set in the process that is confined: none of ours can be, and go on testing.
    const INSIDE: &str = "SLUICE_TEST_INSIDE";

    #[test]
    fn a_confined_process_opens_starts_and_becomes_nothing_that_it_did_not_ask_for() {
        if std::env::var_os(INSIDE).is_some() {
            return inside();
        }
        let name = "host::confine::tests::a_confined_process_opens_starts_and_becomes_nothing_that_it_did_not_ask_for";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", name, "--nocapture"]).env(INSIDE, "1").output().unwrap();
        let told = String::from_utf8_lossy(&child.stdout);
        assert!(told.contains("as it should be"), "{told}{}", String::from_utf8_lossy(&child.stderr));
        assert_eq!(
            child.status.signal(),
            Some(libc::SIGSYS),
            "it became another program: {:?}",
            child.status
        );
    }

    /// Ends by a signal.
    fn inside() {
        let directory = std::env::temp_dir().join(format!("sluice-confine-{}", std::process::id()));
        let own = directory.join("own");
        let confined = Confinement::default().writes(&own).begin().unwrap();
        confined.finish().unwrap();
        std::fs::write(&own, "mine").unwrap();
        std::fs::remove_file(&own).unwrap();
        if confined.has_landlock() {
            let denied = std::fs::read("/etc/passwd").map_err(|error| error.kind());
            assert_eq!(denied, Err(std::io::ErrorKind::PermissionDenied));
            assert!(std::fs::write(std::env::temp_dir().join("sluice-other"), "x").is_err());
        }
        std::thread::spawn(|| ()).join().unwrap();
        assert!(Command::new("true").status().is_err(), "another process was started");
        use rustix::net::{AddressFamily, SocketType, socket};
        assert!(socket(AddressFamily::INET, SocketType::DGRAM, None).is_ok());
        assert_eq!(socket(AddressFamily::PACKET, SocketType::RAW, None).err(), Some(rustix::io::Errno::PERM));
        println!("as it should be");
        panic!("not even so: {}", Command::new("/bin/true").exec());
    }
}
