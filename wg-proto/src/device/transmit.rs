//! What goes out by itself: answers, initiations, keepalives, staged packets.
//! Read first: whitepaper §5.4.2, §6.2, §6.5; Linux send.c.

use core::num::NonZeroU32;

use super::send::Payload;
use super::{Device, Reason};
use crate::constants::HANDSHAKE_TOS;
use crate::ecn;
use crate::endpoint::Endpoint;
use crate::handshake::{Handshake, InitiationSent};
use crate::index::{Holder, PeerIndex};
use crate::message::{HEADER_BYTES, INITIATION_BYTES, OVERHEAD_BYTES, padded_len};
use crate::noise::{InitiationInput, initiate};
use crate::outcome::Transmit;
use crate::time::{Instant, UnixTime};

use alloc::boxed::Box;

impl Device {
    /// Writes the next datagram that is to be sent into `buf`. Call until it returns `None`.
    ///
    /// `buf` holds at least [`INITIATION_BYTES`], else nothing is written; a staged packet that does not fit is
    /// dropped and counted. `unix` becomes the time stamp of initiations.
    pub fn poll_transmit(&mut self, now: Instant, unix: UnixTime, buf: &mut [u8]) -> Option<Transmit> {
        self.wall.set(now, unix);
        if buf.len() < INITIATION_BYTES {
            return None;
        }
        if let Some(reply) = self.replies.pop_front() {
            buf[..reply.len].copy_from_slice(&reply.bytes[..reply.len]);
            return Some(Transmit { to: reply.to, len: reply.len, tos: HANDSHAKE_TOS });
        }
        while let Some(peer) = self.outbox.front().copied() {
            if let Some(transmit) = self.transmit_to(now, unix, peer, buf) {
                return Some(transmit);
            }
            self.outbox.pop_front();
            if let Some(peer) = self.peers.get_mut(peer) {
                peer.wants.queued = false;
            }
        }
        None
    }

    /// The next datagram for one peer, if it wants any.
    fn transmit_to(
        &mut self,
        now: Instant,
        unix: UnixTime,
        index: PeerIndex,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        let sent = self.send_waiting(now, index, buf);
        if sent.is_some() {
            return sent;
        }
        let peer = self.peers.get_mut(index)?;
        let wanted = core::mem::take(&mut peer.wants.initiation);
        wanted.then(|| self.send_initiation(now, unix, index, buf)).flatten()
    }

    /// Staged packets first, oldest first; a keepalive only if there was none. Without a session, a handshake.
    fn send_waiting(&mut self, now: Instant, index: PeerIndex, buf: &mut [u8]) -> Option<Transmit> {
        loop {
            let peer = self.peers.get_mut(index)?;
            if peer.staged.is_empty() && !peer.wants.keepalive {
                return None;
            }
            let ready = peer.sessions.can_send(now) && peer.endpoint.is_some();
            peer.wants.keepalive = false;
            if !ready {
                self.want_initiation(now, index, Reason::Keepalive);
                return None;
            }
            match peer.staged.pop() {
                None => return self.send_keepalive(now, index, buf),
                Some(packet) => {
                    let sent = self.send_staged(now, index, &packet, buf);
                    if sent.is_some() {
                        return sent;
                    }
                }
            }
        }
    }

    fn send_keepalive(&mut self, now: Instant, index: PeerIndex, buf: &mut [u8]) -> Option<Transmit> {
        let mut batch = self.reserve(now, index, NonZeroU32::MIN, Payload::Keepalive)?;
        let len = batch.seal(buf, 0, 0).ok()?;
        Some(Transmit { to: batch.to(), len, tos: 0 })
    }

    fn send_staged(
        &mut self,
        now: Instant,
        index: PeerIndex,
        packet: &[u8],
        buf: &mut [u8],
    ) -> Option<Transmit> {
        if padded_len(packet.len(), self.mtu_bytes) + OVERHEAD_BYTES > buf.len() {
            self.counters.packet_too_large += 1;
            return None;
        }
        let mut batch = self.reserve(now, index, NonZeroU32::MIN, Payload::Data(packet.len() as u64))?;
        buf[HEADER_BYTES..HEADER_BYTES + packet.len()].copy_from_slice(packet);
        let len = batch.seal(buf, packet.len(), self.mtu_bytes).ok()?;
        Some(Transmit { to: batch.to(), len, tos: ecn::outer(packet) })
    }

    /// Starts a handshake, or starts it anew: a fresh ephemeral key, index and time stamp each time.
    fn send_initiation(
        &mut self,
        now: Instant,
        unix: UnixTime,
        index: PeerIndex,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        let static_secret = self.static_secret(index);
        let (local, peer) = (self.local.as_ref()?, self.peers.get_mut(index)?);
        let to = peer.endpoint?;
        if let Some(at) = peer.initiation_allowed_at().filter(|at| now < *at) {
            // A response of ours went out meanwhile; if nothing comes of it, we try then.
            peer.timers.initiation_deferred(at);
            self.reschedule(index);
            return None;
        }
        let Some(static_secret) = static_secret else {
            self.counters.low_order_point += 1;
            return None;
        };
        let (sender, ephemeral) = (self.sessions.draw(&mut self.rng), self.rng.secret());
        let stamp = peer.stamp_sent.next(unix);
        let (identity, theirs) = (&local.identity, &peer.public_key);
        let (static_secret, ephemeral) = (&static_secret, &ephemeral);
        self.counters.agreements += 1;
        let input = InitiationInput { identity, theirs, static_secret, ephemeral, sender, stamp };
        let (message, noise) = initiate(&input).ok()?;
        peer.stamp_sent = stamp;
        let datagram = buf.first_chunk_mut::<INITIATION_BYTES>()?;
        *datagram = message.write();
        peer.cookies.sign(now, &peer.public_key, datagram);
        let sent = Handshake::InitiationSent(Box::new(InitiationSent { noise, local: sender, sent_at: now }));
        if let Some(abandoned) = peer.handshake.end() {
            self.sessions.remove(abandoned);
        }
        peer.handshake = sent;
        self.sessions.insert(sender, Holder::Handshake(index));
        self.initiation_sent(now, index);
        Some(Self::handshake_transmit(to))
    }

    fn initiation_sent(&mut self, now: Instant, index: PeerIndex) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.handshake_sent_at = Some(now);
            peer.tx_bytes += INITIATION_BYTES as u64;
            peer.timers.initiation_sent(now, self.rng.jitter());
            peer.authenticated_sent(now);
        }
        self.counters.initiations_sent += 1;
        self.reschedule(index);
    }

    const fn handshake_transmit(to: Endpoint) -> Transmit {
        Transmit { to, len: INITIATION_BYTES, tos: HANDSHAKE_TOS }
    }
}
