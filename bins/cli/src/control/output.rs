//! How answers are shown: as a table for people, as JSON or YAML for programs, as names for shells.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value};
use sluice_runtime::host::failure::{Exit, Failure};

/// How.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// All there is.
    Json,
    /// The same for people.
    Yaml,
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
        Format::Json | Format::Yaml => say(&written(format, documents)?),
    }
}

/// A document as JSON, or else as YAML.
pub(super) fn written(format: Format, document: &impl Serialize) -> Result<String, Failure> {
    let unwritten = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Failed, "cannot write the answer").because(error)
    };
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(document).map_err(|error| unwritten(&error))?;
            Ok(text + "\n")
        }
        Format::Table | Format::Yaml | Format::Name => {
            let text = serde_saphyr::to_string(document).map_err(|error| unwritten(&error))?;
            Ok(text.trim_end().to_owned() + "\n")
        }
    }
}

/// A document for people: a field a line, aligned, with what is in it below it.
pub(super) fn outline(document: &Map<String, Value>) -> String {
    let mut out = String::new();
    fields(&mut out, document, 0);
    out
}

fn fields(out: &mut String, document: &Map<String, Value>, depth: usize) {
    let indent = "  ".repeat(depth);
    let width = document.keys().map(String::len).max().unwrap_or(0);
    for (field, value) in document {
        let field = plain(field);
        match value {
            Value::Null => {}
            Value::Object(inner) => {
                out.push_str(&format!("{indent}{field}\n"));
                fields(out, inner, depth + 1);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                out.push_str(&format!("{indent}{field}\n"));
                for (index, item) in items.iter().enumerate() {
                    out.push_str(&format!("{indent}  [{index}]\n"));
                    match item {
                        Value::Object(inner) => fields(out, inner, depth + 2),
                        Value::Null
                        | Value::Bool(_)
                        | Value::Number(_)
                        | Value::String(_)
                        | Value::Array(_) => out.push_str(&format!("{indent}    {}\n", words(item))),
                    }
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                out.push_str(&format!("{indent}{field:width$}  {}\n", words(value)))
            }
        }
    }
}

/// A value in a cell.
pub(super) fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(words).collect::<Vec<_>>().join(", ")
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
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
    fn a_document_is_outlined_with_what_is_in_it_below_it() {
        let document = serde_json::json!({
            "name": "db\u{1b}[2J", "roles": ["dba", "dev"], "none": null,
            "dst": [{ "selector": { "ip": "10.0.0.1", "port": 22 } }],
        });
        let outlined = outline(document.as_object().unwrap());
        let expected = "dst\n  [0]\n    selector\n      ip    10.0.0.1\n      port  22\nname   db [2J\nroles  dba, dev\n";
        assert_eq!(outlined, expected);
    }

    #[test]
    fn a_document_is_the_same_in_json_and_yaml() {
        let document = serde_json::json!({ "name": "yes", "port": "8000-8009", "on": true, "from": "08:00" });
        let (json, yaml) =
            (written(Format::Json, &document).unwrap(), written(Format::Yaml, &document).unwrap());
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), document);
        assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), document, "{yaml}");
    }

    #[test]
    fn columns_are_aligned_and_what_would_steer_a_terminal_is_blank() {
        let rows =
            [vec!["web".to_owned(), "a".to_owned()], vec!["longer\u{1b}[2J".to_owned(), String::new()]];
        assert_eq!(table(&["name", "tags"], &rows), "NAME        TAGS\nweb         a\nlonger [2J\n");
    }
}
