//! A batch to send: nonces taken under the device's lock, packets sealed outside it.

use alloc::sync::Arc;
use core::fmt;
use core::num::NonZeroU32;

use crate::counter::Counter;
use crate::crypto::{ChaChaPoly, Plain};
use crate::endpoint::Endpoint;
use crate::error::SealError;
use crate::index::SessionIndex;
use crate::message::{OVERHEAD_BYTES, TAG_BYTES, padded_len, write_transport_header};
use crate::session::TxShared;

/// A right to seal a number of packets for one peer on one session. Not `Clone`, and each packet takes the next
/// nonce, so no nonce is used twice; what is left when it is dropped is never used at all.
///
/// Seal in the same turn, before the next call to the device: the session's age was checked when the batch was made, and
/// neither [`REJECT_AFTER_TIME`](crate::constants::REJECT_AFTER_TIME) nor the removal of its peer or key reaches a batch
/// that exists. One that is kept for longer does no harm to the cipher, as its nonces are its own for ever; what it seals
/// past that age is refused by the peer's clock; but whatever allowed its packets may have been revoked meanwhile.
pub struct TxBatch {
    tx: Arc<TxShared>,
    to: Endpoint,
    next: Counter,
    remaining: u32,
}

impl TxBatch {
    pub(crate) fn new(tx: Arc<TxShared>, to: Endpoint, first: Counter, count: u32) -> TxBatch {
        TxBatch { tx, to, next: first, remaining: count }
    }

    /// Where the sealed packets go.
    pub fn to(&self) -> Endpoint {
        self.to
    }

    /// How many packets may still be sealed.
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// The peer's index of the session: what the sealed packets carry as receiver.
    pub fn receiver(&self) -> SessionIndex {
        self.tx.remote
    }

    /// Seals one packet in place: `datagram[16..16 + payload_len]` holds it; header, zero padding and tag are
    /// written around it. Padding fills up to 16 bytes, but not past the inner MTU (`mtu_bytes`; 0 = pad
    /// freely). An empty payload is a keepalive.
    ///
    /// Returns the datagram's length, `32 + padded_len(payload_len, mtu_bytes)`. On an error nothing was
    /// written and no nonce used.
    pub fn seal(
        &mut self,
        datagram: &mut [u8],
        payload_len: usize,
        mtu_bytes: u16,
    ) -> Result<usize, SealError> {
        let need = padded_len(payload_len, mtu_bytes).saturating_add(OVERHEAD_BYTES);
        let have = datagram.len();
        let datagram = datagram.get_mut(..need).ok_or(SealError::BufferTooSmall { need, have })?;
        let counter = self.take_nonce()?;
        let plain = self.frame(datagram, payload_len, counter);
        self.tx.aead.seal_run(counter.get(), [plain]);
        Ok(need)
    }

    /// Seals packets that lie in `buffer` at a fixed stride (the segment size of a UDP segmentation offload), as one
    /// run. Packet `i` is at `buffer[i * run.stride() + 16..]`.
    ///
    /// Returns the length of the whole run, `run.total()`. On an error nothing was written and no nonce used.
    pub fn seal_run(&mut self, buffer: &mut [u8], run: Run) -> Result<usize, SealError> {
        let (need, have) = (run.total(), buffer.len());
        let buffer = buffer.get_mut(..need).ok_or(SealError::BufferTooSmall { need, have })?;
        let first = self.next;
        self.take_nonces(run.count.get())?;
        let plains = buffer.chunks_mut(run.stride()).zip(0u32..).map(|(datagram, i)| {
            let last = i + 1 == run.count.get();
            let payload_len = if last { run.last_payload_len } else { run.payload_len };
            self.frame(datagram, payload_len, Counter::new(first.get() + u64::from(i)))
        });
        self.tx.aead.seal_run(first.get(), plains);
        Ok(need)
    }

    fn take_nonce(&mut self) -> Result<Counter, SealError> {
        let counter = self.next;
        self.take_nonces(1)?;
        Ok(counter)
    }

    fn take_nonces(&mut self, count: u32) -> Result<(), SealError> {
        self.remaining = self.remaining.checked_sub(count).ok_or(SealError::Exhausted)?;
        self.next = self.next.after(count).ok_or(SealError::Exhausted)?;
        Ok(())
    }

    /// Writes header and padding around a payload, and splits the datagram for the cipher.
    fn frame<'a>(&self, datagram: &'a mut [u8], payload_len: usize, counter: Counter) -> Plain<'a> {
        let (header, rest) = datagram.split_first_chunk_mut().expect("a datagram holds its overhead");
        let (payload, tag) = rest.split_last_chunk_mut::<TAG_BYTES>().expect("a datagram holds its overhead");
        write_transport_header(header, self.tx.remote, counter);
        payload[payload_len..].fill(0);
        Plain { payload, tag }
    }
}

/// The layout of a run of packets in one buffer: datagrams at a fixed stride, the last one possibly shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    count: NonZeroU32,
    payload_len: usize,
    last_payload_len: usize,
    mtu_bytes: u16,
}

/// The last packet of a run is longer than the others, so they have no common stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the last packet of a run is longer than the others")]
pub struct LastTooLong;

impl Run {
    /// `count` packets of `payload_len` bytes each, but the last of `last_payload_len`. Padding respects the
    /// inner MTU `mtu_bytes` (0 = pad freely).
    pub const fn new(
        count: NonZeroU32,
        payload_len: usize,
        last_payload_len: usize,
        mtu_bytes: u16,
    ) -> Result<Run, LastTooLong> {
        let run = Run { count, payload_len, last_payload_len, mtu_bytes };
        if padded_len(last_payload_len, mtu_bytes) > padded_len(payload_len, mtu_bytes) {
            return Err(LastTooLong);
        }
        Ok(run)
    }

    /// Distance of two datagrams in the buffer, and length of all but the last, in bytes.
    pub const fn stride(&self) -> usize {
        padded_len(self.payload_len, self.mtu_bytes) + OVERHEAD_BYTES
    }

    /// Bytes of the whole run.
    pub const fn total(&self) -> usize {
        let full = (self.count.get() as usize - 1).saturating_mul(self.stride());
        full.saturating_add(padded_len(self.last_payload_len, self.mtu_bytes) + OVERHEAD_BYTES)
    }
}

impl fmt::Debug for TxBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxBatch")
            .field("to", &self.to)
            .field("next", &self.next)
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_where_its_shorter_last_packet_does() {
        for (count, last, mtu_bytes, stride, total) in [
            (1, 100, 0, 144, 144),
            (3, 100, 0, 144, 3 * 144),
            (3, 1, 0, 144, 2 * 144 + 48),
            (2, 90, 100, 132, 132 + 128),
        ] {
            let run = Run::new(NonZeroU32::new(count).unwrap(), 100, last, mtu_bytes).unwrap();
            assert_eq!((run.stride(), run.total()), (stride, total), "{count} {last} {mtu_bytes}");
        }
    }
}
