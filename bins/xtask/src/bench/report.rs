//! What a run says: tables to read, samples to keep.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use comfy_table::presets::ASCII_MARKDOWN;
use serde_json::{Value, json};

use super::lane::Named;
use crate::cargo::target;

/// One kind's results.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) kind: &'static str,
    /// What was measured, in which versions and settings.
    pub(crate) caption: String,
    pub(crate) tables: Vec<Table>,
    /// Measurements that failed; a report with any is incomplete.
    pub(crate) failures: Vec<String>,
    /// Every sample.
    pub(crate) data: Value,
}

/// A table of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// A column for each lane, after the first.
    pub(crate) fn new<N: Named>(first: &str, lanes: &[N]) -> Table {
        let lanes = lanes.iter().map(|lane| lane.name().to_owned());
        Table { header: std::iter::once(first.to_owned()).chain(lanes).collect(), rows: Vec::new() }
    }

    fn markdown(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(ASCII_MARKDOWN).set_header(&self.header);
        table.add_rows(&self.rows);
        table.trim_fmt()
    }
}

impl Report {
    /// Title, caption, tables, and what failed.
    pub(crate) fn markdown(&self) -> String {
        let mut parts = vec![format!("### {}", self.kind), self.caption.clone()];
        parts.extend(self.tables.iter().map(Table::markdown));
        parts.extend(self.failures.iter().map(|failure| format!("Failed: {failure}")));
        parts.join("\n\n") + "\n"
    }

    /// The same, with every sample.
    pub(crate) fn json(&self) -> Value {
        let tables: Vec<Value> =
            self.tables.iter().map(|table| json!({ "header": table.header, "rows": table.rows })).collect();
        json!({
            "kind": self.kind,
            "caption": self.caption,
            "tables": tables,
            "failures": self.failures,
            "data": self.data,
        })
    }

    /// Into a file of its own under the target directory, so that the next run does not take it away.
    pub(crate) fn save(&self) -> Result<()> {
        let directory = target().join("bench");
        std::fs::create_dir_all(&directory)?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let path = directory.join(format!("{}-{seconds}.json", self.kind));
        std::fs::write(&path, format!("{:#}\n", self.json()))
            .with_context(|| format!("write {}", path.display()))
    }
}
