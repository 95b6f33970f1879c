//! Reaches devices in a tenant network for Sluice routers.
#![expect(dead_code, reason = "the connector itself is being built on it")]

mod config;
fn main() {}
