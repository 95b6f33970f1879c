//! Cargo and this workspace's directories.

use std::path::PathBuf;
use std::process::Command;

use sluice_lab::requirements;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    // CARGO_MANIFEST_DIR of this crate is <root>/bins/xtask; cargo sets it for `cargo run`, too.
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    own.join("../..").canonicalize().unwrap_or(own)
}

/// The one target directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where tools that we install live.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// `cargo ARGUMENTS`, without what `cargo run` put into our environment.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).env("CARGO_TERM_COLOR", "never").env_remove("RUSTC").env_remove("RUSTDOC");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // Build scripts watch these; left in place they make cargo build everything twice.
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_BIN_NAME" {
            command.env_remove(&name);
        }
    }
    // A machine that builds once has no second build to make faster; the caches would double what lies on its disk.
    if requirements::in_ci() && std::env::var_os("CARGO_INCREMENTAL").is_none() {
        command.env("CARGO_INCREMENTAL", "0");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(tools().join("bin")).chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(paths) {
        command.env("PATH", path);
    }
    command
}
