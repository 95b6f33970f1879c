//! One run's namespaces, files and processes, and their removal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::host::{Host, Namespace};
use crate::output::Output;
use crate::process::{Process, ProcessInner, run};
use crate::stale::{remove_sockets, remove_stale_labs};

/// What the names of all our namespaces begin with.
pub(crate) const NAMESPACE_PREFIX: &str = "sluice-lab-";
/// What the names of all our temporary directories begin with.
pub(crate) const DIRECTORY_PREFIX: &str = "sluice-lab-";
/// How long processes get to end by themselves after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// Five letters that tell this run's interfaces from those of others: UAPI sockets are shared by all namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    fn new() -> Tag {
        use std::hash::{BuildHasher, RandomState};
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos());
        // RandomState draws its keys from the operating system.
        let mut random = RandomState::new().hash_one(now);
        let mut letter = || {
            let letter = char::from(b'a' + (random % 26) as u8);
            random /= 26;
            letter
        };
        Tag((0..5).map(|_| letter()).collect())
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One run. Cheap to clone; everything goes with the last clone, host and process handle.
#[derive(Clone, Debug)]
pub struct Lab {
    inner: Arc<LabInner>,
}

#[derive(Debug)]
struct LabInner {
    tag: Tag,
    directory: PathBuf,
    namespaces: Mutex<Vec<Arc<Namespace>>>,
    processes: Mutex<Vec<Arc<ProcessInner>>>,
    keep: Mutex<bool>,
    quiet: Mutex<bool>,
}

impl Lab {
    /// An empty lab. Removes what dead runs left behind first.
    pub fn new() -> Result<Lab> {
        remove_stale_labs()?;
        let tag = Tag::new();
        let name = format!("{DIRECTORY_PREFIX}{}-{tag}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).with_context(|| format!("create {}", directory.display()))?;
        let inner = LabInner {
            tag,
            directory,
            namespaces: Mutex::default(),
            processes: Mutex::default(),
            keep: Mutex::new(false),
            quiet: Mutex::new(false),
        };
        Ok(Lab { inner: Arc::new(inner) })
    }

    /// A new host: a namespace with loopback up, IPv6 without duplicate address detection, ICMP errors without rate limit.
    pub fn host(&self, name: &str) -> Result<Host> {
        let full = format!("{NAMESPACE_PREFIX}{}-{}-{name}", std::process::id(), self.inner.tag);
        let namespace = Arc::new(Namespace::create(name, full)?);
        lock(&self.inner.namespaces).push(Arc::clone(&namespace));
        let host = Host::new(self.clone(), namespace);
        host.prepare()?;
        Ok(host)
    }

    /// The number of its hosts, switches included.
    pub fn size(&self) -> usize {
        lock(&self.inner.namespaces).len()
    }

    /// The letters in this run's interface names.
    pub fn tag(&self) -> &Tag {
        &self.inner.tag
    }

    /// A name for an interface, unique among all labs: `wg-abcde-r`. At most 15 bytes, the kernel's limit.
    pub fn interface(&self, role: char) -> String {
        format!("wg-{}-{role}", self.inner.tag)
    }

    /// This run's directory: configurations, keys, logs, captures.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Writes a file into the run's directory, readable by its owner only (it may be a key), and says where it is.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.inner.directory.join(name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path).with_context(|| format!("create {}", path.display()))?;
        file.write_all(content.as_ref())?;
        Ok(path)
    }

    /// A sub-directory of the run's directory.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let path = self.inner.directory.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Leaves namespaces, files and processes in place when the last handle goes.
    pub fn keep(&self) {
        *lock(&self.inner.keep) = true;
    }

    /// Programs started from now on log errors only, so that a measurement does not measure their logs.
    pub fn quiet(&self) {
        *lock(&self.inner.quiet) = true;
    }

    pub(crate) fn is_quiet(&self) -> bool {
        *lock(&self.inner.quiet)
    }

    /// Everything that this lab's processes have written so far, for a failure's report.
    pub fn logs(&self) -> String {
        self.inner.logs()
    }

    /// Runs a command outside all namespaces.
    pub fn exec(&self, argv: &[&str], stdin: &str) -> Result<Output> {
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]);
        run(command, argv.join(" "), stdin.as_bytes(), Duration::from_secs(30))
    }

    pub(crate) fn register(&self, process: Arc<ProcessInner>) -> Process {
        lock(&self.inner.processes).push(Arc::clone(&process));
        Process::new(process)
    }
}

impl LabInner {
    fn logs(&self) -> String {
        let mut text = String::new();
        for process in lock(&self.processes).iter() {
            text.push_str(&process.tail());
        }
        text
    }

    /// Last started, first ended; all get SIGTERM before the first is waited for.
    fn end_processes(&self) {
        let processes = std::mem::take(&mut *lock(&self.processes));
        let deadline = Instant::now() + GRACE;
        for process in processes.iter().rev() {
            process.terminate();
        }
        for process in processes.iter().rev() {
            process.wait_or_kill(deadline);
        }
    }
}

impl Drop for LabInner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        if *lock(&self.keep) {
            return;
        }
        self.end_processes();
        for namespace in lock(&self.namespaces).iter() {
            namespace.remove();
        }
        remove_sockets(&self.tag.0);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The data of a poisoned lock are still good here: clean-up must go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
