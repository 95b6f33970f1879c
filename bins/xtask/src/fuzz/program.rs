//! The programs that libFuzzer makes of the targets: built, run, asked which inputs are worth keeping.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::growth::Growth;
use crate::cargo::{cargo, root, target as target_directory};

/// Packages whose edges are counted and whose `debug_assert!` and arithmetic are checked. Not those below them:
/// what a target searches is our code, and primitives of cryptography run several times faster without.
const PACKAGES: [&str; 7] = [
    "sluice-fuzz",
    "control-proto",
    "router-core",
    "wg-proto",
    "sluice-router",
    "sluice-connector",
    "sluice-runtime",
];
/// What cargo-fuzz passes for coverage without a sanitizer.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// Longest input that is tried; each target's decisions fit.
const INPUT_BYTES_MAX: u32 = 4096;
/// What libFuzzer calls inputs: a digest. Committed ones that were found begin with a word, and others have names of
/// their own: those were written by hand, and stay.
const DIGEST_DIGITS: usize = 40;
const FOUND: &str = "found-";
const FOUND_DIGITS: usize = 16;

/// What a run of one target came to.
pub(super) struct Run {
    pub(super) passed: bool,
    pub(super) growth: Growth,
    pub(super) took: Duration,
}

/// A target named explicitly keeps build scripts and macros free of the flags.
pub(super) fn build() -> Result<()> {
    let host = host()?;
    let mut command = cargo(&["build", "--release", "--locked", "--bins", "--target", &host]);
    command.args(["--manifest-path", "fuzz/Cargo.toml", "-Zprofile-rustflags"]);
    for package in PACKAGES {
        command.arg("--config").arg(format!("profile.release.package.{package}.rustflags = {COVERAGE:?}"));
        command.arg("--config").arg(format!("profile.release.package.{package}.debug-assertions = true"));
        command.arg("--config").arg(format!("profile.release.package.{package}.overflow-checks = true"));
    }
    command
        .current_dir(root())
        .env("CARGO_TARGET_DIR", directory())
        // Links `libfuzzer-sys` in.
        .env("RUSTFLAGS", "--cfg fuzzing")
        // Coverage passes, and flags for some packages, count as unstable; nothing else is.
        .env("RUSTC_BOOTSTRAP", "1");
    ensure!(command.status().context("start cargo")?.success(), "the targets do not build");
    Ok(())
}

/// Fuzzes for a while.
pub(super) fn run(target: &str, seconds: u64) -> Result<Run> {
    let (artifacts, found) = (Path::new("fuzz/artifacts").join(target), found(target));
    fs::create_dir_all(root().join(&artifacts))?;
    fs::create_dir_all(&found)?;
    let started = Instant::now();
    let mut command = program(target)?;
    command
        .arg(found)
        .arg(committed(target))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1"])
        .args(dictionary(target))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {target}"))?;
    let stderr = child.stderr.take().context("the program's messages")?;
    let growth = Growth::follow(BufReader::new(stderr));
    let passed = child.wait()?.success();
    Ok(Run { passed, growth, took: started.elapsed() })
}

/// Chooses anew which of the inputs found are committed beside those with names: as few as reach every edge.
pub(super) fn merge(target: &str) -> Result<()> {
    let (committed, found) = (root().join(committed(target)), found(target));
    for (path, name) in inputs(&committed)? {
        if name.starts_with(FOUND) {
            fs::copy(&path, found.join(name))?;
            fs::remove_file(path)?;
        }
    }
    let mut command = program(target)?;
    // Without counters an edge is reached or not, however often.
    command.args(["-set_cover_merge=1", "-use_counters=0"]).arg(&committed).arg(found);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {target}"))?;
    ensure!(output.status.success(), "{target} cannot merge: {}", String::from_utf8_lossy(&output.stderr));
    for (path, name) in inputs(&committed)? {
        if is_digest(&name) {
            fs::rename(path, committed.join(format!("{FOUND}{}", &name[..FOUND_DIGITS])))?;
        }
    }
    Ok(())
}

fn inputs(directory: &Path) -> Result<Vec<(PathBuf, String)>> {
    let input = |entry: fs::DirEntry| (entry.path(), entry.file_name().to_string_lossy().into_owned());
    Ok(fs::read_dir(directory)?.map(|entry| entry.map(input)).collect::<Result<_, _>>()?)
}

fn is_digest(name: &str) -> bool {
    name.len() == DIGEST_DIGITS && name.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Words that inputs of this target are made of, if there is a list.
fn dictionary(target: &str) -> Option<String> {
    let path = Path::new("fuzz/dictionaries").join(format!("{target}.dict"));
    root().join(&path).is_file().then(|| format!("-dict={}", path.display()))
}

fn directory() -> PathBuf {
    target_directory().join("fuzzing")
}

/// Everything that ever reached something new here; not committed.
fn found(target: &str) -> PathBuf {
    directory().join("found").join(target)
}

fn committed(target: &str) -> PathBuf {
    Path::new("fuzz/corpus").join(target)
}

fn program(target: &str) -> Result<Command> {
    let mut command = Command::new(directory().join(host()?).join("release").join(target));
    command.current_dir(root());
    Ok(command)
}

fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it runs on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_that_were_found_are_told_from_those_with_names() {
        assert!(is_digest("da39a3ee5e6b4b0d3255bfef95601890afd80709"));
        assert!(!is_digest("v4_port_unreachable_udp"));
        assert!(!is_digest("found-da39a3ee5e6b4b0d"));
    }
}
