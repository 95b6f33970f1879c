//! Audit events as lines of JSON, each whole or not there. The file may be moved away at any time; another is begun.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use serde_json::json;
use tokio::task::spawn_blocking;

use super::{ExportError, Gap};
use crate::store::audit::Entry;

/// A file that events are added to.
pub(super) struct EventFile {
    path: PathBuf,
}

impl EventFile {
    pub(super) fn new(path: PathBuf) -> EventFile {
        EventFile { path }
    }

    /// Durable when it returns.
    pub(super) async fn tell(&self, gap: Option<Gap>, entries: &[Entry]) -> Result<(), ExportError> {
        let mut text = String::new();
        if let Some(gap) = gap {
            text += &format!("{}\n", json!({ "left_out": { "first": gap.first, "last": gap.last } }));
        }
        for entry in entries {
            text += &format!("{}\n", line(entry)?);
        }
        let path = self.path.clone();
        let written = spawn_blocking(move || append(&path, text.as_bytes())).await;
        Ok(written.map_err(io::Error::other)??)
    }
}

/// An event with its hash, as one line.
pub(super) fn line(entry: &Entry) -> io::Result<String> {
    let mut document = serde_json::to_value(&entry.link).map_err(io::Error::other)?;
    if let Some(fields) = document.as_object_mut() {
        fields.insert("hash".to_owned(), entry.hash.clone().into());
    }
    Ok(document.to_string())
}

fn append(path: &std::path::Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    end_line(&mut file)?;
    let before = file.metadata()?.size();
    // A part of it would be a line that nobody can read.
    file.write_all(text).and_then(|()| file.sync_data()).inspect_err(|_| {
        let _ = file.set_len(before);
    })
}

/// What a crash left of a line is ended, so that the next one is whole.
fn end_line(file: &mut File) -> io::Result<()> {
    if file.metadata()?.size() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}
