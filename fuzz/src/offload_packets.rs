//! Packets on their way to the TUN, merged and cut again: whatever they are, the same packets come out, those of a flow
//! in their order. And any bytes as a super-packet from the TUN: cut or refused, and every piece is a packet.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};

use router_core::packet::checksum::Sum;
use router_core::packet::{Addresses, Ends, PacketMut, Protocol, Version};
use sluice_runtime::offload::{
    Coalescer, PacketSink, SuperPacket, complete_checksum, restore_partial_checksum,
};
use sluice_runtime::tun::{TunOffloads, VIRTIO_HEADER_BYTES, VirtioHeader};

use crate::ip_packet::addresses;
use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "offload_packets",
    run: offload_packets,
    outcomes: &[
        "alone",
        "checksum completed",
        "checksum restored",
        "cut",
        "merged Tcp4",
        "merged Tcp6",
        "merged Udp",
        "refused by the kernel",
        "super-packet Checksum",
        "super-packet Headers",
        "super-packet NoSegmentSize",
    ],
};

const STEPS_MAX: usize = 64;
/// More than one run holds, and more than there are open runs.
const MANY_SEGMENTS: usize = 140;
const MANY_FLOWS: u16 = 20;
const SIZES: [usize; 4] = [1, 100, 536, 1400];
const TCP_HEADER_BYTES: usize = 20;
const UDP_HEADER_BYTES: usize = 8;

/// The first byte says what the TUN can; above 127 the rest is a virtio header and a super-packet, else each four bytes
/// are one step: what, of which flow, and two numbers.
fn offload_packets(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let first = input.u8();
    if first >= 128 {
        return super_packet(&mut input, tally);
    }
    let offloads = TunOffloads { tcp: first & 1 == 0, udp: first & 2 == 0 };
    let mut batch = Batch::new(Coalescer::new(offloads), first & 4 != 0);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        batch.step(&mut input, tally);
    }
    batch.flush(tally);
}

fn super_packet(input: &mut Input<'_>, tally: &mut Tally) {
    let Ok(header) = VirtioHeader::decode(&input.array::<VIRTIO_HEADER_BYTES>()) else { return };
    let packet = input.rest();
    if let Some(partial) = header.checksum {
        if complete_checksum(&mut packet.to_vec(), partial).is_ok() {
            tally.count("checksum completed");
        } else {
            tally.count("super-packet Checksum");
        }
        let mut restored = packet.to_vec();
        if restore_partial_checksum(&mut restored, partial).is_ok() {
            tally.count("checksum restored");
        }
        assert_eq!(restored.len(), packet.len());
    }
    let Some(gso) = header.gso else { return };
    match SuperPacket::parse(packet, gso, header.checksum) {
        Ok(parsed) => {
            let pieces = cut(&parsed);
            assert_eq!(pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(), parsed.total_bytes());
            tally.count("cut");
        }
        Err(why) => tally.count(&format!("super-packet {why:?}")),
    }
}

fn cut(parsed: &SuperPacket<'_>) -> Vec<Vec<u8>> {
    let piece = |index| {
        let mut out = vec![0xaa; parsed.longest()];
        let len = parsed.write_segment(index, &mut out);
        out.truncate(len);
        out
    };
    (0..parsed.segments()).map(piece).collect()
}

/// Packets in one storage, what merges them, and what was made of them.
struct Batch {
    flows: [Flow; 4],
    coalescer: Coalescer,
    given: Vec<Vec<u8>>,
    tun: Tun,
}

/// Where a conversation is.
#[derive(Clone, Copy)]
struct Flow {
    version: Version,
    is_tcp: bool,
    sequence: u32,
    id: u16,
}

/// Keeps what is written, cut as its receiver would. May refuse super-packets, as an old kernel does.
struct Tun {
    written: Vec<Vec<u8>>,
    kinds: Vec<Option<String>>,
    refuses: bool,
    refused: u64,
}

impl PacketSink for Tun {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let header: [u8; VIRTIO_HEADER_BYTES] = parts[0][..].try_into().expect("the header comes first");
        let header = VirtioHeader::decode(&header).expect("what we wrote can be read");
        if self.refuses && header.gso.is_some() {
            self.refused += 1;
            return Err(io::Error::from_raw_os_error(22));
        }
        let packet: Vec<u8> = parts[1..].iter().flat_map(|part| part.iter().copied()).collect();
        self.kinds.push(header.gso.map(|gso| format!("{:?}", gso.kind)));
        match header.gso {
            None => self.written.push(packet),
            Some(gso) => {
                let parsed = SuperPacket::parse(&packet, gso, header.checksum);
                self.written.extend(cut(&parsed.expect("what we merged is a super-packet")));
            }
        }
        Ok(())
    }
}

impl Batch {
    fn new(coalescer: Coalescer, refuses: bool) -> Batch {
        let flow = |version, is_tcp| Flow { version, is_tcp, sequence: u32::MAX - 2000, id: u16::MAX - 3 };
        Batch {
            flows: [(Version::V4, true), (Version::V6, true), (Version::V4, false), (Version::V6, false)]
                .map(|(version, is_tcp)| flow(version, is_tcp)),
            coalescer,
            given: Vec::new(),
            tun: Tun { written: Vec::new(), kinds: Vec::new(), refuses, refused: 0 },
        }
    }

    fn step(&mut self, input: &mut Input<'_>, tally: &mut Tally) {
        let [what, which, a, b] = input.array();
        let flow = &mut self.flows[usize::from(which) % 4];
        let size = SIZES[usize::from(a) % SIZES.len()];
        match what % 16 {
            0..8 => self.given.push(flow.next(0, size, b, false)),
            8 => flow.sequence = flow.sequence.wrapping_add(u32::from(a)),
            9 => self.given.push(flow.next(0, size, b, true)),
            10 | 11 => {
                let mut packet = flow.next(0, 100, 0, b & 1 == 0);
                let at = usize::from(a) % packet.len();
                packet[at] ^= b;
                if what % 16 == 10 {
                    sign(&mut packet);
                }
                self.given.push(packet);
            }
            12 => self.flush(tally),
            13 => self.given.push(input.take(usize::from(a)).to_vec()),
            14 => (0..MANY_SEGMENTS).for_each(|_| self.given.push(flow.next(0, 1, 0, false))),
            _ => (0..MANY_FLOWS).for_each(|port| self.given.push(flow.next(port, 1, 0, false))),
        }
    }

    /// What was given comes out, and in each flow in its order.
    fn flush(&mut self, tally: &mut Tally) {
        let mut storage = self.given.concat();
        let mut start = 0;
        for packet in &self.given {
            let place = start..start + packet.len();
            start = place.end;
            self.coalescer.push(&mut storage, place, &mut self.tun);
        }
        self.coalescer.flush(&mut storage, &mut self.tun);
        let (given, written) = (std::mem::take(&mut self.given), std::mem::take(&mut self.tun.written));
        assert_eq!(by_flow(&given), by_flow(&written));
        let counts = self.coalescer.take_counts();
        assert_eq!((counts.packets, counts.dropped), (given.len() as u64, 0));
        tally.add("refused by the kernel", std::mem::take(&mut self.tun.refused));
        for kind in self.tun.kinds.drain(..) {
            match kind {
                Some(kind) => tally.count(&format!("merged {kind}")),
                None => tally.count("alone"),
            }
        }
    }
}

/// Packets by what flow they are of, in order. Pieces, packets with extension headers and what is no packet belong to
/// no flow here, and are sorted.
fn by_flow(packets: &[Vec<u8>]) -> BTreeMap<Option<(u8, Ends)>, Vec<Vec<u8>>> {
    let mut flows = BTreeMap::<_, Vec<Vec<u8>>>::new();
    for bytes in packets {
        let mut copy = bytes.clone();
        let flow = PacketMut::parse(&mut copy).ok().and_then(|packet| {
            let protocol =
                if packet.version() == Version::V4 { packet.bytes()[9] } else { packet.bytes()[6] };
            packet.piece().is_none().then(|| (protocol, packet.ends()))
        });
        let flow = flow.filter(|(protocol, _)| [Protocol::TCP.0, Protocol::UDP.0].contains(protocol));
        flows.entry(flow).or_default().push(bytes.clone());
    }
    if let Some(others) = flows.get_mut(&None) {
        others.sort();
    }
    flows
}

impl Flow {
    /// The next packet, with so many bytes. For TCP with flags besides ACK, and on demand with an option.
    fn next(&mut self, port: u16, size: usize, flags: u8, has_option: bool) -> Vec<u8> {
        let mut transport = [4000 + port, 443].map(u16::to_be_bytes).concat();
        if self.is_tcp {
            transport.extend(self.sequence.to_be_bytes());
            transport.extend([0, 0, 0, 9, if has_option { 0x80 } else { 0x50 }, 0x10 | flags & 0xc9, 1, 0]);
            transport.resize(TCP_HEADER_BYTES, 0);
            if has_option {
                transport.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
            }
        } else {
            transport.extend(((UDP_HEADER_BYTES + size) as u16).to_be_bytes());
            transport.resize(UDP_HEADER_BYTES, 0);
        }
        transport.extend((0..size).map(|byte| byte as u8));
        let mut packet = self.header(transport.len());
        packet.extend(transport);
        sign(&mut packet);
        self.sequence = self.sequence.wrapping_add(size as u32);
        self.id = self.id.wrapping_add(1);
        packet
    }

    fn header(&self, payload: usize) -> Vec<u8> {
        let protocol = if self.is_tcp { Protocol::TCP.0 } else { Protocol::UDP.0 };
        let mut header = match self.version {
            Version::V4 => vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0],
            Version::V6 => vec![0x60, 0, 0, 0, 0, 0, protocol, 64],
        };
        match addresses(self.version, [1, 2, 3, 4, 5, 6]) {
            Addresses::V4 { source, destination } => {
                header[2..4].copy_from_slice(&((20 + payload) as u16).to_be_bytes());
                header[4..6].copy_from_slice(&self.id.to_be_bytes());
                header.extend([source, destination].map(|address| address.octets()).concat());
            }
            Addresses::V6 { source, destination } => {
                header[4..6].copy_from_slice(&(payload as u16).to_be_bytes());
                header.extend([source, destination].map(|address| address.octets()).concat());
            }
        }
        header
    }
}

/// Makes both checksums right, if there are any.
fn sign(bytes: &mut [u8]) {
    let (at, protocol) = match bytes[0] >> 4 {
        4 => (usize::from(bytes[0] & 15) * 4, bytes[9]),
        6 => (40, bytes[6]),
        _ => return,
    };
    let checksum_at = if protocol == Protocol::TCP.0 { at + 16 } else { at + 6 };
    if at < 20 || checksum_at + 2 > bytes.len() {
        return;
    }
    let addresses = if bytes[0] >> 4 == 4 { 12..20 } else { 8..40 };
    let len = (bytes.len() - at) as u32;
    bytes[checksum_at..checksum_at + 2].fill(0);
    let pseudo_header = Sum::default().bytes(&bytes[addresses]).number(protocol.into()).number(len);
    let checksum = match pseudo_header.bytes(&bytes[at..]).checksum() {
        0 if protocol == Protocol::UDP.0 => u16::MAX,
        other => other,
    };
    bytes[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
    if bytes[0] >> 4 == 4 {
        bytes[10..12].fill(0);
        let checksum = Sum::default().bytes(&bytes[..at]).checksum();
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}
