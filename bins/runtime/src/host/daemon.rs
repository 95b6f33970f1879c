//! Going to the background, as wireguard-go does: the parent returns only after the interface and its socket are
//! there, or with the reason why not.
//!
//! Nothing is forked after threads may run: the program starts itself anew, in the foreground, with a pipe as
//! standard output, and reports on it that it is ready. Then it lets go of the terminal.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Set for the process in the background; also understood from outside, as wireguard-go understands it.
pub const FOREGROUND_VARIABLE: &str = "WG_PROCESS_FOREGROUND";
/// Tells the process in the background that its parent waits on the pipe.
const PARENT_WAITS_VARIABLE: &str = "SLUICE_PARENT_WAITS";
const READY: &[u8] = b"ready\n";

/// Starts this program again with the same arguments, in the background. Returns what to exit with.
///
/// # Errors
/// If the system refuses a process.
pub fn start_in_background() -> io::Result<ExitCode> {
    let mut arguments = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(own_name) = arguments.next() {
        std::os::unix::process::CommandExt::arg0(&mut command, own_name);
    }
    let command = command.args(arguments).env(FOREGROUND_VARIABLE, "1").env(PARENT_WAITS_VARIABLE, "1");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    wait_until_ready(child)
}

/// The pipe closes with the child, so this ends in every case.
fn wait_until_ready(mut child: Child) -> io::Result<ExitCode> {
    let mut said = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        pipe.take(READY.len() as u64).read_to_end(&mut said)?;
    }
    if said == READY {
        return Ok(ExitCode::SUCCESS);
    }
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.filter(|code| *code != 0).unwrap_or(1)))
}

/// Whether this is the process in the background, whose parent waits to hear that it is ready.
pub fn is_awaited() -> bool {
    std::env::var_os(PARENT_WAITS_VARIABLE).is_some()
}

/// Tells the waiting parent that all is there, and lets go of the terminal: a session of our own, nothing on the
/// standard streams; with `keep_stderr` log lines still go where the parent's went.
///
/// # Errors
/// What the system says.
pub fn tell_ready(keep_stderr: bool) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    let mut stdout = io::stdout();
    stdout.write_all(READY)?;
    stdout.flush()?;
    let nothing = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(nothing.as_fd())?;
    dup2_stdout(nothing.as_fd())?;
    if !keep_stderr {
        dup2_stderr(nothing.as_fd())?;
    }
    Ok(())
}
