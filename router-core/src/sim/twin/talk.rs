//! What a twin knows of a TCP conversation: how far each end has sent, and how far the other let it, from the segments that
//! were forwarded and nothing else. Where it is not sure any more (after a reset, fragments, window scales, a second SYN)
//! it says nothing.

use crate::packet::{TcpFlags, TcpSegment};

/// Both ends, by the direction that they send in: the opener first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Talk {
    halves: [Half; 2],
    /// Whether both have been heard.
    is_open: bool,
}

/// One end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Half {
    /// The number after the last that it has sent.
    end: u32,
    /// The highest number at which it may send.
    edge: u32,
    /// What it has acknowledged.
    acknowledged: u32,
    /// The window of its SYN.
    window: u32,
}

impl Talk {
    /// After a first segment. `None`: not to be judged.
    pub(super) fn opened_by(syn: &TcpSegment) -> Option<Talk> {
        let end = syn.sequence.wrapping_add(syn.sequence_len());
        let opener = Half { end, window: syn.window.into(), ..Half::default() };
        let is_plain = syn.flags.syn() && syn.payload_len == 0 && syn.options.window_scale.is_none();
        is_plain.then_some(Talk { halves: [opener, Half::default()], is_open: false })
    }

    /// Why a segment must not pass, if so.
    pub(super) fn forbids(&self, from: usize, segment: &TcpSegment) -> Option<&'static str> {
        if !self.is_open || segment.flags.syn() {
            return None;
        }
        let (own, other) = (&self.halves[from], &self.halves[1 - from]);
        if is_after(segment.sequence, own.edge) {
            return Some("begins behind its window");
        }
        let has_ack = segment.flags.ack() && !segment.flags.rst();
        (has_ack && is_after(segment.acknowledgment, other.end)).then_some("acknowledges what was not sent")
    }

    /// Whether a segment is the next one, within its window: nothing speaks against it.
    pub(super) fn demands(&self, from: usize, segment: &TcpSegment) -> bool {
        let (own, other) = (&self.halves[from], &self.halves[1 - from]);
        let is_plain = segment.flags.ack() && !segment.flags.syn() && !segment.flags.rst();
        self.is_open
            && is_plain
            && segment.sequence == own.end
            && !is_after(end_of(segment), own.edge)
            && is_between(segment.acknowledgment, own.acknowledged, other.end)
    }

    /// After another segment was forwarded. `None`: not to be judged any more.
    pub(super) fn after(mut self, from: usize, segment: &TcpSegment) -> Option<Talk> {
        let [syn, ack, rst] =
            [TcpFlags::SYN, TcpFlags::ACK, TcpFlags::RST].map(|flag| segment.flags.contains(flag));
        match (self.is_open, syn, ack, rst) {
            (true, false, _, true) => (!self.is_exact(from, segment.sequence)).then_some(self),
            (true, false, true, false) => {
                self.hear(from, segment);
                Some(self)
            }
            (false, true, true, false) if from == 1 => self.answered_by(segment),
            // The opener's SYN again, or an answer that the opener will not understand.
            (false, true, false, false) if from == 0 && end_of(segment) == self.halves[0].end => Some(self),
            (false, false, true, false) if from == 1 && segment.payload_len == 0 => Some(self),
            (_, _, _, _) => None,
        }
    }

    fn answered_by(mut self, syn_ack: &TcpSegment) -> Option<Talk> {
        let window = self.halves[0].window.max(1);
        let first = syn_ack.sequence.wrapping_add(1);
        self.halves[1] = Half { end: first, edge: first.wrapping_add(window), ..Half::default() };
        self.halves[1].acknowledged = syn_ack.acknowledgment;
        self.halves[0].acknowledged = first;
        self.halves[0].edge = syn_ack.acknowledgment.wrapping_add(u32::from(syn_ack.window).max(1));
        self.is_open = true;
        let is_plain = syn_ack.payload_len == 0 && syn_ack.options.window_scale.is_none();
        (is_plain && syn_ack.acknowledgment == self.halves[0].end).then_some(self)
    }

    fn hear(&mut self, from: usize, segment: &TcpSegment) {
        let offered = segment.acknowledgment.wrapping_add(u32::from(segment.window).max(1));
        let [own, other] = [from, 1 - from];
        self.halves[own].end = later(self.halves[own].end, end_of(segment));
        self.halves[own].acknowledged = later(self.halves[own].acknowledged, segment.acknowledgment);
        self.halves[other].edge = later(self.halves[other].edge, offered);
    }

    /// Whether a reset may have ended the conversation (P9).
    fn is_exact(&self, from: usize, sequence: u32) -> bool {
        sequence == self.halves[from].end || sequence == self.halves[1 - from].acknowledged
    }
}

fn end_of(segment: &TcpSegment) -> u32 {
    segment.sequence.wrapping_add(segment.sequence_len())
}

/// In the circle of sequence numbers.
fn is_after(one: u32, other: u32) -> bool {
    one != other && one.wrapping_sub(other) < 1 << 31
}

/// Also where the number is half a circle from an end, neither after nor before it.
fn is_between(number: u32, first: u32, last: u32) -> bool {
    number.wrapping_sub(first) <= last.wrapping_sub(first)
}

fn later(one: u32, other: u32) -> u32 {
    if is_after(other, one) { other } else { one }
}
