//! What the device tells its caller beside packets: events, and why it wants to be woken.

use alloc::collections::VecDeque;

use crate::constants::EVENTS_MAX;
use crate::endpoint::Endpoint;
use crate::index::PeerIndex;
use crate::timers::Timer;

/// Something happened to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A session can be used in both directions.
    HandshakeCompleted {
        /// With whom.
        peer: PeerIndex,
    },
    /// An authenticated message came from another address; the peer is answered there now.
    EndpointChanged {
        /// Whose.
        peer: PeerIndex,
        /// Where it is now.
        endpoint: Endpoint,
    },
    /// The peer's keys were wiped: no new session for nine minutes.
    SessionExpired {
        /// Whose.
        peer: PeerIndex,
    },
    /// No response for [`REKEY_ATTEMPT_TIME`](crate::constants::REKEY_ATTEMPT_TIME); staged packets were dropped.
    /// The next packet to the peer starts over.
    PeerUnreachable {
        /// Who.
        peer: PeerIndex,
    },
    /// A peer whose key became the device's own was removed.
    PeerRemoved {
        /// Its slot, free now.
        peer: PeerIndex,
    },
}

/// Why the device wants [`Device::handle_timeout`](crate::Device::handle_timeout) to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// Whose timer it is.
    pub peer: PeerIndex,
    /// Which timer it is.
    pub timer: Timer,
}

/// Events on their way to the caller. At most [`EVENTS_MAX`]; when full, the oldest is dropped.
pub(crate) struct Events(VecDeque<Event>);

impl Events {
    pub(crate) fn new() -> Events {
        Events(VecDeque::with_capacity(EVENTS_MAX))
    }

    /// Queues `event`; `true` if an older one was dropped for it.
    #[must_use]
    pub(crate) fn push(&mut self, event: Event) -> bool {
        let full = self.0.len() == EVENTS_MAX;
        if full {
            self.0.pop_front();
        }
        self.0.push_back(event);
        full
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_events_are_bounded_and_the_newest_survive() {
        let mut events = Events::new();
        let expired = |slot| Event::SessionExpired { peer: PeerIndex::new(slot) };
        let dropped = (0..EVENTS_MAX as u32 + 3).filter(|slot| events.push(expired(*slot))).count();
        assert_eq!((dropped, events.pop()), (3, Some(expired(3))));
    }
}
