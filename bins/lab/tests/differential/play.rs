//! A sequence in one world: packets are written for the ports that this world chose, and what comes out is put into a form
//! that can be compared.

use std::collections::BTreeMap;

use anyhow::Result;
use router_core::DropReason;
use router_core::packet::{Ends, PacketMut, Transport};
use router_core::sim::wire;

use crate::generate::Sequence;
use crate::kernel::KernelWorld;
use crate::step::{Action, Step, write, write_error};
use router_core::sim::border::{Border, Heard, RuleSet, Side};

/// One that packets can be handed to.
pub(crate) enum World<'a> {
    Node(Box<Border>),
    Kernel(&'a mut KernelWorld),
}

impl World<'_> {
    fn hand_in(&mut self, side: Side, packet: &[u8]) -> Result<Heard> {
        match self {
            World::Node(node) => Ok(node.hand_in(side, packet)),
            World::Kernel(kernel) => kernel.hand_in(side, packet),
        }
    }
}

/// What came of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What went in, as this world got it.
    pub(crate) sent: Vec<Vec<u8>>,
    /// Whole datagrams on the other side, ports made comparable.
    pub(crate) forwarded: Vec<Vec<u8>>,
    /// Pieces of datagrams of which others are missing.
    pub(crate) unfinished: usize,
    /// What the sender was told.
    pub(crate) answers: Vec<Answer>,
    pub(crate) reasons: Vec<DropReason>,
}

/// An ICMP error of the translator itself: what matters of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) kind: (u8, u8),
    /// A path MTU.
    word: [u8; 4],
    /// The header of the packet it is about, without hop limit and checksum, and the first eight bytes behind it.
    quote: Vec<u8>,
}

impl Answer {
    /// The client's own port in place of the one that the world chose.
    fn unify(&mut self, chosen: u16, port: u16) {
        let at = wire::header_len(&self.quote);
        // Ports, then an identifier.
        for place in [at + 2, at + 4] {
            if self.quote.get(place..place + 2) == Some(&chosen.to_be_bytes()) {
                self.quote[place..place + 2].copy_from_slice(&port.to_be_bytes());
            }
        }
        // The checksums of UDP and of an echo: their rest is not there to compute them from.
        let (udp, echo) = (at + 6, at + 2);
        let protocol = self.quote.get(if at == 40 { 6 } else { 9 });
        let sum = if protocol == Some(&17) { udp } else { echo };
        if matches!(protocol, Some(&(1 | 17 | 58))) && self.quote.len() >= sum + 2 {
            self.quote[sum..sum + 2].fill(0);
        }
    }
}

/// What one world knows of a flow.
struct View {
    outside: Ends,
    /// The last packet that each side saw coming.
    last: [Option<Vec<u8>>; 2],
}

/// Plays a sequence; `first_id` keeps pieces of different runs apart.
pub(crate) fn play(
    world: &mut World<'_>,
    rules: RuleSet,
    sequence: &Sequence,
    first_id: u16,
) -> Result<Vec<Seen>> {
    let mut views: Vec<View> =
        sequence.flows.iter().map(|flow| View { outside: flow.outside(rules), last: [None, None] }).collect();
    let mut all = Vec::new();
    for (step, id) in sequence.steps.iter().zip(0u16..) {
        let flow = &sequence.flows[step.flow];
        let view = &mut views[step.flow];
        let packets = packets(step, rules, sequence, view, first_id.wrapping_add(id));
        let (mut seen, mut came) = (Seen::default(), Vec::new());
        for packet in &packets {
            let heard = world.hand_in(step.from, packet)?;
            seen.reasons.extend(heard.reason);
            came.extend(heard.packets);
        }
        seen.sent = packets;
        let is_answer = |came: &&(Side, Vec<u8>)| came.0 == step.from;
        seen.answers = came.iter().filter(is_answer).map(|(_, packet)| answer(packet)).collect();
        let onward = came.iter().filter(|came| !is_answer(came)).map(|(_, packet)| packet.clone()).collect();
        let (whole, unfinished) = joined(onward);
        if let (Action::Packet(..), Some(packet)) = (&step.action, whole.first()) {
            learn(view, step.from, packet);
        }
        let port = flow.client_port;
        let chosen = view.outside.ports.source;
        seen.forwarded =
            whole.into_iter().map(|packet| comparable(packet, step.from, chosen, port)).collect();
        if step.from == Side::Outside {
            seen.answers.iter_mut().for_each(|answer| answer.unify(chosen, port));
        }
        seen.unfinished = unfinished;
        all.push(seen);
    }
    Ok(all)
}

fn packets(step: &Step, rules: RuleSet, sequence: &Sequence, view: &View, id: u16) -> Vec<Vec<u8>> {
    let flow = &sequence.flows[step.flow];
    let ends = match step.from {
        Side::Inside => flow.inside(rules),
        Side::Outside => view.outside.reversed(),
    };
    match &step.action {
        Action::Packet(body, oddity) => write(&ends, *body, *oddity, id),
        Action::Error(error) => {
            // Of a flow of which nothing was seen yet, something is made up.
            let made_up = || wire::ip(&ends.reversed().addresses, router_core::sim::border::OTHER, &[0; 16]);
            let about = view.last[step.from as usize].clone().unwrap_or_else(made_up);
            vec![write_error(error, step.from, &about, flow.net())]
        }
    }
}

/// Remembers the ports that the world chose, and what the other side has seen.
fn learn(view: &mut View, from: Side, packet: &[u8]) {
    let mut bytes = packet.to_vec();
    let Ok(parsed) = PacketMut::parse(&mut bytes) else { return };
    if from == Side::Inside && !matches!(parsed.transport(), Transport::LaterPiece) {
        let ends = parsed.ends();
        view.outside = Ends { ports: ends.ports, ..ends };
        if let Transport::IcmpEcho { .. } = parsed.transport() {
            view.outside.ports.destination = 0;
        }
        view.last[Side::Outside as usize] = Some(packet.to_vec());
    } else {
        view.last[Side::Inside as usize] = Some(packet.to_vec());
    }
}

fn answer(packet: &[u8]) -> Answer {
    let at = wire::header_len(packet);
    let kind = (packet[at], packet.get(at + 1).copied().unwrap_or(0));
    let word: [u8; 4] = packet.get(at + 4..at + 8).and_then(|word| word.try_into().ok()).unwrap_or_default();
    let inner = packet.get(at + 8..).unwrap_or_default();
    let mut quote = inner[..(wire::header_len(inner) + 8).min(inner.len())].to_vec();
    let masked: &[usize] = if at == 20 { &[8, 10, 11] } else { &[7] };
    masked.iter().for_each(|place| {
        if let Some(byte) = quote.get_mut(*place) {
            *byte = 0
        }
    });
    Answer { kind, word, quote }
}

/// By their offsets: bytes, and whether more follow.
type Pieces = BTreeMap<usize, (Vec<u8>, bool)>;

/// Pieces put together again; what is left are pieces of datagrams with holes.
fn joined(packets: Vec<Vec<u8>>) -> (Vec<Vec<u8>>, usize) {
    let mut whole = Vec::new();
    let mut waiting: BTreeMap<Vec<u8>, Pieces> = BTreeMap::new();
    let mut count = BTreeMap::new();
    for packet in packets {
        let Some((key, offset, payload, has_more)) = read_piece(&packet) else {
            whole.push(packet);
            continue;
        };
        *count.entry(key.clone()).or_insert(0usize) += 1;
        waiting.entry(key).or_default().insert(offset, (payload, has_more));
    }
    let mut unfinished = 0;
    for (header, pieces) in waiting {
        let mut payload = Vec::new();
        let fits = pieces.iter().all(|(offset, (bytes, _))| {
            let fits = *offset == payload.len();
            payload.extend(bytes);
            fits
        });
        match fits && pieces.last_key_value().is_some_and(|(_, (_, has_more))| !has_more) {
            true => whole.push(rebuilt(&header, &payload)),
            false => unfinished += count[&header],
        }
    }
    (whole, unfinished)
}

/// The header without what differs between pieces, the offset, the payload, and whether more follow.
fn read_piece(packet: &[u8]) -> Option<(Vec<u8>, usize, Vec<u8>, bool)> {
    let at = wire::header_len(packet);
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    if packet[0] >> 4 == 4 {
        let place = word(6);
        let is_piece = place & 0x3fff != 0;
        let mut header = packet[..20].to_vec();
        [0, 2, 3, 6, 7, 10, 11].iter().for_each(|place| header[*place] = 0);
        return is_piece
            .then(|| (header, usize::from(place & 0x1fff) * 8, packet[at..].to_vec(), place & 0x2000 != 0));
    }
    if packet[6] != 44 {
        return None;
    }
    let mut header = packet[..48].to_vec();
    [4, 5, 42, 43].iter().for_each(|place| header[*place] = 0);
    let place = word(42);
    Some((header, usize::from(place & !7), packet[48..].to_vec(), place & 1 != 0))
}

fn rebuilt(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = header.to_vec();
    if packet.len() == 20 {
        packet[0] = 0x45;
        packet.extend(payload);
        let len = (packet.len() as u16).to_be_bytes();
        packet[2..4].copy_from_slice(&len);
        return wire::with_identification(&packet, u16::from_be_bytes([packet[4], packet[5]]));
    }
    packet[6] = packet[40];
    packet.truncate(40);
    packet[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    packet.extend(payload);
    packet
}

/// The packet with the client's own port instead of the one that the world chose for it, all checksums moved along.
fn comparable(mut packet: Vec<u8>, from: Side, chosen: u16, port: u16) -> Vec<u8> {
    let at = wire::header_len(&packet);
    if from == Side::Inside && chosen != port && packet.len() >= at + 8 {
        canonical::unify(&mut packet, at, chosen, port);
    }
    packet
}

mod canonical {
    //! Ports made equal (RFC 1624 by hand).

    use super::wire;

    pub(super) fn unify(packet: &mut [u8], at: usize, chosen: u16, port: u16) {
        let protocol = if packet[0] >> 4 == 4 { packet[9] } else { packet[6] };
        match protocol {
            6 => replace(packet, at, Some(at + 16), chosen, port),
            17 if packet[at + 6..at + 8] == [0, 0] => replace(packet, at, None, chosen, port),
            17 => replace(packet, at, Some(at + 6), chosen, port),
            1 | 58 if matches!(packet[at], 0 | 8 | 128 | 129) => {
                replace(packet, at + 4, Some(at + 2), chosen, port)
            }
            1 | 58 => in_quote(packet, at, chosen, port),
            _ => {}
        }
    }

    /// A quote of what came in from outside has the port as its destination; its own checksum, if there, evens it out.
    fn in_quote(packet: &mut [u8], at: usize, chosen: u16, port: u16) {
        let inner = at + 8;
        let upper = inner + wire::header_len(&packet[inner..]);
        if packet.len() < upper + 8 {
            return;
        }
        let protocol = if packet[inner] >> 4 == 4 { packet[inner + 9] } else { packet[inner + 6] };
        let (place, sum) = match protocol {
            6 => (upper + 2, upper + 16),
            17 => (upper + 2, upper + 6),
            1 | 58 => (upper + 4, upper + 2),
            _ => return,
        };
        let has_sum = packet.len() >= sum + 2 && !(protocol == 17 && packet[sum..sum + 2] == [0, 0]);
        replace(packet, place, has_sum.then_some(sum), chosen, port);
        if !has_sum {
            replace_sum(packet, at + 2, chosen, port);
        }
    }

    fn replace(packet: &mut [u8], place: usize, sum: Option<usize>, chosen: u16, port: u16) {
        if packet[place..place + 2] != chosen.to_be_bytes() {
            return;
        }
        packet[place..place + 2].copy_from_slice(&port.to_be_bytes());
        if let Some(sum) = sum.filter(|sum| packet.len() >= sum + 2) {
            replace_sum(packet, sum, chosen, port);
        }
    }

    fn replace_sum(packet: &mut [u8], sum: usize, old: u16, new: u16) {
        let field = u16::from_be_bytes([packet[sum], packet[sum + 1]]);
        let total = u32::from(!field) + u32::from(!old) + u32::from(new);
        let folded = (total & 0xffff) + (total >> 16);
        let folded = !((folded & 0xffff) + (folded >> 16)) as u16;
        packet[sum..sum + 2].copy_from_slice(&folded.to_be_bytes());
    }
}
