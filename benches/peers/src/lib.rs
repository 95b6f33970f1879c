//! Nothing but its benchmark: `cargo xtask tunnels`.
