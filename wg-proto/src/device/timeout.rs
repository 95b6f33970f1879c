//! Timers: when the device wants to be woken, and what it does then.
//! Read first: whitepaper §6; Linux timers.c.

use super::{Device, Reason, enqueue};
use crate::event::{Event, Wake};
use crate::index::PeerIndex;
use crate::time::Instant;
use crate::timers::Timer;

impl Device {
    /// When the device next wants [`handle_timeout`](Device::handle_timeout), and why. `None`: not before the next
    /// input. Later calls may name an earlier or a later moment.
    pub fn poll_timeout(&mut self) -> Option<(Instant, Wake)> {
        loop {
            let (at, peer) = self.schedule.first()?;
            match self.peers.get(peer).and_then(|state| state.timers.next()) {
                Some((due, timer)) if due <= at => return Some((due, Wake { peer, timer })),
                Some((due, _)) => self.schedule.postpone_first(due),
                None => self.schedule.remove(peer),
            }
        }
    }

    /// Does what is due at `now`; calling early or late does no harm. Time proportional to the number of peers
    /// with something due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, wake)) = self.poll_timeout().filter(|(at, _)| *at <= now) {
            while let Some(timer) = self.take_due(now, wake.peer) {
                self.fire(now, wake.peer, timer);
            }
        }
    }

    fn take_due(&mut self, now: Instant, peer: PeerIndex) -> Option<Timer> {
        self.peers.get_mut(peer)?.timers.take_due(now)
    }

    fn fire(&mut self, now: Instant, peer: PeerIndex, timer: Timer) {
        match timer {
            Timer::Retransmit => self.retransmit(now, peer),
            Timer::Keepalive | Timer::PersistentKeepalive => self.want_keepalive(now, peer),
            Timer::NewHandshake => {
                self.clear_endpoint_source(peer);
                self.want_initiation(now, peer, Reason::Traffic);
            }
            Timer::ZeroKeys => self.wipe(peer),
        }
    }

    /// No response: once more, or no more. A session that is still valid stays either way.
    fn retransmit(&mut self, now: Instant, index: PeerIndex) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        if !peer.timers.attempts_are_over(now) {
            peer.forget_source();
            peer.wants.initiation = true;
            enqueue(&mut self.outbox, index, peer);
            return;
        }
        peer.timers.attempts_given_up(now);
        self.counters.staged_abandoned += peer.staged.clear() as u64;
        if let Some(abandoned) = peer.handshake.end() {
            self.sessions.remove(abandoned);
        }
        self.emit(Event::PeerUnreachable { peer: index });
    }

    fn wipe(&mut self, peer: PeerIndex) {
        if self.drop_keys(peer) {
            self.emit(Event::SessionExpired { peer });
        }
    }
}
