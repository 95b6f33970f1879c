//! Where our own programs and other projects' are found.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Result, bail};

/// A program of this workspace: in `SLUICE_BIN_DIR`, else beside the running program or its `deps` directory.
pub fn sluice(name: &str) -> Result<PathBuf> {
    let places = places();
    match places.iter().map(|place| place.join(name)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("{name} is not built (looked in {places:?}); run `cargo build --workspace --bins`"),
    }
}

/// A peer implementation of another project: installed by `cargo xtask setup`, or on the path.
pub fn peer(name: &str) -> Option<PathBuf> {
    let tools = places().into_iter().filter_map(|place| Some(place.parent()?.join("tools/bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    tools.chain(path).map(|place| place.join(name)).find(|path| path.is_file())
}

/// From now on this process looks for programs in `directory`; only the first call counts.
pub fn use_directory(directory: PathBuf) {
    let _ = DIRECTORY.set(directory);
}

static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

fn places() -> Vec<PathBuf> {
    if let Some(directory) = DIRECTORY.get() {
        return vec![directory.clone()];
    }
    if let Some(directory) = std::env::var_os("SLUICE_BIN_DIR") {
        return vec![PathBuf::from(directory)];
    }
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.parent().unwrap_or(Path::new("")).to_owned();
    let above = beside.parent().unwrap_or(Path::new("")).to_owned();
    vec![beside, above]
}
