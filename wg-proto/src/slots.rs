//! A peer's three sessions: previous, current, next. Which of them sends, and which goes when one comes.
//! Read first: whitepaper §6.3; Linux noise.c (`add_new_keypair`, `wg_noise_received_with_keypair`). Called by device.

use alloc::boxed::Box;

use crate::index::SessionIndex;
use crate::session::{RxKey, Session};
use crate::time::Instant;

/// Sessions by their place. Packets are sent on `current` only and accepted on all three.
#[derive(Default)]
pub(crate) struct Slots {
    previous: Option<Box<Session>>,
    current: Option<Box<Session>>,
    /// Derived as responder, and not confirmed by a packet of the initiator yet.
    next: Option<Box<Session>>,
}

/// What becomes of a `next` session when we complete a handshake as initiator: both sides initiated at the same
/// time, and both handshakes succeed. The two sides must choose differently to end on the same session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextSession {
    /// It waits on: it wins once the peer's first packet on it arrives. Chosen by the side with the lower key.
    Waits,
    /// It becomes `previous`: still accepted, never sent on. Chosen by the side with the higher key.
    Yields,
    /// It is older than the handshake that was just completed: nobody will confirm it.
    Goes,
}

/// Sessions that lost their place; their indices are to be freed.
pub(crate) type Retired = [Option<Box<Session>>; 2];

impl Slots {
    /// Takes a session we derived as responder. It waits in `next` until the initiator's first packet proves that
    /// it has the session too.
    #[must_use]
    pub(crate) fn add_as_responder(&mut self, session: Box<Session>) -> Retired {
        [self.next.replace(session), self.previous.take()]
    }

    /// Takes a session we derived as initiator: it is sent on from now.
    #[must_use]
    pub(crate) fn add_as_initiator(&mut self, session: Box<Session>, waiting: NextSession) -> Retired {
        let replaced = self.current.replace(session);
        match (waiting, self.next.take()) {
            (_, None) => [core::mem::replace(&mut self.previous, replaced), None],
            (NextSession::Waits, next) => {
                self.next = next;
                [core::mem::replace(&mut self.previous, replaced), None]
            }
            (NextSession::Yields, next) => [core::mem::replace(&mut self.previous, next), replaced],
            (NextSession::Goes, next) => [core::mem::replace(&mut self.previous, replaced), next],
        }
    }

    /// A packet was accepted on the session `index`: if that is `next`, it is confirmed and becomes `current`.
    /// Says whether it was, and which session went.
    pub(crate) fn confirm(&mut self, index: SessionIndex) -> Option<Option<Box<Session>>> {
        let next = self.next.take_if(|next| next.rx().index() == index)?;
        let replaced = self.current.replace(next);
        Some(core::mem::replace(&mut self.previous, replaced))
    }

    /// The session that `key` opens packets of, if it still is one of the three.
    pub(crate) fn find(&mut self, key: &RxKey) -> Option<&mut Session> {
        [&mut self.current, &mut self.next, &mut self.previous]
            .into_iter()
            .flatten()
            .find(|session| session.rx().is_same_session(key))
            .map(|session| &mut **session)
    }

    pub(crate) fn current(&mut self) -> Option<&mut Session> {
        self.current.as_deref_mut()
    }

    /// When the session that waits to be confirmed was derived.
    pub(crate) fn next_since(&self) -> Option<Instant> {
        self.next.as_ref().map(|next| next.established())
    }

    /// Whether a packet could be sent at `now`.
    pub(crate) fn can_send(&self, now: Instant) -> bool {
        self.current.as_ref().is_some_and(|session| session.can_send(now))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.previous.is_none() && self.current.is_none() && self.next.is_none()
    }

    /// Takes all sessions out.
    pub(crate) fn take(&mut self) -> [Option<Box<Session>>; 3] {
        [self.previous.take(), self.current.take(), self.next.take()]
    }
}
