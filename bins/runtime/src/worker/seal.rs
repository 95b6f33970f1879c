//! Sealing what the plan holds, straight into the UDP send buffer. Runs outside the node's lock.
//! Called by worker's two directions.

use wg_proto::{HEADER_BYTES, Instant, OVERHEAD_BYTES, TxBatch, ecn, padded_len};

use super::counters::WorkerCounters;
use super::plan::{Plan, cut};
use crate::udp::{DATAGRAM_BYTES_MAX, SendQueue, SocketPair};

/// Where sealed datagrams go.
pub(super) struct Outlet<'a> {
    pub(super) queue: &'a mut SendQueue,
    pub(super) sockets: &'a SocketPair,
    pub(super) counters: &'a WorkerCounters,
    pub(super) now: Instant,
    /// Padding never makes a packet longer than this.
    pub(super) mtu_bytes: u16,
}

impl Outlet<'_> {
    /// Seals and sends everything in the plan that has nonces.
    pub(super) fn seal(&mut self, plan: &mut Plan, batch: &[u8]) {
        let mut runs = std::mem::take(&mut plan.runs);
        for run in &mut runs {
            let Some(nonces) = &mut run.batch else { continue };
            for item in &plan.to_peers[run.items.clone()] {
                let packet = plan.bytes(item, batch);
                match cut(packet, item.header) {
                    None => self.seal_one(nonces, packet.len(), ecn::outer(packet), |room| {
                        room[..packet.len()].copy_from_slice(packet);
                        packet.len()
                    }),
                    Some(super_packet) => {
                        for index in 0..super_packet.segments() {
                            self.seal_one(nonces, super_packet.longest(), ecn::outer(packet), |room| {
                                super_packet.write_segment(index, room)
                            });
                        }
                    }
                }
            }
        }
        plan.runs = runs;
        self.flush();
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) {
        if !self.queue.is_empty() {
            self.queue.flush(self.now, self.sockets);
        }
    }

    /// `write` puts a packet of at most `longest` bytes where it will be sealed, and returns its length.
    fn seal_one(
        &mut self,
        nonces: &mut TxBatch,
        longest: usize,
        tos: u8,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) {
        let need = padded_len(longest, self.mtu_bytes) + OVERHEAD_BYTES;
        if need > DATAGRAM_BYTES_MAX {
            return self.counters.dropped_too_big.add(1);
        }
        if self.queue.is_worth_flushing() || self.queue.reserve(need).is_none() {
            self.flush();
        }
        let Some(room) = self.queue.reserve(need) else { return self.counters.dropped_not_sealed.add(1) };
        let len = write(&mut room[HEADER_BYTES..]);
        match nonces.seal(room, len, self.mtu_bytes) {
            Ok(len) => self.queue.commit(len, nonces.to(), tos),
            Err(_) => self.counters.dropped_not_sealed.add(1),
        }
    }
}
