//! Packets that a node writes itself: ICMP errors, echo replies, resets. Each is written to the start of a buffer of
//! the caller and comes back as its length. Read first: RFC 1812 section 4.3, RFC 4443 section 2.4, RFC 9293
//! section 3.10.7.

mod echo_reply;
mod header;
mod icmp_error;
mod reset;

pub use echo_reply::echo_reply;
pub use icmp_error::{Notice, Unreachable, icmp_error, may_answer};
pub use reset::{reset, reset_answering};

/// Longest packet that any builder here but [`echo_reply()`] writes: a quote over IPv6 (GEN-1).
pub const BUILT_BYTES_MAX: usize = 1280;

/// Why nothing was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The buffer is too short.
    #[error("{need} bytes do not fit into {have}")]
    NoRoom {
        /// Length of the packet.
        need: usize,
        /// Length of the buffer.
        have: usize,
    },
    /// The packet to answer gets no such answer: see each builder.
    #[error("packet gets no answer")]
    Unanswerable,
    /// The addresses given are not of one version.
    #[error(transparent)]
    VersionMismatch(#[from] super::VersionMismatch),
}
