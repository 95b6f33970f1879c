//! Reaches devices in a tenant network for Sluice routers.

fn main() {}
