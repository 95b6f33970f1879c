//! Set-up, checks and demonstrations: cargo xtask --help.

fn main() {}
