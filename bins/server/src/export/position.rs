//! How far an output is: the number of the last event that it took, kept in a file, so that a restart goes on from there. After
//! a crash some events may be told twice; their numbers say so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Of one output.
pub(super) struct Position {
    path: PathBuf,
    told: u64,
}

impl Position {
    /// As it was left; from the beginning if there is none.
    pub(super) fn of(directory: &Path, output: &str) -> Position {
        let path = directory.join(format!("audit-{output}.position"));
        let told = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        Position { path, told: told.unwrap_or(0) }
    }

    /// The last event that was told.
    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// This one was.
    pub(super) fn set(&mut self, told: u64) -> io::Result<()> {
        self.told = told;
        let partial = self.path.with_extension("new");
        fs::write(&partial, format!("{told}\n"))?;
        fs::rename(&partial, &self.path)
    }
}
