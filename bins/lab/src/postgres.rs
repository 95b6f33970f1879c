//! A PostgreSQL server of a test's own: in a directory of its own, on a socket in it, gone with the test.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{geteuid, getpid};

use crate::output::Output;
use crate::process::run;
use crate::requirements::in_ci;
use crate::wait::retry;

/// Where Debian puts its programs, a directory for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
const START_LIMIT: Duration = Duration::from_secs(30);
/// The server ends when our end of the pipe does, however this process ends; then the directory goes.
const SUPERVISOR: &str = "directory=$1; shift; \"$@\" </dev/null & server=$!; read -r line; kill -INT $server; wait $server; rm -rf \"$directory\"";

/// A running server. Dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Postgres {
    directory: PathBuf,
    programs: PathBuf,
    databases: AtomicU32,
    supervisor: Child,
    pipe: Option<ChildStdin>,
}

impl Postgres {
    /// Makes a cluster and starts it. `None`, said loudly, where PostgreSQL is not installed.
    ///
    /// # Errors
    /// It is missing in CI, or does not start.
    pub fn start() -> Result<Option<Postgres>> {
        let Some(programs) = programs() else {
            let missing =
                "PostgreSQL is missing: apt-get install postgresql (or `cargo xtask setup` as root)";
            ensure!(!in_ci(), missing);
            eprintln!("SKIPPED, nothing was tested on PostgreSQL. {missing}");
            return Ok(None);
        };
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "sluice-postgres-{}-{}",
            getpid().as_raw_nonzero(),
            SERIAL.fetch_add(1, Ordering::Relaxed)
        );
        let directory = std::env::temp_dir().join(name);
        done(run_as(&[Path::new("mkdir"), Path::new("-m"), Path::new("700"), &directory])?)?;
        let data = directory.join("data");
        let initdb = programs.join("initdb");
        let options =
            ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "-D"].map(Path::new);
        done(run_as(&[&[initdb.as_path()][..], &options, &[data.as_path()]].concat())?)?;
        let server = programs.join("postgres");
        let socket = format!("unix_socket_directories={}", directory.display());
        let options =
            ["-c", "listen_addresses=", "-c", &socket, "-c", "max_connections=200", "-D"].map(Path::new);
        let arguments = [
            &[Path::new("sh"), Path::new("-c"), Path::new(SUPERVISOR), Path::new("sh")][..],
            &[directory.as_path(), server.as_path()],
            &options,
            &[data.as_path()],
        ]
        .concat();
        let log = std::fs::File::create(directory.join("log"))?;
        let mut supervisor = as_its_user(&arguments);
        let mut supervisor = supervisor.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let pipe = supervisor.stdin.take();
        let postgres = Postgres { directory, programs, databases: AtomicU32::new(0), supervisor, pipe };
        retry("PostgreSQL to answer", START_LIMIT, || {
            let asked = postgres.client("pg_isready", &[])?;
            Ok((asked.code == Some(0)).then_some(()))
        })?;
        Ok(Some(postgres))
    }

    /// Makes an empty database; returns its URL.
    pub fn database(&self) -> Result<String> {
        let name = format!("sluice{}", self.databases.fetch_add(1, Ordering::Relaxed));
        done(self.client("createdb", &[&name])?)?;
        Ok(format!("postgres:///{name}?host={}&user=postgres", self.directory.display()))
    }

    /// Runs one of its client programs against it.
    pub fn client(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-h").arg(&self.directory).args(["-U", "postgres"]).args(arguments);
        run(command, format!("{program} {}", arguments.join(" ")), b"", START_LIMIT)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.supervisor.wait();
    }
}

/// The newest version installed.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).ok()?.flatten();
    let programs = versions.map(|version| version.path().join("bin"));
    programs.filter(|programs| programs.join("initdb").exists()).max()
}

/// PostgreSQL refuses to run as root.
fn as_its_user(arguments: &[&Path]) -> Command {
    if !geteuid().is_root() {
        let mut command = Command::new(arguments[0]);
        command.args(&arguments[1..]);
        return command;
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).args(arguments);
    command
}

fn run_as(arguments: &[&Path]) -> Result<Output> {
    let shown = arguments.iter().map(|argument| argument.display().to_string()).collect::<Vec<_>>().join(" ");
    let mut command = as_its_user(arguments);
    command.current_dir("/");
    run(command, shown, b"", START_LIMIT).context("PostgreSQL")
}

fn done(output: Output) -> Result<()> {
    if output.code != Some(0) {
        bail!("`{}` failed:\n{}{}", output.command, output.stdout, output.stderr);
    }
    Ok(())
}
