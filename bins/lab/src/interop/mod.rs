//! Two implementations, back to back: who may meet whom in which role, and long runs of all of them.

mod long_run;
mod pings;

use std::fmt;

pub use long_run::{LongRun, Outcome};
pub use pings::Pings;

use crate::peer::Implementation::{self, Boringtun, Gotatun, Sluice, WireguardGo};

/// Who dials and who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Knows where the other one is.
    pub dialler: Implementation,
    /// Learns where the other one is.
    pub answerer: Implementation,
}

impl Roles {
    /// Ours with each of the others, in both roles.
    pub const ALL: [Roles; 6] = [
        roles(Sluice, WireguardGo),
        roles(WireguardGo, Sluice),
        roles(Sluice, Gotatun),
        roles(Gotatun, Sluice),
        roles(Sluice, Boringtun),
        roles(Boringtun, Sluice),
    ];

    /// Ours and one other, in both roles.
    pub fn with(other: Implementation) -> [Roles; 2] {
        [roles(Sluice, other), roles(other, Sluice)]
    }

    /// The implementation that is not ours.
    pub fn other(self) -> Implementation {
        if self.dialler == Sluice { self.answerer } else { self.dialler }
    }
}

const fn roles(dialler: Implementation, answerer: Implementation) -> Roles {
    Roles { dialler, answerer }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dials {}", self.dialler.name(), self.answerer.name())
    }
}
