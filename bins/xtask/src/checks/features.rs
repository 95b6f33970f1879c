//! Features of the libraries, alone and without each other: the workspace's own build turns them all on.

use anyhow::Result;

use crate::cargo::cargo;
use crate::run::{Log, logged};
use crate::step::Outcome;

/// Package and features, without the defaults.
const COMBINATIONS: [(&str, &str); 4] = [
    ("wg-proto", "rustcrypto"),
    ("wg-proto", "aws-lc-rs"),
    ("router-core", "rustcrypto"),
    ("router-core", "rustcrypto,sim"),
];

/// Checks each combination.
pub(crate) fn check(log: &Log) -> Result<Outcome> {
    for (package, features) in COMBINATIONS {
        let arguments = ["check", "--locked", "-p", package, "--no-default-features", "--features", features];
        if let Err(failure) = logged(&mut cargo(&arguments), log)? {
            return Ok(Outcome::Failed(failure));
        }
    }
    Ok(Outcome::Passed)
}
