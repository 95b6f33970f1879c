//! Split and coalesce against each other and against etherparse, which knows nothing of either.

use std::io::{self, IoSlice};
use std::ops::Range;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::coalesce::{Coalescer, PacketSink};
use super::split::{BadSuperPacket, SuperPacket, complete_checksum, restore_partial_checksum};
use crate::tun::{Gso, PartialChecksum, Segmentation, TunOffloads, VIRTIO_HEADER_BYTES, VirtioHeader};

const ALL: TunOffloads = TunOffloads { tcp: true, udp: true };
const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;
const ECE: u8 = 64;
const CWR: u8 = 128;

/// A TUN that keeps what is written and may refuse super-packets.
#[derive(Default)]
struct Tun {
    written: Vec<(VirtioHeader, Vec<u8>)>,
    refuse_gso: bool,
}

impl PacketSink for Tun {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let header: [u8; VIRTIO_HEADER_BYTES] = parts[0][..].try_into().expect("header first");
        let header = VirtioHeader::decode(&header).expect("our own header");
        if self.refuse_gso && header.gso.is_some() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let packet = parts[1..].iter().flat_map(|part| part.iter().copied()).collect();
        self.written.push((header, packet));
        Ok(())
    }
}

impl Tun {
    /// What the receiving stack sees: super-packets cut.
    fn packets(&self) -> Vec<Vec<u8>> {
        self.written.iter().flat_map(|(header, packet)| cut(header, packet)).collect()
    }
}

fn cut(header: &VirtioHeader, packet: &[u8]) -> Vec<Vec<u8>> {
    match header.gso {
        None => vec![packet.to_vec()],
        Some(gso) => segments(&SuperPacket::parse(packet, gso, header.checksum).expect("well formed")),
    }
}

fn segments(super_packet: &SuperPacket<'_>) -> Vec<Vec<u8>> {
    (0..super_packet.segments())
        .map(|index| {
            let mut out = vec![0xaa; super_packet.longest()];
            let len = super_packet.write_segment(index, &mut out);
            out.truncate(len);
            out
        })
        .collect()
}

/// Writes packets behind each other, with room between them, and pushes them in order.
fn coalesce_into(tun: &mut Tun, offloads: TunOffloads, packets: &[Vec<u8>]) {
    let mut storage = Vec::new();
    let ranges: Vec<Range<usize>> = packets
        .iter()
        .map(|packet| {
            storage.extend_from_slice(&[0xee; 16]);
            let start = storage.len();
            storage.extend_from_slice(packet);
            start..storage.len()
        })
        .collect();
    let mut coalescer = Coalescer::new(offloads);
    for range in ranges {
        coalescer.push(&mut storage, range, tun);
    }
    coalescer.flush(&mut storage, tun);
}

fn coalesce(packets: &[Vec<u8>]) -> Tun {
    let mut tun = Tun::default();
    coalesce_into(&mut tun, ALL, packets);
    tun
}

#[derive(Clone, Debug)]
struct Segment {
    ipv6: bool,
    port: u16,
    sequence: u32,
    flags: u8,
    id: u16,
    ttl: u8,
    window: u16,
    payload: usize,
    options: bool,
}

const SEGMENT: Segment = Segment {
    ipv6: false,
    port: 1000,
    sequence: 7,
    flags: ACK,
    id: 1,
    ttl: 64,
    window: 500,
    payload: 100,
    options: false,
};

fn payload(seed: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (seed.wrapping_add(i).wrapping_mul(167) >> 3) as u8).collect()
}

fn tcp(segment: &Segment) -> Vec<u8> {
    let builder = if segment.ipv6 {
        PacketBuilder::ipv6([1; 16], [2; 16], segment.ttl)
    } else {
        PacketBuilder::ip(etherparse::IpHeaders::Ipv4(v4_header(segment), Default::default()))
    };
    let mut builder = builder.tcp(segment.port, 443, segment.sequence, segment.window).ack(99);
    let bit = |bit: u8| segment.flags & bit != 0;
    if bit(FIN) {
        builder = builder.fin();
    }
    if bit(SYN) {
        builder = builder.syn();
    }
    if bit(PSH) {
        builder = builder.psh();
    }
    if bit(URG) {
        builder = builder.urg(3);
    }
    if bit(ECE) {
        builder = builder.ece();
    }
    if bit(CWR) {
        builder = builder.cwr();
    }
    if segment.options {
        builder = builder
            .options(&[
                etherparse::TcpOptionElement::Noop,
                etherparse::TcpOptionElement::Noop,
                etherparse::TcpOptionElement::Timestamp(1, 2),
            ])
            .expect("fits");
    }
    let mut packet = Vec::new();
    builder.write(&mut packet, &payload(segment.sequence, segment.payload)).expect("builds");
    packet
}

fn v4_header(segment: &Segment) -> etherparse::Ipv4Header {
    let mut header =
        etherparse::Ipv4Header::new(0, segment.ttl, etherparse::IpNumber::TCP, [10, 0, 0, 1], [10, 0, 0, 2])
            .expect("legal");
    header.identification = segment.id;
    header.dont_fragment = false;
    header
}

fn udp(ipv6: bool, port: u16, bytes: usize) -> Vec<u8> {
    let builder = if ipv6 {
        PacketBuilder::ipv6([1; 16], [2; 16], 64)
    } else {
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
    };
    let mut packet = Vec::new();
    builder.udp(port, 53).write(&mut packet, &payload(u32::from(port), bytes)).expect("builds");
    packet
}

/// Etherparse parses the packet strictly and agrees with every checksum.
fn assert_intact(packet: &[u8]) {
    use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
    let parsed = PacketHeaders::from_ip_slice(packet).expect("parses");
    let payload = parsed.payload.slice();
    match (parsed.net.expect("ip"), parsed.transport.expect("transport")) {
        (NetHeaders::Ipv4(ip, _), transport) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            match transport {
                TransportHeader::Tcp(tcp) => {
                    assert_eq!(tcp.checksum, tcp.calc_checksum_ipv4(&ip, payload).expect("fits"));
                }
                TransportHeader::Udp(udp) => {
                    assert_eq!(udp.checksum, udp.calc_checksum_ipv4(&ip, payload).expect("fits"));
                }
                TransportHeader::Icmpv4(_) | TransportHeader::Icmpv6(_) | TransportHeader::Igmp(_) => {
                    panic!("neither TCP nor UDP")
                }
            }
        }
        (NetHeaders::Ipv6(ip, _), TransportHeader::Tcp(tcp)) => {
            assert_eq!(tcp.checksum, tcp.calc_checksum_ipv6(&ip, payload).expect("fits"));
        }
        (NetHeaders::Ipv6(ip, _), TransportHeader::Udp(udp)) => {
            assert_eq!(udp.checksum, udp.calc_checksum_ipv6(&ip, payload).expect("fits"));
        }
        other => panic!("unexpected {other:?}"),
    }
}

fn run(first: &Segment, packets: u32) -> Vec<Vec<u8>> {
    (0..packets).map(|i| tcp(&nth(first, i))).collect()
}

fn nth(first: &Segment, i: u32) -> Segment {
    let sequence = first.sequence.wrapping_add(i * first.payload as u32);
    Segment { sequence, id: first.id.wrapping_add(i as u16), ..first.clone() }
}

#[test]
fn a_run_of_one_flow_leaves_as_one_super_packet() {
    for ipv6 in [false, true] {
        for options in [false, true] {
            let packets = run(&Segment { ipv6, options, ..SEGMENT }, 10);
            let tun = coalesce(&packets);
            assert_eq!(tun.written.len(), 1);
            let gso = tun.written[0].0.gso.expect("merged");
            assert_eq!(gso.segment_bytes, 100);
            assert_eq!(gso.kind, if ipv6 { Segmentation::Tcp6 } else { Segmentation::Tcp4 });
            assert_eq!(tun.packets(), packets);
        }
    }
}

#[test]
fn udp_datagrams_of_one_size_leave_as_one_super_packet() {
    for ipv6 in [false, true] {
        let mut packets = vec![udp(ipv6, 9, 200); 5];
        packets.push(udp(ipv6, 9, 60));
        packets.push(udp(ipv6, 9, 60));
        if !ipv6 {
            // Cutting counts the ID up, as the kernel does.
            let base = packets[0][4..6].to_vec();
            let base = u16::from_be_bytes([base[0], base[1]]);
            for (i, packet) in packets.iter_mut().enumerate() {
                set_v4_id(packet, base.wrapping_add(if i == 6 { 0 } else { i as u16 }));
            }
        }
        let tun = coalesce(&packets);
        assert_eq!(tun.written.len(), 2, "the short datagram ends the run");
        assert_eq!(tun.packets(), packets);
    }
}

fn set_v4_id(packet: &mut [u8], id: u16) {
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    super::header::set_ipv4_checksum(packet);
}

#[test]
fn what_differs_in_a_field_that_matters_is_not_merged() {
    let first = SEGMENT;
    let next = nth(&first, 1);
    for (second, merges) in [
        (next.clone(), true),
        (Segment { flags: ACK | PSH, ..next.clone() }, true),
        (Segment { flags: ACK | FIN, ..next.clone() }, true),
        (Segment { payload: 50, ..next.clone() }, true),
        (Segment { payload: 101, ..next.clone() }, false),
        (Segment { payload: 0, ..next.clone() }, false),
        (Segment { sequence: 108, ..next.clone() }, false),
        (Segment { port: 1001, ..next.clone() }, false),
        (Segment { id: 3, ..next.clone() }, false),
        (Segment { ttl: 63, ..next.clone() }, false),
        (Segment { window: 501, ..next.clone() }, false),
        (Segment { options: true, ..next.clone() }, false),
        (Segment { flags: ACK | SYN, ..next.clone() }, false),
        (Segment { flags: ACK | URG, ..next.clone() }, false),
        (Segment { flags: ACK | ECE, ..next.clone() }, false),
        (Segment { flags: ACK | CWR, ..next }, false),
    ] {
        let packets = [tcp(&first), tcp(&second)];
        let tun = coalesce(&packets);
        assert_eq!(tun.written.len() == 1, merges, "{second:?}");
        assert_eq!(tun.packets(), packets, "{second:?}");
    }
}

#[test]
fn push_and_fin_end_a_run() {
    for flags in [ACK | PSH, ACK | FIN] {
        let mut packets = run(&SEGMENT, 4);
        packets[1] = tcp(&Segment { flags, ..nth(&SEGMENT, 1) });
        let tun = coalesce(&packets);
        assert_eq!(tun.written.len(), 2);
        assert_eq!(tun.packets(), packets);
    }
}

#[test]
fn a_corrupt_packet_stays_corrupt_and_stays_alone() {
    for corrupt in 0..4 {
        for at in [10, 40 + 5, 38] {
            let mut packets = run(&SEGMENT, 4);
            packets[corrupt][at] ^= 0x40;
            let tun = coalesce(&packets);
            assert_eq!(tun.packets(), packets, "packet {corrupt}, byte {at}");
            let alone = tun.written.iter().any(|(_, packet)| *packet == packets[corrupt]);
            assert!(alone, "packet {corrupt}, byte {at}");
        }
    }
}

#[test]
fn interleaved_flows_merge_each_with_its_own() {
    let other = Segment { port: 2000, ..SEGMENT };
    let packets: Vec<_> =
        run(&SEGMENT, 6).into_iter().zip(run(&other, 6)).flat_map(|(a, b)| [a, b]).collect();
    let tun = coalesce(&packets);
    assert_eq!(tun.written.len(), 2);
}

#[test]
fn a_pure_acknowledgement_between_data_keeps_its_place() {
    let mut packets = run(&SEGMENT, 6);
    packets.insert(3, tcp(&Segment { payload: 0, id: 900, ..nth(&SEGMENT, 3) }));
    let tun = coalesce(&packets);
    assert_eq!(tun.written.len(), 3);
    assert_eq!(tun.packets(), packets);
}

#[test]
fn a_merged_packet_never_exceeds_the_ip_length_field() {
    let packets = run(&Segment { payload: 1400, ..SEGMENT }, 60);
    let tun = coalesce(&packets);
    assert!(tun.written.iter().all(|(_, packet)| packet.len() <= 65_535));
    assert_eq!(tun.packets(), packets);
}

#[test]
fn more_flows_than_runs_lose_nothing() {
    let packets: Vec<_> = (0..40).map(|flow| tcp(&Segment { port: 1000 + flow, ..SEGMENT })).collect();
    let mut seen = coalesce(&packets).packets();
    seen.sort();
    let mut expected = packets;
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn a_tun_that_refuses_super_packets_gets_the_packets_one_by_one() {
    let packets = run(&SEGMENT, 4);
    let mut tun = Tun { refuse_gso: true, ..Tun::default() };
    coalesce_into(&mut tun, ALL, &packets);
    assert_eq!(tun.packets(), packets);
}

/// Found by the fuzzer: runs that were open when the TUN refused the first one were overtaken by what came later.
#[test]
fn packets_of_a_flow_keep_their_order_when_a_tun_refuses_super_packets() {
    let other = Segment { port: 2000, ..SEGMENT };
    let ended = Segment { flags: ACK | FIN, ..nth(&SEGMENT, 2) };
    let longer = Segment { payload: 200, ..nth(&SEGMENT, 2) };
    for last in [ended, longer] {
        let mut packets = [run(&other, 2), run(&SEGMENT, 2), vec![tcp(&last), tcp(&last)]].concat();
        packets.extend([tcp(&nth(&SEGMENT, 3)), tcp(&nth(&other, 2))]);
        let mut tun = Tun { refuse_gso: true, ..Tun::default() };
        coalesce_into(&mut tun, ALL, &packets);
        let written = tun.packets();
        assert_eq!(written.len(), packets.len());
        for port in [SEGMENT.port, other.port] {
            let of_flow = |packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
                packets.iter().filter(|packet| packet[20..22] == port.to_be_bytes()).cloned().collect()
            };
            assert_eq!(of_flow(&written), of_flow(&packets), "{last:?}");
        }
    }
}

#[test]
fn without_offloads_nothing_is_merged() {
    let packets = run(&SEGMENT, 4);
    let mut tun = Tun::default();
    coalesce_into(&mut tun, TunOffloads::default(), &packets);
    assert_eq!(tun.written.len(), 4);
    assert_eq!(tun.packets(), packets);
}

#[test]
fn fragments_and_odd_headers_pass_untouched() {
    let mut fragment = tcp(&SEGMENT);
    fragment[6] |= 0x20;
    super::header::set_ipv4_checksum(&mut fragment);
    let packets = [vec![], vec![0x45], vec![0x60; 39], vec![0; 40], fragment.clone(), fragment];
    let tun = coalesce(&packets);
    assert_eq!(tun.packets(), packets);
}

#[test]
fn congestion_window_reduced_stands_on_the_first_segment_only() {
    let whole = tcp(&Segment { flags: ACK | CWR | PSH | FIN, payload: 300, ..SEGMENT });
    let gso = Gso { kind: Segmentation::Tcp4, segment_bytes: 100, header_bytes: 40 };
    let cut = segments(&SuperPacket::parse(&whole, gso, None).expect("well formed"));
    let flags: Vec<u8> = cut.iter().map(|segment| segment[33]).collect();
    assert_eq!(flags, [ACK | CWR, ACK, ACK | PSH | FIN]);
    for segment in &cut {
        assert_intact(segment);
    }
}

#[test]
fn a_super_packet_that_lies_about_itself_is_refused() {
    let whole = tcp(&SEGMENT);
    let gso = |kind, segment_bytes| Gso { kind, segment_bytes, header_bytes: 40 };
    for (packet, gso, blame) in [
        (&whole[..], gso(Segmentation::Tcp6, 10), BadSuperPacket::Headers),
        (&whole[..], gso(Segmentation::Udp, 10), BadSuperPacket::Headers),
        (&whole[..], gso(Segmentation::Tcp4, 0), BadSuperPacket::NoSegmentSize),
        (&whole[..30], gso(Segmentation::Tcp4, 10), BadSuperPacket::Headers),
        (&[], gso(Segmentation::Tcp4, 10), BadSuperPacket::Headers),
    ] {
        assert_eq!(SuperPacket::parse(packet, gso, None).err(), Some(blame));
    }
}

#[test]
fn a_partial_checksum_is_completed_or_refused() {
    let whole = tcp(&SEGMENT);
    let partial = PartialChecksum { start: 20, offset: 16 };
    let mut packet = whole.clone();
    restore_partial_checksum(&mut packet, partial).expect("in range");
    complete_checksum(&mut packet, partial).expect("in range");
    assert_eq!(packet, whole);
    let outside = PartialChecksum { start: whole.len() as u16, offset: 0 };
    assert_eq!(complete_checksum(&mut packet, outside), Err(BadSuperPacket::Checksum));
}

prop_compose! {
    fn segment()(ipv6: bool, options: bool, sequence: u32, id: u16, payload in 1_usize..1400, ending in 0_u8..4)
        -> Segment {
        let flags = ACK | if ending & 1 != 0 { PSH } else { 0 } | if ending & 2 != 0 { FIN } else { 0 };
        Segment { ipv6, options, sequence, id, payload, flags, ..SEGMENT }
    }
}

proptest! {
    #[test]
    fn every_segment_of_a_tcp_super_packet_is_intact(whole in segment(), bytes in 1_u16..1500, payload in 1_usize..30_000) {
        let whole = tcp(&Segment { payload, ..whole });
        let kind = if whole[0] >> 4 == 6 { Segmentation::Tcp6 } else { Segmentation::Tcp4 };
        let gso = Gso { kind, segment_bytes: bytes, header_bytes: 40 };
        let super_packet = SuperPacket::parse(&whole, gso, None).expect("well formed");
        let cut = segments(&super_packet);
        prop_assert_eq!(cut.iter().map(|segment| segment.len() as u64).sum::<u64>(), super_packet.total_bytes());
        for segment in &cut {
            assert_intact(segment);
        }
    }

    #[test]
    fn every_segment_of_a_udp_super_packet_is_intact(ipv6: bool, bytes in 1_u16..1500, payload in 1_usize..30_000) {
        let whole = udp(ipv6, 77, payload);
        let gso = Gso { kind: Segmentation::Udp, segment_bytes: bytes, header_bytes: 28 };
        for segment in segments(&SuperPacket::parse(&whole, gso, None).expect("well formed")) {
            assert_intact(&segment);
        }
    }

    #[test]
    fn merging_and_cutting_gives_back_the_packets(
        first in segment(),
        deviations in proptest::collection::vec((0_u32..12, 0_usize..1400), 1..40),
    ) {
        let mut sequence = first.sequence;
        let mut packets = Vec::new();
        for (i, (deviation, payload)) in deviations.iter().enumerate() {
            let mut segment = Segment { sequence, id: first.id.wrapping_add(i as u16), flags: ACK, ..first.clone() };
            match deviation {
                0 => segment.payload = *payload,
                1 => segment.flags |= PSH,
                2 => segment.sequence = sequence.wrapping_add(1),
                3 => segment.window += 1,
                4 => segment.flags |= CWR,
                _ => {}
            }
            sequence = segment.sequence.wrapping_add(segment.payload as u32);
            packets.push(tcp(&segment));
        }
        prop_assert_eq!(coalesce(&packets).packets(), packets);
    }

    #[test]
    fn cutting_and_merging_gives_back_the_super_packet(whole in segment(), bytes in 20_u16..1500, payload in 2000_usize..60_000) {
        prop_assume!(payload / usize::from(bytes) < 120);
        let whole = tcp(&Segment { payload, ..whole });
        let kind = if whole[0] >> 4 == 6 { Segmentation::Tcp6 } else { Segmentation::Tcp4 };
        let gso = Gso { kind, segment_bytes: bytes, header_bytes: 40 };
        let mut whole_partial = whole.clone();
        let start = if whole[0] >> 4 == 6 { 40 } else { 20 };
        restore_partial_checksum(&mut whole_partial, PartialChecksum { start, offset: 16 }).expect("in range");
        let tun = coalesce(&segments(&SuperPacket::parse(&whole, gso, None).expect("well formed")));
        prop_assert_eq!(tun.written.len(), 1);
        prop_assert_eq!(&tun.written[0].1, &whole_partial);
    }

    #[test]
    fn no_bytes_from_the_tun_panic(mut packet in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..3, bytes: u16, start: u16, offset: u16) {
        let kind = [Segmentation::Tcp4, Segmentation::Tcp6, Segmentation::Udp][kind as usize];
        let partial = PartialChecksum { start: start % 300, offset: offset % 300 };
        let gso = Gso { kind, segment_bytes: bytes, header_bytes: 0 };
        for checksum in [None, Some(partial)] {
            if let Ok(super_packet) = SuperPacket::parse(&packet, gso, checksum) {
                let _ = segments(&super_packet);
            }
        }
        let _ = coalesce(&[packet.clone(), packet.clone()]);
        let _ = restore_partial_checksum(&mut packet, partial);
        let _ = complete_checksum(&mut packet, partial);
    }
}
