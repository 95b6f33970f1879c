//! Handshake messages and cookie replies from the network.
//! Read first: whitepaper §5.3, §5.4; Linux receive.c (`wg_receive_handshake_packet`).

use alloc::boxed::Box;

use super::{Device, Reply, enqueue};
use crate::constants::REPLIES_MAX;
use crate::cookie::{NoCookie, Shown};
use crate::crypto::Secret;
use crate::endpoint::Endpoint;
use crate::error::{NotAdmitted, Rejected};
use crate::event::Event;
use crate::index::{Holder, PeerIndex};
use crate::load::QueueLoad;
use crate::mac1::{Admitted, ControlKind, Mac1Filter};
use crate::message::{
    COOKIE_REPLY_BYTES, CookieReply, INITIATION_BYTES, Initiation, RESPONSE_BYTES, Response, sender_of,
};
use crate::noise::{AuthenticInitiation, NoiseError, ResponseInput, read_initiation};
use crate::outcome::Handled;
use crate::peer::StaticSecret;
use crate::session::{Session, SessionKeys};
use crate::slots::NextSession;
use crate::time::{Instant, UnixTime};

use rand_core::Rng;

impl Device {
    /// Takes an initiation, response or cookie reply that came from `src`. `load` is how full the caller's queue of
    /// such messages is: from an eighth on, senders must first show that they receive at their address.
    ///
    /// State changes only after the whole message verified; nothing is ever answered without a valid `mac1`.
    /// Answers wait in [`poll_transmit`](Device::poll_transmit). A datagram of any content and length is fine.
    pub fn handle_control(
        &mut self,
        now: Instant,
        unix: UnixTime,
        src: Endpoint,
        datagram: &mut [u8],
        load: QueueLoad,
    ) -> Result<Handled, Rejected> {
        match self.filter.admit(datagram) {
            Ok(message) => self.handle_admitted(now, unix, src, &message, load),
            Err(why) => {
                self.load.is_under_load(now, load);
                self.count_not_admitted(why, 1);
                Err(why.into())
            }
        }
    }

    /// The filter that [`handle_control`](Device::handle_control) begins with, for use without the device.
    pub fn mac1_filter(&self) -> Mac1Filter {
        self.filter.clone()
    }

    /// Whether `filter` admits what the device would admit now. It does until the private key is changed.
    pub fn is_current(&self, filter: &Mac1Filter) -> bool {
        self.filter == *filter
    }

    /// Counts datagrams that a [`Mac1Filter`] refused.
    pub fn count_not_admitted(&mut self, why: NotAdmitted, times: u64) {
        let counters = &mut self.counters;
        *match why {
            NotAdmitted::Malformed(_) => &mut counters.malformed,
            NotAdmitted::NotControl => &mut counters.not_control,
            NotAdmitted::NoPrivateKey => &mut counters.no_private_key,
            NotAdmitted::Mac1 => &mut counters.mac1_invalid,
        } += times;
    }

    /// [`handle_control`](Device::handle_control) of a message that a [`Mac1Filter`] of this device admitted.
    pub fn handle_admitted(
        &mut self,
        now: Instant,
        unix: UnixTime,
        src: Endpoint,
        message: &Admitted,
        load: QueueLoad,
    ) -> Result<Handled, Rejected> {
        self.wall.set(now, unix);
        let under_load = self.load.is_under_load(now, load);
        if let Err(why) = self.filter.admit_again(message) {
            self.count_not_admitted(why, 1);
            return Err(why.into());
        }
        let handled = match message.kind() {
            ControlKind::Initiation | ControlKind::Response => {
                self.handshake(now, src, message.bytes(), under_load)
            }
            ControlKind::CookieReply => self.cookie_reply(now, message.bytes()),
        };
        handled.map_err(|(rejected, counter)| {
            *counter(&mut self.counters) += 1;
            rejected
        })
    }

    /// Asks for a cookie before anything expensive if under load, then goes on by type.
    fn handshake(&mut self, now: Instant, src: Endpoint, datagram: &[u8], under_load: bool) -> Outcome {
        let local = self.local.as_ref().ok_or(refused(Rejected::NoPrivateKey, |c| &mut c.no_private_key))?;
        if self.replies.len() >= REPLIES_MAX {
            return Err(refused(Rejected::Backlog, |c| &mut c.replies_overflow));
        }
        if under_load {
            let shown = local.checker.check(now, src.remote, datagram);
            if !matches!(shown, Shown::Cookie) {
                return Ok(self.send_cookie(now, src, datagram, shown));
            }
            if !self.limiter.allow(now, src.remote.ip()) {
                return Err(refused(Rejected::RateLimited, |c| &mut c.source_rate_limited));
            }
        }
        if let Ok(initiation) = <&[u8; INITIATION_BYTES]>::try_from(datagram) {
            self.initiation(now, src, Initiation::read(initiation))
        } else if let Ok(response) = <&[u8; RESPONSE_BYTES]>::try_from(datagram) {
            self.response(now, src, &Response::read(response))
        } else {
            Err(refused(Rejected::NotAuthentic, |c| &mut c.malformed))
        }
    }

    fn send_cookie(&mut self, now: Instant, src: Endpoint, datagram: &[u8], shown: Shown) -> Handled {
        self.counters.cookie_required += 1;
        let cookie = self.local.as_mut().zip(sender_of(datagram)).and_then(|(local, sender)| {
            local.checker.reply(now, &mut self.rng, src.remote, datagram, shown, sender)
        });
        if let Some(cookie) = cookie {
            self.counters.cookies_sent += 1;
            self.reply(src, &cookie);
        }
        Handled::CookieSent
    }

    /// Whitepaper §5.4.2, as responder. One agreement before the sender is known, two more once it is authentic.
    fn initiation(&mut self, now: Instant, src: Endpoint, message: Initiation) -> Outcome {
        let local = self.local.as_ref().ok_or(refused(Rejected::NoPrivateKey, |c| &mut c.no_private_key))?;
        self.counters.agreements += 1;
        let claimed = read_initiation(&local.identity, message).map_err(initiation_refused)?;
        let peer = self.peers.find(&claimed.theirs);
        let peer = peer.ok_or(refused(Rejected::UnknownPeer, |c| &mut c.unknown_peer))?;
        let static_secret = self.static_secret(peer).ok_or(initiation_refused(NoiseError::LowOrderPoint))?;
        let authentic = claimed.authenticate(&static_secret).map_err(initiation_refused)?;
        self.check_fresh(now, peer, &authentic)?;
        self.respond(now, src, peer, authentic)
    }

    fn check_fresh(
        &self,
        now: Instant,
        index: PeerIndex,
        authentic: &AuthenticInitiation,
    ) -> Result<(), Refusal> {
        let Some(peer) = self.peers.get(index) else {
            return Err(refused(Rejected::UnknownPeer, |c| &mut c.unknown_peer));
        };
        if authentic.stamp <= peer.stamp_received {
            return Err(refused(Rejected::Replayed, |c| &mut c.initiation_replayed));
        }
        if peer.is_flooded(now) {
            return Err(refused(Rejected::Flood, |c| &mut c.initiation_flood));
        }
        Ok(())
    }

    /// Whitepaper §5.4.3, as responder: answers, and keeps the new session until the initiator confirms it.
    fn respond(
        &mut self,
        now: Instant,
        src: Endpoint,
        index: PeerIndex,
        initiation: AuthenticInitiation,
    ) -> Outcome {
        let unknown = refused(Rejected::UnknownPeer, |c| &mut c.unknown_peer);
        let peer = self.peers.get_mut(index).ok_or(unknown)?;
        let sender = self.sessions.draw(&mut self.rng);
        let (ephemeral, serial) = (self.rng.secret(), self.rng.next_u64());
        let preshared_key = peer.preshared_bytes();
        let input = ResponseInput { preshared_key, ephemeral: &ephemeral, sender, serial };
        self.counters.agreements += 2;
        let stamp = initiation.stamp;
        let (message, keys) = initiation.respond(&input).map_err(initiation_refused)?;
        peer.stamp_received = stamp;
        peer.initiation_at = Some(now);
        peer.handshake_sent_at = Some(now);
        peer.rx_bytes += INITIATION_BYTES as u64;
        peer.tx_bytes += RESPONSE_BYTES as u64;
        let mut response = message.write();
        peer.cookies.sign(now, &peer.public_key, &mut response);
        self.counters.responses_sent += 1;
        self.reply(src, &response);
        self.derived_as_responder(now, index, &keys);
        self.authenticated_handshake(now, index, src);
        Ok(Handled::Initiation { peer: index })
    }

    fn derived_as_responder(&mut self, now: Instant, index: PeerIndex, keys: &SessionKeys) {
        let session = self.new_session(now, index, keys);
        if let Some(peer) = self.peers.get_mut(index) {
            peer.timers.session_derived(now);
            peer.authenticated_sent(now);
            let retired = peer.sessions.add_as_responder(session);
            retired.iter().flatten().for_each(|session| self.sessions.remove(session.rx().index()));
        }
    }

    /// Whitepaper §5.4.3, as initiator. The initiation stays as it was until the response is authentic.
    fn response(&mut self, now: Instant, src: Endpoint, message: &Response) -> Outcome {
        let unexpected = refused(Rejected::Unexpected, |c| &mut c.response_unexpected);
        let local = self.local.as_ref().ok_or(unexpected)?;
        let index = self.sessions.get(message.receiver).map(Holder::peer).ok_or(unexpected)?;
        let peer = self.peers.get(index).ok_or(unexpected)?;
        let sent = peer.handshake.initiation(message.receiver).ok_or(unexpected)?;
        let serial = self.rng.next_u64();
        self.counters.agreements += 2;
        let preshared_key = peer.preshared_bytes();
        let keys = sent.noise.read_response(&local.identity, preshared_key, message, serial);
        let keys = keys.map_err(|error| match error {
            NoiseError::LowOrderPoint => refused(Rejected::LowOrderPoint, |c| &mut c.low_order_point),
            NoiseError::NotAuthentic => refused(Rejected::NotAuthentic, |c| &mut c.response_not_authentic),
        })?;
        let waiting = match peer.sessions.next_since() {
            Some(since) if since < sent.sent_at => NextSession::Goes,
            _ if local.identity.public_key < peer.public_key => NextSession::Waits,
            _ => NextSession::Yields,
        };
        self.derived_as_initiator(now, index, &keys, waiting);
        self.authenticated_handshake(now, index, src);
        self.completed(now, index);
        Ok(Handled::Response { peer: index })
    }

    fn derived_as_initiator(
        &mut self,
        now: Instant,
        index: PeerIndex,
        keys: &SessionKeys,
        waiting: NextSession,
    ) {
        let session = self.new_session(now, index, keys);
        if let Some(peer) = self.peers.get_mut(index) {
            // Its index has passed on to the session.
            peer.handshake.end();
            peer.rx_bytes += RESPONSE_BYTES as u64;
            peer.timers.session_derived(now);
            // Either a staged packet or a keepalive tells the responder that it can send.
            peer.wants.keepalive = true;
            enqueue(&mut self.outbox, index, peer);
            let retired = peer.sessions.add_as_initiator(session, waiting);
            retired.iter().flatten().for_each(|session| self.sessions.remove(session.rx().index()));
        }
    }

    fn new_session(&mut self, now: Instant, peer: PeerIndex, keys: &SessionKeys) -> Box<Session> {
        let session = Box::new(Session::new(now, peer, keys));
        self.sessions.insert(keys.local, Holder::Session(session.rx().clone()));
        session
    }

    /// A session can be used in both directions: attempts are over, staged packets can go.
    pub(super) fn completed(&mut self, now: Instant, index: PeerIndex) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        peer.timers.handshake_completed();
        peer.wants.initiation = false;
        peer.last_handshake = Some((now, self.wall.at(now)));
        if !peer.staged.is_empty() {
            enqueue(&mut self.outbox, index, peer);
        }
        self.counters.handshakes_completed += 1;
        self.emit(Event::HandshakeCompleted { peer: index });
    }

    /// An authentic handshake message came from `src`.
    fn authenticated_handshake(&mut self, now: Instant, index: PeerIndex, src: Endpoint) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.authenticated_received(now);
        }
        self.roam(index, src);
        self.reschedule(index);
    }

    /// The peer is answered at `src` from now on.
    pub(super) fn roam(&mut self, index: PeerIndex, src: Endpoint) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let before = peer.endpoint.replace(src);
        if before.map(|endpoint| endpoint.remote) != Some(src.remote) {
            self.emit(Event::EndpointChanged { peer: index, endpoint: src });
        }
    }

    /// A cookie reply moves no endpoint: anybody on the path can make one.
    fn cookie_reply(&mut self, now: Instant, datagram: &[u8]) -> Outcome {
        let unexpected = refused(Rejected::Unexpected, |c| &mut c.cookie_unexpected);
        let message: &[u8; COOKIE_REPLY_BYTES] = datagram.try_into().map_err(|_| unexpected)?;
        let message = CookieReply::read(message);
        let index = self.sessions.get(message.receiver).map(Holder::peer).ok_or(unexpected)?;
        let peer = self.peers.get_mut(index).ok_or(unexpected)?;
        match peer.cookies.receive(now, &peer.public_key, &message) {
            Ok(()) => Ok(Handled::CookieReply { peer: index }),
            Err(NoCookie::Unexpected) => Err(unexpected),
            Err(NoCookie::NotAuthentic) => {
                Err(refused(Rejected::NotAuthentic, |c| &mut c.cookie_not_authentic))
            }
        }
    }

    /// The agreement of both static keys; computed once per peer and device key. `None` for a low-order key.
    pub(super) fn static_secret(&mut self, index: PeerIndex) -> Option<Secret> {
        let (local, peer) = (self.local.as_ref()?, self.peers.get_mut(index)?);
        if matches!(peer.static_secret, StaticSecret::NotComputed) {
            self.counters.agreements += 1;
            let shared = local.identity.agree(&peer.public_key);
            peer.static_secret = shared.map_or(StaticSecret::LowOrder, StaticSecret::Shared);
        }
        match &peer.static_secret {
            StaticSecret::Shared(secret) => Some(secret.clone()),
            StaticSecret::LowOrder | StaticSecret::NotComputed => None,
        }
    }

    /// Queues an answer; there is room, `handshake` made sure.
    fn reply(&mut self, to: Endpoint, message: &[u8]) {
        let mut bytes = [0; RESPONSE_BYTES];
        bytes[..message.len()].copy_from_slice(message);
        self.replies.push_back(Reply { to, bytes, len: message.len() });
    }
}

/// Why a message changed nothing, and the counter that says so.
type Refusal = (Rejected, fn(&mut crate::counters::Counters) -> &mut u64);
type Outcome = Result<Handled, Refusal>;

const fn refused(rejected: Rejected, counter: fn(&mut crate::counters::Counters) -> &mut u64) -> Refusal {
    (rejected, counter)
}

fn initiation_refused(error: NoiseError) -> Refusal {
    match error {
        NoiseError::LowOrderPoint => refused(Rejected::LowOrderPoint, |c| &mut c.low_order_point),
        NoiseError::NotAuthentic => refused(Rejected::NotAuthentic, |c| &mut c.initiation_not_authentic),
    }
}
