//! Transport packets from the network: find the key, and, once they are opened, commit them.
//! Read first: whitepaper §5.4.6, §6; Linux receive.c (`wg_packet_rx_poll`).

use super::{Device, Reason};
use crate::constants::REKEY_TIMEOUT;
use crate::endpoint::Endpoint;
use crate::error::SessionGone;
use crate::index::{Holder, PeerIndex, SessionIndex};
use crate::message::OVERHEAD_BYTES;
use crate::replay::Arrival;
use crate::session::{Opened, RxKey, Session, Verdict};
use crate::time::Instant;

impl Device {
    /// What opens the packets of the session `receiver`. Keep it as long as you like: see [`RxKey`].
    /// Constant time for any index; no allocation.
    pub fn rx_key(&self, receiver: SessionIndex) -> Option<RxKey> {
        match self.sessions.get(receiver)? {
            Holder::Session(key) => Some(key.clone()),
            Holder::Handshake(_) => None,
        }
    }

    /// Takes packets that were opened with `key` and all came from `src`: decides which are new
    /// ([`Opened::accepted`]), confirms the session, moves the peer's endpoint, sets timers and counters, each
    /// once for the whole run. Returns whose packets they are; if it fails, none of them may be used.
    ///
    /// The endpoint moves only if the newest packet of the session is among them, so that a late packet from where
    /// the peer was does not move it back. No allocation; time proportional to the run alone.
    pub fn commit_received(
        &mut self,
        now: Instant,
        key: &RxKey,
        src: Endpoint,
        opened: &mut [Opened],
    ) -> Result<PeerIndex, SessionGone> {
        let index = key.peer();
        let session = self.peers.get_mut(index).and_then(|peer| peer.sessions.find(key));
        let tally = match session {
            Some(session) if !session.is_expired(now) => Tally::of(session, key, opened),
            gone => {
                self.counters.session_gone += opened.len() as u64;
                return Err(gone.map_or(SessionGone::Replaced, |_| SessionGone::Expired));
            }
        };
        self.counters.packet_replayed += tally.replayed;
        self.counters.wrong_session += tally.wrong_session;
        self.counters.packets_received += tally.data;
        self.counters.keepalives_received += tally.keepalives;
        if tally.data + tally.keepalives > 0 {
            self.received(now, key, src, &tally);
        }
        Ok(index)
    }

    /// At least one packet of the run was accepted.
    fn received(&mut self, now: Instant, key: &RxKey, src: Endpoint, tally: &Tally) {
        let index = key.peer();
        if tally.newest {
            self.roam(index, src);
        }
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        peer.rx_bytes += tally.bytes;
        peer.authenticated_received(now);
        if tally.data > 0 {
            peer.timers.data_received(now);
        }
        let renew = peer.sessions.current().is_some_and(|current| current.renew_on_receive(now));
        if let Some(retired) = peer.sessions.confirm(key.index()) {
            // The peer answered on the session it initiated; an initiation of ours is not needed any more.
            let handshake = peer.handshake.end();
            let freed = retired.map(|session| session.rx().index());
            freed.into_iter().chain(handshake).for_each(|index| self.sessions.remove(index));
            self.completed(now, index);
        } else if renew {
            self.want_initiation(now, index, Reason::Traffic);
        }
        self.reschedule(index);
    }
}

/// What a run of opened packets amounts to.
#[derive(Default)]
struct Tally {
    data: u64,
    keepalives: u64,
    replayed: u64,
    wrong_session: u64,
    bytes: u64,
    /// Whether the newest packet of the session so far is in this run.
    newest: bool,
}

impl Tally {
    fn of(session: &mut Session, key: &RxKey, opened: &mut [Opened]) -> Tally {
        let mut tally = Tally::default();
        for packet in opened {
            let verdict = tally.add(session, key, packet);
            packet.decide(verdict);
        }
        tally
    }

    fn add(&mut self, session: &mut Session, key: &RxKey, packet: &Opened) -> Verdict {
        if !key.opened(packet) || !packet.is_undecided() {
            self.wrong_session += 1;
            return Verdict::Refused;
        }
        let arrival = session.replay.receive(packet.counter());
        if matches!(arrival, Arrival::Seen | Arrival::TooOld) {
            self.replayed += 1;
            return Verdict::Refused;
        }
        self.newest |= arrival == Arrival::Newest;
        self.bytes += (packet.len() + OVERHEAD_BYTES) as u64;
        *(if packet.is_keepalive() { &mut self.keepalives } else { &mut self.data }) += 1;
        Verdict::Accepted
    }
}

/// A peer that renews late still has time for one retry.
const _: () = assert!(REKEY_TIMEOUT.as_secs() < 15);
