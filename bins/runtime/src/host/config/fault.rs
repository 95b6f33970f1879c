//! What is wrong with a configuration: where, what, and what to do about it. Faults are collected, so that one run
//! of `check-config` shows all of them.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// One thing wrong. `Display` says what; [`Fault::remedy`] says what to do.
pub trait Fault: Error {
    /// What the reader is to do, as a full sentence.
    fn remedy(&self) -> String;
}

/// Where in a file: `client 2 "alice": addresses[1]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    table: String,
    field: String,
}

impl Place {
    /// The file as a whole.
    pub fn file() -> Self {
        Self { table: String::new(), field: String::new() }
    }

    /// A table that is there once, such as `[node]`.
    pub fn table(name: &str) -> Self {
        Self { table: format!("[{name}]"), field: String::new() }
    }

    /// The table number `index` (from 0) of those named so, with the name it gives itself.
    pub fn entry(table: &str, index: usize, name: Option<&str>) -> Self {
        let named = name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
        Self { table: format!("[[{table}]] {}{named}", index + 1), field: String::new() }
    }

    /// A field of this table, or of this field.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        let dot = if self.field.is_empty() { "" } else { "." };
        Self { table: self.table.clone(), field: format!("{}{dot}{name}", self.field) }
    }

    /// An element of this field, from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self { table: self.table.clone(), field: format!("{}[{index}]", self.field) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.table.is_empty(), self.field.is_empty()) {
            (true, true) => f.write_str("the file as a whole"),
            (true, false) => f.write_str(&self.field),
            (false, true) => f.write_str(&self.table),
            (false, false) => write!(f, "{}: {}", self.table, self.field),
        }
    }
}

/// All that is wrong with one file.
#[derive(Debug)]
pub struct Problems {
    file: PathBuf,
    found: Vec<Problem>,
}

#[derive(Debug)]
struct Problem {
    place: Place,
    fault: Box<dyn Fault + Send + Sync>,
}

impl Problems {
    /// Nothing wrong yet with `file`.
    pub fn of(file: &Path) -> Self {
        Self { file: file.to_owned(), found: Vec::new() }
    }

    /// Notes a fault.
    pub fn note(&mut self, place: &Place, fault: impl Fault + Send + Sync + 'static) {
        self.found.push(Problem { place: place.clone(), fault: Box::new(fault) });
    }

    /// Takes the value of `result`, or notes its fault.
    pub fn take<T, F: Fault + Send + Sync + 'static>(
        &mut self,
        place: &Place,
        result: Result<T, F>,
    ) -> Option<T> {
        result.map_err(|fault| self.note(place, fault)).ok()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// `value`, if nothing is wrong.
    ///
    /// # Errors
    /// Itself, if something is, or if there is no value.
    pub fn or<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => Err(self),
        }
    }

    /// The places and texts found, in the order of finding. For tests and machines.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, &(dyn Fault + Send + Sync))> {
        self.found.iter().map(|problem| (&problem.place, &*problem.fault))
    }
}

impl Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.found.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "{}: refused, {count} {noun}", self.file.display())?;
        for Problem { place, fault } in &self.found {
            write!(f, "\n\n  {place}\n    what: {fault}\n    do:   {}", fault.remedy())?;
        }
        Ok(())
    }
}

/// What can be wrong with a document before anybody looks at its meaning.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DocumentFault {
    /// The system does not let us read it.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// Larger than anything we are ready to read.
    #[error("the file is larger than {max_bytes} bytes")]
    TooLarge {
        /// The bound.
        max_bytes: u64,
    },
    /// Not TOML.
    #[error("not TOML, line {line}, column {column}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The parser's words.
        message: String,
    },
    /// TOML, but a field is missing or of another type.
    #[error("{0}")]
    Shape(String),
    /// A table or list of tables nobody knows.
    #[error("no table is called \"{name}\"")]
    UnknownTable {
        /// As written.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A key nobody knows.
    #[error("no key is called \"{key}\" here")]
    UnknownKey {
        /// As written.
        key: String,
        /// Those there are.
        known: String,
    },
    /// `[[node]]` for `[node]`, or the other way round.
    #[error("\"{name}\" is not written as {expected}")]
    WrongKind {
        /// Which table.
        name: String,
        /// How it is to be written.
        expected: &'static str,
    },
    /// An environment variable that overrides nothing.
    #[error("the environment variable {0} overrides no key")]
    UnknownOverride(String),
    /// An environment variable whose value does not fit.
    #[error("the environment variable {variable} is not {expected}")]
    BadOverride {
        /// Its name; the value may be a secret's path and is not repeated.
        variable: String,
        /// What it is to be.
        expected: &'static str,
    },
}

impl Fault for DocumentFault {
    fn remedy(&self) -> String {
        match self {
            Self::Unreadable(_) => "Check the path and the rights of the user this runs as.".into(),
            Self::TooLarge { .. } => "Check that this is the right file.".into(),
            Self::Syntax { .. } => "Correct the line; strings are in quotes, tables in brackets.".into(),
            Self::Shape(_) => "Correct the field; docs/examples shows every table with all its keys.".into(),
            Self::UnknownTable { known, .. } | Self::UnknownKey { known, .. } => {
                format!("Remove it or correct the spelling; known here: {known}.")
            }
            Self::WrongKind { expected, .. } => format!("Write it as {expected}."),
            Self::UnknownOverride(_) => {
                "Unset it or correct its name: SLUICE_NODE_KEY, SLUICE_TUN_KEY or SLUICE_SOCKETS_KEY.".into()
            }
            Self::BadOverride { .. } => "Unset it or correct its value.".into(),
        }
    }
}
