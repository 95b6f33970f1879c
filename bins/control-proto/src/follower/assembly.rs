//! A snapshot that comes in parts. Nothing of it is in force before all of it has come and fits.

use crate::message::{AgentKind, Problem, Snapshot};
use crate::position::Generation;
use crate::state::State;
use crate::violation::Violation;

// Our own choice: with parts of a quarter of a mebibyte, half a gibibyte.
const PARTS_MAX: u32 = 2048;

/// The parts so far.
#[derive(Debug)]
pub(super) struct Assembly {
    generation: Generation,
    parts: u32,
    next: u32,
    /// What they make, or why they make nothing.
    state: Result<State, Problem>,
}

impl Assembly {
    /// Of the snapshot that this is the first part of.
    pub(super) fn begin(kind: AgentKind, first: &Snapshot) -> Result<Assembly, Violation> {
        if first.part != 0 || !(1..=PARTS_MAX).contains(&first.parts) {
            return Err(Violation::PartOutOfOrder);
        }
        let state = Ok(State::new(kind));
        Ok(Assembly { generation: first.generation, parts: first.parts, next: 0, state })
    }

    /// Takes the next part. The rest of a snapshot that makes nothing is taken and forgotten.
    pub(super) fn take(&mut self, part: Snapshot) -> Result<(), Violation> {
        let expected = (self.generation, self.parts, self.next);
        if (part.generation, part.parts, part.part) != expected {
            return Err(Violation::PartOutOfOrder);
        }
        self.next += 1;
        if let Ok(state) = &mut self.state {
            let fault = part.items.into_iter().find_map(|item| match state.get(&item.key()) {
                None => state.put(item).err().map(Problem::new),
                Some(_) => Some(Problem::new(format_args!("{:?} comes twice", item.key()))),
            });
            if let Some(problem) = fault {
                self.state = Err(problem);
            }
        }
        Ok(())
    }

    /// Whether all parts have come.
    pub(super) fn is_whole(&self) -> bool {
        self.next == self.parts
    }

    /// What it makes.
    pub(super) fn into_state(self) -> (Generation, Result<State, Problem>) {
        (self.generation, self.state)
    }
}
