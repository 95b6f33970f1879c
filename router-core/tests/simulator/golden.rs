//! ICMP errors that Linux's NAT has translated, through ours: ICE-2, ICE-4, ICE-5, ICE-6 and what docs/kernel-nat-differences.md
//! names. The lab's differential tests make the record and see that it stays the kernel's.

use std::collections::BTreeMap;

use router_core::packet::{IcmpError, PacketMut, QuotedTransport, Transport, Version};
use router_core::sim::border::recording::{self, Case, Step};
use router_core::sim::border::{Border, Side};
use router_core::sim::wire;

const FILES: [&str; 3] = [
    include_str!("../golden/snat.txt"),
    include_str!("../golden/dnat.txt"),
    include_str!("../golden/both.txt"),
];

#[test]
fn every_error_comes_out_as_the_kernel_has_translated_it() {
    for case in cases() {
        let mut border = Border::new(case.rules, 1);
        let (error, conversation) = case.steps.split_last().expect("an error at the end");
        for step in conversation {
            let came = border.hand_in(step.side, &step.packet).packets;
            assert_eq!(comparable(&case, &came), comparable(&case, &step.came), "{}", case.name);
        }
        assert_eq!(border.hand_in(error.side, &error.packet).packets, error.came, "{}", case.name);
    }
}

#[test]
fn all_kinds_of_errors_about_all_kinds_of_packets_are_on_record() {
    let mut seen = BTreeMap::<String, usize>::new();
    for case in cases() {
        let error = case.steps.last().expect("an error at the end");
        marks(error).into_iter().for_each(|mark| *seen.entry(mark).or_default() += 1);
    }
    let kinds = ["unreachable", "too big", "time exceeded", "parameter problem"];
    let quotes = ["a quote of TCP", "a quote of UDP", "a quote of an echo", "a quote of eight bytes"];
    let more = ["from the inside", "from the outside", "an extension"];
    for version in ["IPv4", "IPv6"] {
        for what in [&kinds[..], &quotes, &more].concat() {
            assert!(seen.contains_key(&format!("{version}, {what}")), "no {version}, {what}: {seen:?}");
        }
    }
    for what in ["IPv4, quoted options", "IPv4, a quote without checksum"] {
        assert!(seen.contains_key(what), "no {what}: {seen:?}");
    }
    assert!(cases().len() >= 40, "{seen:?}");
}

/// What is worth mentioning of an error, by its version.
fn marks(step: &Step) -> Vec<String> {
    let mut bytes = step.packet.clone();
    let mut packet = PacketMut::parse(&mut bytes).expect("a packet");
    let Transport::IcmpError(error) = packet.transport() else { panic!("no error: {:02x?}", step.packet) };
    let (kind, version) = (kind_of(error), packet.version());
    let quote = packet.quote().expect("a quote");
    let protocol = match quote.transport() {
        QuotedTransport::Tcp { .. } => "a quote of TCP",
        QuotedTransport::Udp => "a quote of UDP",
        QuotedTransport::IcmpEcho(_) => "a quote of an echo",
        QuotedTransport::IcmpOther | QuotedTransport::Other => "a quote of something else",
    };
    let side = if step.side == Side::Inside { "from the inside" } else { "from the outside" };
    let mut marks = vec![kind, protocol, side];
    let at = wire::header_len(&step.packet);
    let (word, quote) = (&step.packet[at + 4..at + 8], &step.packet[at + 8..]);
    let upper = wire::header_len(quote);
    let length = if version == Version::V4 { word[1] } else { word[0] };
    let has_length = matches!(error, IcmpError::Unreachable { .. } | IcmpError::TimeExceeded { .. });
    let is_without_sum = protocol == "a quote of UDP" && quote.get(upper + 6..upper + 8) == Some(&[0, 0]);
    marks.extend((quote.len() == upper + 8).then_some("a quote of eight bytes"));
    marks.extend((version == Version::V4 && upper > 20).then_some("quoted options"));
    marks.extend((has_length && length > 0).then_some("an extension"));
    marks.extend(is_without_sum.then_some("a quote without checksum"));
    let version = if version == Version::V4 { "IPv4" } else { "IPv6" };
    marks.into_iter().map(|mark| format!("{version}, {mark}")).collect()
}

fn kind_of(error: IcmpError) -> &'static str {
    match error {
        IcmpError::Unreachable { .. } => "unreachable",
        IcmpError::TooBig { .. } => "too big",
        IcmpError::TimeExceeded { .. } => "time exceeded",
        IcmpError::ParameterProblem { .. } => "parameter problem",
        IcmpError::SourceQuench | IcmpError::Redirect | IcmpError::Unassigned { .. } => "something else",
    }
}

/// What came out, without what we mean to do otherwise.
fn comparable(case: &Case, came: &[(Side, Vec<u8>)]) -> Vec<(Side, Vec<u8>)> {
    let is_renumbered = case.differs.iter().any(|name| name == "Identification");
    let strike = |packet: &Vec<u8>| match is_renumbered {
        true => wire::with_identification(packet, 0),
        false => packet.clone(),
    };
    came.iter().map(|(side, packet)| (*side, strike(packet))).collect()
}

fn cases() -> Vec<Case> {
    FILES.iter().flat_map(|file| recording::read(file).expect("a file that can be read")).collect()
}
