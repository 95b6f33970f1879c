//! Documents as people write them, and what they mean: names they claim, others they name, objects of policy. Read first:
//! the crate sluice-api. Called by engine; calls `router_core::access`.
//!
//! A document is checked as a whole: all its faults are told at once, each with the place where it is.

mod fault;
mod kinds;
mod target;
mod value;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::objects::{Claim, Kind};

pub(crate) use self::fault::{Faults, Place};
pub(crate) use self::kinds::{pool_of, user_of};
pub(crate) use self::target::{target_of, words_of};
pub(crate) use self::value::addresses;

/// A document of one kind of objects.
pub(crate) trait Document: Serialize + DeserializeOwned + Send + Sync {
    /// Which kind.
    const KIND: Kind;

    /// What it is called: unique in its kind and tenant.
    fn name(&self) -> String;

    /// Whose it is; `None`: the installation's.
    fn tenant(&self) -> Option<&str> {
        None
    }

    /// Whom it names, and where.
    fn named(&self) -> Vec<Named> {
        Vec::new()
    }

    /// What it alone may have.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    /// Notes everything that is wrong with it, as far as it can be seen in itself.
    fn check(&self, faults: &mut Faults);
}

/// Another object that a document names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) place: String,
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

impl Named {
    fn at(place: &Place, kind: Kind, name: &str) -> Named {
        Named { place: place.pointer().to_owned(), kind, name: name.to_owned() }
    }
}
