//! From the TUN, or from the stack: read what waits, ask the data path once per packet or super-packet, cut and seal outside
//! the lock. Called by worker.

use std::io;
use std::ops::Range;

use router_core::{Ingress, Node, Offload, Verdict};
use wg_proto::Instant;

use super::counters::{Counter, WorkerCounters};
use super::plan::Plan;
use crate::offload::{SuperPacket, complete_checksum};
use crate::tun::{PACKET_BYTES_MAX, TunQueue, TunRead, VirtioHeader};

// Our own choices.
/// Bytes after which a batch is worth sealing: about one UDP GSO send.
const BATCH_BYTES: usize = 64 * 1024;
/// Reads in one batch, for small packets.
const PACKETS_MAX: usize = 64;

/// Where packets come from that are not sealed.
pub(super) trait PacketSource {
    /// Reads one packet into `room`, which takes the longest; `None` when nothing waits.
    fn read(&self, room: &mut [u8]) -> io::Result<Option<TunRead>>;
}

impl PacketSource for TunQueue {
    fn read(&self, room: &mut [u8]) -> io::Result<Option<TunRead>> {
        TunQueue::read(self, room)
    }
}

/// Where what was read is counted.
pub(super) struct ReadCounters<'a> {
    /// Packets or super-packets.
    pub(super) reads: &'a Counter,
    /// Segments of them.
    pub(super) segments: &'a Counter,
}

/// One batch, reused.
pub(super) struct Outbound {
    pub(super) storage: Box<[u8]>,
    packets: Vec<Packet>,
}

struct Packet {
    range: Range<usize>,
    header: VirtioHeader,
}

impl Outbound {
    pub(super) fn new() -> Outbound {
        Outbound {
            storage: vec![0; BATCH_BYTES + PACKET_BYTES_MAX].into_boxed_slice(),
            packets: Vec::with_capacity(PACKETS_MAX),
        }
    }

    /// Reads packets until a batch is full or nothing waits.
    pub(super) fn read(
        &mut self,
        source: &impl PacketSource,
        into: ReadCounters<'_>,
        counters: &WorkerCounters,
    ) -> io::Result<()> {
        self.packets.clear();
        let mut used = 0;
        while used < BATCH_BYTES && self.packets.len() < PACKETS_MAX {
            let room = &mut self.storage[used..used + PACKET_BYTES_MAX];
            let read = match source.read(room) {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    counters.dropped_bad_super_packet.add(1);
                    continue;
                }
                Err(error) => return Err(error),
            };
            into.reads.add(1);
            let range = used..used + read.len;
            match prepare(&mut self.storage[range.clone()], read.header) {
                Some((header, segments)) => {
                    into.segments.add(segments.into());
                    used += read.len;
                    self.packets.push(Packet { range, header });
                }
                None => counters.dropped_bad_super_packet.add(1),
            }
        }
        Ok(())
    }

    /// Whether the batch holds anything.
    pub(super) fn has_data(&self) -> bool {
        !self.packets.is_empty()
    }

    /// The locked part: asks the data path about every packet.
    pub(super) fn account(
        &mut self,
        node: &mut Node,
        now: Instant,
        ingress: Ingress,
        plan: &mut Plan,
        counters: &WorkerCounters,
    ) {
        for Packet { range, header } in &self.packets {
            let packet = &mut self.storage[range.clone()];
            match node.handle_packet(now, ingress, packet, offload(*header)) {
                Verdict::Forward(forward) => plan.forward(&forward, packet, range.start, *header, counters),
                Verdict::Reply | Verdict::Parked => {}
                Verdict::Drop(_) => counters.dropped_by_node.add(1),
            }
        }
    }
}

/// Checks a super-packet, or completes the checksum of a packet that is none. Returns the header that goes on with it, and
/// how many segments it is.
fn prepare(packet: &mut [u8], header: VirtioHeader) -> Option<(VirtioHeader, u32)> {
    match (header.gso, header.checksum) {
        (Some(gso), checksum) => {
            SuperPacket::parse(packet, gso, checksum).ok().map(|whole| (header, whole.segments()))
        }
        (None, Some(partial)) => {
            complete_checksum(packet, partial).ok().map(|()| (VirtioHeader::default(), 1))
        }
        (None, None) => Some((header, 1)),
    }
}

fn offload(header: VirtioHeader) -> Offload {
    match header.gso {
        Some(gso) => Offload::Segments { payload_bytes: gso.segment_bytes },
        None => Offload::None,
    }
}
