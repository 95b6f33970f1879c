//! Running other programs: output to a log file, shown when it matters.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::cargo;

/// What a failure shows of a log when there is more.
const SHOWN_LINES: usize = 120;

/// Why a step did not pass: a sentence and, mostly, what the program printed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) log: String,
}

/// Runs `command` from the workspace's root, appending its output to the log; `Err` holds the log's end.
pub(crate) fn logged(command: &mut Command, log: &Log) -> Result<Result<(), Failure>> {
    let shown = show(command);
    let mut file = log.append()?;
    writeln!(file, "$ {shown}")?;
    let status = command
        .current_dir(cargo::root())
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("start `{shown}`"))?;
    if status.success() {
        return Ok(Ok(()));
    }
    Ok(Err(Failure { reason: format!("`{shown}` ended with {status}"), log: log.tail() }))
}

/// The command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// One step's log, under the target directory.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
}

impl Log {
    /// An empty log of this name.
    pub(crate) fn new(name: &str) -> Result<Log> {
        let directory = cargo::target().join("xtask");
        std::fs::create_dir_all(&directory)?;
        let path = directory.join(format!("{name}.log"));
        File::create(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Log { path })
    }

    /// What is in it.
    pub(crate) fn text(&self) -> String {
        std::fs::read(&self.path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn append(&self) -> Result<File> {
        Ok(File::options().append(true).open(&self.path)?)
    }

    fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().filter(|line| !is_noise(line)).collect();
        let skipped = lines.len().saturating_sub(SHOWN_LINES);
        let note = if skipped > 0 {
            format!("({skipped} lines above, in {})\n", self.path.display())
        } else {
            String::new()
        };
        note + &lines[skipped..].join("\n")
    }
}

/// Cargo's progress and passed tests hide what failed.
fn is_noise(line: &str) -> bool {
    let line = line.trim_start();
    ["Compiling ", "Checking ", "Downloading ", "Downloaded ", "Documenting ", "PASS ["]
        .iter()
        .any(|start| line.starts_with(start))
}
