//! What a TCP segment does to a flow, seen from the middle.
//!
//! Read first: RFC 9293 §3.10, RFC 5961 §3–5, RFC 6191, RFC 7323 §2, and Guido van Rooij, "Real Stateful TCP Packet
//! Filtering in IP Filter" (2001), whose four bounds `window.rs` checks. Called by the flow table; calls nothing.
//!
//! The rules that are not plain bookkeeping:
//! - Only a SYN opens a flow (TCP-4). A SYN that meets a live flow passes and changes nothing: its receiver answers
//!   with a challenge ACK, the sender with a reset that names the exact sequence number, and that closes the flow.
//!   If the receiver had forgotten the connection, it answers SYN-ACK, and the flow starts again from that pair. The same
//!   in a handshake, whose SYN is repeated until its answer comes: a receiver that restarts meanwhile numbers anew.
//! - A reset closes only at the exact next sequence number: what its receiver has acknowledged, or what its sender
//!   has sent last (TCP-2). Elsewhere in the window it passes, so that the receiver can challenge it, and changes
//!   nothing; outside it is dropped.
//! - One end may finish while the other keeps sending: the established timer runs until both have finished.
//! - A segment outside the window never refreshes or changes anything.

mod segment;
mod seq;
mod track;
mod window;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod two_ends;

pub use segment::Segment;
pub use track::{ResetNumbers, Resets, TcpState, TcpTrack};

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpVerdict {
    /// It belongs to the conversation: it passes and refreshes the flow.
    Accept,
    /// It passes for its receiver to judge, and neither refreshes nor changes the flow.
    AcceptNoStateChange,
    /// It does not pass.
    Invalid(InvalidTcp),
}

/// Why a segment does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidTcp {
    /// No legal sender sets these flags together.
    Flags,
    /// The first segment of a flow is not a SYN. TCP-4.
    NotOpening,
    /// The handshake is not at this point.
    OutOfTurn,
    /// It begins beyond what the receiver has offered to take.
    BeyondWindow,
    /// It ends before anything the receiver could still want.
    BeforeWindow,
    /// It acknowledges what was never sent.
    AckBeyondSent,
    /// It acknowledges what was acknowledged more than a window ago.
    AckTooOld,
    /// A reset outside the window, or in a handshake at any but the exact number.
    ResetOutsideWindow,
}
