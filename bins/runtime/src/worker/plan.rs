//! What one locked section decided to send: the bookkeeping is done, the sealing and writing is not.
//! Called by worker's two directions.

use std::num::NonZeroU32;
use std::ops::Range;

use router_core::packet::split::Split;
use router_core::{Egress, Forward, Node};
use wg_proto::{Instant, PeerIndex, TxBatch};

use super::counters::WorkerCounters;
use crate::offload::SuperPacket;
use crate::tun::VirtioHeader;

// Our own choices.
/// Room for the fragments of one batch. What does not fit is dropped and counted.
const SCRATCH_BYTES: usize = 256 * 1024;

/// Where an item's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the buffers the batch was read into.
    Batch,
    /// In the plan's own memory: fragments.
    Scratch,
}

/// A packet or super-packet to send.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) place: Place,
    pub(super) range: Range<usize>,
    pub(super) header: VirtioHeader,
}

/// Consecutive items for one peer, and the nonces for them.
pub(super) struct PeerRun {
    pub(super) items: Range<usize>,
    /// `None`: no session, the packets were staged.
    pub(super) batch: Option<TxBatch>,
    peer: PeerIndex,
    packets: u32,
    bytes: u64,
}

/// Reused from batch to batch.
pub(super) struct Plan {
    pub(super) tun: Vec<Item>,
    /// For the stack in this process.
    pub(super) sockets: Vec<Item>,
    pub(super) to_peers: Vec<Item>,
    pub(super) runs: Vec<PeerRun>,
    scratch: Box<[u8]>,
    scratch_used: usize,
}

impl Plan {
    pub(super) fn new(packets_max: usize) -> Plan {
        Plan {
            tun: Vec::with_capacity(packets_max),
            sockets: Vec::new(),
            to_peers: Vec::with_capacity(packets_max),
            runs: Vec::with_capacity(packets_max),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            scratch_used: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.tun.clear();
        self.sockets.clear();
        self.to_peers.clear();
        self.runs.clear();
        self.scratch_used = 0;
    }

    /// Notes a packet the data path wants forwarded. `packet` is as it is now, translated; it lies at
    /// `start` in the batch's buffers and may be longer than it should leave.
    pub(super) fn forward(
        &mut self,
        forward: &Forward,
        packet: &[u8],
        start: usize,
        header: VirtioHeader,
        counters: &WorkerCounters,
    ) {
        let packet = packet.get(..forward.len).unwrap_or(packet);
        match forward.fragment_to {
            None => {
                let range = start..start + packet.len();
                let segments = segments(packet, header);
                self.push(forward.egress, Item { place: Place::Batch, range, header }, segments);
            }
            Some(mtu_bytes) => self.fragment(forward.egress, packet, header, mtu_bytes, counters),
        }
    }

    /// Takes nonces for every run; packets of a peer without a session go to the device's queue.
    pub(super) fn reserve(&mut self, node: &mut Node, now: Instant, batch: &[u8], counters: &WorkerCounters) {
        for run in &mut self.runs {
            let Some(packets) = NonZeroU32::new(run.packets) else { continue };
            match node.begin_send(now, run.peer, packets, run.bytes) {
                Ok(nonces) => run.batch = Some(nonces),
                Err(_) => {
                    for item in &self.to_peers[run.items.clone()] {
                        let bytes = item_bytes(item, batch, &self.scratch);
                        stage(node, now, run.peer, bytes, item.header, counters);
                    }
                }
            }
        }
    }

    /// The bytes of an item.
    pub(super) fn bytes<'a>(&'a self, item: &Item, batch: &'a [u8]) -> &'a [u8] {
        item_bytes(item, batch, &self.scratch)
    }

    fn push(&mut self, egress: Egress, item: Item, (packets, bytes): (u32, u64)) {
        let peer = match egress {
            Egress::Tun => return self.tun.push(item),
            Egress::Sockets => return self.sockets.push(item),
            Egress::Peer(peer) => peer,
        };
        let at = self.to_peers.len();
        self.to_peers.push(item);
        match self.runs.last_mut() {
            Some(run) if run.peer == peer => {
                run.items.end = at + 1;
                run.packets += packets;
                run.bytes += bytes;
            }
            _ => self.runs.push(PeerRun { items: at..at + 1, batch: None, peer, packets, bytes }),
        }
    }

    /// An IPv4 packet without DF that is too long for its way out. Slow, and rare.
    fn fragment(
        &mut self,
        egress: Egress,
        packet: &[u8],
        header: VirtioHeader,
        mtu_bytes: u16,
        counters: &WorkerCounters,
    ) {
        let mut segment = vec![0; packet.len()];
        for index in 0..segments(packet, header).0 {
            let len = write_segment(packet, header, index, &mut segment);
            let Ok(mut pieces) = Split::new(&segment[..len], mtu_bytes) else {
                counters.dropped_too_big.add(1);
                continue;
            };
            while self.scratch.len() - self.scratch_used > usize::from(u16::MAX) {
                let start = self.scratch_used;
                let Some(len) = pieces.next_into(&mut self.scratch[start..]) else { break };
                self.scratch_used += len;
                let range = start..start + len;
                let item = Item { place: Place::Scratch, range, header: VirtioHeader::default() };
                self.push(egress, item, (1, len as u64));
            }
        }
    }
}

fn item_bytes<'a>(item: &Item, batch: &'a [u8], scratch: &'a [u8]) -> &'a [u8] {
    match item.place {
        Place::Batch => &batch[item.range.clone()],
        Place::Scratch => &scratch[item.range.clone()],
    }
}

/// How many packets leave for this item, and how many bytes they have together.
fn segments(packet: &[u8], header: VirtioHeader) -> (u32, u64) {
    match cut(packet, header) {
        None => (1, packet.len() as u64),
        Some(super_packet) => (super_packet.segments(), super_packet.total_bytes()),
    }
}

/// The super-packet, if it is one. A batch holds none that does not parse.
pub(super) fn cut(packet: &[u8], header: VirtioHeader) -> Option<SuperPacket<'_>> {
    header.gso.and_then(|gso| SuperPacket::parse(packet, gso, header.checksum).ok())
}

fn write_segment(packet: &[u8], header: VirtioHeader, index: u32, out: &mut [u8]) -> usize {
    match cut(packet, header) {
        Some(super_packet) => super_packet.write_segment(index, out),
        None => {
            out[..packet.len()].copy_from_slice(packet);
            packet.len()
        }
    }
}

/// The first packets after a silence: they wait in the device for the handshake.
fn stage(
    node: &mut Node,
    now: Instant,
    peer: PeerIndex,
    packet: &[u8],
    header: VirtioHeader,
    counters: &WorkerCounters,
) {
    let mut segment = vec![0; packet.len()];
    for index in 0..segments(packet, header).0 {
        let len = write_segment(packet, header, index, &mut segment);
        if node.stage(now, peer, &segment[..len]).is_err() {
            counters.dropped_not_staged.add(1);
        }
    }
}
