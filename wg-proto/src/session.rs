//! A session: two keys, a nonce counter, a replay window, and an age. What threads need for the cipher is shared
//! ([`RxKey`], [`TxBatch`](crate::TxBatch)); what must be ordered stays in the device ([`Session`]).
//! Read first: whitepaper §5.4.5, §5.4.6, §6.1. Called by device.

use alloc::sync::Arc;
use core::fmt;
use core::num::NonZeroU32;

use crate::constants::{REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES, REKEY_AFTER_TIME, REKEY_ON_RECEIVE_AFTER};
use crate::counter::Counter;
use crate::crypto::{Aead, ChaChaPoly, Secret};
use crate::error::OpenError;
use crate::index::{PeerIndex, SessionIndex};
use crate::message::{HEADER_BYTES, MessageKind, OVERHEAD_BYTES, classify};
use crate::replay::ReplayWindow;
use crate::time::Instant;

/// Who started a handshake. Only the initiator renews a session by age, so that not both sides do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// The keys of a new session, named by our direction, and the two indices packets carry.
pub(crate) struct SessionKeys {
    pub(crate) role: Role,
    pub(crate) local: SessionIndex,
    pub(crate) remote: SessionIndex,
    pub(crate) send: Secret,
    pub(crate) receive: Secret,
    /// A random number that ties opened packets to the session that opened them.
    pub(crate) serial: u64,
}

/// What opens the packets of one session. Cheap to clone and to keep in a worker's cache: once the session is
/// gone, it still opens, but [`Device::commit_received`](crate::Device::commit_received) refuses what it opened.
#[derive(Clone)]
pub struct RxKey(Arc<RxShared>);

struct RxShared {
    peer: PeerIndex,
    local: SessionIndex,
    serial: u64,
    aead: Aead,
}

impl RxKey {
    /// The peer whose session it is (or was).
    pub fn peer(&self) -> PeerIndex {
        self.0.peer
    }

    /// Our index of the session: the receiver index of its packets.
    pub fn index(&self) -> SessionIndex {
        self.0.local
    }

    /// Whether both open packets of the same session; of a session, not of an index that was used again.
    pub fn is_same_session(&self, other: &RxKey) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Opens a transport packet in place. The payload, still padded, is then at
    /// `datagram[16..16 + opened.len()]`, and may be used once
    /// [`Device::commit_received`](crate::Device::commit_received) has accepted it.
    ///
    /// Touches no device. On [`OpenError::NotAuthentic`] the datagram's bytes are garbage; on other errors they
    /// are untouched.
    pub fn open(&self, datagram: &mut [u8]) -> Result<Opened, OpenError> {
        let MessageKind::Transport { receiver, counter } = classify(datagram)? else {
            return Err(OpenError::WrongSession);
        };
        if receiver != self.0.local {
            return Err(OpenError::WrongSession);
        }
        if !counter.is_usable() {
            return Err(OpenError::CounterExhausted);
        }
        let sealed = &mut datagram[HEADER_BYTES..];
        self.0.aead.open(counter.get(), sealed).map_err(|_| OpenError::NotAuthentic)?;
        Ok(Opened {
            counter,
            len: datagram.len() - OVERHEAD_BYTES,
            session: self.0.serial,
            verdict: Verdict::Open,
        })
    }

    /// Whether `opened` was opened with this key.
    pub(crate) fn opened(&self, opened: &Opened) -> bool {
        opened.session == self.0.serial
    }
}

impl fmt::Debug for RxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RxKey")
            .field("peer", &self.0.peer)
            .field("index", &self.0.local)
            .finish_non_exhaustive()
    }
}

/// An authentic packet. Only [`RxKey::open`] makes one; only the device accepts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    counter: Counter,
    len: usize,
    session: u64,
    verdict: Verdict,
}

/// How far an opened packet got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not committed yet.
    Open,
    /// New in its session.
    Accepted,
    /// Seen before, too old to tell, or committed with another session's key.
    Refused,
}

impl Opened {
    /// The packet's counter.
    pub fn counter(&self) -> Counter {
        self.counter
    }

    /// Length of the payload in bytes, padding included.
    #[allow(clippy::len_without_is_empty, reason = "an empty packet is called a keepalive")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the packet is a keepalive: an empty payload.
    pub fn is_keepalive(&self) -> bool {
        self.len == 0
    }

    /// Whether the device accepted the packet: it was committed, and is new in its session.
    pub fn accepted(&self) -> bool {
        self.verdict == Verdict::Accepted
    }

    pub(crate) fn decide(&mut self, verdict: Verdict) {
        self.verdict = verdict;
    }

    pub(crate) fn is_undecided(&self) -> bool {
        self.verdict == Verdict::Open
    }
}

/// What seals a session's packets, shared with the batches that are on their way.
pub(crate) struct TxShared {
    pub(crate) remote: SessionIndex,
    pub(crate) aead: Aead,
}

/// The device's part of a session. About 1200 bytes, nearly all of it the replay window.
pub(crate) struct Session {
    rx: RxKey,
    tx: Arc<TxShared>,
    role: Role,
    established: Instant,
    next_counter: Counter,
    renewed_on_receive: bool,
    pub(crate) replay: ReplayWindow,
}

impl Session {
    /// A fresh session of `peer`. Here the ciphers are keyed, once.
    pub(crate) fn new(now: Instant, peer: PeerIndex, keys: &SessionKeys) -> Session {
        Session {
            rx: RxKey(Arc::new(RxShared {
                peer,
                local: keys.local,
                serial: keys.serial,
                aead: Aead::new(&keys.receive),
            })),
            tx: Arc::new(TxShared { remote: keys.remote, aead: Aead::new(&keys.send) }),
            role: keys.role,
            established: now,
            next_counter: Counter::ZERO,
            renewed_on_receive: false,
            replay: ReplayWindow::new(),
        }
    }

    pub(crate) fn rx(&self) -> &RxKey {
        &self.rx
    }

    pub(crate) fn tx(&self) -> &Arc<TxShared> {
        &self.tx
    }

    pub(crate) fn established(&self) -> Instant {
        self.established
    }

    /// Whether the session is too old to send or receive on. Asked on every batch, not by a timer.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.established) >= REJECT_AFTER_TIME
    }

    /// Whether one more packet could be sent at `now`.
    pub(crate) fn can_send(&self, now: Instant) -> bool {
        !self.is_expired(now) && self.next_counter.is_usable()
    }

    /// Takes `count` consecutive nonces and returns the first, or `None` if the session is too old or they would
    /// pass the limit. What is taken is never given out again, sealed or not.
    pub(crate) fn reserve(&mut self, now: Instant, count: NonZeroU32) -> Option<Counter> {
        if self.is_expired(now) {
            return None;
        }
        let first = self.next_counter;
        self.next_counter = first.after(count.get())?;
        Some(first)
    }

    /// Whether sending at `now` should start a handshake: the session has carried enough packets, or has grown
    /// old and we are its initiator.
    pub(crate) fn is_stale_to_send(&self, now: Instant) -> bool {
        self.next_counter.get() > REKEY_AFTER_MESSAGES || self.is_initiator_older_than(now, REKEY_AFTER_TIME)
    }

    /// Whether receiving at `now` should start a handshake: we are the initiator and the session is in its last
    /// 15 seconds. Says so once.
    pub(crate) fn renew_on_receive(&mut self, now: Instant) -> bool {
        let renew = !self.renewed_on_receive && self.is_initiator_older_than(now, REKEY_ON_RECEIVE_AFTER);
        self.renewed_on_receive |= renew;
        renew
    }

    fn is_initiator_older_than(&self, now: Instant, age: core::time::Duration) -> bool {
        self.role == Role::Initiator && now.saturating_duration_since(self.established) >= age
    }

    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, counter: Counter) {
        self.next_counter = counter;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants::REJECT_AFTER_MESSAGES;
    use core::time::Duration;
    use zeroize::Zeroizing;

    fn at(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    fn session(role: Role) -> Session {
        let keys = SessionKeys {
            role,
            local: SessionIndex::new(1),
            remote: SessionIndex::new(2),
            send: Zeroizing::new([3; 32]),
            receive: Zeroizing::new([3; 32]),
            serial: 4,
        };
        Session::new(at(0), PeerIndex::new(0), &keys)
    }

    fn reserve(session: &mut Session, now: Instant, count: u32) -> Option<u64> {
        session.reserve(now, NonZeroU32::new(count).unwrap()).map(Counter::get)
    }

    #[test]
    fn p10_ranges_of_nonces_never_overlap() {
        let mut session = session(Role::Initiator);
        for (count, first) in [(1, 0), (64, 1), (u32::MAX, 65), (1, 65 + u64::from(u32::MAX))] {
            assert_eq!(reserve(&mut session, at(1), count), Some(first));
        }
    }

    #[test]
    fn p10_nothing_is_reserved_past_reject_after_messages() {
        let mut session = session(Role::Initiator);
        session.skip_to(Counter::new(REJECT_AFTER_MESSAGES - 3));
        for (count, first) in [(4, None), (2, Some(REJECT_AFTER_MESSAGES - 3)), (2, None)] {
            assert_eq!(reserve(&mut session, at(1), count), first);
        }
        assert_eq!(reserve(&mut session, at(1), 1), Some(REJECT_AFTER_MESSAGES - 1));
        assert_eq!(reserve(&mut session, at(1), 1), None);
        assert!(!session.can_send(at(1)));
    }

    #[test]
    fn p10_nothing_is_reserved_from_reject_after_time_on() {
        let mut session = session(Role::Responder);
        let last = at(180).saturating_sub(Duration::from_nanos(1));
        assert_eq!(reserve(&mut session, last, 1), Some(0));
        assert_eq!(reserve(&mut session, at(180), 1), None);
        assert!(session.can_send(last) && !session.can_send(at(180)));
    }

    #[test]
    fn initiators_renew_by_age_and_both_sides_by_messages() {
        for (role, secs, stale) in
            [(Role::Initiator, 119, false), (Role::Initiator, 120, true), (Role::Responder, 179, false)]
        {
            assert_eq!(session(role).is_stale_to_send(at(secs)), stale, "{role:?} {secs}");
        }
        for (sent, stale) in [(REKEY_AFTER_MESSAGES, false), (REKEY_AFTER_MESSAGES + 1, true)] {
            let mut session = session(Role::Responder);
            session.skip_to(Counter::new(sent));
            assert_eq!(session.is_stale_to_send(at(1)), stale);
        }
    }

    #[test]
    fn only_the_initiator_renews_on_receive_after_165_seconds_and_once() {
        let mut initiator = session(Role::Initiator);
        assert!(!initiator.renew_on_receive(at(164)));
        assert!(initiator.renew_on_receive(at(165)));
        assert!(!initiator.renew_on_receive(at(166)));
        assert!(!session(Role::Responder).renew_on_receive(at(170)));
    }
}
