//! How far our own initiation to a peer is. (As responder there is no such state: an initiation is answered at
//! once, and what comes of it is a session.)

use alloc::boxed::Box;

use crate::index::SessionIndex;
use crate::noise::InitiatorState;
use crate::time::Instant;

/// Our side of a handshake with one peer.
#[derive(Default)]
pub(crate) enum Handshake {
    /// Nothing under way. Entered at first, and when a response was accepted, a session confirmed, or keys wiped.
    #[default]
    Idle,
    /// An initiation was sent; a later one replaces it. Entered whenever an initiation is sent.
    InitiationSent(Box<InitiationSent>),
}

/// An initiation that waits for its response.
pub(crate) struct InitiationSent {
    pub(crate) noise: InitiatorState,
    pub(crate) local: SessionIndex,
    pub(crate) sent_at: Instant,
}

impl Handshake {
    /// The initiation whose response `index` is addressed to.
    pub(crate) fn initiation(&self, index: SessionIndex) -> Option<&InitiationSent> {
        match self {
            Handshake::InitiationSent(sent) if sent.local == index => Some(sent),
            Handshake::InitiationSent(_) | Handshake::Idle => None,
        }
    }

    /// Ends it. Returns the index that is to be freed, or to pass on to the session.
    pub(crate) fn end(&mut self) -> Option<SessionIndex> {
        match core::mem::take(self) {
            Handshake::InitiationSent(sent) => Some(sent.local),
            Handshake::Idle => None,
        }
    }
}
