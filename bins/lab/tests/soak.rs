//! A minute of what `cargo xtask soak` does for an hour.

use std::time::Duration;

use anyhow::ensure;
use sluice_lab::{lab_test, soak};

#[test]
fn a_minute_of_churn_leaves_memory_and_descriptors_flat_and_logs_no_warning() {
    lab_test(|lab| {
        let report = soak::run(lab, Duration::from_secs(60), None)?;
        // On a slow machine there are fewer steps, but each kind of churn must have been there.
        let soak::Tally { reloads, visits, moves, weather, flows, .. } = report.tally;
        ensure!(reloads > 1 && visits > 0 && moves > 0 && weather > 0 && flows > 0, "{:?}", report.tally);
        report.check()
    });
}
