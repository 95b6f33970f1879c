//! `cargo xtask fuzz`: every target in turn, with libFuzzer on the stable toolchain; what it found joins the corpora.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use comfy_table::Table;

use crate::cargo::{cargo, root, target};

/// What cargo-fuzz passes for coverage without a sanitizer. `libfuzzer-sys` is linked in by `--cfg fuzzing`.
const FLAGS: &str = "--cfg fuzzing -Cdebug-assertions -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Longest input that is tried; each target's decisions fit.
const INPUT_BYTES_MAX: u32 = 4096;

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask fuzz                                every target, a minute each\n  \
    cargo xtask fuzz config_file --seconds 600      one target, longer\n\n\
    Needs a C++ compiler for libFuzzer. An input that breaks a promise is kept in fuzz/artifacts/TARGET/.")]
pub(crate) struct Arguments {
    /// Only these targets
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
}

/// What a run of one target came to.
struct Done {
    target: String,
    passed: bool,
    growth: Growth,
}

/// Coverage as libFuzzer reports it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Growth {
    edges_before: u64,
    edges: u64,
    inputs: u64,
    /// When the last new edge was reached, from the start.
    last_new: Duration,
}

/// Builds, runs and merges.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    let targets = chosen(&arguments.targets)?;
    build()?;
    let mut all = Vec::new();
    for target in targets {
        println!("{target}: {} s", arguments.seconds);
        let found = target_directory().join("found").join(&target);
        let done = run(&target, &found, arguments.seconds)?;
        if done.passed {
            merge(&target, &found)?;
        }
        all.push(done);
    }
    println!("{}", table(&all));
    let passed = all.iter().all(|done| done.passed);
    for done in all.iter().filter(|done| !done.passed) {
        eprintln!("{0} broke a promise: the input is in fuzz/artifacts/{0}/", done.target);
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(wanted: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        all.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    all.sort();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown:?}; there are {}", all.join(", "));
    }
    all.retain(|name| wanted.is_empty() || wanted.contains(name));
    Ok(all)
}

fn target_directory() -> PathBuf {
    target().join("fuzzing")
}

/// A target named explicitly keeps build scripts and macros free of the flags.
fn build() -> Result<()> {
    let host = host()?;
    let mut command = cargo(&["build", "--release", "--locked", "--bins", "--target", &host]);
    command
        .args(["--manifest-path", "fuzz/Cargo.toml"])
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target_directory())
        .env("RUSTFLAGS", FLAGS)
        // Coverage passes count as unstable; nothing else is.
        .env("RUSTC_BOOTSTRAP", "1");
    ensure!(command.status().context("start cargo")?.success(), "the targets do not build");
    Ok(())
}

fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it runs on")
}

fn program(target: &str) -> Result<Command> {
    let mut command = Command::new(target_directory().join(host()?).join("release").join(target));
    command.current_dir(root());
    Ok(command)
}

fn committed(target: &str) -> PathBuf {
    Path::new("fuzz/corpus").join(target)
}

fn run(target: &str, found: &Path, seconds: u64) -> Result<Done> {
    let artifacts = Path::new("fuzz/artifacts").join(target);
    fs::create_dir_all(root().join(&artifacts))?;
    fs::create_dir_all(found)?;
    let mut child = program(target)?
        .arg(found)
        .arg(committed(target))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {target}"))?;
    let stderr = child.stderr.take().context("the program's messages")?;
    let growth = follow(BufReader::new(stderr));
    let passed = child.wait()?.success();
    Ok(Done { target: target.to_owned(), passed, growth })
}

/// Reads messages until the program ends; what is not about coverage is shown.
fn follow(messages: impl BufRead) -> Growth {
    let started = Instant::now();
    let mut growth = Growth::default();
    for line in messages.lines().map_while(Result::ok) {
        if !growth.take(&line, started.elapsed()) && !line.starts_with("INFO:") && !line.starts_with("stat::")
        {
            println!("  {line}");
        }
    }
    growth
}

impl Growth {
    /// Whether the line was about coverage.
    fn take(&mut self, line: &str, at: Duration) -> bool {
        let (Some(inputs), Some(edges)) = (number_after(line, "#"), number_after(line, "cov: ")) else {
            return false;
        };
        self.inputs = inputs;
        if line.contains("INITED") {
            self.edges_before = edges;
        } else if edges > self.edges {
            self.last_new = at;
        }
        self.edges = edges;
        true
    }
}

fn number_after(line: &str, word: &str) -> Option<u64> {
    let (_, rest) = line.split_once(word)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Adds to the committed corpus what reaches something that it does not, as few inputs as do.
fn merge(target: &str, found: &Path) -> Result<()> {
    let mut command = program(target)?;
    command.arg("-set_cover_merge=1").arg(committed(target)).arg(found);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {target}"))?;
    ensure!(output.status.success(), "{target} cannot merge: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn table(all: &[Done]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["target", "edges before", "after", "inputs", "last new edge after"]);
    for Done { target, growth, .. } in all {
        table.add_row([
            target.clone(),
            growth.edges_before.to_string(),
            growth.edges.to_string(),
            growth.inputs.to_string(),
            format!("{} s", growth.last_new.as_secs()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_is_read_from_the_fuzzers_lines() {
        let mut growth = Growth::default();
        let seconds = Duration::from_secs;
        for (at, line) in [
            (1, "#25\tINITED cov: 100 ft: 300 corp: 20/1Kb exec/s: 0 rss: 40Mb"),
            (2, "#90\tNEW    cov: 120 ft: 310 corp: 21/1Kb lim: 4096 exec/s: 45 rss: 41Mb L: 3/9 MS: 1 -"),
            (3, "#200\tREDUCE cov: 120 ft: 310 corp: 21/1Kb lim: 4096 exec/s: 66 rss: 41Mb L: 3/9 MS: 1 -"),
            (9, "#900\tDONE   cov: 120 ft: 310 corp: 21/1Kb lim: 4096 exec/s: 100 rss: 41Mb"),
        ] {
            assert!(growth.take(line, seconds(at)), "{line}");
        }
        let expected = Growth { edges_before: 100, edges: 120, inputs: 900, last_new: seconds(2) };
        assert_eq!(growth, expected);
        assert!(!growth.take("thread panicked at src/lib.rs:1", seconds(9)));
    }
}
