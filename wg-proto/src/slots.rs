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
    /// It is older than the handshake that was just completed: packets of the current session are more likely to be
    /// on their way than its first.
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
            // Without a session to keep instead, the peer may still be sending on it.
            (NextSession::Goes, next) if replaced.is_none() => {
                [core::mem::replace(&mut self.previous, next), None]
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::PeerIndex;
    use crate::session::{Role, SessionKeys};
    use zeroize::Zeroizing;

    fn session(local: u32) -> Box<Session> {
        let keys = SessionKeys {
            role: Role::Initiator,
            local: SessionIndex::new(local),
            remote: SessionIndex::new(0),
            send: Zeroizing::new([0; 32]),
            receive: Zeroizing::new([0; 32]),
            serial: 0,
        };
        Box::new(Session::new(Instant::from_nanos(0), PeerIndex::new(0), &keys))
    }

    /// Slots with sessions of these indices; zero is none.
    fn slots([previous, current, next]: [u32; 3]) -> Slots {
        let some = |local| (local != 0).then(|| session(local));
        Slots { previous: some(previous), current: some(current), next: some(next) }
    }

    fn index(session: &Option<Box<Session>>) -> u32 {
        session.as_ref().map_or(0, |session| session.rx().index().get())
    }

    fn indices(slots: &Slots) -> [u32; 3] {
        [index(&slots.previous), index(&slots.current), index(&slots.next)]
    }

    fn gone(retired: &Retired) -> Vec<u32> {
        retired.iter().map(index).filter(|index| *index != 0).collect()
    }

    use alloc::vec::Vec;

    #[test]
    fn as_initiator_the_new_session_is_current_and_nothing_leaks() {
        use NextSession::*;
        for (before, waiting, after, retired) in [
            ([0, 0, 0], Yields, [0, 9, 0], &[][..]),
            ([1, 2, 0], Yields, [2, 9, 0], &[1]),
            ([1, 2, 3], Yields, [3, 9, 0], &[1, 2]),
            ([1, 2, 3], Waits, [2, 9, 3], &[1]),
            ([1, 2, 3], Goes, [2, 9, 0], &[1, 3]),
            ([1, 0, 3], Goes, [3, 9, 0], &[1]),
        ] {
            let mut slots = slots(before);
            assert_eq!(gone(&slots.add_as_initiator(session(9), waiting)), retired, "{before:?} {waiting:?}");
            assert_eq!(indices(&slots), after, "{before:?} {waiting:?}");
        }
    }

    #[test]
    fn as_responder_the_new_session_waits_and_replaces_the_one_that_waited() {
        for (before, after, retired) in
            [([0, 0, 0], [0, 0, 9], &[][..]), ([1, 2, 0], [0, 2, 9], &[1]), ([1, 2, 3], [0, 2, 9], &[3, 1])]
        {
            let mut slots = slots(before);
            assert_eq!(gone(&slots.add_as_responder(session(9))), retired, "{before:?}");
            assert_eq!(indices(&slots), after, "{before:?}");
        }
    }

    #[test]
    fn only_a_packet_on_the_waiting_session_confirms_it() {
        let mut slots = slots([1, 2, 3]);
        for other in [1, 2, 4] {
            assert!(slots.confirm(SessionIndex::new(other)).is_none());
        }
        let retired = slots.confirm(SessionIndex::new(3)).unwrap();
        assert_eq!((index(&retired), indices(&slots)), (1, [2, 3, 0]));
    }
}
