//! A WireGuard interface: one identity, all its peers. The verbs are grouped by file:
//! `peers` (configuration), `control` (handshake messages in), `receive` and `send` (transport), `transmit`
//! (what goes out by itself), `timeout`, and `single` (wrappers for callers with one thread).

mod config;
mod control;
mod peers;
mod receive;
mod send;
mod single;
mod table;
#[cfg(test)]
mod tests;
mod timeout;
mod transmit;

use alloc::collections::VecDeque;

pub use config::{DeviceConfig, PeerConfig};
use table::PeerTable;

use crate::allowed_ips::AllowedIps;
use crate::constants::REPLIES_MAX;
use crate::cookie::CookieChecker;
use crate::counters::Counters;
use crate::endpoint::Endpoint;
use crate::error::{Dropped, OpenError};
use crate::event::{Event, Events};
use crate::index::{HashKey, PeerIndex, SessionTable};
use crate::load::{LoadGauge, SourceLimiter};
use crate::mac1::Mac1Filter;
use crate::message::RESPONSE_BYTES;
use crate::noise::Identity;
use crate::peer::Peer;
use crate::rng::DeviceRng;
use crate::schedule::Schedule;
use crate::tai64n::Tai64n;
use crate::time::{Instant, WallClock};
use crate::timers::Timer;

/// A WireGuard interface without sockets, clocks and threads. See the crate's documentation for the order of
/// calls.
///
/// Memory: about 700 bytes a peer and 1300 a session (at most three each), 32 a prefix; nothing is allocated
/// by [`commit_received`](Device::commit_received), [`begin_send`](Device::begin_send) and
/// [`rx_key`](Device::rx_key).
pub struct Device {
    local: Option<Local>,
    /// Of the public key of `local`.
    filter: Mac1Filter,
    peers: PeerTable,
    allowed_ips: AllowedIps,
    sessions: SessionTable,
    schedule: Schedule,
    /// Peers for which `poll_transmit` may have something to build; each stands in it once.
    outbox: VecDeque<PeerIndex>,
    /// Answers to control messages, built already. At most [`REPLIES_MAX`].
    replies: VecDeque<Reply>,
    events: Events,
    load: LoadGauge,
    limiter: SourceLimiter,
    wall: WallClock,
    /// No peer gets a time stamp before this one: the latest a removed peer had.
    stamp_floor: Tai64n,
    counters: Counters,
    rng: DeviceRng,
    mtu_bytes: u16,
}

/// What the device is to the outside, as long as it has a private key.
struct Local {
    identity: Identity,
    checker: CookieChecker,
}

impl Local {
    fn new(identity: Identity) -> Local {
        Local { checker: CookieChecker::new(&identity.public_key), identity }
    }
}

/// A response or a cookie reply on its way out.
struct Reply {
    to: Endpoint,
    bytes: [u8; RESPONSE_BYTES],
    len: usize,
}

impl Device {
    /// A device without peers. `seed` is drawn from the operating system's generator, once; everything random
    /// comes from it.
    pub fn new(config: DeviceConfig, seed: [u8; 32]) -> Device {
        let mut rng = DeviceRng::new(seed);
        let mut hash_key = || HashKey::new(rng.bytes());
        let local = config.private_key.map(|key| Local::new(Identity::new(key)));
        Device {
            peers: PeerTable::new(hash_key()),
            sessions: SessionTable::new(hash_key()),
            limiter: SourceLimiter::new(hash_key()),
            filter: Mac1Filter::new(local.as_ref().map(|local| local.identity.public_key)),
            local,
            allowed_ips: AllowedIps::new(hash_key()),
            schedule: Schedule::default(),
            outbox: VecDeque::new(),
            replies: VecDeque::with_capacity(REPLIES_MAX),
            events: Events::new(),
            load: LoadGauge::default(),
            wall: WallClock::UNSET,
            stamp_floor: Tai64n::ZERO,
            counters: Counters::default(),
            rng,
            mtu_bytes: config.mtu_bytes,
        }
    }

    /// Mixes fresh entropy into the device's generator, for instance after a virtual machine was cloned.
    pub fn reseed(&mut self, entropy: [u8; 32]) {
        self.rng.reseed(&entropy);
    }

    /// Sets the inner MTU that bounds the padding of staged packets; 0 = pad freely.
    pub fn set_mtu_bytes(&mut self, mtu_bytes: u16) {
        self.mtu_bytes = mtu_bytes;
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Totals of everything that happened or was refused.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts a transport datagram the caller dropped outside the device.
    pub fn count(&mut self, dropped: Dropped) {
        let counters = &mut self.counters;
        *match dropped {
            Dropped::Malformed(_) | Dropped::NotOpened(OpenError::Malformed(_)) => &mut counters.malformed,
            Dropped::UnknownSession => &mut counters.unknown_session,
            Dropped::NotOpened(OpenError::WrongSession) => &mut counters.wrong_session,
            Dropped::NotOpened(OpenError::CounterExhausted) => &mut counters.counter_exhausted,
            Dropped::NotOpened(OpenError::NotAuthentic) => &mut counters.packet_not_authentic,
            Dropped::SourceNotAllowed => &mut counters.source_not_allowed,
            Dropped::NotIp => &mut counters.inner_malformed,
        } += 1;
    }

    /// Session indices in use: at most four per peer.
    pub fn session_indices_used(&self) -> usize {
        self.sessions.len()
    }

    fn emit(&mut self, event: Event) {
        self.counters.events_overflow += u64::from(self.events.push(event));
    }
}

/// Puts `peer` into the outbox, unless it stands there.
fn enqueue(outbox: &mut VecDeque<PeerIndex>, index: PeerIndex, peer: &mut Peer) {
    if !core::mem::replace(&mut peer.wants.queued, true) {
        outbox.push_back(index);
    }
}

/// Why somebody wants a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// Packets to send, or a session about to end: attempts go on for another 90 s from now.
    Traffic,
    /// A keepalive: starts a series of attempts, but does not prolong one.
    Keepalive,
}

impl Device {
    /// Asks for an initiation to `index`, now or as soon as it is allowed.
    fn want_initiation(&mut self, now: Instant, index: PeerIndex, reason: Reason) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let under_way = peer.wants.initiation || peer.timers.is_armed(Timer::Retransmit);
        if reason == Reason::Traffic || !under_way {
            peer.timers.handshake_wanted(now);
        }
        match peer.initiation_allowed_at() {
            Some(at) if now < at => {
                peer.timers.initiation_deferred(at);
                self.reschedule(index);
            }
            Some(_) | None => {
                peer.wants.initiation = true;
                enqueue(&mut self.outbox, index, peer);
            }
        }
    }

    /// Sees to it that the next of a peer's timers wakes the device.
    fn reschedule(&mut self, index: PeerIndex) {
        if let Some((at, _)) = self.peers.get(index).and_then(|peer| peer.timers.next()) {
            self.schedule.no_later_than(index, at);
        }
    }

    /// Forgets all keys shared with a peer, and frees their indices. Says whether there were any.
    fn drop_keys(&mut self, index: PeerIndex) -> bool {
        let Some(peer) = self.peers.get_mut(index) else {
            return false;
        };
        let had_sessions = !peer.sessions.is_empty();
        let sessions = peer.sessions.take();
        let handshake = peer.handshake.end();
        let indices = sessions.iter().flatten().map(|session| session.rx().index()).chain(handshake);
        indices.for_each(|index| self.sessions.remove(index));
        had_sessions
    }
}
