//! What may be there only once: names, keys, overlay addresses, prefixes.

use std::collections::BTreeMap;

use super::fault::{Place, Problems};
use super::value::ValueFault;

/// Things of one kind seen so far, each with the place where it stands.
pub struct Unique<T> {
    kind: &'static str,
    seen: BTreeMap<T, Place>,
}

impl<T: Ord + std::fmt::Display> Unique<T> {
    /// Nothing seen yet. `kind` is what messages call such a thing.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, seen: BTreeMap::new() }
    }

    /// Sees `thing` at `place`; a second sight is noted.
    pub fn see(&mut self, thing: T, place: &Place, problems: &mut Problems) {
        match self.seen.get(&thing) {
            Some(first) => {
                let what = format!("{} {thing}", self.kind);
                problems.note(place, ValueFault::Duplicate { what, first: first.clone() });
            }
            None => drop(self.seen.insert(thing, place.clone())),
        }
    }
}
