//! How answers are shown: as a table for people, as JSON for programs, as names for shells.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;
use sluice_runtime::host::failure::{Exit, Failure};

/// How.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// All there is.
    Json,
    /// One name a line.
    Name,
}

/// Prints documents. `columns` has a row for each, whose first cell is its name.
pub(super) fn print(
    format: Format,
    documents: &impl Serialize,
    titles: &[&str],
    columns: &[Vec<String>],
) -> Result<(), Failure> {
    match format {
        Format::Table => say(&table(titles, columns)),
        Format::Name => {
            let names: String = columns
                .iter()
                .filter_map(|row| row.first())
                .map(|name| format!("{}\n", plain(name)))
                .collect();
            say(&names)
        }
        Format::Json => {
            let text = serde_json::to_string_pretty(documents);
            let text = text.map_err(|error| Failure::new(Exit::Failed, "cannot write").because(&error))?;
            say(&format!("{text}\n"))
        }
    }
}

/// Writes to standard output. A reader that has gone away is no failure of ours.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, "cannot write to standard output").because(&error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Columns as wide as their widest cell.
fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = titles.iter().map(|title| title.to_uppercase()).collect();
    let rows: Vec<Vec<String>> =
        std::iter::once(&head).chain(rows).map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// What users of the server wrote must not steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_what_would_steer_a_terminal_is_blank() {
        let rows =
            [vec!["web".to_owned(), "a".to_owned()], vec!["longer\u{1b}[2J".to_owned(), String::new()]];
        assert_eq!(table(&["name", "tags"], &rows), "NAME        TAGS\nweb         a\nlonger [2J\n");
    }
}
