//! Decrypted packets on their way to the TUN: consecutive ones of a flow leave as one super-packet, written
//! from where they lie. Read first: merge, virtio. Called by worker.

use std::io::{self, IoSlice};
use std::ops::Range;

use super::header::{Layout, TCP, flag, set_ip_length};
use super::merge::{Continuation, Piece};
use crate::tun::{Gso, PartialChecksum, Segmentation, TunOffloads, TunQueue, VirtioHeader};

// Our own choices.
/// Flows that may have an open run at one time; one more closes the oldest run.
const RUNS_MAX: usize = 16;
/// Packets in one run.
const PACKETS_MAX: usize = 128;
/// The longest headers that merge: IPv6 and a full TCP header.
const HEADERS_BYTES_MAX: usize = 40 + 60;

/// Where packets go; a TUN queue, or a test's list.
pub trait PacketSink {
    /// Writes one packet: `parts[0]` is the encoded virtio header.
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()>;
}

impl PacketSink for &TunQueue {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        TunQueue::write(self, parts)
    }
}

/// What became of packets given to [`Coalescer`]; the worker adds them to its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoalesceCounts {
    /// Calls that wrote something.
    pub writes: u64,
    /// Packets in them.
    pub packets: u64,
    /// Packets that left as part of a super-packet.
    pub merged: u64,
    /// Packets the TUN did not take.
    pub dropped: u64,
}

/// Open runs over packets that lie in one storage. Order within a flow is kept; between flows it is not.
#[derive(Debug)]
pub struct Coalescer {
    runs: Vec<MergeRun>,
    spare: Vec<Vec<Range<usize>>>,
    offloads: TunOffloads,
    counts: CoalesceCounts,
}

#[derive(Debug)]
struct MergeRun {
    packets: Vec<Range<usize>>,
    continuation: Continuation,
    /// The first packet's checksums were looked at.
    verified: bool,
}

impl Coalescer {
    /// Merges only what `offloads` allows.
    pub fn new(offloads: TunOffloads) -> Coalescer {
        let spare = (0..=RUNS_MAX).map(|_| Vec::with_capacity(PACKETS_MAX)).collect();
        Coalescer { runs: Vec::with_capacity(RUNS_MAX), spare, offloads, counts: CoalesceCounts::default() }
    }

    /// Takes one packet. What has to leave before it, or because of it, is written at once.
    pub fn push(&mut self, storage: &mut [u8], packet: Range<usize>, sink: &mut impl PacketSink) {
        let Some(piece) = Piece::parse(&storage[packet.clone()]) else {
            return self.write_alone(storage, packet, sink);
        };
        let protocol = piece.layout().protocol;
        let open = self.runs.iter().position(|run| same_flow(storage, run, &piece));
        if let Some(position) = open {
            if self.may_merge(protocol) && self.join(storage, position, &packet) {
                return;
            }
            self.write_run(storage, position, sink);
        }
        // Asked now: the run that was just written may have been refused.
        if self.may_merge(protocol) {
            self.open(storage, packet, sink);
        } else {
            self.write_alone(storage, packet, sink);
        }
    }

    /// Writes all open runs. Called once per batch, before the storage is reused.
    pub fn flush(&mut self, storage: &mut [u8], sink: &mut impl PacketSink) {
        while !self.runs.is_empty() {
            self.write_run(storage, 0, sink);
        }
    }

    /// Counts since the last call.
    pub fn take_counts(&mut self) -> CoalesceCounts {
        std::mem::take(&mut self.counts)
    }

    fn may_merge(&self, protocol: u8) -> bool {
        if protocol == TCP { self.offloads.tcp } else { self.offloads.udp }
    }

    /// Appends the packet to an open run if it continues it.
    fn join(&mut self, storage: &[u8], position: usize, packet: &Range<usize>) -> bool {
        let run = &mut self.runs[position];
        let first = run.packets.first().and_then(|first| Piece::parse(&storage[first.clone()]));
        let (Some(first), Some(piece)) = (first, Piece::parse(&storage[packet.clone()])) else {
            return false;
        };
        let Some(continuation) = piece.continues(&first, &run.continuation) else { return false };
        run.verified = run.verified || first.is_intact();
        if run.packets.len() == PACKETS_MAX || !run.verified || !piece.is_intact() {
            return false;
        }
        run.packets.push(packet.clone());
        run.continuation = continuation;
        true
    }

    fn open(&mut self, storage: &mut [u8], packet: Range<usize>, sink: &mut impl PacketSink) {
        let continuation = Piece::parse(&storage[packet.clone()]).and_then(|piece| piece.start());
        let Some(continuation) = continuation else { return self.write_alone(storage, packet, sink) };
        if self.runs.len() == RUNS_MAX {
            self.write_run(storage, 0, sink);
        }
        let mut packets = self.spare.pop().unwrap_or_default();
        packets.push(packet);
        self.runs.push(MergeRun { packets, continuation, verified: false });
    }

    fn write_run(&mut self, storage: &mut [u8], position: usize, sink: &mut impl PacketSink) {
        let mut run = self.runs.remove(position);
        match run.packets.as_slice() {
            [alone] => self.write_alone(storage, alone.clone(), sink),
            _ => self.write_merged(storage, &run, sink),
        }
        run.packets.clear();
        self.spare.push(run.packets);
    }

    fn write_alone(&mut self, storage: &[u8], packet: Range<usize>, sink: &mut impl PacketSink) {
        let header = VirtioHeader::default().encode();
        match sink.write(&[IoSlice::new(&header), IoSlice::new(&storage[packet])]) {
            Ok(()) => self.count_written(1),
            Err(_) => self.counts.dropped += 1,
        }
    }

    /// The first packet's headers speak for all; a kernel that refuses them gets the packets one by one.
    fn write_merged(&mut self, storage: &mut [u8], run: &MergeRun, sink: &mut impl PacketSink) {
        let Some(layout) = Piece::parse(&storage[run.packets[0].clone()]).map(|piece| piece.layout()) else {
            return;
        };
        if !self.may_merge(layout.protocol) {
            return self.write_each(storage, run, sink);
        }
        let original = Headers::save(storage, &run.packets[0], &layout);
        let virtio = merge_headers(storage, run, &layout);
        match write_parts(storage, run, &layout, virtio, sink) {
            Ok(()) => {
                self.count_written(run.packets.len() as u64);
                self.counts.merged += run.packets.len() as u64;
            }
            Err(error) => {
                original.restore(storage, &run.packets[0]);
                self.learn(&layout, &error);
                self.write_each(storage, run, sink);
            }
        }
    }

    fn write_each(&mut self, storage: &[u8], run: &MergeRun, sink: &mut impl PacketSink) {
        for packet in &run.packets {
            self.write_alone(storage, packet.clone(), sink);
        }
    }

    /// EINVAL is the kernel's answer to a segmentation type it does not know. Said once: the kind is off then.
    fn learn(&mut self, layout: &Layout, error: &io::Error) {
        if error.raw_os_error() != Some(libc::EINVAL) {
            return;
        }
        let tcp = layout.protocol == TCP;
        tracing::info!(tcp, %error, "the TUN refuses merged packets; they are written one by one from now on");
        if tcp { self.offloads.tcp = false } else { self.offloads.udp = false }
    }

    fn count_written(&mut self, packets: u64) {
        self.counts.writes += 1;
        self.counts.packets += packets;
    }
}

fn same_flow(storage: &[u8], run: &MergeRun, piece: &Piece<'_>) -> bool {
    let first = run.packets.first().and_then(|first| Piece::parse(&storage[first.clone()]));
    first.is_some_and(|first| piece.same_flow(&first))
}

/// The headers of a packet as they were before merging.
struct Headers {
    bytes: [u8; HEADERS_BYTES_MAX],
    len: usize,
}

impl Headers {
    fn save(storage: &[u8], packet: &Range<usize>, layout: &Layout) -> Headers {
        let len = layout.payload_at.min(HEADERS_BYTES_MAX);
        let mut bytes = [0; HEADERS_BYTES_MAX];
        bytes[..len].copy_from_slice(&storage[packet.start..packet.start + len]);
        Headers { bytes, len }
    }

    fn restore(&self, storage: &mut [u8], packet: &Range<usize>) {
        storage[packet.start..packet.start + self.len].copy_from_slice(&self.bytes[..self.len]);
    }
}

/// Makes the first packet's headers those of the whole run: length, PSH and FIN of the last packet, the
/// pseudo-header's part of the checksum.
fn merge_headers(storage: &mut [u8], run: &MergeRun, layout: &Layout) -> VirtioHeader {
    let last = run.packets.last().and_then(|last| Piece::parse(&storage[last.clone()]));
    let ending = last.map_or(0, |last| last.tcp_flags() & (flag::PSH | flag::FIN));
    let total = run.continuation.total_bytes;
    let first = &mut storage[run.packets[0].clone()];
    set_ip_length(first, total);
    let transport_bytes = (total - layout.transport_at) as u16;
    if layout.protocol == TCP {
        first[layout.transport_at + 13] |= ending;
    } else {
        first[layout.transport_at + 4..layout.transport_at + 6]
            .copy_from_slice(&transport_bytes.to_be_bytes());
    }
    let pseudo = layout.pseudo_sum(first).add_field(transport_bytes).folded();
    let at = layout.transport_at + layout.checksum_offset();
    first[at..at + 2].copy_from_slice(&pseudo);
    virtio_header(run, layout)
}

fn virtio_header(run: &MergeRun, layout: &Layout) -> VirtioHeader {
    let kind = match (layout.protocol, layout.ipv6) {
        (TCP, false) => Segmentation::Tcp4,
        (TCP, true) => Segmentation::Tcp6,
        _ => Segmentation::Udp,
    };
    VirtioHeader {
        checksum: Some(PartialChecksum {
            start: layout.transport_at as u16,
            offset: layout.checksum_offset() as u16,
        }),
        gso: Some(Gso {
            kind,
            segment_bytes: run.continuation.segment_bytes as u16,
            header_bytes: layout.payload_at as u16,
        }),
    }
}

fn write_parts(
    storage: &[u8],
    run: &MergeRun,
    layout: &Layout,
    virtio: VirtioHeader,
    sink: &mut impl PacketSink,
) -> io::Result<()> {
    let header = virtio.encode();
    let mut parts = [IoSlice::new(&[]); PACKETS_MAX + 1];
    parts[0] = IoSlice::new(&header);
    for (position, (part, packet)) in parts[1..].iter_mut().zip(&run.packets).enumerate() {
        let skip = if position == 0 { 0 } else { layout.payload_at };
        *part = IoSlice::new(&storage[packet.start + skip..packet.end]);
    }
    sink.write(&parts[..=run.packets.len()])
}
