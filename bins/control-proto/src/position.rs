//! Where an agent is: how many changes of which leader it has applied.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::written::as_text;

/// How many changes the desired state has seen since its leader began. Each change is one generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// A leader's life. Generations of different ones have nothing to do with each other. As JSON, a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(#[serde(with = "as_text")] pub u128);

/// An agent's life: counters begin at nothing in each. As JSON, a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(#[serde(with = "as_text")] pub u128);

/// What an agent has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Of which leader.
    pub epoch: Epoch,
    /// Up to and with this change.
    pub generation: Generation,
}

impl Generation {
    /// The one behind `changes` more changes.
    ///
    /// # Panics
    /// Never: so many changes do not happen.
    pub fn after(self, changes: usize) -> Generation {
        Generation(self.0.checked_add(changes as u64).expect("nobody makes 2^64 changes"))
    }

    /// How many changes lie between an earlier one and this; `None` if it is later.
    pub fn changes_since(self, earlier: Generation) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
