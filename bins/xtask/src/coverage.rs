//! `cargo xtask coverage`: how much of the pure crates their own tests reach.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::Table;
use serde_json::Value;

use crate::cargo::{cargo, root, target};
use crate::run::{Log, logged, show};
use crate::setup::{self, CargoTool};

const LLVM_COV: CargoTool = CargoTool { name: "llvm-cov", version: "0.9.1", accepted: "cargo-llvm-cov 0.9." };

/// The crates measured: what packets and datagrams from outside reach first.
const CRATES: [&str; 2] = ["wg-proto", "router-core"];

/// Arguments of `cargo xtask coverage`.
#[derive(Debug, Args)]
#[command(after_help = "Exit code 1 if a crate stays below the wanted percentage.\n\
    Test modules and the simulator are not counted: they would flatter the figure.")]
pub(crate) struct Arguments {
    /// Wanted share of code regions, in percent
    #[arg(long, default_value_t = 90.0)]
    wanted: f64,
    /// Show this many of the files with the most regions not reached
    #[arg(long, default_value_t = 15)]
    files: usize,
}

/// Code regions: pieces of code that run as a whole.
#[derive(Debug, Clone, Copy, Default)]
struct Regions {
    all: u64,
    reached: u64,
}

impl Regions {
    fn missed(self) -> u64 {
        self.all.saturating_sub(self.reached)
    }

    fn percent(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.reached as f64 * 100.0 / self.all as f64 }
    }

    fn add(&mut self, other: Regions) {
        self.all += other.all;
        self.reached += other.reached;
    }
}

/// Runs the tests of the crates with instrumentation, prints two tables.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    let log = Log::new("coverage")?;
    prepare(&log)?;
    let files = measure(&log)?;
    println!("{}\n", table_of_crates(&files));
    println!("{}", table_of_files(&files, arguments.files));
    let low: Vec<_> = CRATES.iter().filter(|name| total(&files, name).percent() < arguments.wanted).collect();
    if low.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("below {} %: {low:?}", arguments.wanted);
    Ok(ExitCode::FAILURE)
}

fn prepare(log: &Log) -> Result<()> {
    if let Err(failure) = setup::install_cargo_tool(&LLVM_COV, log)? {
        bail!("{}\n{}", failure.log, failure.reason);
    }
    let mut component = std::process::Command::new("rustup");
    component.args(["component", "add", "llvm-tools"]);
    match logged(&mut component, log)? {
        Ok(()) => Ok(()),
        Err(failure) => bail!("{}\n{}", failure.log, failure.reason),
    }
}

fn measure(log: &Log) -> Result<BTreeMap<String, Regions>> {
    let path = target().join("xtask/coverage.json");
    let mut command = cargo(&["llvm-cov", "nextest", "--locked", "--json", "--summary-only"]);
    command.arg("--output-path").arg(&path);
    CRATES.iter().for_each(|name| {
        command.args(["--package", name]);
    });
    println!("{}", show(&command));
    if let Err(failure) = logged(&mut command, log)? {
        bail!("{}\n{}", failure.log, failure.reason);
    }
    let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    read(&serde_json::from_slice(&text)?)
}

/// The export of `llvm-cov`: a file's path below the workspace, and its regions.
fn read(export: &Value) -> Result<BTreeMap<String, Regions>> {
    let files = export["data"][0]["files"].as_array().context("the coverage export lists no files")?;
    let root = root();
    Ok(files
        .iter()
        .filter_map(|file| {
            let path = Path::new(file["filename"].as_str()?);
            let name = path.strip_prefix(&root).unwrap_or(path).display().to_string();
            let regions = &file["summary"]["regions"];
            let counted = Regions { all: regions["count"].as_u64()?, reached: regions["covered"].as_u64()? };
            is_product(&name).then_some((name, counted))
        })
        .collect())
}

/// False for tests, models and the simulator, which live beside the code.
fn is_product(path: &str) -> bool {
    let in_crate = CRATES.iter().any(|name| path.starts_with(&format!("{name}/src/")));
    let is_test = ["/tests/", "/sim/", "/twin/"].iter().any(|part| path.contains(part))
        || ["/tests.rs", "/twin.rs"].iter().any(|end| path.ends_with(end));
    in_crate && !is_test
}

fn total(files: &BTreeMap<String, Regions>, name: &str) -> Regions {
    let mut total = Regions::default();
    let inside = files.iter().filter(|(path, _)| path.starts_with(&format!("{name}/")));
    inside.for_each(|(_, regions)| total.add(*regions));
    total
}

fn table_of_crates(files: &BTreeMap<String, Regions>) -> Table {
    let mut table = Table::new();
    table.set_header(["crate", "regions", "reached", "percent"]);
    for name in CRATES {
        table.add_row(row(name, total(files, name)));
    }
    table
}

fn table_of_files(files: &BTreeMap<String, Regions>, shown: usize) -> Table {
    let mut table = Table::new();
    table.set_header(["most regions not reached", "regions", "reached", "percent"]);
    let mut sorted: Vec<_> = files.iter().collect();
    sorted.sort_by_key(|(_, regions)| std::cmp::Reverse(regions.missed()));
    for (path, regions) in sorted.into_iter().take(shown) {
        table.add_row(row(path, *regions));
    }
    table
}

fn row(name: &str, regions: Regions) -> [String; 4] {
    [
        name.to_owned(),
        regions.all.to_string(),
        regions.reached.to_string(),
        format!("{:.1}", regions.percent()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_models_and_the_simulator_do_not_count() {
        for counted in ["wg-proto/src/noise.rs", "router-core/src/nat/pool.rs"] {
            assert!(is_product(counted), "{counted}");
        }
        for left_out in [
            "router-core/src/sim/mod.rs",
            "router-core/src/nat/tests.rs",
            "router-core/src/packet/tests/quote.rs",
            "router-core/src/nat/twin.rs",
            "bins/runtime/src/lib.rs",
        ] {
            assert!(!is_product(left_out), "{left_out}");
        }
    }

    #[test]
    fn an_export_is_read_and_summed_by_crate() {
        let file = |name: &str, count: u64, covered: u64| {
            let filename = root().join(name).display().to_string();
            serde_json::json!({ "filename": filename, "summary": { "regions": { "count": count, "covered": covered } } })
        };
        let files = [file("wg-proto/src/a.rs", 10, 9), file("wg-proto/src/b.rs", 10, 5)];
        let export = serde_json::json!({ "data": [{ "files": files }] });
        let read = read(&export).expect("well formed");
        let total = total(&read, "wg-proto");
        assert_eq!((total.all, total.reached, total.missed()), (20, 14, 6));
        assert!((total.percent() - 70.0).abs() < 1e-9);
    }

    #[test]
    fn an_export_without_files_is_an_error() {
        assert!(read(&serde_json::json!({})).is_err());
    }
}
