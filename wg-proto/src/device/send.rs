//! Transport packets to the network: reserve nonces, or stage packets until there is a session.
//! Read first: whitepaper §5.4.6, §6; Linux send.c.

use core::num::NonZeroU32;

use super::{Device, Reason, enqueue};
use crate::batch::TxBatch;
use crate::constants::PACKET_BYTES_MAX;
use crate::error::{NotReady, StageError};
use crate::index::PeerIndex;
use crate::message::OVERHEAD_BYTES;
use crate::time::Instant;

impl Device {
    /// Reserves nonces to send `packets` data packets of `payload_bytes` bytes altogether to a peer, and sets its
    /// timers and counters as if they were sent. Seal them with the batch, without the device.
    ///
    /// On [`NotReady::NoSession`] give the packets to [`stage`](Device::stage). That is also the answer while older
    /// packets are still staged, so that none overtakes another. No allocation; constant time.
    pub fn begin_send(
        &mut self,
        now: Instant,
        peer: PeerIndex,
        packets: NonZeroU32,
        payload_bytes: u64,
    ) -> Result<TxBatch, NotReady> {
        let state = self.peers.get(peer).ok_or(NotReady::NoSuchPeer)?;
        if state.endpoint.is_none() {
            self.counters.no_endpoint += u64::from(packets.get());
            return Err(NotReady::NoEndpoint);
        }
        if !state.staged.is_empty() {
            return Err(NotReady::NoSession);
        }
        self.reserve(now, peer, packets, Payload::Data(payload_bytes)).ok_or(NotReady::NoSession)
    }

    /// Keeps a copy of `packet` until there is a session with the peer, and asks for a handshake. It goes out by
    /// [`poll_transmit`](Device::poll_transmit). When too many wait, the oldest are dropped and counted.
    pub fn stage(&mut self, now: Instant, peer: PeerIndex, packet: &[u8]) -> Result<(), StageError> {
        let state = self.peers.get_mut(peer).ok_or(StageError::NoSuchPeer)?;
        if state.endpoint.is_none() {
            self.counters.no_endpoint += 1;
            return Err(StageError::NoEndpoint);
        }
        if packet.len() > PACKET_BYTES_MAX {
            self.counters.packet_too_large += 1;
            return Err(StageError::TooLarge { bytes: packet.len() });
        }
        self.counters.staged_overflow += state.staged.push(packet) as u64;
        if state.sessions.can_send(now) {
            enqueue(&mut self.outbox, peer, state);
        } else {
            self.want_initiation(now, peer, Reason::Traffic);
        }
        Ok(())
    }

    /// Takes nonces of the current session, and sets timers and counters for packets sent with them.
    pub(super) fn reserve(
        &mut self,
        now: Instant,
        index: PeerIndex,
        packets: NonZeroU32,
        payload: Payload,
    ) -> Option<TxBatch> {
        let peer = self.peers.get_mut(index)?;
        let to = peer.endpoint?;
        let session = peer.sessions.current()?;
        let first = session.reserve(now, packets)?;
        let batch = TxBatch::new(session.tx().clone(), to, first, packets.get());
        let stale = session.is_stale_to_send(now);
        let count = u64::from(packets.get());
        peer.authenticated_sent(now);
        peer.tx_bytes += count * OVERHEAD_BYTES as u64;
        match payload {
            Payload::Data(bytes) => {
                peer.timers.data_sent(now, || self.rng.jitter());
                peer.tx_bytes += bytes;
                self.counters.packets_sent += count;
            }
            Payload::Keepalive => self.counters.keepalives_sent += count,
        }
        self.reschedule(index);
        if stale {
            self.want_initiation(now, index, Reason::Traffic);
        }
        Some(batch)
    }
}

/// What is sent: an answer is expected to data only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    /// This many bytes.
    Data(u64),
    /// Nothing.
    Keepalive,
}
