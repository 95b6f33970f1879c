//! What is wrong with a document, field by field: all of it at once.

use std::fmt::Display;

use sluice_api::FieldProblem;

/// Collects what is wrong with a document.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<FieldProblem>);

/// A place in a document: a JSON pointer (RFC 6901).
#[derive(Debug, Clone)]
pub(crate) struct Place(String);

impl Faults {
    /// Notes that the value at `place` is wrong.
    pub(crate) fn note(&mut self, place: &Place, why: impl Display) {
        self.0.push(FieldProblem { pointer: place.0.clone(), detail: why.to_string() });
    }

    /// The value, or `None` with the fault noted.
    pub(crate) fn take<T, E: Display>(&mut self, place: &Place, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|why| self.note(place, why)).ok()
    }

    /// All of them; empty if the document is good.
    pub(crate) fn into_problems(self) -> Vec<FieldProblem> {
        self.0
    }
}

impl Place {
    /// The document itself.
    pub(crate) fn document() -> Place {
        Place(String::new())
    }

    /// A field of it.
    pub(crate) fn field(&self, name: &str) -> Place {
        Place(format!("{}/{}", self.0, name.replace('~', "~0").replace('/', "~1")))
    }

    /// An entry of a list.
    pub(crate) fn index(&self, index: usize) -> Place {
        Place(format!("{}/{index}", self.0))
    }

    /// As a text.
    pub(crate) fn pointer(&self) -> &str {
        &self.0
    }
}
