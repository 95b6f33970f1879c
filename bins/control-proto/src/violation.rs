//! What an end does that the protocol does not allow. The connection ends, with a `bye` that says so.

use crate::message::AgentKind;
use crate::position::Generation;
use crate::version::Versions;

/// What the other end did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// No version in common.
    #[error("no version in common: the server speaks {server}, the agent {agent}")]
    NoCommonVersion {
        /// What the server speaks.
        server: Versions,
        /// What the agent speaks.
        agent: Versions,
    },
    /// An agent of another kind than the key belongs to.
    #[error("the agent says it is a {said:?}, but is known as a {known:?}")]
    WrongKind {
        /// What it says.
        said: AgentKind,
        /// What it is known as.
        known: AgentKind,
    },
    /// A message that cannot come now.
    #[error("a `{word}` out of its place")]
    OutOfPlace {
        /// Which.
        word: &'static str,
    },
    /// An answer for a generation that was not sent, or was answered for.
    #[error("an answer for generation {answered}, but {sent} was sent last")]
    NeverSent {
        /// The one answered for.
        answered: Generation,
        /// The last one sent.
        sent: Generation,
    },
    /// Parts of a snapshot in another order, or of several.
    #[error("a part of a snapshot out of its order")]
    PartOutOfOrder,
    /// A delta whose changes are not one for each generation.
    #[error("a delta of {changes} changes from generation {base} to {generation}")]
    DeltaLength {
        /// How many changes it has.
        changes: usize,
        /// From where.
        base: Generation,
        /// To where.
        generation: Generation,
    },
    /// A lease for what was never applied.
    #[error("a lease for generation {0}, which is not in force here")]
    LeaseAhead(Generation),
    /// The other end says nothing any more.
    #[error("nothing was heard for too long")]
    Silent,
}
