//! A TOML document, taken apart table by table, so that one fault does not hide the others. What nobody took is
//! refused at the end.

use std::cell::RefCell;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::environment;
use super::fault::{DocumentFault, Place, Problems};

/// The largest file we read: room for some hundred thousand tables.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A table that is there at most once. Two types may share one table, each with its own keys.
pub trait Section: DeserializeOwned {
    /// The table's name.
    const TABLE: &'static str;
    /// The keys this type takes from it, and what an override from the environment is to look like.
    const KEYS: &'static [(&'static str, environment::Kind)];
}

/// A document being taken apart.
pub struct Document {
    root: Table,
    directory: PathBuf,
    /// The files it names.
    named: RefCell<Vec<PathBuf>>,
    /// What was asked for, to tell the reader of an unknown table or key what there is.
    known: Vec<(&'static str, Vec<&'static str>)>,
    environment: Vec<(String, String)>,
}

impl Document {
    /// Reads `path`, together with the overrides in `environment` (all variables; others are ignored).
    ///
    /// # Errors
    /// If it cannot be read or is not TOML.
    pub fn read(path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Problems> {
        let text = read_text(path).map_err(|fault| refused_whole(path, fault))?;
        Self::parse(path, &text, environment)
    }

    /// Takes `text` for what stands in `path`.
    ///
    /// # Errors
    /// If it is not TOML.
    pub fn parse(
        path: &Path,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let root = parse(text).map_err(|fault| refused_whole(path, fault))?;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let (named, environment) = (RefCell::default(), environment::ours(environment));
        Ok(Self { root, directory, named, known: Vec::new(), environment })
    }

    /// `path` as seen from the document's directory.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        let path = self.directory.join(path);
        self.named.borrow_mut().push(path.clone());
        path
    }

    /// Every path that was resolved so far.
    pub fn named(&self) -> Vec<PathBuf> {
        self.named.borrow().clone()
    }

    /// Whether there is such a table, in the file or in the environment.
    pub fn has(&self, table: &str) -> bool {
        self.root.contains_key(table) || environment::touches(&self.environment, table)
    }

    /// Takes the keys of `T` out of its table, overrides applied. A missing table counts as empty.
    pub fn section<T: Section>(&mut self, problems: &mut Problems) -> Option<T> {
        let place = Place::table(T::TABLE);
        self.know(T::TABLE, T::KEYS.iter().map(|(key, _)| *key).collect());
        let mut taken = self.take_keys::<T>(problems)?;
        for fault in environment::override_keys(&mut taken, T::TABLE, T::KEYS, &mut self.environment) {
            problems.note(&place, fault);
        }
        deserialize(Value::Table(taken), &place, problems)
    }

    /// Takes all tables of a list, each with its place. Those that do not fit are noted and left out.
    pub fn list<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        problems: &mut Problems,
    ) -> Vec<(Place, T)> {
        self.know(name, Vec::new());
        let entries = match self.root.remove(name) {
            None => return Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => {
                let fault =
                    DocumentFault::WrongKind { name: name.into(), expected: "a list of tables, [[…]]" };
                problems.note(&Place::file(), fault);
                return Vec::new();
            }
        };
        entries
            .into_iter()
            .enumerate()
            .filter_map(|(index, entry)| list_entry(name, index, entry, problems))
            .collect()
    }

    /// Notes every table, key and override that nobody took.
    pub fn finish(self, problems: &mut Problems) {
        for (name, value) in &self.root {
            self.refuse_rest(name, value, problems);
        }
        for (variable, _) in self.environment {
            problems.note(&Place::file(), DocumentFault::UnknownOverride(variable));
        }
    }

    fn refuse_rest(&self, name: &str, value: &Value, problems: &mut Problems) {
        let keys = self.known.iter().find(|(known, _)| *known == name).map(|(_, keys)| keys);
        match (keys, value) {
            (Some(keys), Value::Table(rest)) => {
                for key in rest.keys() {
                    let fault = DocumentFault::UnknownKey { key: key.clone(), known: keys.join(", ") };
                    problems.note(&Place::table(name), fault);
                }
            }
            _ => {
                let known: Vec<_> = self.known.iter().map(|(known, _)| *known).collect();
                let fault = DocumentFault::UnknownTable { name: name.into(), known: known.join(", ") };
                problems.note(&Place::file(), fault);
            }
        }
    }

    fn know(&mut self, table: &'static str, mut keys: Vec<&'static str>) {
        match self.known.iter_mut().find(|(known, _)| *known == table) {
            Some((_, known)) => known.append(&mut keys),
            None => self.known.push((table, keys)),
        }
    }

    fn take_keys<T: Section>(&mut self, problems: &mut Problems) -> Option<Table> {
        match self.root.get_mut(T::TABLE) {
            None => Some(Table::new()),
            Some(Value::Table(table)) => {
                Some(T::KEYS.iter().filter_map(|(key, _)| table.remove_entry(*key)).collect())
            }
            Some(_) => {
                self.root.remove(T::TABLE);
                let fault = DocumentFault::WrongKind { name: T::TABLE.into(), expected: "one table, […]" };
                problems.note(&Place::file(), fault);
                None
            }
        }
    }
}

fn list_entry<T: DeserializeOwned>(
    list: &str,
    index: usize,
    entry: Value,
    problems: &mut Problems,
) -> Option<(Place, T)> {
    let place = Place::entry(list, index, entry.get("name").and_then(Value::as_str));
    deserialize(entry, &place, problems).map(|entry| (place, entry))
}

fn deserialize<T: DeserializeOwned>(value: Value, place: &Place, problems: &mut Problems) -> Option<T> {
    let shaped = value.try_into().map_err(|error: toml::de::Error| DocumentFault::Shape(in_one_line(&error)));
    problems.take(place, shaped)
}

/// The parser's message and, on a line of its own, the path of the field.
fn in_one_line(error: &toml::de::Error) -> String {
    error.to_string().trim().lines().collect::<Vec<_>>().join(", ")
}

fn refused_whole(path: &Path, fault: DocumentFault) -> Problems {
    let mut problems = Problems::of(path);
    problems.note(&Place::file(), fault);
    problems
}

fn read_text(path: &Path) -> Result<String, DocumentFault> {
    let unreadable = |error: std::io::Error| DocumentFault::Unreadable(error.to_string());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(DocumentFault::TooLarge { max_bytes: FILE_BYTES_MAX });
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Table, DocumentFault> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
        let line = before.lines().count().max(1);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        DocumentFault::Syntax { line, column, message: error.message().to_owned() }
    })
}
