//! Translated ICMP errors for the record: router-core/tests/golden has what the kernel made of them, and router-core's own
//! tests hold ours against it. Here the record is made anew and compared, so that it stays the kernel's.

mod errors;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use router_core::sim::border::RuleSet;
use router_core::sim::border::recording::{self, Case};
use sluice_lab::{Lab, lab_test};

use crate::in_own_thread;
use crate::kernel::KernelWorld;

/// Writes the files instead of comparing with them.
const RECORD: &str = "SLUICE_GOLDEN_RECORD";

const FILES: [(&str, RuleSet); 3] =
    [("snat", RuleSet::ALL[0]), ("dnat", RuleSet::ALL[1]), ("both", RuleSet::ALL[2])];

#[test]
fn the_record_of_translated_errors_is_what_the_kernel_does() {
    lab_test(|lab| {
        for (name, rules) in FILES {
            let cases = in_own_thread(|| record(lab, name, rules))?;
            match std::env::var_os(RECORD) {
                Some(_) => std::fs::write(file(name), text(&cases))?,
                None => compare(name, &cases)?,
            }
        }
        Ok(())
    });
}

fn record(lab: &Lab, name: &str, rules: RuleSet) -> Result<Vec<Case>> {
    let mut kernel = KernelWorld::new(lab, name, rules)?;
    errors::of(rules).iter().map(|error| error.record(&mut kernel)).collect()
}

fn compare(name: &str, now: &[Case]) -> Result<()> {
    let path = file(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let then = recording::read(&text)?;
    let names = |cases: &[Case]| cases.iter().map(|case| case.name.clone()).collect::<Vec<_>>();
    ensure!(names(&then) == names(now), "{name}: other cases are on record; {RECORD}=1 makes it anew");
    for (then, now) in then.iter().zip(now) {
        ensure!(then == now, "{name}: on record is\n{then}\nbut the kernel did\n{now}");
    }
    Ok(())
}

fn text(cases: &[Case]) -> String {
    let mut text = "# ICMP errors on their way through Linux's NAT (nftables), recorded by bins/lab/tests/differential/golden.\n\
                    # Read by router-core/tests/simulator/golden.rs; `text2pcap -l 101` makes a capture of it.\n"
        .to_owned();
    cases.iter().for_each(|case| text += &format!("\n{case}"));
    text
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../router-core/tests/golden").join(format!("{name}.txt"))
}
