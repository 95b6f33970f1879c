//! The transport steps in one call each, for callers with one thread.

use core::num::NonZeroU32;

use super::Device;
use crate::ecn;
use crate::endpoint::Endpoint;
use crate::error::{DecapsulateError, Dropped, EncapsulateError, NotReady, SealError, StageError};
use crate::index::PeerIndex;
use crate::inner::InnerPacket;
use crate::load::QueueLoad;
use crate::message::{HEADER_BYTES, MessageKind, OVERHEAD_BYTES, classify, padded_len};
use crate::outcome::{Decapsulated, Encapsulated, Transmit};
use crate::session::Opened;
use crate::time::{Instant, UnixTime};

impl Device {
    /// Seals `packet` for a peer into `out`, or stages it while there is no session. `mtu_bytes` bounds the
    /// padding (0 = pad freely); `out` holds 32 bytes more than the padded packet.
    pub fn encapsulate(
        &mut self,
        now: Instant,
        peer: PeerIndex,
        packet: &[u8],
        mtu_bytes: u16,
        out: &mut [u8],
    ) -> Result<Encapsulated, EncapsulateError> {
        let (need, have) = (padded_len(packet.len(), mtu_bytes) + OVERHEAD_BYTES, out.len());
        if need > have {
            self.counters.packet_too_large += 1;
            return Err(SealError::BufferTooSmall { need, have }.into());
        }
        match self.begin_send(now, peer, NonZeroU32::MIN, packet.len() as u64) {
            Ok(mut batch) => {
                out[HEADER_BYTES..HEADER_BYTES + packet.len()].copy_from_slice(packet);
                let len = batch.seal(out, packet.len(), mtu_bytes)?;
                Ok(Encapsulated::Sent(Transmit { to: batch.to(), len, tos: ecn::outer(packet) }))
            }
            Err(NotReady::NoSession) => {
                self.stage(now, peer, packet)?;
                Ok(Encapsulated::Staged)
            }
            Err(NotReady::NoSuchPeer) => Err(StageError::NoSuchPeer.into()),
            Err(NotReady::NoEndpoint) => Err(StageError::NoEndpoint.into()),
        }
    }

    /// Takes any datagram from the network, in place. An inner packet is given back only if its source belongs to
    /// the peer it came from.
    pub fn decapsulate(
        &mut self,
        now: Instant,
        unix: UnixTime,
        src: Endpoint,
        datagram: &mut [u8],
    ) -> Result<Decapsulated, DecapsulateError> {
        let Ok(MessageKind::Transport { receiver, .. }) = classify(datagram) else {
            let handled = self.handle_control(now, unix, src, datagram, QueueLoad::IDLE)?;
            return Ok(Decapsulated::Control(handled));
        };
        let Some(key) = self.rx_key(receiver) else {
            self.count(Dropped::UnknownSession);
            return Err(DecapsulateError::UnknownSession);
        };
        let opened = key.open(datagram).inspect_err(|error| self.count(Dropped::NotOpened(*error)))?;
        let mut run = [opened];
        let peer = self.commit_received(now, &key, src, &mut run)?;
        self.accept(peer, run[0], datagram)
    }

    fn accept(
        &mut self,
        peer: PeerIndex,
        opened: Opened,
        datagram: &[u8],
    ) -> Result<Decapsulated, DecapsulateError> {
        if !opened.accepted() {
            return Err(DecapsulateError::Replayed);
        }
        if opened.is_keepalive() {
            return Ok(Decapsulated::Keepalive { peer });
        }
        let Some(inner) = InnerPacket::parse(&datagram[HEADER_BYTES..HEADER_BYTES + opened.len()]) else {
            self.count(Dropped::NotIp);
            return Err(DecapsulateError::NotIp);
        };
        if self.owner_of(inner.source) != Some(peer) {
            self.count(Dropped::SourceNotAllowed);
            return Err(DecapsulateError::SourceNotAllowed);
        }
        Ok(Decapsulated::Packet { peer, range: HEADER_BYTES..HEADER_BYTES + inner.len })
    }
}
