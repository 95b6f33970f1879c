//! Packets on their way to the TUN: merged, as they came, or the node's own. Runs outside the node's lock.
//! Called by worker.

use std::io::IoSlice;

use super::Worker;
use super::counters::WorkerCounters;
use super::plan::{Item, Place};
use crate::offload::restore_partial_checksum;
use crate::tun::{TunQueue, VirtioHeader};

impl Worker {
    /// Decrypted packets to the TUN, merged where they continue each other.
    pub(super) fn write_inbound(&mut self) {
        let Some(queue) = &self.tun else { return self.count_lost_tun() };
        let mut sink = queue;
        for item in &self.plan.tun {
            match item.place {
                Place::Batch => {
                    let (coalescer, storage) = (&mut self.coalescer, self.inbound.batch.storage_mut());
                    coalescer.push(storage, item.range.clone(), &mut sink);
                }
                Place::Scratch => {
                    let packet = self.plan.bytes(item, &[]);
                    write_plain(queue, packet, &self.shared.workers[self.number].counters);
                }
            }
        }
        self.coalescer.flush(self.inbound.batch.storage_mut(), &mut sink);
        self.write_own_packets();
    }

    /// Packets that came from the TUN, or from the stack, and go to the TUN. Super-packets go back as they are.
    pub(super) fn write_back(&mut self) {
        let Some(queue) = &self.tun else { return self.count_lost_tun() };
        let counters = &self.shared.workers[self.number].counters;
        for Item { place, range, header } in &self.plan.tun {
            match (place, header.checksum) {
                (Place::Batch, Some(partial)) => {
                    let packet = &mut self.outbound.storage[range.clone()];
                    match restore_partial_checksum(packet, partial) {
                        Ok(()) => write(queue, *header, packet, counters),
                        Err(_) => counters.dropped_bad_super_packet.add(1),
                    }
                }
                (Place::Batch, None) => {
                    write(queue, *header, &self.outbound.storage[range.clone()], counters);
                }
                (Place::Scratch, _) => {
                    let item = Item { place: *place, range: range.clone(), header: *header };
                    write_plain(queue, self.plan.bytes(&item, &[]), counters);
                }
            }
        }
        self.write_own_packets();
    }

    /// Answers and errors the node made itself.
    pub(super) fn write_own_packets(&mut self) {
        let counters = &self.shared.workers[self.number].counters;
        for packet in self.own_for_tun.packets() {
            match &self.tun {
                Some(queue) => write_plain(queue, packet, counters),
                None => counters.dropped_tun.add(1),
            }
        }
        self.own_for_tun.clear();
    }

    pub(super) fn count_lost_tun(&mut self) {
        let lost = self.plan.tun.len() as u64;
        self.counters().dropped_tun.add(lost);
        self.write_own_packets();
    }
}

fn write_plain(queue: &TunQueue, packet: &[u8], counters: &WorkerCounters) {
    write(queue, VirtioHeader::default(), packet, counters);
}

fn write(queue: &TunQueue, header: VirtioHeader, packet: &[u8], counters: &WorkerCounters) {
    match queue.write(&[IoSlice::new(&header.encode()), IoSlice::new(packet)]) {
        Ok(()) => {
            counters.tun_writes.add(1);
            counters.tun_packets.add(1);
        }
        Err(_) => counters.dropped_tun.add(1),
    }
}
