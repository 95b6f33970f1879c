//! Packets for this process's own stack, and those it makes. It works on the worker's thread, outside the node's lock, and
//! puts what it answers behind the worker's door. Read first: stack. Called by worker.

use std::io::{self, IoSlice};

use super::Worker;
use super::plan::Place;
use crate::offload::{Coalescer, PacketSink, restore_partial_checksum};
use crate::stack::{Door, Stack};
use crate::tun::{TunOffloads, TunRead, VIRTIO_HEADER_BYTES, VirtioHeader};

/// The stack as one worker sees it.
pub(super) struct StackSide {
    stack: Stack,
    worker: usize,
    coalescer: Coalescer,
}

/// Where the stack takes packets.
struct Entrance<'a> {
    stack: &'a Stack,
    worker: usize,
}

impl StackSide {
    pub(super) fn new(stack: Stack, worker: usize) -> StackSide {
        let everything = TunOffloads { tcp: true, udp: false };
        StackSide { stack, worker, coalescer: Coalescer::new(everything) }
    }

    /// What the stack wants sent.
    pub(super) fn door(&self) -> &Door {
        self.stack.door(self.worker)
    }

    fn take(&self, header: VirtioHeader, packet: &[u8]) {
        self.stack.receive(self.worker, header, &[IoSlice::new(packet)]);
    }
}

impl PacketSink for Entrance<'_> {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let Some((header, packet)) = parts.split_first() else { return Ok(()) };
        let header: &[u8; VIRTIO_HEADER_BYTES] = header[..].try_into().map_err(io::Error::other)?;
        self.stack.receive(self.worker, VirtioHeader::decode(header).map_err(io::Error::other)?, packet);
        Ok(())
    }
}

impl super::outbound::PacketSource for Door {
    fn read(&self, room: &mut [u8]) -> io::Result<Option<TunRead>> {
        Ok(Door::read(self, room).map(|(len, header)| TunRead { header, len }))
    }
}

impl Worker {
    /// Whether the stack has something to send.
    pub(super) fn is_door_waiting(&self) -> bool {
        self.stack.as_ref().is_some_and(|side| !side.door().is_empty())
    }

    /// All has been sent: what else follows from it.
    pub(super) fn end_turn_of_stack(&self) {
        if let Some(side) = &self.stack {
            side.door().end_turn();
        }
    }

    /// Decrypted packets to the stack, merged where they continue each other.
    pub(super) fn hand_inbound_to_stack(&mut self) {
        let lost = self.plan.sockets.len() as u64;
        let Some(StackSide { stack, worker, coalescer }) = &mut self.stack else {
            return self.counters().dropped_no_stack.add(lost);
        };
        let mut entrance = Entrance { stack, worker: *worker };
        let storage = self.inbound.batch.storage_mut();
        for item in &self.plan.sockets {
            match item.place {
                Place::Batch => coalescer.push(storage, item.range.clone(), &mut entrance),
                Place::Scratch => {
                    let packet = self.plan.bytes(item, &[]);
                    entrance.stack.receive(*worker, VirtioHeader::default(), &[IoSlice::new(packet)]);
                }
            }
        }
        coalescer.flush(storage, &mut entrance);
        let counts = coalescer.take_counts();
        let counters = self.counters();
        counters.stack_packets.add(counts.packets);
        counters.stack_merged.add(counts.merged);
    }

    /// Packets from the TUN, or the stack's own, to the stack. Super-packets stay whole.
    pub(super) fn hand_outbound_to_stack(&mut self) {
        let counters = &self.shared.workers[self.number].counters;
        let Some(side) = &self.stack else {
            return counters.dropped_no_stack.add(self.plan.sockets.len() as u64);
        };
        for item in &self.plan.sockets {
            if let (Place::Batch, Some(partial)) = (item.place, item.header.checksum) {
                let packet = &mut self.outbound.storage[item.range.clone()];
                if restore_partial_checksum(packet, partial).is_err() {
                    counters.dropped_bad_super_packet.add(1);
                    continue;
                }
            }
            counters.stack_packets.add(1);
            side.take(item.header, self.plan.bytes(item, &self.outbound.storage));
        }
    }

    /// Answers, errors and resets that the node made itself.
    pub(super) fn hand_own_packets_to_stack(&mut self) {
        let counters = &self.shared.workers[self.number].counters;
        for packet in self.own_for_stack.packets() {
            match &self.stack {
                Some(side) => {
                    counters.stack_packets.add(1);
                    side.take(VirtioHeader::default(), packet);
                }
                None => counters.dropped_no_stack.add(1),
            }
        }
        self.own_for_stack.clear();
    }
}
