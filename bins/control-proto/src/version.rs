//! Versions of the protocol. `hello`, `welcome` and `bye` are the same in all of them, so that two ends can always say that they
//! have none in common.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of all messages together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u16);

/// The versions that an end speaks: all from the first to the last. As JSON, these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(Version, Version)", into = "(Version, Version)")]
pub struct Versions {
    first: Version,
    last: Version,
}

impl Versions {
    /// What this crate speaks. When there is a second version, the first stays for as long as agents have it.
    pub const OURS: Versions = Versions { first: Version(1), last: Version(1) };

    /// The versions from `first` to `last`; `None` if there are none.
    pub fn new(first: Version, last: Version) -> Option<Versions> {
        (first <= last).then_some(Versions { first, last })
    }

    /// Whether this is one of them.
    pub fn contains(&self, version: Version) -> bool {
        self.first <= version && version <= self.last
    }

    /// The newest that both speak.
    pub fn newest_in_common(&self, other: &Versions) -> Option<Version> {
        let newest = self.last.min(other.last);
        (self.contains(newest) && other.contains(newest)).then_some(newest)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{} to {}", self.first, self.last)
        }
    }
}

impl TryFrom<(Version, Version)> for Versions {
    type Error = &'static str;

    fn try_from((first, last): (Version, Version)) -> Result<Versions, Self::Error> {
        Versions::new(first, last).ok_or("the last version is before the first")
    }
}

impl From<Versions> for (Version, Version) {
    fn from(versions: Versions) -> Self {
        (versions.first, versions.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(first: u16, last: u16) -> Versions {
        Versions::new(Version(first), Version(last)).unwrap()
    }

    #[test]
    fn two_ends_speak_the_newest_version_that_both_know() {
        for (theirs, expected) in [
            (versions(0, 1), Some(Version(1))),
            (versions(1, 1), Some(Version(1))),
            (versions(1, 2), Some(Version(1))),
            (versions(0, 9), Some(Version(1))),
            (versions(0, 0), None),
            (versions(2, 3), None),
        ] {
            assert_eq!(versions(1, 1).newest_in_common(&theirs), expected, "{theirs}");
            assert_eq!(theirs.newest_in_common(&versions(1, 1)), expected, "{theirs}");
        }
        assert_eq!(versions(1, 3).newest_in_common(&versions(2, 5)), Some(Version(3)));
        assert_eq!(Versions::new(Version(2), Version(1)), None);
    }
}
