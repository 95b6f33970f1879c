//! Commands with a deadline, and processes with their logs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::output::Output;
use crate::wait::{retry, wait_until};

const POLL_INTERVAL: Duration = Duration::from_millis(3);
/// How much of a log a failure's report shows.
const TAIL_LINES: usize = 60;

/// A started program. Ended with its lab, or by [`Process::stop`].
#[derive(Clone, Debug)]
pub struct Process {
    inner: Arc<ProcessInner>,
}

/// What a process takes from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory, in KiB.
    pub resident_kib: u64,
    /// Open file descriptors.
    pub descriptors: u64,
}

#[derive(Debug)]
pub(crate) struct ProcessInner {
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    pub(crate) fn new(inner: Arc<ProcessInner>) -> Process {
        Process { inner }
    }

    /// Everything it has written to standard output and standard error.
    pub fn log(&self) -> String {
        self.inner.log_text()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.inner.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Processor time that its threads have used so far, in the program and in the kernel on its behalf.
    pub fn cpu_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.pid());
        let text = std::fs::read_to_string(&path).with_context(|| path)?;
        cpu_time(&text).context("an unknown form of /proc/PID/stat")
    }

    /// Waits until it ends by itself, at most `limit`.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        retry(&format!("the end of {}", self.inner.name), limit, || Ok(self.inner.status()))
    }

    /// True while it has not ended.
    pub fn is_running(&self) -> bool {
        self.inner.status().is_none()
    }

    /// Fails with the log's end if the program has ended.
    pub fn check_running(&self) -> Result<()> {
        match self.inner.status() {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}):\n{}", self.inner.name, self.inner.tail()),
        }
    }

    /// Waits until the log has a line that contains `text`.
    pub fn wait_for_log(&self, text: &str, limit: Duration) -> Result<()> {
        wait_until(&format!("{text:?} in the log of {}", self.inner.name), limit, || {
            let found = self.log().contains(text);
            if !found {
                self.check_running()?;
            }
            Ok(found)
        })
        .with_context(|| self.inner.tail())
    }

    /// Sends a signal to this process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.check_running()?;
        Ok(kill_process(self.inner.pid, signal)?)
    }

    /// What it takes now.
    pub fn footprint(&self) -> Result<Footprint> {
        self.check_running()?;
        let directory = PathBuf::from(format!("/proc/{}", self.pid()));
        let status = std::fs::read_to_string(directory.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let resident_kib = line.trim().trim_end_matches(" kB").parse()?;
        let descriptors = std::fs::read_dir(directory.join("fd"))?.count() as u64;
        Ok(Footprint { resident_kib, descriptors })
    }

    /// SIGTERM, then SIGKILL if it is still there after five seconds. Returns how it ended.
    pub fn stop(&self) -> Result<ExitStatus> {
        self.inner.terminate();
        self.inner.wait_or_kill(Instant::now() + Duration::from_secs(5)).context("process has no exit status")
    }
}

impl ProcessInner {
    /// Starts `command`; its log goes to a file of that name in `directory`.
    pub(crate) fn start(name: &str, mut command: Command, directory: &Path) -> Result<ProcessInner> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let log = directory.join(format!("{name}.{}.log", SERIAL.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        let pid = Pid::from_child(&child);
        Ok(ProcessInner { name: name.to_owned(), pid, child: Mutex::new(child), log })
    }

    fn status(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().ok().flatten()
    }

    fn log_text(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub(crate) fn tail(&self) -> String {
        let text = self.log_text();
        let skipped = text.lines().count().saturating_sub(TAIL_LINES);
        let mut tail = format!("--- {} ({} lines above)\n", self.name, skipped);
        for line in text.lines().skip(skipped) {
            tail.push_str(line);
            tail.push('\n');
        }
        tail
    }

    pub(crate) fn terminate(&self) {
        // A child that we have not waited for keeps its id, so the signal cannot hit anybody else.
        if self.status().is_none() {
            let _ = kill_process(self.pid, Signal::TERM);
        }
    }

    pub(crate) fn wait_or_kill(&self, deadline: Instant) -> Option<ExitStatus> {
        while Instant::now() < deadline {
            if let Some(status) = self.status() {
                return Some(status);
            }
            sleep(POLL_INTERVAL);
        }
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        child.wait().ok()
    }
}

/// Runs a command to its end, at most `limit`. The error is only for what could not be started.
pub(crate) fn run(mut command: Command, shown: String, stdin: &[u8], limit: Duration) -> Result<Output> {
    let (mut out, mut err) = (anonymous_file()?, anonymous_file()?);
    command.stdin(Stdio::piped()).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("start `{shown}`"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A command that does not read its input closes the pipe; that is its right.
        let _ = pipe.write_all(stdin);
    }
    let status = wait_with_limit(&mut child, started + limit)?;
    let code = status.and_then(|status| status.code());
    Ok(Output {
        command: shown,
        code,
        stdout: read_back(&mut out)?,
        stderr: read_back(&mut err)?,
        took: started.elapsed(),
    })
}

/// Fields 14 and 15 of proc(5)'s stat, user and system time; the name in the second field may hold anything, blanks too.
fn cpu_time(stat: &str) -> Option<Duration> {
    /// Linux's USER_HZ, the same on every architecture that we build for.
    const TICKS_PER_SECOND: u64 = 100;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn wait_with_limit(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        sleep(POLL_INTERVAL);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// A file without a name: output of any length, no reader thread, nothing to remove.
fn anonymous_file() -> Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(File::from(memfd_create("output", MemfdFlags::CLOEXEC)?))
}

fn read_back(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_a_name_with_blanks_and_parentheses() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 7 9 20 0 2 0 1 2 3";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_time("42 (name) S 1"), None);
    }
}
