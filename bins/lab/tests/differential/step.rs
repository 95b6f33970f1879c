//! What one step of a sequence is, before it is written for one of the two worlds: each has its own translated ports.

use std::net::IpAddr;

use router_core::packet::{Addresses, Ends, TcpFlags};
use router_core::sim::wire::{self, PieceRange, Segment};

use router_core::sim::border::{Net, OTHER, PORTS, RuleSet, Side, TRANSLATED_PORTS, V4, V6, ip};

/// Which protocol a flow speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    Echo,
    Other,
}

/// One conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) v6: bool,
    pub(crate) kind: Kind,
    pub(crate) client: usize,
    pub(crate) client_port: u16,
    pub(crate) server_port: u16,
}

impl Flow {
    pub(crate) fn net(&self) -> Net {
        if self.v6 { V6 } else { V4 }
    }

    /// What the client writes into its packets.
    pub(crate) fn inside(&self, rules: RuleSet) -> Ends {
        let net = self.net();
        let (source, destination) = (ip(net.clients[self.client]), ip(rules.asked(net)));
        wire::ends((source, self.client_port).into(), (destination, self.server_port).into())
    }

    /// What the server sees as long as ports stay what they are.
    pub(crate) fn outside(&self, rules: RuleSet) -> Ends {
        let net = self.net();
        let source = if rules.snat { net.external } else { net.clients[self.client] };
        let moved = if rules.dnat { TRANSLATED_PORTS.0 - PORTS.0 } else { 0 };
        wire::ends((ip(source), self.client_port).into(), (ip(net.server), self.server_port + moved).into())
    }
}

/// What a packet of a flow carries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body {
    Tcp(Segment, usize),
    Udp { len: usize, without_checksum: bool },
    Echo { is_request: bool, len: usize },
    Other { len: usize },
}

/// How a packet differs from an ordinary one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oddity {
    None,
    LastHop,
    DontFragment,
    Corrupt,
    Options,
    Pieces(Cut),
}

/// How a datagram is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    InOrder,
    Backwards,
    WithoutLast,
    Twice,
    Overlapping,
    Tiny,
}

/// What an ICMP error quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quote {
    Whole,
    EightBytes,
    FourBytes,
    WithOptions,
    WithExtension,
    BrokenHeader,
    UnknownPort,
    FarSequence,
    LaterPiece,
    Error,
}

/// An ICMP error about what the sender of the error has seen of a flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorStep {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) word: u32,
    pub(crate) quote: Quote,
    /// By a router on the way.
    pub(crate) is_by_hop: bool,
    /// To another address than the quoted packet's source.
    pub(crate) is_misaddressed: bool,
    pub(crate) is_corrupt: bool,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Packet(Body, Oddity),
    Error(ErrorStep),
}

/// One step of a sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) flow: usize,
    pub(crate) from: Side,
    pub(crate) action: Action,
}

/// A stream identifier (RFC 791) and padding: options that nobody on the way changes.
const HARMLESS: [u8; 8] = [0x88, 4, 0, 1, 1, 1, 1, 0];

/// The bytes of a packet of a flow, with these ends. More than one where it is cut.
pub(crate) fn write(ends: &Ends, body: Body, oddity: Oddity, id: u16) -> Vec<Vec<u8>> {
    let packet = wire::with_identification(&plain(ends, body), id);
    match oddity {
        Oddity::None => vec![packet],
        Oddity::LastHop => vec![wire::with_hop_limit(&packet, 1)],
        Oddity::DontFragment => vec![wire::with_dont_fragment(&packet)],
        // Where nothing else is there to corrupt than a checksum of the world's own, it stays.
        Oddity::Corrupt if matches!(body, Body::Udp { len: 0, .. } | Body::Echo { len: 0, .. }) => {
            vec![packet]
        }
        Oddity::Corrupt => vec![wire::corrupted(&packet)],
        Oddity::Options => vec![wire::with_options(&packet, &HARMLESS)],
        Oddity::Pieces(cut) => pieces(&packet, cut, id),
    }
}

fn plain(ends: &Ends, body: Body) -> Vec<u8> {
    let payload = |len: usize| (0..len).map(|at| (at / 251 + at) as u8).collect::<Vec<u8>>();
    match body {
        Body::Tcp(header, len) => wire::tcp(ends, &header, &payload(len)),
        Body::Udp { len, without_checksum: false } => wire::udp(ends, &payload(len)),
        Body::Udp { len, without_checksum: true } => {
            wire::without_udp_checksum(&wire::udp(ends, &payload(len)))
        }
        Body::Echo { is_request: true, len } => {
            wire::ping(&ends.addresses, ends.ports.source, 1, &payload(len))
        }
        Body::Echo { is_request: false, len } => {
            wire::pong(&ends.addresses, ends.ports.destination, 1, &payload(len))
        }
        Body::Other { len } => wire::ip(&ends.addresses, OTHER, &payload(len)),
    }
}

fn pieces(packet: &[u8], cut: Cut, id: u16) -> Vec<Vec<u8>> {
    let len = (packet.len() - wire::header_len(packet)) as u16;
    if len < 64 {
        return vec![packet.to_vec()];
    }
    let range = |start, end| PieceRange { start, end, is_last: end == len };
    let third = len / 24 * 8;
    let (first, second, last) = (range(0, third), range(third, 2 * third), range(2 * third, len));
    let ranges = match cut {
        Cut::InOrder => vec![first, second, last],
        Cut::Backwards => vec![last, second, first],
        Cut::WithoutLast => vec![first, second],
        Cut::Twice => vec![first, second, second, last],
        Cut::Overlapping => vec![first, range(third - 8, 2 * third), last],
        Cut::Tiny => vec![range(0, 8), range(8, third), second, last],
    };
    ranges.into_iter().map(|range| wire::piece(packet, range, id)).collect()
}

/// An ICMP error from one side about `about`, the packet as that side sees it.
pub(crate) fn write_error(error: &ErrorStep, from: Side, about: &[u8], net: Net) -> Vec<u8> {
    let quoted = addresses_of(about);
    let by = if error.is_by_hop && from == Side::Outside { ip(net.hop) } else { quoted.destination() };
    let to = if error.is_misaddressed { ip(net.elsewhere) } else { quoted.source() };
    let mut word = error.word.to_be_bytes();
    let body = quote(about, error.quote, &mut word);
    let packet = wire::icmp(&wire::addresses(by, to), error.kind, error.code, word, &body);
    if error.is_corrupt { wire::corrupted(&packet) } else { packet }
}

fn quote(about: &[u8], quote: Quote, word: &mut [u8; 4]) -> Vec<u8> {
    let at = wire::header_len(about);
    let is_v4 = at == 20;
    let short = |more: usize| about[..(at + more).min(about.len())].to_vec();
    let with = |place: usize, change: fn(u8) -> u8| {
        let mut bytes = short(528);
        if let Some(byte) = bytes.get_mut(place) {
            *byte = change(*byte);
        }
        bytes
    };
    match quote {
        Quote::Whole => short(528),
        Quote::EightBytes => short(8),
        Quote::FourBytes => short(4),
        Quote::WithOptions => wire::with_options(&short(528), &HARMLESS),
        Quote::WithExtension => {
            let mut bytes = short(128 - at);
            bytes.resize(128, 0);
            word[if is_v4 { 1 } else { 0 }] = if is_v4 { 32 } else { 16 };
            // RFC 4950: one label; the checksum is filled in so that the words sum up.
            bytes.extend([0x20, 0, 0xd6, 0xf5, 0, 8, 1, 1, 0, 1, 1, 1]);
            bytes
        }
        Quote::BrokenHeader => with(if is_v4 { 10 } else { 0 }, |byte| byte ^ 0x30),
        Quote::UnknownPort => with(at, |byte| byte ^ 0x15),
        Quote::FarSequence => with(at + 4, |byte| byte ^ 0x40),
        Quote::LaterPiece => later_piece(&short(528)),
        Quote::Error => wire::icmp(&addresses_of(about), if is_v4 { 3 } else { 1 }, 1, [0; 4], &short(8)),
    }
}

/// The same as a piece that is not the first.
fn later_piece(packet: &[u8]) -> Vec<u8> {
    let len = (packet.len() - wire::header_len(packet)) as u16;
    let start = 8.min(len / 8 * 8);
    wire::piece(packet, PieceRange { start, end: len, is_last: true }, 7)
}

/// Source and destination of a packet.
pub(crate) fn addresses_of(packet: &[u8]) -> Addresses {
    let v4 = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).map(IpAddr::from);
    let v6 = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).map(IpAddr::from);
    let pair = if packet[0] >> 4 == 4 { (v4(12), v4(16)) } else { (v6(8), v6(24)) };
    wire::addresses(pair.0.expect("four or sixteen"), pair.1.expect("four or sixteen"))
}

/// Flags by their letters.
pub(crate) fn flags(letters: &str) -> TcpFlags {
    letters.chars().fold(TcpFlags(0), |flags, letter| {
        flags.with(match letter {
            'S' => TcpFlags::SYN,
            'A' => TcpFlags::ACK,
            'F' => TcpFlags::FIN,
            'R' => TcpFlags::RST,
            other => panic!("no TCP flag {other}"),
        })
    })
}
